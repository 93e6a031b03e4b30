"""How worker processes come into being: start method, environment, and who hears of Ctrl-C."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager
from multiprocessing import resource_tracker, spawn
from multiprocessing.util import get_temp_dir
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.errors import ExecutionError, InvalidValueError
from crystallize.utils.imports import imported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.context import ForkServerContext, SpawnContext
    from multiprocessing.process import BaseProcess

START_METHODS = ("forkserver", "spawn")
START_METHOD_VARIABLE = "CRYSTALLIZE_START_METHOD"

THREAD_LIMITS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
"""The environment variables by which numeric libraries are told how many threads to use."""

WORKER_NAME = "crystallize-worker"
"""The name of a worker process: what it is to `multiprocessing`."""

_PAUSES = (0.01, 0.1, 0.5)
_loading = threading.Event()
_preparation_lock = threading.Lock()


def start_method() -> str:
    """Return how workers are to be started.

    Raises
    ------
    InvalidValueError
        If the environment variable ``CRYSTALLIZE_START_METHOD`` names a method that there is not.
    """
    available = [method for method in START_METHODS if method in multiprocessing.get_all_start_methods()]
    wanted = os.environ.get(START_METHOD_VARIABLE)
    if not wanted:
        return available[0]
    if wanted not in available:
        raise InvalidValueError(
            f"there is no start method {wanted!r}",
            f"environment variable {START_METHOD_VARIABLE}",
            f"On this machine it is one of {available}",
        )
    return wanted


def check_not_loading() -> None:
    """Raise ExecutionError if this process is a worker that imports the user's code: it would start more of them."""
    if _loading.is_set():
        raise ExecutionError(
            "a module runs an experiment in processes while it is imported, and each worker imports it again",
            hint="Run it in a function, or below if __name__ == '__main__'",
        )


def worker_context(*more: str) -> ForkServerContext | SpawnContext:
    """Return the multiprocessing context of the workers.

    With ``forkserver`` the server has been started when this returns, and imports what every worker needs while the
    caller goes on: the engine, but no user's code.

    Parameters
    ----------
    *more : str
        Names of modules that the workers need besides.

    Raises
    ------
    ExecutionError
        If this process can have no workers.
    """
    if multiprocessing.current_process().daemon:
        raise ExecutionError(
            "this process can have no worker processes, for it is a daemonic worker of a multiprocessing pool itself",
            hint="Run the experiment serially or in threads here, or call it from a ProcessPoolExecutor",
        )
    check_not_loading()
    if start_method() == "spawn":
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver

    context = multiprocessing.get_context("forkserver")
    engine = sorted(name for name in list(sys.modules) if name.startswith("crystallize."))
    try:
        with without_main_module(), without_interrupts():
            context.set_forkserver_preload([*engine, *more, "crystallize.plugins.execution.preload"])
            forkserver.ensure_running()
    except ChildProcessError as error:
        raise ExecutionError(
            "this process can have no worker processes, for it was forked from one that has some",
            hint=f"Start it with multiprocessing's method spawn, or set {START_METHOD_VARIABLE}=spawn, or run serially",
        ) from error
    except OSError as error:
        what = f"the fork server of the workers cannot be started: {error}"
        hint = f"Set {START_METHOD_VARIABLE}=spawn, or run in threads"
        if "AF_UNIX" in str(error):
            what = f"a socket in the temporary folder would have too long a name: {get_temp_dir()}"
            hint = (
                f"Set TMPDIR to a folder with a shorter path, such as /tmp, or {START_METHOD_VARIABLE}=spawn"
            )
        raise ExecutionError(what, hint=hint) from error
    return context


def start_worker(
    context: ForkServerContext | SpawnContext, target: Callable[..., None], args: tuple[Any, ...]
) -> BaseProcess:
    """Start a worker; again if the fork server was killed, since another start brings it back.

    Raises
    ------
    OSError
        If no process can be started.
    """
    for pause in (*_PAUSES, None):
        process = context.Process(target=target, args=args, name=WORKER_NAME)
        try:
            with without_main_module(), without_interrupts():
                process.start()
        except (EOFError, ConnectionError) as error:
            if pause is None:
                raise OSError(f"the fork server ended: {error}") from error
            time.sleep(pause)  # its death is noticed when it is complete
        else:
            break
    return process


@contextmanager
def loading() -> Iterator[None]:
    """Refuse this process, a worker, workers of its own while it imports the user's code: each would start more."""
    _loading.set()
    try:
        yield
    finally:
        _loading.clear()


@contextmanager
def without_main_module() -> Iterator[None]:
    """Have processes that this thread starts not be told where ``__main__`` comes from, so that none runs it again.

    What the experiment needs of ``__main__`` travels by value. A script therefore needs no
    ``if __name__ == "__main__"``.
    """
    this_thread = threading.get_ident()
    with _preparation_lock:
        prepare = spawn.get_preparation_data

        def without_main(name: str) -> dict[str, Any]:
            data = prepare(name)
            if threading.get_ident() == this_thread:
                data.pop("init_main_from_name", None)
                data.pop("init_main_from_path", None)
            return data

        # And not what the module itself says: other threads run code that reads its __file__.
        spawn.get_preparation_data = without_main
        try:
            yield
        finally:
            spawn.get_preparation_data = prepare


def threads_for(workers: int, cores: int) -> int | None:
    """Return how many threads each worker's numeric libraries get; None if the environment decides."""
    if any(os.environ.get(name) for name in THREAD_LIMITS):
        return None
    return max(1, cores // workers)


def environment_for_workers(threads: int | None) -> dict[str, str]:
    """Return the coordinator's environment as it is now, with limits for the numeric libraries."""
    environment = dict(os.environ)
    if threads is not None:
        environment.update(dict.fromkeys(THREAD_LIMITS, str(threads)))
    return environment


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Have processes that this thread starts begin with Ctrl-C blocked: it is not theirs to report."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # it would undo the blocking
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_interrupts_to_the_coordinator() -> None:
    """Have this worker process ignore what a terminal sends to all of its processes: the coordinator ends it."""
    # A function and not SIG_IGN: what the steps start must not inherit deafness.
    signal.signal(signal.SIGINT, _ignore)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, _ignore)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def reseed_numpy() -> None:
    """Have NumPy's global generator draw what no other worker draws: all are forked with the fork server's state."""
    if (random := imported("numpy.random")) is not None:
        random.seed()


def _ignore(_signal: int, _frame: Any) -> None:
    """Do nothing."""


def has_ended(process: int | None) -> bool:
    """Tell whether there is no process of this id any more, or one whose parent has yet to take note of its end."""
    if process is None or sys.platform == "win32":  # where there are no signals to ask with
        return False
    try:
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except ProcessLookupError:
        return True
    except OSError:  # it is another user's, or the system does not tell
        return False
