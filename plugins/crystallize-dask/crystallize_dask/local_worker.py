"""The main function of a worker process of the cluster on this machine."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import threading
import time
import warnings
from pathlib import Path

from crystallize.plugins.execution import leave_interrupts_to_the_coordinator

_TRIES = 5
_SECONDS_BETWEEN_TRIES = 0.05


def main(address: str, folder: str, resources: dict[str, float]) -> None:
    """Work for the scheduler at `address` until it says, or the end of standard input shows, that all is over.

    Parameters
    ----------
    address : str
        The scheduler.
    folder : str
        Where Dask may write.
    resources : mapping of str to number
        What this worker offers.
    """
    leave_interrupts_to_the_coordinator()
    _end_with_the_coordinator(folder)
    warnings.filterwarnings(
        "default", module=r"(dask|distributed|tornado)\b"
    )  # -W error is for the user's code
    import distributed

    silence_dask()

    async def work() -> None:
        async with distributed.Worker(
            address,
            nthreads=1,  # replicates share no global random state
            resources=resources,
            memory_limit=0,  # none: what a step needs it gets, as under every other strategy
            local_directory=folder,
            dashboard=False,
        ) as worker:
            await worker.finished()

    asyncio.run(work())


def silence_dask() -> None:
    """Have Dask itself log nothing in this worker: the coordinator says what matters."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)


def _end_with_the_coordinator(folder: str) -> None:
    """End this process, and remove the folder, when the coordinator's end of standard input is closed."""
    line = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # steps that read their input find none
    os.close(nothing)

    def wait() -> None:
        while os.read(line, 1):
            pass
        # A coordinator that was killed could not remove it, and Dask may be making folders in it.
        for _ in range(_TRIES):
            shutil.rmtree(folder, ignore_errors=True)
            time.sleep(_SECONDS_BETWEEN_TRIES)
            if not Path(folder).exists():
                break
        os._exit(1)

    threading.Thread(target=wait, name="crystallize-coordinator", daemon=True).start()
