"""From folders to experiments."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.config.errors import ConfigError, ConfigGraphError, KeyPath, Problem, in_order
from crystallize.config.folders import command_name, config_file
from crystallize.config.hypotheses import read_hypotheses
from crystallize.config.lookup import Lookup
from crystallize.config.modules import FolderModules, blame
from crystallize.config.parts import Parts
from crystallize.config.schema import Call
from crystallize.config.settings import Settings
from crystallize.config.treatments import place_of_factor
from crystallize.config.upstream import Gathered
from crystallize.datasources.experiment_input import ExperimentInput
from crystallize.errors import CrystallizeError, UnknownNameError
from crystallize.experiments.experiment import Experiment
from crystallize.experiments.preregistration import read_plan
from crystallize.experiments.settings import readers_of, unread_settings
from crystallize.experiments.treatment import check_context
from crystallize.statistics.stopping.text import read_rule
from crystallize.utils.wording import listed, name_hint, shown

if TYPE_CHECKING:
    from os import PathLike

    from crystallize.config.reader import Draft
    from crystallize.config.schema import Reference
    from crystallize.datasources.artifact import Artifact

_logger = logging.getLogger("crystallize.config")


def load_experiment(
    path: str | PathLike[str],
    *,
    seed: int | None = None,
    execution: Any = None,
    cache: bool | str | None = None,
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
    cache : bool or "refresh", optional
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
        is_alone=True,
        context=context,
        seed=seed,
        execution=execution,
        cache=cache,
        disable_plugins=disable_plugins,
        plugins=plugins,
    )
    return experiment


def load_nodes(
    path: str | PathLike[str],
    *,
    context: Mapping[str, Any] | None = None,
    cached_steps: Mapping[str, bool] | None = None,
    is_alone: bool = False,
    **overrides: Any,
) -> list[Experiment]:
    """Build the experiment of a folder and all those that it refers to, directly or not.

    Parameters
    ----------
    path, **overrides
        As for :func:`load_experiment`; for every experiment.
    context : mapping, optional
        As for :func:`load_experiment`. Those that the folder's own experiment reads get what they can read of it.
    cached_steps : mapping of str to bool, optional
        Whether each of these steps of the folder's own experiment is cached, whatever its files say.
    is_alone : bool, default False
        Whether the folder's own experiment is the only one that will run, so that it has to read what `context` has.

    Returns
    -------
    list of Experiment
        Each after those whose outputs it reads; the folder's own is the last.

    Raises
    ------
    ConfigError
        With all mistakes of all files that take part; a ConfigGraphError, which is a GraphError, too, if
        references make a circle or lead nowhere.
    UnknownNameError
        If `cached_steps` names a step that the experiment does not have, or nothing reads an entry of `context`.
    """
    entries = {} if context is None else check_context(context, "context")
    gathered = Gathered(config_file(path))
    own = gathered.drafts[-1]
    _check_steps(own, cached_steps or {})
    blueprints = [
        Blueprint(draft, entries, cached_steps or {} if draft is own else {}, **overrides)
        for draft in gathered.drafts
    ]
    found = [problem for blueprint in reversed(blueprints) for problem in blueprint.problems()]
    if found:
        raise (ConfigGraphError if gathered.is_no_graph else ConfigError)(in_order(found))
    made: dict[Path, Experiment] = {}
    for blueprint in blueprints:
        file = blueprint.draft.file
        producers = {name: made[target] for name, target in gathered.producers[file].items()}
        made[file] = blueprint.build(producers)
    found = [problem for blueprint in blueprints for problem in blueprint.unread(made[blueprint.draft.file])]
    if found:
        raise ConfigError(in_order(found))
    nodes = list(made.values())
    _check_context(entries, nodes[-1:] if is_alone else nodes)
    for node in nodes[:-1] if entries else ():
        readers = readers_of([node])
        node.initial_ctx = {key: value for key, value in entries.items() if not readers.exclude(key)}
    return nodes


def _check_steps(draft: Draft, cached_steps: Collection[str]) -> None:
    """Refuse the name of a step that the experiment does not have, unless a mistake hides what it has."""
    steps = [Call.of(step).name for step in draft.config.steps if step is not None]
    for name in cached_steps:
        if name not in steps and not draft.is_broken("steps"):
            hint = name_hint(name, "Its steps are", steps)
            raise UnknownNameError(f"experiment {draft.name!r} has no step {name!r}", shown(draft.file), hint)


def _check_context(context: Mapping[str, Any], experiments: Collection[Experiment]) -> None:
    """Refuse an entry that no experiment reads; warn of one that only code might read that has the whole context."""
    treated = {key for each in experiments for one in each.treatments for key in one.settings}
    unknown = context.keys() - treated
    if unknown:
        readers = readers_of(experiments)
        for key in sorted(unknown - readers.known):
            message, hint = f"nothing reads {key!r} from the context", readers.hint(key)
            if readers.exclude(key):
                names = [each.folder_name for each in experiments]
                raise UnknownNameError(message, f"experiment{'s' * (len(names) > 1)} {listed(names)}", hint)
            _logger.warning("%s, as far as can be known. %s", message, hint)


class Blueprint:
    """An experiment whose parts are known and not made yet.

    Parameters
    ----------
    draft : Draft
        The configuration.
    context : dict
        What every context holds from the start.
    cached_steps : mapping of str to bool
        Whether each of these steps is cached, whatever the files say.
    **overrides
        What the caller says about seed, plugins, execution and the cache; see :class:`Settings`.
    """

    def __init__(
        self, draft: Draft, context: dict[str, Any], cached_steps: Mapping[str, bool], **overrides: Any
    ) -> None:
        self.draft = draft
        self._context = context
        self._modules = FolderModules(draft.file.parent)
        lookup = Lookup(draft, self._modules)
        self._settings = Settings(lookup, **overrides)
        self._hypotheses = read_hypotheses(lookup)
        rule = draft.config.stop
        self._stop_when = None if rule is None else lookup.attempt(("stop",), read_rule, rule)
        self._parts = Parts(lookup, context, self._settings.may_add_keys, cached_steps)

    def problems(self) -> list[Problem]:
        """Return what is wrong in the folder."""
        return [*self.draft.document.problems, *self._modules.problems]

    def unread(self, experiment: Experiment) -> list[Problem]:
        """Return the settings of treatments that nothing in the `experiment` reads, which was built from this."""
        written = self.draft.config.treatments
        found: dict[KeyPath, Problem] = {}  # of a factor, one for all cells
        for each in unread_settings(experiment, experiment.treatments):
            path: KeyPath = ("treatments", each.treatment, each.key)
            message = each.message
            if each.treatment not in written.named:
                path = place_of_factor(written, each.key)
                message = f"nothing reads the factor {each.key!r} from the context"
            found[path] = self.draft.document.problem(path, message, each.hint, key=True)
        return list(found.values())

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
        config, settings = self.draft.config, self._settings
        sources: dict[str, Any] = {}  # in the order of the file
        for source in config.sources():
            if source.reference is None:
                make = self._parts.sources[source.alias]
                sources[source.alias] = self._made(make, source.path, problems)
            else:
                producer = producers[source.reference.experiment]
                sources[source.alias] = self._artifact(producer, source.reference, source.path, problems)
        steps = [self._made(make, place, problems) for place, make in self._parts.steps]
        if problems:
            raise ConfigError(in_order(problems))
        is_single = len(sources) == 1 and not config.references()
        try:
            experiment = Experiment(
                next(iter(sources.values())) if is_single else ExperimentInput(**sources),
                steps,
                name=self.draft.name,
                description=config.description,
                plugins=settings.plugins,
                disable_plugins=settings.disabled,
                execution=settings.execution,
                initial_ctx=self._context,
                outputs=self._parts.outputs,
                treatments=self.draft.treatments,
                hypotheses=self._hypotheses,
                replicates=config.replicates,
                seed=settings.seed,
                on_error=config.on_error,
                max_failures=config.max_failures,
                retries=config.retries,
                timeout=config.timeout,
                cache=settings.cache,
                order=config.order,
                stop_when=self._stop_when,
            )
        except CrystallizeError as error:
            error.add_note(f"The experiment is the one of {self.draft.file}")
            raise
        experiment.source = self.draft.file
        experiment.command_name = command_name(self.draft.name, self.draft.file.parent)
        plan = read_plan(self.draft.file)
        if settings.master_seed is not None:
            experiment.master_seed = settings.master_seed
        if plan is not None and experiment.is_seed_drawn:
            experiment.master_seed = plan.signature["seed"]
        # Workers unpickle it with the experiment, and relative imports inside functions find the folder there.
        vars(experiment)["folder_package"] = self._modules
        return experiment

    def _artifact(
        self, producer: Experiment, reference: Reference, place: KeyPath, problems: list[Problem]
    ) -> Artifact:
        """Return the producer's output as a data source: a copy, which settles on a run by itself."""
        artifact = copy.copy(producer.outputs[reference.artifact])
        location = producer.location()
        if location is None:
            message = f"experiment {reference.experiment!r} stores nothing: it has no artifact plugin"
            hint = "Do not switch off the plugin 'artifact'"
            problems.append(self.draft.document.problem(place, message, hint))
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
            problems.append(found if found.line else self.draft.document.problem(place, found.message))
        return None
