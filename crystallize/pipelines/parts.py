"""What a callable or an object consists of: its function or class, and what it was made with."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

from crystallize.pipelines.pipeline_step import CACHE_OPTIONS, PipelineStep
from crystallize.utils.factories import ConfiguredFunction


def taken_apart(thing: Any) -> tuple[Any, dict[str, Any]]:
    """Return what has the code of a callable or object, a function or a class, and what it was made with."""
    if isinstance(thing, ConfiguredFunction):
        function, inner = taken_apart(thing.fn)
        return function, inner | thing.arguments
    if isinstance(thing, partial):
        function, inner = taken_apart(thing.func)
        return function, inner | {
            str(place): value for place, value in enumerate(thing.args)
        } | thing.keywords
    if isinstance(thing, MethodType):
        owner = thing.__self__  # whose class has what the method calls
        return thing.__func__, {"class": type(owner)} | _attributes(owner)
    if isinstance(thing, FunctionType | type) or thing is None:
        return thing, {}
    parameters = _attributes(thing)
    if isinstance(thing, PipelineStep):
        parameters = {
            name: value for name, value in parameters.items() if name not in CACHE_OPTIONS
        } | thing.params
    return type(thing), parameters


def dependencies_of(step: PipelineStep) -> dict[str, Any]:
    """Return what a step says that it depends on, each with a name of its own."""
    found: dict[str, Any] = {}
    for place, each in enumerate(step.depends_on):
        name = str(each) if isinstance(each, Path | str) else getattr(each, "__qualname__", repr(type(each)))
        found[f"{name} ({place})" if name in found else name] = each
    return found


def _attributes(thing: Any) -> dict[str, Any]:
    """Return what an object was made with, as far as its state tells."""
    try:
        identity = getattr(thing, "__crystallize_fingerprint__", None)
        if identity is not None:
            return {"identity": identity()}
        state = thing.__getstate__()
    except Exception:  # a foreign object may raise anything
        return {"state": thing}
    slots: Any = {}
    if isinstance(state, tuple) and len(state) == 2:
        state, slots = state
    if state is None and not hasattr(
        thing, "__dict__"
    ):  # np.add and the like are told apart by their names alone
        return {"state": thing}
    if state is None or isinstance(state, Mapping):
        return {str(name): value for name, value in {**(state or {}), **(slots or {})}.items()}
    return {"state": state}
