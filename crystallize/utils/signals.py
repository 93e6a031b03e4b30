"""Signals that ask the process to end, while an experiment runs: they end the run as Ctrl-C does, and none is lost."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from crystallize.utils.failures import RunTerminated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
_A_MOMENT = 0.01


@contextmanager
def termination_ends_the_run() -> Iterator[None]:
    """While the block runs, have SIGTERM and SIGHUP raise :class:`RunTerminated` in the main thread.

    A signal that the user handles, or ignores, stays the user's. Where Python ignores what is raised (in ``__del__``,
    in callbacks of weak references, after a fork) the signal is sent again, Ctrl-C too. In other threads, which cannot
    handle signals, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    block = object()
    try:
        _handling.begin(block)
        yield
    finally:
        try:
            _handling.end(block)
        except KeyboardInterrupt:  # a further signal
            _handling.end(block)
            raise


class _Handling:
    """What is in place while such blocks run in the main thread: in tasks of its event loop they end in any order."""

    def __init__(self) -> None:
        self._blocks: set[object] = set()
        self._replaced: list[signal.Signals] = []
        self._report: Callable[[Any], object] = sys.unraisablehook

    def begin(self, block: object) -> None:
        if not self._blocks:
            self._replaced = [each for each in _SIGNALS if signal.getsignal(each) is signal.SIG_DFL]
            self._report = sys.unraisablehook
        self._blocks.add(block)
        if len(self._blocks) == 1:
            sys.unraisablehook = partial(_send_again, self._report)
            for each in self._replaced:
                signal.signal(each, _raise)

    def end(self, block: object) -> None:
        if self._blocks == {block}:
            for each in self._replaced:
                signal.signal(each, signal.SIG_DFL)
            sys.unraisablehook = self._report
        self._blocks.discard(block)


_handling = _Handling()


def _raise(signum: int, _frame: Any) -> NoReturn:
    raise RunTerminated(signum)


def _send_again(report: Callable[[Any], object], ignored: Any) -> None:
    """Send the signal again whose exception was ignored; report any other exception."""
    error = ignored.exc_value
    if not isinstance(error, KeyboardInterrupt):
        report(ignored)
        return
    signum = signal.Signals(error.signum) if isinstance(error, RunTerminated) else signal.SIGINT
    # No threading.Thread: what was interrupted may hold the locks that starting one takes.
    _thread.start_new_thread(_send_soon, (signum,))


def _send_soon(signum: signal.Signals) -> None:
    time.sleep(_A_MOMENT)  # by then the main thread is where an exception counts, or this is done once more
    if os.name == "posix":
        os.kill(os.getpid(), signum)  # which wakes the main thread, too
    else:
        _thread.interrupt_main(signum)
