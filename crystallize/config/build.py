"""From folders to experiments."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from crystallize.config.errors import ConfigError, ConfigGraphError, KeyPath, Problem, in_order
from crystallize.config.folders import config_file
from crystallize.config.modules import FolderModules, blame
from crystallize.config.parts import Parts
from crystallize.config.settings import Settings
from crystallize.config.upstream import Gathered
from crystallize.datasources.experiment_input import ExperimentInput
from crystallize.errors import CrystallizeError
from crystallize.experiments.experiment import Experiment
from crystallize.experiments.treatment import Treatment, check_context

if TYPE_CHECKING:
    from os import PathLike
    from pathlib import Path

    from crystallize.config.reader import Draft
    from crystallize.datasources.artifact import Artifact


def load_experiment(
    path: str | PathLike[str],
    *,
    seed: int | None = None,
    execution: Any = None,
    context: Mapping[str, Any] | None = None,
    disable_plugins: Collection[str] = (),
    plugins: Sequence[object] = (),
) -> Experiment:
    """Build the experiment of a folder.

    Every name and every argument is checked first; with a mistake nothing is made and nothing runs. The
    experiments whose outputs it reads are built, too, for what they say about where these are.

    Parameters
    ----------
    path : str or path
        The folder, or its config.yaml.
    seed : int, optional
        Takes the place of the file's.
    execution : str, mapping or strategy, optional
        Takes the place of the file's.
    context : mapping, optional
        What every context holds from the start; a treatment's settings take precedence.
    disable_plugins : collection of str, optional
        Installed plugins to leave out, besides those that the file switches off.
    plugins : sequence, optional
        Plugins besides those of the file; one of the same class takes the place of the file's.

    Returns
    -------
    Experiment
        Its ``source`` is the config.yaml.

    Raises
    ------
    ConfigError
        With all mistakes of all files that take part.
    """
    *_, experiment = load_nodes(
        path,
        seed=seed,
        execution=execution,
        context=context,
        disable_plugins=disable_plugins,
        plugins=plugins,
    )
    return experiment


def load_nodes(
    path: str | PathLike[str],
    *,
    seed: int | None = None,
    execution: Any = None,
    context: Mapping[str, Any] | None = None,
    disable_plugins: Collection[str] = (),
    plugins: Sequence[object] = (),
) -> list[Experiment]:
    """Build the experiment of a folder and all those that it refers to, directly or not.

    Parameters
    ----------
    path, seed, execution, context, disable_plugins, plugins
        As for :func:`load_experiment`; for every experiment.

    Returns
    -------
    list of Experiment
        Each after those whose outputs it reads; the folder's own is the last.

    Raises
    ------
    ConfigError
        With all mistakes of all files that take part; a ConfigGraphError, which is a GraphError, too, if
        references make a circle or lead nowhere.
    """
    entries = {} if context is None else check_context(context, "context")
    gathered = Gathered(config_file(path))
    blueprints = {
        draft.file: Blueprint(
            draft,
            entries,
            seed=seed,
            execution=execution,
            disable_plugins=disable_plugins,
            plugins=plugins,
        )
        for draft in gathered.drafts
    }
    found = [problem for draft in reversed(gathered.drafts) for problem in blueprints[draft.file].problems()]
    if found:
        raise (ConfigGraphError if gathered.is_no_graph else ConfigError)(in_order(found))
    made: dict[Path, Experiment] = {}
    for file, blueprint in blueprints.items():
        producers = {
            name: made[target] for (consumer, name), target in gathered.producers.items() if consumer == file
        }
        made[file] = blueprint.build(producers)
    return list(made.values())


class Blueprint:
    """An experiment whose parts are known and not made yet."""

    def __init__(
        self,
        draft: Draft,
        context: dict[str, Any],
        *,
        seed: int | None,
        execution: Any,
        disable_plugins: Collection[str],
        plugins: Sequence[object],
    ) -> None:
        self.draft = draft
        self.modules = FolderModules(draft.file.parent)
        self.context = context
        self.settings = Settings(
            draft,
            self.modules,
            seed=seed,
            execution=execution,
            disable_plugins=disable_plugins,
            plugins=plugins,
        )
        self.parts = Parts(draft, self.modules, frozenset(context), self.settings.may_add_keys)

    def problems(self) -> list[Problem]:
        """Return what is wrong in the folder."""
        return in_order([*self.draft.document.problems, *self.modules.problems])

    def build(self, producers: Mapping[str, Experiment]) -> Experiment:
        """Make the experiment.

        Parameters
        ----------
        producers : mapping of str to Experiment
            The experiments that it refers to.

        Raises
        ------
        ConfigError
            If the user's code raises while the parts are made.
        """
        problems: list[Problem] = []
        sources = self._sources(producers, problems)
        steps = [self._made(make, place, problems) for place, make in self.parts.steps]
        if problems:
            raise ConfigError(in_order(problems))
        config = self.draft.config
        try:
            experiment = Experiment(
                _bundled(sources, config.references()),
                steps,
                name=self.draft.name,
                description=config.description,
                plugins=self.settings.plugins(),
                disable_plugins=self.settings.disabled,
                execution=self.settings.execution,
                initial_ctx=self.context,
                outputs=self.parts.outputs,
                treatments=[Treatment(name, settings) for name, settings in config.treatments.items()],
                hypotheses=self.parts.hypotheses,
                replicates=config.replicates,
                seed=self.settings.seed,
            )
        except CrystallizeError as error:
            error.add_note(f"The experiment is the one of {self.draft.file}")
            raise
        experiment.source = self.draft.file
        # Workers unpickle it with the experiment, and relative imports inside functions find the folder there.
        vars(experiment)["folder_package"] = self.modules
        return experiment

    def _sources(self, producers: Mapping[str, Experiment], problems: list[Problem]) -> dict[str, Any]:
        """Return the data sources by alias, in the order of the file."""
        from crystallize.config.entries import Reference

        sources: dict[str, Any] = {}
        for source in self.draft.config.datasource:
            place = ("datasource", *source.path)
            if isinstance(source.meant, Reference):
                sources[source.alias] = self._artifact(
                    producers[source.meant.experiment], source.meant, place, problems
                )
            else:
                _, make = self.parts.sources[source.alias]
                sources[source.alias] = self._made(make, place, problems)
        return sources

    def _artifact(
        self, producer: Experiment, reference: Any, place: KeyPath, problems: list[Problem]
    ) -> Artifact:
        """Return the producer's output as a data source: a copy, which settles on a run by itself."""
        artifact = copy.copy(producer.outputs[reference.artifact])
        location = producer.location()
        if location is None:
            problems.append(
                self.draft.document.problem(
                    place,
                    f"experiment {reference.experiment!r} stores nothing: it has no artifact plugin",
                    "Do not switch off the plugin 'artifact'",
                )
            )
        artifact.bind(location)
        return artifact

    def _made(self, make: Callable[[], Any], place: KeyPath, problems: list[Problem]) -> Any:
        """Return what the user's code makes; what it raises is a problem."""
        try:
            return make()
        except CrystallizeError as error:
            problems.append(self.draft.document.problem(place, error.what, error.hint))
        except (Exception, SystemExit) as error:
            found = blame(error, self.draft.file.parent, self.draft.file)
            if not found.line:
                found = self.draft.document.problem(place, found.message)
            problems.append(found)
        return None


def _bundled(sources: dict[str, Any], references: Collection[Any]) -> Any:
    """Return a single data source as it is, and several, or a reference, as a dictionary by alias."""
    if len(sources) == 1 and not references:
        return next(iter(sources.values()))
    return ExperimentInput(**sources)
