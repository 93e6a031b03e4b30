"""Sizes, durations and times as people read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


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
