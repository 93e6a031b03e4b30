"""The data sources and steps that a config.yaml names: checked first, made when nothing is wrong."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from crystallize.config.document import describe
from crystallize.config.lookup import MISSING, Lookup, Noted, Takes, kind_of, public_names
from crystallize.config.outputs import read_outputs
from crystallize.config.schema import Call
from crystallize.datasources.datasource import FunctionSource, SourceFactory, takes_context
from crystallize.pipelines.injection import REQUIRED
from crystallize.pipelines.pipeline_step import FunctionStep, PipelineStep, StepFactory, as_step
from crystallize.store.layout import BASELINE
from crystallize.utils.context import RESERVED_KEYS
from crystallize.utils.wording import listed, name_hint

if TYPE_CHECKING:
    from crystallize.config.errors import KeyPath

Make = Callable[[], Any]


class Parts:
    """What a config.yaml names as data sources, steps and outputs.

    Mistakes are noted. What makes the parts is kept, and called by whoever builds.

    Parameters
    ----------
    lookup : Lookup
        Where names are looked up.
    context : collection of str
        Keys that every context holds besides what treatments set.
    open_context : bool
        Whether plugins may add further keys.
    cached_steps : mapping of str to bool
        Whether each of these steps is cached, whatever the file says.

    Attributes
    ----------
    outputs : dict of str to Artifact
        The artifacts by alias.
    sources : dict of str to callable
        What makes each data source that is no reference, by alias.
    steps : list of (tuple, callable)
        Where each step stands in the file, and what makes it.
    """

    def __init__(
        self, lookup: Lookup, context: Collection[str], open_context: bool, cached_steps: Mapping[str, bool]
    ) -> None:
        self._lookup = lookup
        self._held = {*RESERVED_KEYS, *context, *_in_every_condition(lookup)}
        self._open = open_context
        self._used: set[str] = set()
        self.outputs = read_outputs(lookup)
        self.sources: dict[str, Make] = {}
        self.steps: list[tuple[KeyPath, Make]] = []
        for source in lookup.config.sources():
            if source.calls:
                known = (call for call in source.calls if lookup.own("datasources", call.name) is not MISSING)
                call = next(known, source.calls[0])
                path = (*source.path, *call.path)
                make = lookup.attempt(path, self._source, call, path, f"data source {call.name!r}")
                if make is not None:
                    self.sources[source.alias] = make
        for position, step in enumerate(lookup.config.steps):
            if step is not None:
                call, place = Call.of(step), ("steps", position)
                path = (*place, *call.path)
                make = lookup.attempt(path, self._step, call, path, f"step {call.name!r}")
                if make is not None:
                    cacheable = cached_steps.get(call.name, call.cache)
                    self.steps.append((place, functools.partial(_make_step, make, cacheable)))
        if len(self.steps) == len(lookup.config.steps) and not lookup.draft.is_broken("steps"):
            self._check_used()

    def _source(self, call: Call, path: KeyPath, what: str) -> Make:
        found = self._lookup.own("datasources", call.name)
        if found is MISSING:
            self._open = True  # it might add to the context
            self._lookup.refuse_unknown("datasources", call.name, path, "data source", fits=_is_source)
        if not _is_source(found):
            names = listed(public_names(self._lookup.modules.load("datasources"), _is_source))
            message = f"{call.name!r} in datasources.py is {kind_of(found)}, and no data source"
            hint = f"A data source is a function, or has a method fetch(ctx). datasources.py has {names}"
            self._lookup.refuse(path, message, hint)
        if callable(getattr(found, "fetch", None)):
            self._open = True
            if isinstance(found, type):
                return self._class(found, call, path, what)
            if call.arguments:
                message = f"{what} is made in datasources.py and takes no arguments"
                self._lookup.refuse(path, message, "Name its class or its factory instead")
            return lambda: found
        is_factory = isinstance(found, SourceFactory)
        function = found.__wrapped__ if is_factory else found
        takes = Takes.callable(function, 1 if takes_context(function, call.arguments) else 0)
        self._lookup.check_arguments(path, what, takes, call.arguments)
        made = FunctionSource(function, call.arguments)
        self._open = self._open or made.takes_context
        return lambda: made

    def _step(self, call: Call, path: KeyPath, what: str) -> Make:
        found = self._lookup.own("steps", call.name)
        if found is MISSING:
            self._open = True
            self._lookup.refuse_unknown("steps", call.name, path, "step", fits=_is_step)
        if not _is_step(found):
            hint = f"steps.py has {listed(public_names(self._lookup.modules.load('steps'), _is_step))}"
            if isinstance(found, type):
                hint = "A class becomes a step by inheriting from PipelineStep"
            self._lookup.refuse(path, f"{call.name!r} in steps.py is {kind_of(found)}, not a step", hint)
        if isinstance(found, type):
            self._open = True
            return self._class(found, call, path, what)
        if isinstance(found, PipelineStep | functools.partial):
            self._open = True
            if call.arguments:
                message = f"{what} is configured in steps.py and takes no arguments"
                self._lookup.refuse(path, message, "Name its factory instead")
            return lambda: as_step(found, 0)
        function = found.__wrapped__ if isinstance(found, StepFactory) else found
        provided = None if self._open else self._held
        arguments = self._arguments(Takes.step(function, call.name), call, path, what, provided)
        make = found.make if isinstance(found, StepFactory) else FunctionStep
        step = make(function, arguments)
        self._open = self._open or step.signature.context is not None
        return lambda: step

    def _class(self, kind: type, call: Call, path: KeyPath, what: str) -> Make:
        """Return what makes an instance of a class of the user's."""
        lacking = sorted(getattr(kind, "__abstractmethods__", ()))
        if lacking:
            self._lookup.refuse(path, f"the class {call.name!r} has no method {lacking[0]!r}", "Define it")
        return functools.partial(kind, **self._arguments(Takes.callable(kind), call, path, what))

    def _arguments(
        self, takes: Takes, call: Call, path: KeyPath, what: str, provided: Collection[str] | None = ()
    ) -> dict[str, Any]:
        """Return the arguments, checked, with an Artifact for each parameter that is annotated so."""
        given, outputs = call.arguments, self._lookup.config.outputs
        arguments = dict(given)
        is_right = True
        for name in sorted(takes.artifacts):
            alias = given.get(name, name)
            here = (*path, name) if name in given else path
            if not isinstance(alias, str):
                hint = f"The parameter {name!r} takes the alias of an output"
                self._lookup.note(here, f"found {describe(alias)}", hint)
                is_right = False
                continue
            self._used.add(alias)
            if alias in self.outputs:
                if name in given or not takes.injects:
                    arguments[name] = self.outputs[alias]
            elif name in given or takes.parameters[name] is REQUIRED:
                is_right = False
                if alias not in outputs and not self._lookup.draft.is_broken("outputs", alias):
                    message = f"{what} writes the output {alias!r}, and there is none of that name"
                    hint = name_hint(alias, "The outputs are", outputs)
                    self._lookup.note(here, message, hint)
        self._lookup.check_arguments(path, what, takes, given, provided=provided)
        if not is_right:
            raise Noted
        return arguments

    def _check_used(self) -> None:
        for alias in self._lookup.config.outputs:
            if alias not in self._used:
                hint = f"Give a step a parameter '{alias}: Artifact', or remove the output"
                self._lookup.note(("outputs", alias), f"no step uses the output {alias!r}", hint, key=True)


def _in_every_condition(lookup: Lookup) -> set[str]:
    """Return the keys that treatments set in every condition; those that any sets, if some are not known."""
    treatments = {each.name: set(each.settings) for each in lookup.draft.treatments}
    if lookup.draft.is_broken("treatments"):
        return set().union(*treatments.values())
    return treatments.pop(BASELINE, set()).intersection(*treatments.values())


def _make_step(make: Make, cacheable: bool | None) -> PipelineStep:
    step: PipelineStep = make()
    return step if cacheable is None else step.with_cache(cacheable)


def _is_step(thing: Any) -> bool:
    return issubclass(thing, PipelineStep) if isinstance(thing, type) else callable(thing)


def _is_source(thing: Any) -> bool:
    if callable(getattr(thing, "fetch", None)):
        return True
    return callable(thing) and not isinstance(thing, type)
