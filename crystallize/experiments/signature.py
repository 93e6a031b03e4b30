"""What decides the outcomes of a run, in a form that can be stored and compared part by part."""

from __future__ import annotations

import enum
import math
import sys
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from crystallize.datasources.experiment_input import ExperimentInput
from crystallize.hookspecs import RUNS_IN
from crystallize.pipelines.parts import dependencies_of, taken_apart
from crystallize.plugins.manager import settings_of
from crystallize.utils.code import code_of, name_of_code
from crystallize.utils.digests import measure_file
from crystallize.utils.fingerprint import safe_fingerprint
from crystallize.utils.masking import masked
from crystallize.utils.sharing import to_python
from crystallize.utils.signatures import name_of

if TYPE_CHECKING:
    from crystallize.datasources.datasource import DataSource
    from crystallize.experiments.treatment import Treatment
    from crystallize.hookspecs import RunningExperiment
    from crystallize.pipelines.pipeline_step import PipelineStep
    from crystallize.plugins.collection import PluginRecord
    from crystallize.statistics.hypothesis import Hypothesis

_MOST_ITEMS = 100
_MOST_CHARACTERS = 1_000
_DEEPEST = 8


def experiment_signature(experiment: RunningExperiment, hypotheses: Iterable[Hypothesis]) -> dict[str, Any]:
    """Return what decides the outcomes of the run under way: settings as they are, and a hash of each part of the code.

    Two runs whose signatures are equal compute the same, as far as the user's own code goes; where they differ, the
    path to the difference says what changed: ``["steps"]["FitStep"]["parameters"]["lr"]`` was 0.05 and is 0.1. It is
    the same in every process and on every machine. It describes the code that this process has loaded, at the time
    of the call: call it when the run starts, for an edit of the files is not seen later.

    Parameters
    ----------
    experiment : RunningExperiment
        The experiment, with the run under way.
    hypotheses : iterable of Hypothesis
        Those of the run.

    Returns
    -------
    dict
        Made of what JSON has, so that it equals what is read back. Its keys:

        ``python``
            ``"3.11"``. Hashes of code are comparable between runs of one minor version.
        ``seed``
            The master seed.
        ``steps``
            Steps by their name in the pipeline, in its order, a *part* each; ``version`` and ``depends_on`` if the step
            has them, with the digest of each file.
        ``datasource``
            A part; of an ExperimentInput, ``{"sources": {key: part}}``.
        ``initial_ctx``
            ``{"settings": {key: value}, "code": {...}}``.
        ``conditions``
            By name, baseline first: ``settings`` that the treatment lays over the context, ``code`` of its function
            and of what is in its settings, ``parameters`` and ``defaults`` of the function; ``datasource`` if it has
            its own.
        ``outputs``
            Artifacts by alias, a part each: file name, loader and writer, and their code.
        ``hypotheses``
            By name, a part with the ``verifier``'s name, ``metrics``, ``direction`` and the code of the ranker.
        ``plugins``
            Those that have a part in each outcome, by name: ``distribution``, ``version``, ``settings``, and the
            ``code`` of those that are the user's own.

        A *part* has ``code``, hashes by name and file as :func:`crystallize.utils.code.code_of` returns them;
        ``callable``, the name of its function or class, for what is installed has no code there; ``parameters``, what
        it was explicitly made with; and for a function ``defaults``, those of its other parameters, which for a step
        give way to an entry of the context. The attributes of an object that is no function are its parameters.

    Notes
    -----
    A tuple, a set and a path are texts with the name of their type, ``"tuple(1, 2)"``: they are not what a list or a
    text is. Of any other value that JSON has no form for, or a large one, stands its type and a hash. What looks like
    a secret is masked: that it changed is not seen. How many replicates there are, and what is installed, is no part
    of it.
    """
    return {
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "seed": experiment.master_seed,
        "steps": {
            name: _step(step)
            for name, step in zip(experiment.pipeline.names, experiment.pipeline.steps, strict=True)
        },
        "datasource": _source(experiment.datasource),
        "initial_ctx": _settings(experiment.initial_ctx),
        "conditions": {
            name: _condition(experiment.active_treatments.get(name)) for name in experiment.conditions
        },
        "outputs": {alias: _part(output) for alias, output in experiment.outputs.items()},
        "hypotheses": {each.name: _hypothesis(each) for each in hypotheses},
        "plugins": {
            record.name: _plugin(record) for record in experiment.plugins.records if _matters(record)
        },
    }


# -- parts ---------------------------------------------------------------------------------------------------


def _part(thing: Any, *others: Any) -> dict[str, Any]:
    """Return the part of a function or object; the code of `others` counts with it."""
    function, parameters = taken_apart(thing)
    defaults = _defaults(function) if isinstance(function, FunctionType) else {}
    return {
        "code": code_of(function, *parameters.values(), *others, without_defaults_of=function),
        **({} if function is None else {"callable": name_of_code(function)}),
        "parameters": _readable_settings(parameters),
        "defaults": _readable_settings(
            {name: value for name, value in defaults.items() if name not in parameters}
        ),
    }


def _step(step: PipelineStep) -> dict[str, Any]:
    part = _part(step, *step.depends_on)
    if step.version is not None:
        part["version"] = _readable("version", step.version)
    if step.depends_on:
        dependencies = dependencies_of(step)
        part["depends_on"] = {name: _dependency(name, each) for name, each in dependencies.items()}
    return part


def _dependency(name: str, thing: Any) -> Any:
    if not isinstance(thing, Path):
        return _readable(name, thing)
    try:
        return measure_file(thing.resolve()).digest
    except OSError as error:
        return error.strerror or str(error)


def _defaults(function: FunctionType) -> dict[str, Any]:
    positional = function.__code__.co_varnames[: function.__code__.co_argcount]
    values = function.__defaults__ or ()
    return dict(zip(positional[len(positional) - len(values) :], values, strict=True)) | (
        function.__kwdefaults__ or {}
    )


def _source(source: DataSource) -> dict[str, Any]:
    if isinstance(source, ExperimentInput):
        return {"sources": {key: _source(each) for key, each in source.sources.items()}}
    return _part(source)


def _settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {"settings": _readable_settings(settings), "code": code_of(*settings.values())}


def _condition(treatment: Treatment | None) -> dict[str, Any]:
    settings = {} if treatment is None else treatment.settings
    described = {"settings": _readable_settings(settings)}
    described |= _part(None if treatment is None else treatment.function, *settings.values())
    if treatment is not None and treatment.datasource is not None:
        described["datasource"] = _source(treatment.datasource)
    return described


def _hypothesis(hypothesis: Hypothesis) -> dict[str, Any]:
    part = _part(hypothesis.verifier, hypothesis.ranker)
    del part["callable"]  # its own name says more
    asked = {"verifier": name_of(hypothesis.verifier), "metrics": hypothesis.groups, **hypothesis.standards}
    return part | _readable_settings(asked)


def _matters(record: PluginRecord) -> bool:
    """Tell whether a plugin can change what an outcome is: what runs in the coordinator sees it only afterwards."""
    has_part = any(RUNS_IN[each.hook] == "worker" for each in record.implementations)
    return has_part and getattr(record.plugin, "affects_outcomes", True) is not False


def _plugin(record: PluginRecord) -> dict[str, Any]:
    settings = settings_of(record, with_private=True)
    # A module's hooks, and those of a hooks.py, are no part of the class.
    own: list[Any] = [
        each.function for each in record.implementations if isinstance(each.function, FunctionType)
    ]
    if not isinstance(record.plugin, ModuleType):
        own.append(type(record.plugin))
    return {
        "distribution": record.distribution,
        "version": record.version,
        "settings": _readable_settings(settings),
        "code": code_of(*own, *settings.values()),
    }


# -- values --------------------------------------------------------------------------------------------------


def _readable_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {str(name): _readable(name, value) for name, value in settings.items()}


def _readable(name: object, value: Any, depth: int = 0) -> Any:
    """Return the setting `name` as JSON has it, if it is short; else its type and a hash."""
    kind = type(value)
    if kind is str:
        value = masked(name, value)
        if len(value) <= _MOST_CHARACTERS:
            return value
    elif value is None or kind is bool or kind is int or (kind is float and math.isfinite(value)):
        return value
    elif isinstance(value, Mapping | list | tuple | AbstractSet):
        if len(value) <= _MOST_ITEMS and depth < _DEEPEST:
            return _readable_items(name, value, depth + 1)
    else:
        return _readable_object(name, value, depth)
    return f"{kind.__qualname__} {safe_fingerprint(value)}"


def _readable_object(name: object, value: Any, depth: int) -> Any:
    if isinstance(value, FunctionType | type):
        return name_of_code(value)
    if isinstance(value, MethodType) and not getattr(value.__self__, "__dict__", True):
        return name_of_code(value.__func__)
    if isinstance(value, PurePath):
        kind = "PurePath" if type(value) in (PurePosixPath, PureWindowsPath) else "Path"
        return f"{kind}({value.as_posix()!r})"
    if isinstance(value, enum.Enum | float):  # NaN equals nothing, not even what is read back
        return repr(value)
    number = to_python(value)
    if number is not value:
        return _readable(name, number)
    if hasattr(type(value), "__crystallize_fingerprint__") and depth < _DEEPEST:
        return _readable(name, value.__crystallize_fingerprint__(), depth + 1)
    return f"{type(value).__qualname__} {safe_fingerprint(value)}"


def _readable_items(name: object, value: Any, depth: int) -> Any:
    if isinstance(value, Mapping):
        return {_readable_key(key, depth): _readable(key, item, depth) for key, item in value.items()}
    items = [_readable(name, item, depth) for item in value]
    if isinstance(value, list):
        return items
    texts = [repr(item) for item in items]
    inner = ", ".join(sorted(texts) if isinstance(value, AbstractSet) else texts)
    return f"{type(value).__qualname__}({inner})"


def _readable_key(key: Any, depth: int) -> str:
    """Return a key as text, which is the same in every process; that of a number is none that a text could be."""
    if isinstance(key, str):
        return key
    readable = _readable("", key, depth)
    return readable if isinstance(readable, str) else f"{type(key).__qualname__}({readable})"
