"""What the fork server imports, so that every worker that it forks has it already.

Only the fork server imports this module, as the last thing before it is ready.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
from multiprocessing import util

import cloudpickle  # noqa: F401
import numpy.random  # noqa: F401
import threadpoolctl

from crystallize.discovery.imported import imported_distributions
from crystallize.plugins.execution import launch, worker  # noqa: F401
from crystallize.plugins.execution.surroundings import usable_cores

libraries = threadpoolctl.ThreadpoolController()
"""The numeric libraries that are loaded, found once for all workers."""

_loaded_with = [each.num_threads for each in libraries.lib_controllers]
libraries.limit(limits=1)


def limit(threads: int | None) -> None:
    """Let each library use so many threads, in a process that the server has forked; None for what it would by itself.

    There it is one, as in the server: OpenBLAS is not to be told so in the fork. Whatever it is told, it first starts
    the threads of all cores again, and each is busy for some ten milliseconds before it sleeps.
    """
    for library, number in zip(libraries.lib_controllers, _loaded_with, strict=True):
        wanted = threads or _number_in_environment(library.internal_api) or number
        if wanted > 1:
            library.set_num_threads(wanted)


def _number_in_environment(library: str) -> int:
    """Return how many threads a library would use that is loaded now, if the environment says so; else 0."""
    text = os.environ.get(f"{library.upper()}_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS", "")
    first = text.partition(",")[0].strip()  # the others are for loops in loops
    return min(int(first), usable_cores()) if first.isdecimal() else 0


imported_distributions()  # which modules are of which is found once, too

gc.freeze()  # no worker's garbage collection looks through all that, and copies the memory that it looks at

if hasattr(signal, "pthread_sigmask"):
    # Ctrl-C was blocked when the server started. Ignore one that has come since; then be as if nothing was,
    # for whoever else uses multiprocessing in the coordinator has the same fork server.
    _handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGINT, _handler)

    _server = os.getpid()

    def _block_interrupts() -> None:
        """Have what the server forks hear of a Ctrl-C when it is ready for it, and not with a traceback before."""
        if os.getppid() == _server:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})

    def _unblock_interrupts_of_others(_: object) -> None:
        if os.getppid() == _server and multiprocessing.current_process().name != launch.WORKER_NAME:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            limit(None)

    os.register_at_fork(after_in_child=_block_interrupts)
    util.register_after_fork(libraries, _unblock_interrupts_of_others)  # for as long as these live: always
