"""The progress bar of an execution strategy."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from crystallize.utils.terminal import is_terminal, visible

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_SECONDS_BETWEEN_UPDATES = 0.05


class ProgressBar:
    """Show on standard error how many of the replicates have arrived, how many failed and the time left.

    Where standard error is not a terminal (and this is not a notebook with ipywidgets, which rich draws with
    there), no bar is drawn, and one line at the end says the same.

    Parameters
    ----------
    name : str
        What is under way.
    total : int
        The number of replicates; less than 0 if it is not known.
    """

    def __init__(self, name: str, total: int) -> None:
        self._name = name
        self._total = total
        self._done = 0
        self._failed = 0
        self._began = 0.0
        self._next_update = 0.0
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def start(self) -> None:
        """Show an empty bar."""
        self._began = time.monotonic()
        if _can_draw():
            self._bar, self._task = _draw(self._name, self._total)
            self._bar.start()

    def advance(self, result: Any) -> None:
        """Count one more replicate, and a failure if one of its outcomes is an error."""
        self._done += 1
        if any(getattr(outcome, "error", None) is not None for outcome in getattr(result, "outcomes", ())):
            self._failed += 1
        if self._bar is not None:
            now = time.monotonic()
            if now >= self._next_update:
                self._next_update = now + _SECONDS_BETWEEN_UPDATES
                self._update()

    def stop(self) -> None:
        """Leave the final state behind."""
        if self._bar is not None:
            self._update()
            self._bar.stop()
        elif sys.stderr is not None:
            seconds = time.monotonic() - self._began
            done = self._done if self._total < 0 else f"{self._done}/{self._total}"
            line = visible(f"{self._name}: {done} replicates in {seconds:.1f} s{self._failures()}")
            with suppress(OSError, ValueError):  # it is full or closed, which must not end the run
                sys.stderr.write(line + "\n")
                sys.stderr.flush()

    def _update(self) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._done, failures=self._failures())

    def _failures(self) -> str:
        return f", {self._failed} with errors" if self._failed else ""


def _can_draw() -> bool:
    if is_terminal(sys.stderr):
        return True
    if "ipykernel" not in sys.modules or find_spec("ipywidgets") is None:
        return False
    from rich.console import Console

    return Console(stderr=True).is_jupyter


def _draw(name: str, total: int) -> tuple[Progress, TaskID]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("replicates{task.fields[failures]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=Console(stderr=True),
    )
    return bar, bar.add_task(visible(name), total=total if total >= 0 else None, failures="")
