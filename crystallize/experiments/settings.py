"""Whether what treatments and the initial context set is read by anything."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.datasources.artifact import Artifact, ArtifactSource
from crystallize.datasources.datasource import FunctionSource
from crystallize.pipelines.pipeline_step import FunctionStep
from crystallize.utils.context import RESERVED_KEYS, Resource
from crystallize.utils.context_reads import context_reads
from crystallize.utils.resources import FactoryResource
from crystallize.utils.signatures import signature_of, takes_keyword
from crystallize.utils.stage import TREATMENT, StageRecord
from crystallize.utils.wording import listed, name_hint

if TYPE_CHECKING:
    from crystallize.datasources.datasource import DataSource
    from crystallize.experiments.treatment import Treatment
    from crystallize.hookspecs import RunningExperiment
    from crystallize.pipelines.pipeline_step import PipelineStep
    from crystallize.plugins.collection import PluginRecord
    from crystallize.store.outcome import Outcome, ReplicateResult

_OWN_PLUGINS = "crystallize.plugins."
_HOOKS_WITH_CONTEXT = ("before_replicate", "before_step", "after_step")

_logger = logging.getLogger("crystallize.experiment")


class Readers(NamedTuple):
    """What can read the entries of a context.

    Attributes
    ----------
    known : frozenset of str
        The keys that are read: parameters that steps take from the context, and keys that code names.
    own : dict of str to str
        For parameters that do not come from the context: what to do about them.
    is_open : bool
        Whether other keys may be read, by code that has the context and does not show what it reads.
    hooks : frozenset of str
        The known keys that hooks of plugins name. What hooks read is in no stage's record.
    open_hooks : tuple of str
        The plugins whose hooks may read other keys.
    """

    known: frozenset[str]
    own: Mapping[str, str]
    is_open: bool
    hooks: frozenset[str]
    open_hooks: tuple[str, ...]

    def exclude(self, key: str) -> bool:
        """Tell whether it is certain that nothing reads `key`."""
        return key not in self.known and not self.is_open

    def hint(self, key: str) -> str:
        """Return what to do about a key that nothing reads."""
        if key in self.own:
            return self.own[key]
        if key in self.known:
            return f"The code that reads {key!r} was not reached"
        if not self.known:
            return "Nothing here reads the context: give a step a parameter of that name"
        return name_hint(key, "What is read from the context is", self.known)


def readers_of(experiments: Iterable[RunningExperiment], added: Iterable[Treatment] = ()) -> Readers:
    """Return what can read the context in any of `experiments`, under their active treatments and those `added`."""
    known: set[str] = set()
    own: dict[str, str] = {}
    code: list[frozenset[str] | None] = []
    hooks: dict[str, list[frozenset[str] | None]] = {}
    for experiment in experiments:
        steps = experiment.pipeline.steps
        treatments = [*experiment.active_treatments.values(), *added]
        swapped = [each.datasource for each in treatments if each.datasource is not None]
        leaves = [leaf for source in (experiment.datasource, *swapped) for leaf in source.leaves()]
        known |= parameters_of(experiment)
        own |= _own_arguments(steps, leaves)
        code += map(_step_reads, steps)
        code += map(_source_reads, leaves)
        for entries in (experiment.initial_ctx, *(each.settings for each in treatments)):
            code += (_resource_reads(value) for value in entries.values() if isinstance(value, Resource))
        code += (_function_reads(each.function.fn, 0) for each in treatments if each.function is not None)
        for record, hook in hooks_with_context(experiment):
            hooks.setdefault(record.name, []).append(_hook_reads(record.plugin, hook))
    read_by_hooks = [keys for reads in hooks.values() for keys in reads]
    code += read_by_hooks
    known |= _named(code)
    return Readers(
        frozenset(known - RESERVED_KEYS),
        own,
        None in code,
        _named(read_by_hooks),
        tuple(name for name, reads in hooks.items() if None in reads),
    )


def _own_arguments(steps: Iterable[PipelineStep], sources: Iterable[DataSource]) -> dict[str, str]:
    """Return the parameters that do not come from the context, each with what to do about that."""
    found = {}
    for step in steps:
        for name in step.arguments if isinstance(step, FunctionStep) else ():
            found[name] = (
                f"Step {step.name!r} has {name!r} as an argument of its own: leave it out there to have it set here"
            )
    for source in sources:
        if isinstance(source, FunctionSource):
            signature = signature_of(source.fn)
            for name in source.arguments if signature is None else signature.parameters:
                found[name] = (
                    f"The data source's {name!r} is fixed: have it read ctx[{name!r}], or give the treatment a "
                    "datasource of its own"
                )
    return found


def _named(reads: Iterable[frozenset[str] | None]) -> frozenset[str]:
    return frozenset(key for keys in reads if keys is not None for key in keys)


def hooks_with_context(experiment: RunningExperiment) -> list[tuple[PluginRecord, str]]:
    """Return the hooks of strangers' plugins that are given contexts, and may read them and add to them."""
    return [
        (record, hook)
        for record in experiment.plugins.records
        if not type(record.plugin).__module__.startswith(_OWN_PLUGINS)
        for hook in _HOOKS_WITH_CONTEXT
        if hook in record.hooks
    ]


def _step_reads(step: PipelineStep) -> frozenset[str] | None:
    if not isinstance(step, FunctionStep):
        return _function_reads(type(step).__call__, 2)
    context = step.signature.context
    return frozenset() if context is None else context_reads(step.fn, context)


def _source_reads(source: DataSource) -> frozenset[str] | None:
    if isinstance(source, Artifact | ArtifactSource):
        return frozenset()
    if isinstance(source, FunctionSource):
        return _function_reads(source.fn, 0) if source.takes_context else frozenset()
    return _function_reads(type(source).fetch, 1)


def _resource_reads(resource: Resource) -> frozenset[str] | None:
    return _function_reads(resource.fn, 0) if isinstance(resource, FactoryResource) else None


def _hook_reads(plugin: object, hook: str) -> frozenset[str] | None:
    function = getattr(plugin, hook, None)
    if function is None:
        return None
    return context_reads(function, "ctx") if takes_keyword(function, "ctx") else frozenset()


def _function_reads(function: Callable[..., Any], position: int) -> frozenset[str] | None:
    """Return what a function reads from the context that it gets as its argument number `position`."""
    signature = signature_of(function)
    names = [] if signature is None else list(signature.parameters)
    return context_reads(function, names[position]) if position < len(names) else None


def parameters_of(experiment: RunningExperiment) -> set[str]:
    """Return the parameters that steps take from the context."""
    steps = experiment.pipeline.steps
    return {name for step in steps if isinstance(step, FunctionStep) for name in step.injected}


class UnreadSetting(NamedTuple):
    """A key that a treatment sets and nothing reads."""

    treatment: str
    key: str
    message: str
    hint: str


def unread_settings(experiment: RunningExperiment, treatments: Iterable[Treatment]) -> list[UnreadSetting]:
    """Return what `treatments` set for `experiment` though it is certain that nothing reads it."""
    parameters = parameters_of(experiment)
    chosen = list(treatments)
    doubtful = [(each.name, key) for each in chosen for key in each.settings if key not in parameters]
    if not doubtful:
        return []
    readers = readers_of([experiment], chosen)
    return [
        UnreadSetting(
            name,
            key,
            f"treatment {name!r} sets {key!r}, which nothing reads from the context",
            readers.hint(key),
        )
        for name, key in doubtful
        if readers.exclude(key)
    ]


class ReadWatch:
    """Notices, as outcomes arrive, which entries of a run's contexts nothing reads.

    Parameters
    ----------
    experiment : RunningExperiment
        The experiment, with the run under way.
    """

    def __init__(self, experiment: RunningExperiment) -> None:
        self._experiment = experiment
        self._parameters = parameters_of(experiment)
        treatments = experiment.active_treatments
        self._unread = {
            name: each.settings.keys() - self._parameters
            for name, each in treatments.items()
            if each.function is not None or not each.settings.keys() <= self._parameters
        }
        self._unjudged = set(self._unread)  # until an outcome has succeeded
        # What `load_nodes` was given for several experiments, it has looked at itself.
        shared = experiment.source is not None
        self._has_succeeded = False
        self._initial = set() if shared else experiment.initial_ctx.keys() - self._parameters
        self.is_watching = bool(self._unread or self._initial)

    def look(self, result: ReplicateResult) -> None:
        """Look through what the stages of a replicate's outcomes have read."""
        for outcome in result.outcomes:
            unread = self._unread.get(outcome.condition)
            if not unread and not self._initial and outcome.condition not in self._unjudged:
                continue
            self._has_succeeded = self._has_succeeded or outcome.error is None
            added, read = _keys_of(outcome)
            self._initial -= read
            if unread is not None:
                if outcome.condition in self._unjudged and outcome.error is None:
                    self._unjudged.discard(outcome.condition)
                    unread |= added - self._parameters
                unread -= read
        self.is_watching = bool(self._initial or self._unjudged or any(self._unread.values()))

    def warn(self) -> None:
        """Log what was not read: once for all conditions."""
        unread = {
            f"treatment {name!r} sets": keys
            for name, keys in self._unread.items()
            if keys and name not in self._unjudged
        }
        if self._initial and self._has_succeeded:
            unread["initial_ctx has"] = self._initial
        if not unread:
            return
        readers = readers_of([self._experiment])
        faults = {owner: left for owner, keys in unread.items() if (left := keys - readers.hooks)}
        if not faults:
            return
        hints = dict.fromkeys(readers.hint(key) for keys in faults.values() for key in sorted(keys))
        if readers.open_hooks:
            hints[f"Whether a hook of {listed(readers.open_hooks)} has read it is not known"] = None
        _logger.warning(
            "experiment %r: %s, and no step, data source or treatment has read it. %s",
            self._experiment.folder_name,
            "; ".join(f"{owner} {listed(keys)}" for owner, keys in faults.items()),
            ". ".join(hints),
        )


def _keys_of(outcome: Outcome) -> tuple[set[str], set[str]]:
    """Return the keys that a treatment's function added, and those that the stages of an outcome have read."""
    added: set[str] = set()
    read: set[str] = set()
    for fields in outcome.trace:
        record = StageRecord(*fields)
        read.update(dict(record.reads), record.present)
        if record.number == TREATMENT:
            added.update(dict(record.added))
    return added, read
