"""What the fork server imports, so that every worker that it forks has it already.

Only the fork server imports this module, as the last thing before it is ready.
"""

from __future__ import annotations

import gc
import signal

import cloudpickle  # noqa: F401
import numpy.random  # noqa: F401
import threadpoolctl

from crystallize.discovery.imported import imported_distributions
from crystallize.plugins.execution import launch, worker  # noqa: F401

libraries = threadpoolctl.ThreadpoolController()
"""The numeric libraries that are loaded, found once for all workers."""

imported_distributions()  # which modules are of which is found once, too

gc.freeze()  # no worker's garbage collection looks through all that, and copies the memory that it looks at

if hasattr(signal, "pthread_sigmask"):
    # Ctrl-C was blocked when the server started. Ignore one that has come since; then be as if nothing was,
    # for whoever else uses multiprocessing in the coordinator has the same fork server.
    _handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGINT, _handler)
