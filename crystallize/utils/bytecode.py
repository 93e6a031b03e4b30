"""What Python compiled: a hash that layout, comments and docstrings do not change, and the names that it refers to."""

from __future__ import annotations

import dis
import hashlib
import re
from functools import lru_cache
from types import CodeType
from typing import Any, NamedTuple

from crystallize.utils.fingerprint import fingerprint

_SKIPPED = frozenset({"NOP", "EXTENDED_ARG", "CACHE"})  # where they stand depends on the layout
_UNREAD = frozenset({"__doc__", "__firstlineno__"})  # what the body of a class or module sets and never reads
_GLOBALS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
_ATTRIBUTES = frozenset({"LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR", "DELETE_ATTR"})
_JUMPS = frozenset((*dis.hasjrel, *dis.hasjabs))
_NAMED = frozenset((*dis.hasname, *dis.haslocal, *dis.hasfree))
_CONSTANTS = frozenset(dis.hasconst)
_LOCAL = frozenset(dis.haslocal)
_OF_TWO = re.compile("(?:LOAD|STORE)_FAST(?:_BORROW)?")
_SHOWN = frozenset({int, float, bool, str, bytes, complex, type(None), type(...)})  # repr tells all of them
_KINDS_OF_FUNCTION = 0x3FF  # the flags that say how it is called; others are about __future__ and docstrings


class Compiled(NamedTuple):
    """What is known of a piece of compiled code and of the functions in it.

    Attributes
    ----------
    digest : str
        A hash of what it does. Constants that nothing loads, such as docstrings, are no part of it, nor are the names
        of files, the numbers of lines, and annotations.
    names : tuple of tuple of str
        The globals that it refers to, each with the attributes that are taken of it at once, as
        ``("numpy", "random", "default_rng")``; sorted.
    imports : tuple of (str, tuple of str)
        The modules that it imports when it runs, relative ones with their dots; and whatever may be a module of theirs:
        what is taken from them, and each attribute that the code reads of anything. Sorted.
    """

    digest: str
    names: tuple[tuple[str, ...], ...]
    imports: tuple[tuple[str, tuple[str, ...]], ...]


@lru_cache(maxsize=4096)
def read_compiled(code: CodeType) -> Compiled:
    """Return what is known of `code`."""
    read = dis.Bytecode(code)
    instructions, place = _kept(list(read))
    inner = {each: read_compiled(each) for each in code.co_consts if isinstance(each, CodeType)}
    lines = [
        repr(
            (
                (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount),
                code.co_flags & _KINDS_OF_FUNCTION,
                code.co_varnames[: _parameters(code)],
                code.co_freevars,
                [
                    (place[each.start], place.get(each.end), place[each.target], each.depth, each.lasti)
                    for each in read.exception_entries  # type: ignore[attr-defined]
                ],
            )
        )
    ]
    names = {each for found in inner.values() for each in found.names}
    imports = {each for found in inner.values() for each in found.imports}
    attributes = {each.argval for each in instructions if each.opname in _ATTRIBUTES}
    for position, each in enumerate(instructions):
        lines.append(f"{each.opname} {_argument(each, place, inner)}")
        if each.opname in _GLOBALS:
            names.add(_with_attributes(instructions, position))
        elif each.opname == "IMPORT_NAME":
            level, members = (before.argval for before in instructions[position - 2 : position])
            imports.add(("." * level + each.argval, tuple(sorted({*(members or ()), *attributes}))))
    digest = hashlib.blake2b("\n".join(lines).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return Compiled(digest, tuple(sorted(names)), tuple(sorted(imports)))


def _parameters(code: CodeType) -> int:
    spread = bool(code.co_flags & 0x04) + bool(code.co_flags & 0x08)  # *args and **kwargs
    return code.co_argcount + code.co_kwonlyargcount + spread


def _kept(instructions: list[dis.Instruction]) -> tuple[list[dis.Instruction], dict[int, int]]:
    """Return the instructions that do something, and where each offset in the code is among them."""
    kept: list[dis.Instruction] = []
    place: dict[int, int] = {}
    for each in instructions:
        place[each.offset] = len(kept)
        if each.opname == "STORE_NAME" and each.argval in _UNREAD and kept:
            kept.pop()
        elif each.opcode in _LOCAL and isinstance(each.argval, tuple):
            # Two in one, if they stand in one line.
            for name, local in zip(_OF_TWO.findall(each.opname), each.argval, strict=True):
                kept.append(each._replace(opname=name, argval=local))
        elif each.opname not in _SKIPPED:
            kept.append(each)
    return kept, place


def _argument(each: dis.Instruction, place: dict[int, int], inner: dict[CodeType, Compiled]) -> Any:
    """Return what an instruction is about, in a form that does not depend on tables of the code object."""
    value = each.argval
    if each.opcode in _CONSTANTS:
        if isinstance(value, CodeType):
            return inner[value].digest
        return repr(value) if type(value) in _SHOWN else fingerprint(value)
    if each.opcode in _JUMPS:
        return place[value]
    return value if each.opcode in _NAMED else each.arg


def _with_attributes(instructions: list[dis.Instruction], position: int) -> tuple[str, ...]:
    names = [instructions[position].argval]
    for each in instructions[position + 1 :]:
        if each.opname not in _ATTRIBUTES:
            break
        names.append(each.argval)
    return tuple(names)
