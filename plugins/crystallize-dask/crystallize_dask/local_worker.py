"""The main function of a worker process of the cluster on this machine."""

from __future__ import annotations

import asyncio
import logging
import warnings

from crystallize.plugins.execution import WorkerSettings, become_worker

DASK_SETTINGS = {
    # Dask's profiler looks at the frames of running threads, which crashes Python 3.11 sooner or later (gh-111363).
    "distributed.worker.profile.enabled": False,
    # How often the scheduler, and each worker, notes that it is awake: 50 times a second takes 1 % of a core of each.
    "distributed.admin.tick.interval": "1s",
}
"""How Dask differs from its default in the scheduler and the workers of a cluster on this machine."""


def main(address: str, folder: str, resources: dict[str, float], settings: WorkerSettings) -> None:
    """Work for the scheduler at `address` until it says that all is over, or the coordinator has ended.

    Parameters
    ----------
    address : str
        The scheduler.
    folder : str
        Where Dask may write.
    resources : mapping of str to number
        What this worker offers.
    settings : WorkerSettings
        Of this process.
    """
    become_worker(settings)
    spare_dask_the_filters()
    import dask
    import distributed

    dask.config.refresh()  # the environment has changed since Dask was imported
    dask.config.set(DASK_SETTINGS)
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


def spare_dask_the_filters() -> None:
    """Have warnings in Dask's own code be no errors: ``-W error`` is for the user's code."""
    warnings.filterwarnings("default", module=r"(dask|distributed|tornado)\b")


def silence_dask() -> None:
    """Have Dask itself log nothing in this worker: the coordinator says what matters."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
