"""The outputs of a config.yaml: files with what writes and reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crystallize.config.lookup import MISSING, Lookup, kind_of
from crystallize.datasources.artifact import Artifact
from crystallize.discovery import LOADERS
from crystallize.errors import CrystallizeError, UnknownNameError
from crystallize.loaders import get_loader, get_writer
from crystallize.utils.names import name_key
from crystallize.utils.signatures import mismatch

if TYPE_CHECKING:
    from crystallize.config.errors import KeyPath
    from crystallize.config.schema import OutputConfig


def read_outputs(lookup: Lookup) -> dict[str, Artifact]:
    """Return the artifacts by alias; those with a mistake are left out, and the mistake is noted."""
    files: dict[str, str] = {}
    made: dict[str, Artifact] = {}
    for alias, output in lookup.config.outputs.items():
        path = ("outputs", alias)
        loader, writer = (_codec(lookup, output, path, role) for role in ("loader", "writer"))
        name = output.file_name or f"{alias}{_suffix_of(loader)}"
        other = files.setdefault(name_key(name), alias)
        if other != alias:
            message = f"the outputs {other!r} and {alias!r} have the same file name {name!r}"
            lookup.note((*path, "file_name"), message, "Give each file a name of its own")
            continue
        if loader is MISSING or writer is MISSING:
            continue
        try:
            made[alias] = Artifact(name, loader=loader, writer=writer, alias=alias)
        except CrystallizeError as error:
            is_alias = "alias" in error.what
            place = path if is_alias else (*path, "loader" if "no loader" in error.what else "file_name")
            lookup.note(place, error.what, error.hint, key=is_alias)
    return made


def _suffix_of(loader: Any) -> str:
    """Return the suffix that a loader is chosen by, its first one; a function has none."""
    return next(iter(getattr(loader, "suffixes", ())), "")


def _codec(lookup: Lookup, output: OutputConfig, path: KeyPath, role: str) -> Any:
    """Return the function or loader that is meant by `loader` or `writer`; MISSING if there is a mistake."""
    name: str | None = getattr(output, role)
    if name is None or (name == "auto" and role == "loader"):
        return name
    place = (*path, role)
    found = lookup.attempt(place, _find_codec, lookup, name, place, role)
    return MISSING if found is None else found


def _find_codec(lookup: Lookup, name: str, place: KeyPath, role: str) -> Any:
    own = lookup.own("outputs", name)
    if own is MISSING or (hasattr(own, "load") and hasattr(own, "dump")):
        try:
            meant = name if own is MISSING else own
            return get_loader(meant) if role == "loader" else get_writer(meant)
        except UnknownNameError:
            if own is not MISSING or ":" in name:
                raise
            lookup.refuse_unknown("outputs", name, place, role, group=LOADERS)
    if not callable(own) or isinstance(own, type):
        lookup.refuse(place, f"{name!r} in outputs.py is {kind_of(own)}", f"A {role} is a function")
    fault = mismatch(own, None)
    if fault:
        wants = "the path of a file" if role == "loader" else "the value"
        message = f"a {role} is called with {wants} only, and {name!r} cannot be: {fault}"
        lookup.refuse(place, message, "Change its signature")
    return own
