"""The outputs of a config.yaml: files with what writes and reads them."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from crystallize.config.scope import MISSING, Scope
from crystallize.config.signatures import explained, kind_of
from crystallize.datasources.artifact import Artifact
from crystallize.discovery import LOADERS
from crystallize.errors import CrystallizeError, UnknownNameError
from crystallize.loaders import get_loader

if TYPE_CHECKING:
    from crystallize.config.errors import KeyPath
    from crystallize.config.schema import OutputConfig


def read_outputs(scope: Scope) -> dict[str, Artifact]:
    """Return the artifacts by alias; those with a mistake are left out, and the mistake is noted."""
    files: dict[str, str] = {}
    made: dict[str, Artifact] = {}
    for alias, output in scope.config.outputs.items():
        path = ("outputs", alias)
        other = files.setdefault(output.file_name.casefold(), alias)
        if other != alias:
            scope.document.add(
                (*path, "file_name"),
                f"the outputs {other!r} and {alias!r} have the same file name {output.file_name!r}",
                "Give each file a name of its own",
            )
            continue
        loader, writer = (_codec(scope, output, path, role) for role in ("loader", "writer"))
        if loader is not MISSING and writer is not MISSING:
            artifact = _artifact(scope, alias, output, loader, writer)
            if artifact is not None:
                made[alias] = artifact
    return made


def _artifact(scope: Scope, alias: str, output: OutputConfig, loader: Any, writer: Any) -> Artifact | None:
    path = ("outputs", alias)
    try:
        return Artifact(output.file_name, loader=loader, writer=writer, alias=alias)
    except CrystallizeError as error:
        is_alias = "alias" in error.what
        place = path if is_alias else (*path, "loader" if "no loader" in error.what else "file_name")
        scope.document.add(place, error.what, error.hint, key=is_alias)
        return None


def _codec(scope: Scope, output: OutputConfig, path: KeyPath, role: str) -> Any:
    """Return the function or loader that is meant by `loader` or `writer`; MISSING if there is a mistake."""
    name: str | None = getattr(output, role)
    if name is None or (name == "auto" and role == "loader"):
        return name
    place = (*path, role)
    own = scope.own("outputs", name)
    if own is not MISSING:
        return _checked(scope, own, name, place, role)
    try:
        found = get_loader(name)
    except UnknownNameError as error:
        if ":" in name:
            scope.document.add(place, *explained(error))
        else:
            scope.note_unknown("outputs", name, place, role, group=LOADERS)
        return MISSING
    except CrystallizeError as error:
        scope.document.add(place, *explained(error))
        return MISSING
    return found if role == "loader" else found.dump


def _checked(scope: Scope, own: Any, name: str, place: KeyPath, role: str) -> Any:
    """Return something of outputs.py if it can be a loader or writer."""
    if hasattr(own, "load") and hasattr(own, "dump"):
        try:
            made = get_loader(own)
        except CrystallizeError as error:
            scope.document.add(place, *explained(error))
            return MISSING
        return made if role == "loader" else made.dump
    if not callable(own) or isinstance(own, type):
        scope.document.add(place, f"{name!r} in outputs.py is {kind_of(own)}", f"A {role} is a function")
        return MISSING
    try:
        inspect.signature(own).bind(None)
    except TypeError as error:
        wants = "the path of a file" if role == "loader" else "the value"
        scope.document.add(
            place,
            f"a {role} is called with {wants} only, and {name!r} cannot be: {error}",
            "Change its signature",
        )
        return MISSING
    except ValueError:  # a builtin without a signature
        pass
    return own
