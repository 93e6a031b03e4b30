"""The execution strategy ``dask``: what a user says. Nothing here imports Dask before an experiment runs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from crystallize import BasePlugin
from crystallize.errors import InvalidTypeError, InvalidValueError
from crystallize.plugins.execution import ResultCollector, check_bool, check_count, usable_cores

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DaskExecution"]


class DaskExecution(BasePlugin):
    """Run replicates on a Dask cluster: ``execution="dask"``.

    The experiment is sent to each worker once; its functions may be lambdas, closures or defined in
    ``__main__``, and a script needs no ``if __name__ == "__main__"``. Modules that its functions are imported
    from must be installed where the workers run, and so must crystallize-dask.

    Parameters
    ----------
    address : str, optional
        The scheduler's address, such as ``"tcp://10.0.0.5:8786"``. By default a cluster of processes on this
        machine, which ends with the run.
    max_workers : int, optional
        How many worker processes take part at most. By default all that the cluster has or, on this machine,
        one for each core that this process may use.
    resources : mapping of str to number, optional
        What a replicate needs of its worker's resources while it runs, such as ``{"GPU": 1}``. Each worker of
        the cluster on this machine offers as much as one replicate needs.
    retries : int, default 1
        How often a replicate is tried again that took its worker down or ran out of time. A step's own
        exception is the outcome, and never tried again.
    timeout : float, optional
        How many seconds a replicate may take on its worker, all conditions together. By default any number.
    progress : bool, default False
        Show a progress bar on standard error.

    Attributes
    ----------
    threads_per_worker : int or None
        On this machine: how many threads the numeric libraries of each worker may use, as for
        `ProcessExecution`.

    Notes
    -----
    A worker that dies loses nothing that had finished, and the replicates that it was given run elsewhere. The
    one that it died of is tried again, after all others and, on its worker, alone. When it has used up its
    retries, its outcomes are errors. A replicate of which it is not certain that it was the one is tried four
    times more before it becomes an error for that.

    Dask restarts a worker that has a nanny when a replicate runs out of time on it. On a worker without one,
    the thread goes on in vain beside what comes next.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        max_workers: int | None = None,
        resources: Mapping[str, float] | None = None,
        retries: int = 1,
        timeout: float | None = None,
        progress: bool = False,
    ) -> None:
        self.address = None if address is None else _check_address(address)
        self.max_workers = None if max_workers is None else check_count("max_workers", max_workers)
        self.resources = None if resources is None else _check_resources(resources)
        self.retries = check_count("retries", retries, least=0)
        self.timeout = None if timeout is None else _check_timeout(timeout)
        self.progress = check_bool("progress", progress)
        self.threads_per_worker: int | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """The constructor's arguments and `threads_per_worker`."""
        return {**super().settings, "threads_per_worker": self.threads_per_worker}

    def run_experiment_loop(self, experiment: Any, replicate_fn: Callable[[int], Any]) -> list[Any]:
        """Run all replicates on the cluster; see :func:`crystallize.hookspecs.run_experiment_loop`.

        Raises
        ------
        SerializationError
            If the experiment cannot be sent to the workers; the message names the part.
        ExecutionError
            If the scheduler cannot be reached or goes away, no worker can be used, or workers keep dying.
        """
        with ResultCollector(experiment, self.progress) as collector, ExitStack() as stack:
            most = self.max_workers or usable_cores()
            size = min(collector.count_owed(most), most)
            if size == 0:
                return collector.results

            from crystallize.plugins.execution import PoolDriver, pack_replicate_fn, threads_for
            from crystallize_dask.cluster import LocalCluster, connect
            from crystallize_dask.own_generator import give_dask_its_own_generator
            from crystallize_dask.transport import DaskTransport, Terms

            give_dask_its_own_generator()  # another experiment of a graph may run in this process meanwhile
            packed = pack_replicate_fn(replicate_fn)
            resources = self.resources or {}
            local, address = None, self.address
            if address is None:
                self.threads_per_worker = threads_for(size, usable_cores())
                local = stack.enter_context(
                    LocalCluster(size, resources, self.threads_per_worker, self.timeout)
                )
                address = local.address
            client = stack.enter_context(connect(address))
            transport = DaskTransport(
                client,
                local=local,
                experiment=experiment,
                packed=packed,
                terms=Terms(address, self.max_workers, resources, self.timeout),
                check_cancelled=collector.check_cancelled,
            )
            PoolDriver(transport, collector, replicate_fn, retries=self.retries).run()
        return collector.results


def _check_address(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidTypeError(
            f"address is the address of a Dask scheduler, or None for this machine, got {value!r}"
        )
    host, _, port = value.rstrip("/").rpartition("://")[2].rpartition(":")
    if not host or not port.isdecimal():
        raise InvalidValueError(
            f"{value!r} is not the address of a Dask scheduler",
            "address",
            'It looks like "tcp://10.0.0.5:8786"; `dask scheduler` prints its own',
        )
    return value.rstrip("/")


def _check_resources(value: object) -> dict[str, float]:
    if not isinstance(value, Mapping) or not all(
        isinstance(name, str) and isinstance(amount, int | float) and not isinstance(amount, bool)
        for name, amount in value.items()
    ):
        raise InvalidTypeError(
            f'resources is a mapping of names to numbers, like {{"GPU": 1}}, got {value!r}'
        )
    for name, amount in value.items():
        if not 0 < amount < float("inf"):
            raise InvalidValueError(f"resources: an amount is greater than 0, got {amount!r} of {name!r}")
    return dict(value)


def _check_timeout(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidTypeError(f"timeout is a number of seconds, or None, got {value!r}")
    if not 0 < value < float("inf"):
        raise InvalidValueError(f"timeout is greater than 0, got {value!r}", hint="Leave it out for no limit")
    return value
