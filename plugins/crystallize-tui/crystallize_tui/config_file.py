"""A config.yaml that is edited: nothing else in it changes, and nothing that `crystallize check` refuses is written."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from contextlib import suppress
from copy import deepcopy
from math import isfinite, isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from crystallize.config.document import LARGEST, read_document, read_value
from crystallize.config.errors import Problem, spelled
from crystallize.errors import InvalidValueError, StoreError
from crystallize.utils.files import read_plain, unique_suffix, written_beside
from crystallize.utils.yaml12 import plain_scalar
from crystallize_tui.run_process import command_line
from crystallize_tui.yaml_edits import added, removed, replaced

if TYPE_CHECKING:
    from collections.abc import Callable

    from crystallize.config.errors import KeyPath

_PLAIN = re.compile(r"[^\W\d]([\w ./+-]*[\w./+-])?")  # text that needs no quotes, wherever it stands
_SECONDS = 120
"""How long a check may take: it imports the user's modules."""


class ConfigFile:
    """A config.yaml, as it was when it was read.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Attributes
    ----------
    value : dict or None
        What it holds; None if it cannot be read.
    problems : list of Problem
        Why not.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._content = _content_of(path)
        document = read_document(path)
        self.value = document.value
        self.problems = document.problems

    def at(self, path: KeyPath) -> Any:
        """Return the value at a path."""
        return _at(self.value, path)

    # -- what an edit makes of the text ----------------------------------------------------------------------

    def with_value(self, path: KeyPath, text: str) -> str:
        """Return the text of the file with another value at `path`; `text` is what YAML reads as that value.

        Raises
        ------
        InvalidValueError
            If `text` is no value, or the file cannot be edited so.
        """
        expected = deepcopy(self.value)
        _at(expected, path[:-1])[path[-1]] = value = read_value(text)
        return self._edited(expected, path, replaced, _written(text, value))

    def with_entry(self, path: KeyPath, text: str) -> str:
        """Return the text with one entry more in the mapping (``key: value``) or the list (``value``) at `path`.

        Raises
        ------
        InvalidValueError
            If `text` is no such entry, the key is there already, or the file cannot be edited so.
        """
        expected = deepcopy(self.value)
        container = _at(expected, path)
        if isinstance(container, list):
            container.append(value := read_value(text))
            return self._edited(expected, path, added, _written(text, value))
        entry = read_document(Path("entry"), text)
        if entry.value is None or len(entry.value) != 1 or entry.problems:
            reason = entry.problems[0].message if entry.problems else "there are several keys"
            raise InvalidValueError(f"{text!r} is no entry: {reason}", hint="Write it like this: key: value")
        if container.keys() & entry.value.keys():
            raise InvalidValueError(f"the key {next(iter(entry.value))!r} is there already")
        container.update(entry.value)
        return self._edited(expected, path, added, text.strip())

    def without(self, path: KeyPath) -> str:
        """Return the text without what is at `path`.

        Raises
        ------
        InvalidValueError
            If it is the only entry, or the file cannot be edited so.
        """
        expected = deepcopy(self.value)
        container = _at(expected, path[:-1])
        if len(container) == 1:
            around = spelled(path[:-1]) or self.path.name
            raise InvalidValueError(f"{spelled(path)} is all that {around} holds", hint=f"Remove {around}")
        container.pop(path[-1])
        return self._edited(expected, path, removed)

    def _edited(self, expected: Any, path: KeyPath, edit: Callable[..., str], *arguments: str) -> str:
        """Return the text after an edit, if it is read as what it is to be."""
        try:
            text = edit(self._content.decode(), path, *arguments)
        except (yaml.YAMLError, LookupError, TypeError, ValueError, AttributeError):
            text = ""  # laid out in a way that is not foreseen
        # An alias, for one, stands for what is written elsewhere.
        if repr(read_document(self.path, text.removeprefix("\ufeff")).value) != repr(expected):
            raise InvalidValueError(
                f"{spelled(path) or self.path.name} cannot be changed here without changing something else",
                hint="Press e to edit the file itself",
            )
        return text

    # -- writing ---------------------------------------------------------------------------------------------

    async def save(self, text: str) -> list[Problem]:
        """Write another text, if `crystallize check` finds no mistake in it that was not there before.

        Returns
        -------
        list of Problem
            The new mistakes; nothing was written if there are any.

        Raises
        ------
        StoreError
            If the file was changed or removed by somebody else, or cannot be written. It stays as it is then.
        """
        self._refuse_changed()
        candidate = self.path.with_name(f".{self.path.stem}.{unique_suffix()}.yaml")
        content = text.encode()
        try:
            candidate.write_bytes(content)
            before, after = await _check(self.path, candidate)
        except StoreError:
            raise
        except OSError as error:
            raise _unwritable(self.path, error) from error
        finally:
            with suppress(OSError):
                candidate.unlink()
        known = {(problem.key, problem.message) for problem in before}
        new = [problem for problem in after if (problem.key, problem.message) not in known]
        if new:
            return new
        self._refuse_changed()
        target = Path(os.path.realpath(self.path))  # the file, where there is a link to it
        try:
            with written_beside(target) as beside:
                beside.write_bytes(content)
                shutil.copymode(target, beside)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        return []

    def _refuse_changed(self) -> None:
        now = _content_of(self.path)
        if now != self._content:
            what = "was changed" if now else "was removed"
            raise StoreError(
                f"{self.path.name} {what} by somebody else meanwhile, and is left as it is",
                hint="Press r to read it again",
            )


def as_text(value: Any) -> str:
    """Return how a value is written in a YAML text, in one line and anywhere."""
    match value:
        case str():
            is_plain = _PLAIN.fullmatch(value) and plain_scalar(value) == value
            return value if is_plain else json.dumps(value, ensure_ascii=False)
        case float() if not isfinite(value):
            return ".nan" if isnan(value) else ".inf" if value > 0 else "-.inf"
        case list():
            return f"[{', '.join(map(as_text, value))}]"
        case dict():
            return "{" + ", ".join(f"{as_text(key)}: {as_text(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value)


def _written(text: str, value: Any) -> str:
    """Return a value as it was typed, or in quotes where it would mean something else."""
    is_quoted = text.strip().startswith(("'", '"'))
    return as_text(value) if isinstance(value, str) and not is_quoted else text.strip()


def _at(value: Any, path: KeyPath) -> Any:
    for part in path:
        value = value[part]
    return value


def _content_of(path: Path) -> bytes:
    """Return the bytes of a file; none if it cannot be read, which reading it as a document tells."""
    try:
        return read_plain(path, LARGEST)
    except (OSError, ValueError):
        return b""


async def _check(*files: Path) -> list[list[Problem]]:
    """Check config files as `crystallize check` does, in a process of its own: that imports the user's modules."""
    process = await asyncio.create_subprocess_exec(
        *command_line("check", *map(str, files), "--json"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), _SECONDS)
        found = json.loads(out)
    except TimeoutError:
        raise StoreError(f"the check took more than {_SECONDS} seconds; nothing was written") from None
    except ValueError:
        last = err.decode(errors="replace").strip().splitlines()[-1:]
        raise StoreError(f"the check failed, and nothing was written: {''.join(last)}") from None
    finally:
        if process.returncode is None:  # it takes too long, or nobody waits for it any more
            process.kill()
            await process.wait()
    of_file = {each["config"]: [_problem(files, **problem) for problem in each["problems"]] for each in found}
    return [of_file.get(str(file), []) for file in files]


def _problem(files: tuple[Path, ...], *, file: str, message: str, hint: str, **place: Any) -> Problem:
    """Return a problem of the candidate as one of the file that it is to replace."""
    original, candidate = files
    message, hint = (text.replace(candidate.name, original.name) for text in (message, hint))
    return Problem(original if Path(file) == candidate else Path(file), message=message, hint=hint, **place)


def _unwritable(path: Path, error: OSError) -> StoreError:
    return StoreError(f"{path.name} cannot be written: {error.strerror or error}", str(path.parent))
