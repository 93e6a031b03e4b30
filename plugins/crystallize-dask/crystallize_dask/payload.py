"""The packed experiment on its way to the workers of a cluster."""

from __future__ import annotations

import pickle
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import cloudpickle
from distributed import WorkerPlugin

from crystallize.plugins.execution import Surroundings

if TYPE_CHECKING:
    from crystallize.plugins.execution import Packed

DISTRIBUTION = "crystallize-dask"


def versions() -> dict[str, str]:
    """Return the versions that a worker must share with the coordinator, for Python code travels as bytecode."""
    return {
        "Python": f"{sys.version_info[0]}.{sys.version_info[1]}",
        "crystallize-lab": version("crystallize-lab"),
        DISTRIBUTION: version(DISTRIBUTION),
    }


def make_payload(packed: Packed, *, workers_are_ours: bool) -> WorkerPlugin:
    """Return a worker plugin that carries the experiment to every worker, also to one that joins later.

    Its class travels by value and has no code of its own. So it can be unpacked by workers of the cluster that
    have neither Crystallize nor this Python, and that would not even start if they failed at it.

    Parameters
    ----------
    packed : Packed
        What :func:`crystallize.plugins.execution.pack_replicate_fn` returned.
    workers_are_ours : bool
        Whether the workers do nothing else, and may take over all settings of this process.
    """

    class Payload(WorkerPlugin):
        pass

    payload: Any = Payload()
    payload.body = packed.body
    payload.buffers = [pickle.PickleBuffer(buffer) for buffer in packed.buffers]  # pickled without a copy
    payload.versions = versions()
    payload.surroundings = cloudpickle.dumps(Surroundings())  # and the object, once it is opened
    payload.workers_are_ours = workers_are_ours
    payload.replicate_fn = None  # once it is opened
    return payload  # type: ignore[no-any-return]
