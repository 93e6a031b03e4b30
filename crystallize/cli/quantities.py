"""Ages, durations, sizes and times as the commands' options take them, and as tables show them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import typer

_AGES = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}  # no M: who writes 6M means months
_SIZES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*")


def parse_age(text: str) -> timedelta:
    """Return the time that ``30d`` or ``12h`` stands for."""
    try:
        return timedelta(seconds=_parse(text, _AGES, "an age is a number with one of s, m, h, d, w: 30d"))
    except OverflowError:
        raise typer.BadParameter(f"{text!r} is longer than time has been") from None


def parse_size(text: str) -> int:
    """Return the bytes that ``10MB`` or ``500`` stands for."""
    return round(_parse(text.lower(), _SIZES, "a size is a number with one of B, kB, MB, GB, TB: 10MB"))


def _parse(text: str, units: dict[str, int], form: str) -> float:
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in units:
        raise typer.BadParameter(f"{text!r} cannot be read: {form}")
    return float(match[1]) * units[match[2]]


def format_size(size: int) -> str:
    """Return bytes with three digits: ``1.23 MB``."""
    if size < 1000:
        return f"{size} B"
    amount, names = float(size), iter(("kB", "MB", "GB", "TB", "PB"))
    name = "B"
    while amount >= 999.5 and (larger := next(names, None)):
        amount, name = amount / 1000, larger
    digits = 2 if amount < 9.995 else 1 if amount < 99.95 else 0
    return f"{amount:.{digits}f} {name}"


def format_duration(seconds: float) -> str:
    """Return a time for people: ``12 ms``, ``2.5 s``, ``3 min 20 s``, ``5 h 12 min``."""
    if seconds < 0.095:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes} min"


def format_time(when: datetime | None) -> str:
    """Return a time by the clock on the wall: ``2026-11-29 17:05``; nothing if there is none."""
    if when is None:
        return ""
    try:
        return when.astimezone().strftime("%Y-%m-%d %H:%M")
    except (OSError, OverflowError):  # the metadata were written by another tool
        return "date unknown"
