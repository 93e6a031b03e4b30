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

libraries = threadpoolctl.ThreadpoolController()
"""The numeric libraries that are loaded, found once for all workers."""

_have_threads = any(each.num_threads > 1 for each in libraries.lib_controllers)
_limiter = libraries.limit(limits=1)


def limit(threads: int | None) -> None:
    """Let each library use so many threads, or as many as it was loaded with, in a process that the server has forked.

    There it is one, as in the server: OpenBLAS is not to be told so in the fork. Whatever it is told, it first starts
    the threads of all cores again, and each is busy for some ten milliseconds before it sleeps.
    """
    if threads is None:
        if _have_threads:
            _limiter.restore_original_limits()
    elif threads > 1:
        libraries.limit(limits=threads)


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
