"""The packed experiment on its way to the workers of a cluster."""

from __future__ import annotations

import logging
import pickle
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from distributed import WorkerPlugin

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


def make_payload(packed: Packed) -> WorkerPlugin:
    """Return a worker plugin that carries the experiment to every worker, also to one that joins later.

    Its class travels by value and has no code of its own. So it can be unpacked by workers of the cluster that
    have neither Crystallize nor this Python, and that would not even start if they failed at it.

    Parameters
    ----------
    packed : Packed
        What :func:`crystallize.plugins.execution.pack_replicate_fn` returned.
    """

    class Payload(WorkerPlugin):
        pass

    payload: Any = Payload()
    payload.body = packed.body
    payload.buffers = [pickle.PickleBuffer(buffer) for buffer in packed.buffers]  # pickled without a copy
    payload.versions = versions()
    payload.log_level = logging.getLogger("crystallize").getEffectiveLevel()
    payload.replicate_fn = None  # once it is opened
    return payload  # type: ignore[no-any-return]
