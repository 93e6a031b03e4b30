"""The parts of an experiment that a config.yaml names: checked first, made when nothing is wrong."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from crystallize.config.codecs import read_outputs
from crystallize.config.questions import read_hypotheses
from crystallize.config.scalars import describe
from crystallize.config.scope import MISSING, Scope
from crystallize.config.signatures import Takes, check_arguments, kind_of, public_names
from crystallize.datasources.datasource import DataSource, FunctionSource, SourceFactory
from crystallize.errors import CrystallizeError
from crystallize.experiments.treatment import BASELINE
from crystallize.pipelines.injection import REQUIRED
from crystallize.pipelines.pipeline_step import FunctionStep, PipelineStep, StepFactory, as_step
from crystallize.utils.context import RESERVED_KEYS
from crystallize.utils.suggest import did_you_mean, listed

if TYPE_CHECKING:
    from crystallize.config.entries import Call, Source
    from crystallize.config.errors import KeyPath
    from crystallize.config.modules import FolderModules
    from crystallize.config.reader import Draft

Make = Callable[[], Any]


class Parts:
    """Looks up what a config.yaml names in the modules beside it and among what is installed.

    Problems go to the draft's document. What makes the parts is kept, and called by whoever builds.

    Parameters
    ----------
    draft : Draft
        The configuration.
    modules : FolderModules
        The folder's modules.
    context : collection of str
        Keys that every context holds besides what treatments set.
    open_context : bool
        Whether plugins may add further keys.

    Attributes
    ----------
    outputs : dict of str to Artifact
        The artifacts by alias.
    steps : list of (tuple, callable)
        Where each step stands in the file, and what makes it.
    sources : dict of str to (tuple, callable)
        The same for each data source that is no reference, by alias.
    hypotheses : list of Hypothesis
        The hypotheses.
    """

    def __init__(
        self, draft: Draft, modules: FolderModules, context: frozenset[str], open_context: bool
    ) -> None:
        self.scope = scope = Scope(draft, modules)
        self.outputs = read_outputs(scope)
        self.steps: list[tuple[KeyPath, Make]] = []
        self.sources: dict[str, tuple[KeyPath, Make]] = {}
        self.hypotheses = read_hypotheses(scope)
        self._document = draft.document
        self._held = RESERVED_KEYS | context
        self._open = open_context
        self._used: set[str] = set()
        self._complete = True  # every step is known, so it is known which outputs are used
        self._read_sources()
        for position, step in enumerate(draft.config.steps):
            self._read_step(("steps", position), step)
        self._check_used()

    # -- data sources ----------------------------------------------------------------------------------------

    def _read_sources(self) -> None:
        from crystallize.config.entries import Reference

        for source in self.scope.config.datasource:
            if not isinstance(source.meant, Reference) and source.meant:
                path: KeyPath = ("datasource", *source.path)
                call = self._chosen(source)
                make = self._source(call, (*path, *call.path))
                if make is not None:
                    self.sources[source.alias] = path, make

    def _chosen(self, source: Source) -> Call:
        """Decide what ``{a: {b: {...}}}`` means by what there is."""
        from crystallize.config.entries import Reference

        assert not isinstance(source.meant, Reference)
        calls = source.meant
        module = self.scope.modules.load("datasources")
        return next((call for call in calls if hasattr(module, call.name)), calls[0])

    def _source(self, call: Call, path: KeyPath) -> Make | None:
        what = f"data source {call.name!r}"
        found = self.scope.own("datasources", call.name)
        if found is MISSING:
            self.scope.note_unknown("datasources", call.name, path, "data source", fits=_is_source)
            self._open = True  # it might add to the context
            return None
        if callable(getattr(found, "fetch", None)):
            self._open = True
            if isinstance(found, type):
                return self._class(found, call, path, what)
            if call.arguments:
                hint = "Name its class or its factory instead"
                self._document.add(path, f"{what} is made in datasources.py and takes no arguments", hint)
                return None
            return lambda: found
        if isinstance(found, type) or not callable(found):
            names = listed(public_names(self.scope.modules.load("datasources"), _is_source))
            self._document.add(
                path,
                f"{call.name!r} in datasources.py is {kind_of(found)}, and no data source",
                f"A data source is a function, or has a method fetch(ctx). datasources.py has {names}",
            )
            return None
        is_factory = isinstance(found, SourceFactory)
        return self._source_function(found.__wrapped__ if is_factory else found, call, path, what)

    def _source_function(self, function: Any, call: Call, path: KeyPath, what: str) -> Make | None:
        try:
            takes = Takes.source(function, call.arguments)
            if not check_arguments(self._document, path, what, takes, call.arguments):
                return None
            made = FunctionSource(function, call.arguments)
        except CrystallizeError as error:
            self._document.add(path, error.what, error.hint)
            return None
        self._open = self._open or made.takes_context
        return lambda: made

    def _class(self, kind: type, call: Call, path: KeyPath, what: str) -> Make | None:
        """Return what makes an instance of a class of the user's."""
        lacking = sorted(getattr(kind, "__abstractmethods__", ()))
        if lacking:
            self._document.add(path, f"the class {call.name!r} has no method {lacking[0]!r}", "Define it")
            return None
        try:
            takes = Takes.callable(kind)
        except CrystallizeError as error:
            self._document.add(path, error.what, error.hint)
            return None
        arguments = self._with_outputs(takes, call.arguments, path, what)
        is_right = check_arguments(self._document, path, what, takes, call.arguments)
        return functools.partial(kind, **arguments) if is_right and arguments is not None else None

    # -- steps -----------------------------------------------------------------------------------------------

    def _read_step(self, place: KeyPath, call: Call | None) -> None:
        before = len(self._document.problems)
        make = None if call is None else self._step(call, (*place, *call.path))
        if make is not None:
            self.steps.append((place, make))
        if make is None or len(self._document.problems) > before:
            self._complete = False

    def _step(self, call: Call, path: KeyPath) -> Make | None:
        what = f"step {call.name!r}"
        found = self.scope.own("steps", call.name)
        if found is MISSING:
            self.scope.note_unknown("steps", call.name, path, "step", fits=_is_step)
            self._open = True
            return None
        if isinstance(found, type):
            if not issubclass(found, PipelineStep):
                self._document.add(
                    path,
                    f"{call.name!r} in steps.py is {kind_of(found)}",
                    "A class becomes a step by inheriting from PipelineStep",
                )
                return None
            make = self._class(found, call, path, what)
            self._open = True
            return make
        if isinstance(found, PipelineStep | functools.partial):
            self._open = True
            if call.arguments:
                self._document.add(
                    path,
                    f"{what} is configured in steps.py and takes no arguments",
                    "Name its factory instead",
                )
                return None
            return lambda: as_step(found, 0)
        if not callable(found):
            names = listed(public_names(self.scope.modules.load("steps"), _is_step))
            self._document.add(
                path, f"{call.name!r} in steps.py is {kind_of(found)}, not a step", f"steps.py has {names}"
            )
            return None
        function = found.__wrapped__ if isinstance(found, StepFactory) else found
        return self._function(function, isinstance(found, StepFactory) and found.cacheable, call, path, what)

    def _function(self, function: Any, cacheable: bool, call: Call, path: KeyPath, what: str) -> Make | None:
        try:
            takes = Takes.step(function, call.name)
        except CrystallizeError as error:
            self._document.add(path, error.what, error.hint)
            return None
        arguments = self._with_outputs(takes, call.arguments, path, what)
        provided = None if self._open else self._everywhere()
        is_right = check_arguments(self._document, path, what, takes, call.arguments, provided=provided)
        if arguments is None or not is_right:
            return None
        step = FunctionStep(function, arguments, cacheable=cacheable)
        self._open = self._open or step.signature.context is not None
        return lambda: step

    def _everywhere(self) -> frozenset[str]:
        """Return the context keys that every condition has."""
        treatments = self.scope.config.treatments
        if self.scope.draft.is_broken("treatments"):
            return frozenset(key for settings in treatments.values() for key in settings) | self._held
        conditions = [
            treatments.get(BASELINE, {}),
            *(treatments[name] for name in treatments if name != BASELINE),
        ]
        return self._held | frozenset.intersection(*(frozenset(settings) for settings in conditions))

    def _with_outputs(
        self, takes: Takes, given: Mapping[str, Any], path: KeyPath, what: str
    ) -> dict[str, Any] | None:
        """Return the arguments with an Artifact for each parameter that is annotated so."""
        arguments: dict[str, Any] | None = dict(given)
        for name in sorted(takes.artifacts):
            alias = given.get(name, name)
            here = (*path, name) if name in given else path
            if not isinstance(alias, str):
                self._document.add(
                    here, f"found {describe(alias)}", f"The parameter {name!r} takes the alias of an output"
                )
                arguments = None
                continue
            self._used.add(alias)
            if alias in self.outputs:
                if arguments is not None and (name in given or not takes.injects):
                    arguments[name] = self.outputs[alias]
                continue
            if name not in given and takes.parameters[name] is not REQUIRED:
                continue
            arguments = None
            if (
                alias in self.scope.config.outputs
                or self.scope.draft.is_broken("outputs", alias)
                or ("outputs",) in self.scope.draft.broken
            ):
                continue  # its own problem says enough
            known = list(self.scope.config.outputs)
            self._document.add(
                here,
                f"{what} writes the output {alias!r}, and there is none of that name",
                f"{did_you_mean(alias, known)} The outputs are {listed(known)}".strip(),
            )
        return arguments

    def _check_used(self) -> None:
        if not self._complete or self.scope.draft.is_broken("steps"):
            return
        for alias in self.scope.config.outputs:
            if alias not in self._used:
                self._document.add(
                    ("outputs", alias),
                    f"no step uses the output {alias!r}",
                    f"Give a step a parameter '{alias}: Artifact', or remove the output",
                    key=True,
                )


def _is_step(thing: Any) -> bool:
    if isinstance(thing, type):
        return issubclass(thing, PipelineStep)
    return callable(thing)


def _is_source(thing: Any) -> bool:
    if isinstance(thing, type):
        return callable(getattr(thing, "fetch", None))
    return callable(thing) or isinstance(thing, DataSource)
