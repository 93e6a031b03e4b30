"""``crystallize check``: whether experiments would run, without running them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from crystallize.cli import options
from crystallize.cli.errors import WRONG_USE
from crystallize.cli.screen import Styled, echo, print_json, stdout_kept_clean, styled

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from crystallize.config.errors import Problem
    from crystallize.config.folders import ExperimentFolder
    from crystallize.graphs.planning import RuleFault


class _Checked(NamedTuple):
    """An experiment and what is wrong with it."""

    name: str
    config: Path
    problems: Sequence[Problem]


def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="The experiments, by name or path. By default all of the project.",
            autocompletion=options.complete_experiments,
            show_default=False,
        ),
    ] = None,
    as_json: options.JsonList = False,
) -> None:
    """Check experiments without running them.

    Each is loaded completely, with all that it depends on: config.yaml is
    read, its modules are imported, and every name and argument in it is
    looked up. One line says of each experiment whether all is well. Then come
    all problems, each with file, line and column, and what to do about it.

    The exit code is 0 if there is no problem, and 2 if there is one.
    """
    from crystallize.config.folders import experiments_root, find_folders, resolve

    folders = [resolve(name) for name in names] if names else find_folders()
    # Unlike Path.resolve, realpath follows a loop of links no further, whatever Python's version.
    folders = list({os.path.realpath(folder.config): folder for folder in folders}.values())
    with stdout_kept_clean():
        checked = _check_all(folders)
        if not names:
            checked = _with_name_clashes(checked)
    if as_json:
        print_json([_as_json(each) for each in checked])
    elif checked:
        for line in _lines(checked):
            echo(*line)
    else:
        echo(
            f"There is no experiment in {str(experiments_root())!r}. `crystallize new NAME` makes one.",
            err=True,
        )
    if any(each.problems for each in checked):
        raise typer.Exit(WRONG_USE)


def _check_all(folders: Sequence[ExperimentFolder]) -> list[_Checked]:
    """Check each experiment; in a graph, all that its last experiments depend on is loaded once with them."""
    found: dict[Path, _Checked] = {}
    for folder in _consumers_first(folders):
        if folder.config not in found:
            checked, sound = _check(folder)
            found |= {config: _Checked("", config, ()) for config in sound} | {folder.config: checked}
    return [found[folder.config]._replace(name=folder.name) for folder in folders]


def _consumers_first(folders: Sequence[ExperimentFolder]) -> list[ExperimentFolder]:
    """Return the experiments that no other reads, then the others."""
    from crystallize.config.reader import read_config
    from crystallize.errors import CrystallizeError

    read: set[str] = set()
    for folder in folders if len(folders) > 1 else ():
        with suppress(CrystallizeError):  # told when it is checked
            read |= {reference.experiment for reference in read_config(folder.config).references()}
    return sorted(folders, key=lambda folder: folder.name in read)


def _check(folder: ExperimentFolder) -> tuple[_Checked, list[Path]]:
    """Load one experiment with all that it depends on; return also the files that have no problem then."""
    from crystallize.config.build import load_nodes
    from crystallize.config.errors import ConfigError, Problem
    from crystallize.errors import CrystallizeError
    from crystallize.graphs.graph import ExperimentGraph

    problems: Sequence[Problem] = ()
    sound: list[Path] = []
    try:
        graph = ExperimentGraph(*load_nodes(folder.config))
        problems = [_rule_problem(fault, folder.config) for fault in graph.faulty_rules()]
        if not problems:
            sound = [each.source for each in graph.experiments.values() if each.source is not None]
    except ConfigError as error:
        problems = error.problems
    except CrystallizeError as error:
        # It may be of another file: a locked plan, of this experiment or of one that it depends on.
        is_file = os.path.isfile(error.where)  # noqa: PTH113 - any text will do
        place = f" ({error.where})" if error.where and not is_file else ""
        file = Path(error.where) if is_file else folder.config
        problems = [Problem.of_file(file, f"{error.what}{place}", error.hint)]
    return _Checked(folder.name, folder.config, problems), sound


def _rule_problem(fault: RuleFault, config: Path) -> Problem:
    """Make the record of a stopping rule that a run would be refused for."""
    from crystallize.config.document import read_document

    file = fault.experiment.source or config
    return read_document(file).problem(("stop",), fault.error.what, fault.error.hint)


def _with_name_clashes(checked: Sequence[_Checked]) -> list[_Checked]:
    """Add a problem to the experiments that have a name in common: none of them can be called by it."""
    from crystallize.config.errors import Problem
    from crystallize.utils.wording import shown

    by_name: dict[str, list[_Checked]] = {}
    for each in checked:
        by_name.setdefault(each.name, []).append(each)

    def clashes(each: _Checked) -> list[Problem]:
        others = [shown(other.config.parent) for other in by_name[each.name] if other is not each]
        told = (f"the experiment in {other!r} is called {each.name!r} too" for other in others)
        return [Problem.of_file(each.config, message, "Give one of them another name") for message in told]

    return [each._replace(problems=[*each.problems, *clashes(each)]) for each in checked]


def _lines(checked: Sequence[_Checked]) -> Iterable[tuple[str | Styled, ...]]:
    """Lay out what was found: a line for each experiment, then each problem once."""
    from crystallize.utils.wording import counted

    width = max(len(each.name) for each in checked)
    for each in checked:
        count = len(each.problems)
        verdict = styled(counted(count, "problem"), fg="red") if count else styled("ok", fg="green")
        yield f"{each.name:<{width}}  ", verdict
    problems = dict.fromkeys(str(problem) for each in checked for problem in each.problems)
    if problems:
        yield ("",)
        yield from ((problem,) for problem in problems)


def _as_json(checked: _Checked) -> dict[str, Any]:
    return {
        "name": checked.name,
        "config": str(checked.config),
        "ok": not checked.problems,
        "problems": [
            {
                "file": str(problem.file),
                "line": problem.line,
                "column": problem.column,
                "key": problem.key,
                "message": problem.message,
                "hint": problem.hint,
            }
            for problem in checked.problems
        ],
    }
