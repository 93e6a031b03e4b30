"""What is wrong in an experiment's folder, and where."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from crystallize.errors import CrystallizeError, GraphError
from crystallize.utils.wording import shown

KeyPath = tuple[str | int, ...]
"""Leads to a value of a config.yaml: keys of mappings and positions in lists."""


class Problem(NamedTuple):
    """One mistake in a file of an experiment's folder.

    Attributes
    ----------
    file : pathlib.Path
        The file, absolute.
    line, column : int
        Where in the file, from 1; 0 for a mistake that belongs to the whole file.
    key : str
        Where in the configuration: ``steps[1].scale.factor``; empty for other files, and for the whole.
    message : str
        What was found, as one sentence without a full stop.
    hint : str
        What is allowed, with the nearest valid name.
    """

    file: Path
    line: int
    column: int
    key: str
    message: str
    hint: str = ""

    @classmethod
    def of_file(cls, file: Path, message: str, hint: str = "") -> Problem:
        """Make a problem that belongs to the whole file."""
        return cls(file, 0, 0, "", message, hint)

    def __str__(self) -> str:
        place = shown(self.file)
        if self.line:
            place += f":{self.line}:{self.column}"
        if self.key:
            place += f": {self.key}"
        return f"{place}: {self.message}" + (f". {self.hint}" if self.hint else "")


class ConfigError(CrystallizeError, ValueError):
    """An experiment's folder has mistakes: all that were found.

    Parameters
    ----------
    problems : iterable of Problem
        At least one.

    Attributes
    ----------
    problems : tuple of Problem
        The mistakes, file by file, each file's in the order of its lines.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        first = self.problems[0]
        count = len(self.problems)
        what = first.message if count == 1 else f"{count} mistakes, the first: {first.message}"
        super().__init__(what, f"{shown(first.file)}:{first.line}:{first.column}", first.hint)

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problems,)


class ConfigGraphError(ConfigError, GraphError):
    """The references between folders do not make a graph: a cycle, or an upstream that is not there."""


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Return the problems of one experiment: each file's together and in the order of its lines, none twice."""
    unique = dict.fromkeys(problems)
    rank: dict[Path, int] = {}
    for problem in unique:
        rank.setdefault(problem.file, len(rank))
    return sorted(unique, key=lambda problem: (rank[problem.file], problem.line, problem.column))


def spelled(path: KeyPath) -> str:
    """Return a key path as text: ``("steps", 1, "scale")`` is ``steps[1].scale``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
