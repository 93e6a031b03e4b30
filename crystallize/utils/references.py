"""Following a reference ``package.module:Name`` to what it names."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from crystallize.utils.failures import error_text, place_of
from crystallize.utils.wording import did_you_mean


class UnreachableError(Exception):
    """A reference leads nowhere; the cause is what foreign code, or Python, raised.

    Attributes
    ----------
    is_missing : bool
        Whether there is nothing of that name; otherwise code has failed.
    place : str
        ``file:line`` of what raised; an empty text if that is not known.
    """

    def __init__(self, reason: str, *, is_missing: bool, place: str) -> None:
        super().__init__(reason)
        self.is_missing = is_missing
        self.place = place


def import_object(module: str, attribute: str = "") -> Any:
    """Import a module and return what `attribute`, which may have dots, is in it.

    Raises
    ------
    UnreachableError
        Whatever the module raises, ``SystemExit`` too, is its cause. Only Ctrl-C goes through.
    """
    try:
        thing: Any = importlib.import_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        name = error.name if isinstance(error, ModuleNotFoundError) else None
        is_missing = bool(name) and f"{module}.".startswith(f"{name}.")
        raise UnreachableError(error_text(error), is_missing=is_missing, place=place_of(error)) from error
    for name in filter(None, attribute.split(".")):
        try:
            thing = getattr(thing, name)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a module's __getattr__ is code, too
            is_missing = isinstance(error, AttributeError)
            hint = (
                (did_you_mean(name, _defined_in(thing)) or did_you_mean(name, dir(thing)))
                if is_missing
                else ""
            )
            reason = f"{error_text(error)}. {hint}" if hint else error_text(error)
            place = "" if is_missing else place_of(error)
            raise UnreachableError(reason, is_missing=is_missing, place=place) from error
    return thing


def _defined_in(module: Any) -> list[str]:
    """Return the names of what a module defines itself, and not imports from elsewhere."""
    return [
        name
        for name, thing in getattr(module, "__dict__", {}).items()
        if getattr(thing, "__module__", None) == getattr(module, "__name__", module)
    ]


def search_hint(module: str) -> str:
    """Return the advice for a module that Python does not find."""
    top = module.partition(".")[0]
    if Path(f"{top}.py").is_file() or Path(top).is_dir():
        return (
            f"{top!r} is in the current folder, where Python does not search: set PYTHONPATH=. or install it"
        )
    return "Install what provides it, or set PYTHONPATH to the folder that it is in"
