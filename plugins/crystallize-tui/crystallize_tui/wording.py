"""How names, times and durations are put on the screen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from crystallize.utils.terminal import visible

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


def plain(text: str, style: str = "") -> Text:
    """Return somebody's text for the screen: no markup in it counts, and nothing in it steers the terminal."""
    return Text(visible(text), style)


def one_line(text: str) -> str:
    """Return a text without line breaks, and without what would steer the terminal."""
    return visible(" ".join(text.split()))


def fitted(text: str, width: int, *, right: bool = False) -> str:
    """Return one line of exactly so many columns: filled up, or cut with an ellipsis."""
    text = one_line(text)
    if cell_len(text) > width:
        return set_cell_size(text, max(0, width - 1)) + "…"[: width > 0]
    fill = " " * (width - cell_len(text))
    return fill + text if right else text + fill


def ago(when: datetime, now: datetime | None = None) -> str:
    """Return how long ago something was: ``5 min ago``."""
    seconds = ((now or datetime.now(UTC)) - when).total_seconds()
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds // size:.0f} {unit} ago"
    return "just now"


def about(duration: timedelta) -> str:
    """Return roughly how long something takes: ``~2 min``."""
    seconds = duration.total_seconds()
    if seconds < 1:
        return "<1 s"
    for size, unit in _UNITS:
        if seconds >= 1.5 * size:
            return f"~{seconds / size:.0f} {unit}"
    return f"~{seconds:.0f} s"
