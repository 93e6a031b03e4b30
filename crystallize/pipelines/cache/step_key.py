"""What a cached step is made of: its code, its parameters, and what they rest on."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from crystallize.discovery.imported import distributions_of
from crystallize.hashing import content_hash
from crystallize.pipelines.parts import dependencies_of, taken_apart
from crystallize.utils.code import name_of_code, reached_code
from crystallize.utils.digests import measure_file
from crystallize.utils.own_code import short_name
from crystallize.utils.stage import describe_value

if TYPE_CHECKING:
    from crystallize.pipelines.pipeline_step import PipelineStep

Part = tuple[str, str]
"""The hash of something that a step is made of, and what to show of it."""


class StepCode(NamedTuple):
    """The function or class that a step is.

    Attributes
    ----------
    name : str
        Its module and qualified name.
    file : str
        Where it is written; empty if that is no file, as for a notebook's cell. Steps of two folders have one name.
    """

    name: str
    file: str

    @classmethod
    def of(cls, step: PipelineStep) -> Self:
        """Return the code of a step."""
        code = taken_apart(step)[0]
        function = code.__call__ if isinstance(code, type) else code
        file = getattr(getattr(function, "__code__", None), "co_filename", "")
        return cls(name_of_code(code), str(Path(file).absolute()) if Path(file).is_file() else "")


class StepModule(NamedTuple):
    """The module that a step's function or class is in, in this process.

    Steps of two folders share their entries if their code is equal. What is made anew of an entry is to be of the
    classes that the step itself knows, and not of their equals in the folder of the step that has stored it.

    Attributes
    ----------
    name : str
        What it is called here.
    spec : object
        What tells it from the one that took its name when the folder was loaded anew; None if that is not known.
    """

    name: str
    spec: object

    @classmethod
    def of(cls, step: PipelineStep) -> Self:
        """Return the module of a step."""
        code = taken_apart(step)[0]
        name = str(getattr(code, "__module__", None))
        scope = getattr(inspect.unwrap(code.__call__ if isinstance(code, type) else code), "__globals__", {})
        return cls(name, scope.get("__spec__") if scope.get("__name__") == name else None)

    def name_here(self, module: str, stored_by: str) -> str:
        """Return what the step calls a module, of one that was stored by an equal step of the module `stored_by`.

        Raises
        ------
        ImportError
            If this step's module is none that can be imported any more.
        """
        theirs, ours = stored_by.rpartition(".")[0], self.name.rpartition(".")[0]
        if module == stored_by:
            found = self.name
        elif theirs and ours and module.startswith(f"{theirs}."):
            found = ours + module.removeprefix(theirs)
        else:
            return module
        loaded = getattr(sys.modules.get(self.name), "__spec__", None)
        if self.spec is not None and self.spec is not loaded:  # of equal ones, too
            raise ImportError(f"the module {short_name(self.name)} of the step was loaded anew since")
        return found


def step_parts(step: PipelineStep) -> dict[str, dict[str, Part]]:
    """Return what decides what a step does, besides its data and its context.

    Returns
    -------
    dict of str to dict
        By kind, then by name: ``code``, ``parameters``, ``libraries`` and ``other``.

    Raises
    ------
    UnhashableContentError
        If something in it cannot be hashed.
    OSError
        If a file that it depends on cannot be read.
    """
    function, parameters = taken_apart(step)
    parameters = {name: value for name, value in parameters.items() if name not in step.ignore}
    reached = reached_code(function, *parameters.values(), *step.depends_on)
    libraries = distributions_of(reached.libraries)
    other = {"python": f"{sys.version_info.major}.{sys.version_info.minor}", "version": step.version}
    return {
        "code": {name: (digest, "") for name, digest in reached.parts.items()},
        "parameters": {name: _part(name, value) for name, value in sorted(parameters.items())},
        "libraries": {name: (version, version) for name, version in libraries.items()},
        "other": {name: _part(name, value) for name, value in other.items()}
        | {f"depends_on {name}": _dependency(each) for name, each in dependencies_of(step).items()},
    }


def generators_of(step: PipelineStep) -> tuple[tuple[str, Any], ...]:
    """Return the random generators that a step and its code hold, each with the part of the code that it is in."""
    function, parameters = taken_apart(step)
    counting = [value for name, value in parameters.items() if name not in step.ignore]
    return reached_code(function, *counting).generators


def step_hash(name: str, parts: Mapping[str, Mapping[str, Part]]) -> str:
    """Return the name of the folder of a step."""
    hashes = {kind: {part: digest for part, (digest, _) in inner.items()} for kind, inner in parts.items()}
    return content_hash((name, hashes))


def shown(name: str, value: Any) -> str:
    """Return a short text for a value, which tells no secret."""
    described = describe_value(name, value)
    return described if isinstance(described, str) and described.startswith("<") else repr(described)


def _part(name: str, value: Any) -> Part:
    return content_hash(value), shown(name, value)


def _dependency(thing: Any) -> Part:
    if isinstance(thing, Path):
        measured = measure_file(thing.resolve())
        return measured.digest, f"{measured.size} bytes"
    return content_hash(thing), ""
