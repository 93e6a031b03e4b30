"""Words for messages: advice on names that were misspelt, lists, counts, long texts, paths."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import islice
from pathlib import Path

_MOST_LISTED = 40


def nearest(name: object, choices: Iterable[str]) -> str:
    """Return the choice nearest to `name`, or an empty string if none is near."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(str(name), list(choices), n=1)), "")


def did_you_mean(name: object, choices: Iterable[str]) -> str:
    """Return ``"Did you mean 'x'?"`` for the choice nearest to `name`, or an empty string."""
    meant = nearest(name, choices)
    return f"Did you mean {meant!r}?" if meant else ""


def name_hint(wrong: object, there_are: str, names: Iterable[str]) -> str:
    """Return the advice for a name that nothing has: the nearest one, and the names that there are.

    >>> name_hint("scal", "Its steps are", ["scale", "total"])
    "Did you mean 'scale'? Its steps are 'scale', 'total'"
    """
    known = list(names)
    return f"{did_you_mean(wrong, known)} {there_are} {listed(known)}".lstrip()


def listed(names: Iterable[str]) -> str:
    """Return `names` as a text for messages: quoted, sorted, the first of many, ``nothing`` if there are none."""
    return first_of([*map(repr, sorted(names))], _MOST_LISTED) or "nothing"


def first_of(names: Collection[str], most: int = 12) -> str:
    """Return the first `most` names and how many more there are: ``a, b and 998 more``."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(islice(names, most - 1))} and {len(names) - most + 1} more"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 problem``, ``2 problems``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def shortened(text: str, most: int = 60) -> str:
    """Return a text, or its first characters and ``...`` if it has more than `most`."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def shown(path: Path) -> str:
    """Return `path` as messages show it: relative to the current folder if it is below that."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):  # elsewhere; or the current folder is gone
        return str(path)
