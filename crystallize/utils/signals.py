"""Signals that ask the process to end, while an experiment runs: they end the run as Ctrl-C does."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from crystallize.utils.failures import RunTerminated

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def termination_ends_the_run() -> Iterator[None]:
    """While the block runs, have SIGTERM and SIGHUP raise :class:`RunTerminated` in the main thread.

    A signal that the user handles, or ignores, stays the user's. In other threads, which cannot handle signals, this
    does nothing.
    """
    replaced = []
    if threading.current_thread() is threading.main_thread():
        replaced = [each for each in _SIGNALS if signal.getsignal(each) is signal.SIG_DFL]
    try:
        for each in replaced:
            signal.signal(each, _raise)
        yield
    finally:
        for each in replaced:
            signal.signal(each, signal.SIG_DFL)


def _raise(signum: int, _frame: Any) -> NoReturn:
    raise RunTerminated(signum)
