"""The packed experiment on its way to the workers of a cluster."""

from __future__ import annotations

import logging
import pickle
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from distributed import WorkerPlugin

if TYPE_CHECKING:
    from crystallize.utils.pickling import Packed

DISTRIBUTION = "crystallize-dask"


def versions() -> dict[str, str]:
    """Return the versions that a worker must share with the coordinator, for Python code travels as bytecode."""
    return {
        "Python": f"{sys.version_info[0]}.{sys.version_info[1]}",
        "crystallize-lab": version("crystallize-lab"),
        DISTRIBUTION: version(DISTRIBUTION),
    }


def make_luggage(packed: Packed) -> WorkerPlugin:
    """Return a worker plugin that carries the experiment to every worker, also to one that joins later.

    Its class travels by value and has no code of its own. So it can be unpacked by workers of the cluster that
    have neither Crystallize nor this Python, and that would not even start if they failed at it.

    Parameters
    ----------
    packed : Packed
        What :func:`crystallize.plugins.execution.messages.pack_replicate_fn` returned.
    """

    class Luggage(WorkerPlugin):
        pass

    luggage: Any = Luggage()
    luggage.body = packed.body
    luggage.buffers = [pickle.PickleBuffer(buffer) for buffer in packed.buffers]  # pickled without a copy
    luggage.versions = versions()
    luggage.log_level = logging.getLogger("crystallize").getEffectiveLevel()
    luggage.replicate_fn = None  # once it is opened
    return luggage  # type: ignore[no-any-return]
