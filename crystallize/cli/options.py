"""What the commands' arguments have in common: the experiment that is meant, and what the shell completes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

EXPERIMENT = "NAME|PATH"
"""What the argument is called in the help that names an experiment."""


def words_given(ctx: typer.Context, *, without: Collection[str]) -> list[str]:
    """Return the words of the command line behind the command, but for some parameters': they repeat the command."""
    words: list[str] = []
    for parameter in ctx.command.params:
        name = parameter.name or ""
        source = ctx.get_parameter_source(name)
        if name in without or source is None or source.name != "COMMANDLINE":
            continue
        value, option = ctx.params[name], max(parameter.opts, key=len)
        if parameter.param_type_name == "argument":
            words.append(str(value))
        elif isinstance(value, bool):
            words.append(option if value else parameter.secondary_opts[0])
        else:
            for each in value if isinstance(value, list | tuple) else [value]:
                words += [option, str(each)]
    return words


def complete_experiments(incomplete: str) -> list[str]:
    """Return the names of this project's experiments that begin with `incomplete`."""
    from crystallize.config.folders import find_folders

    return starting_with(incomplete, without_errors(lambda: (folder.name for folder in find_folders())))


ExperimentName = Annotated[
    str,
    typer.Argument(
        metavar=EXPERIMENT,
        help="The experiment's name, its folder, or its config.yaml.",
        autocompletion=complete_experiments,
        show_default=False,
    ),
]
"""The argument of a command that is about one experiment."""

RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="NAME, NAME@v3, or the path of a run's folder.",
        autocompletion=complete_experiments,
        show_default=False,
    ),
]
"""The argument of a command that is about one stored run."""

Version = Annotated[
    int | None,
    typer.Option(
        "--version", min=0, help="Which run; by default the newest complete one.", show_default=False
    ),
]
"""The option that says which run of an experiment is meant."""

JsonList = Annotated[bool, typer.Option("--json", help="Print a JSON list of objects, for programs to read.")]
"""The option of a command that lists."""

JsonObject = Annotated[
    bool, typer.Option("--json", help="Print one JSON object with the same, for programs to read.")
]
"""The option of a command that tells of one thing."""


def complete_treatments(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the treatments of the experiment that the command line names, and of those that it depends on."""
    # With an option that has no value yet, the parser gives up and leaves the words as they are.
    words = (word for word in ctx.args if not word.startswith("-"))
    name = ctx.params.get("name") or next(words, None)
    return starting_with(incomplete, without_errors(lambda: _treatments(name)) if name else ())


def complete_plugins(incomplete: str) -> list[str]:
    """Return ``no:NAME`` for each installed plugin."""
    from crystallize.discovery import PLUGINS, find

    return starting_with(incomplete, (f"no:{found.name}" for found in find(PLUGINS)))


def complete_executions(incomplete: str) -> list[str]:
    """Return the names of the installed execution strategies."""
    from crystallize.discovery import EXECUTION, find

    return starting_with(incomplete, (found.name for found in find(EXECUTION)))


def _treatments(name: str) -> Iterator[str]:
    """Yield the treatments of an experiment and of all that it depends on, from their config.yaml alone."""
    from crystallize.config.folders import resolve
    from crystallize.config.upstream import Gathered

    for draft in Gathered(resolve(name).config).drafts:
        yield from (each.name for each in draft.treatments)


def starting_with(incomplete: str, names: Iterable[str]) -> list[str]:
    """Return the names that begin with what was typed, as the shell takes them."""
    return sorted({name for name in names if name.startswith(incomplete)})


def without_errors(find: Callable[[], Iterable[str]]) -> Iterator[str]:
    """Yield what a function finds; a shell that completes has no use for an error."""
    try:
        yield from find()
    except Exception:  # whatever is wrong with a folder, the command itself will tell
        return
