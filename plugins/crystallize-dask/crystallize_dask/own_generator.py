"""Dask's random numbers, which are not to be those of steps."""

from __future__ import annotations

import random
import sys
from functools import cache
from importlib.util import module_from_spec
from types import ModuleType


def give_dask_its_own_generator() -> None:
    """Have Dask take no random numbers from the global generator of this process, which steps draw from.

    To estimate the size of a message, Dask draws a sample of what is in it, while steps run in other threads.
    """
    own, shared = _own_random(), random.random.__self__  # type: ignore[attr-defined]
    for name, module in list(sys.modules.items()):
        if name == "dask.sizeof" or name.partition(".")[0] in ("distributed", "tornado"):
            for key, value in list(vars(module).items()):
                if value is random:
                    setattr(module, key, own)
                elif getattr(value, "__self__", None) is shared:
                    setattr(module, key, getattr(own, value.__name__))


@cache  # each run asks
def _own_random() -> ModuleType:
    """Return a second copy of the module `random`, with a generator of its own."""
    spec = random.__spec__
    assert spec is not None
    assert spec.loader is not None
    own = module_from_spec(spec)
    spec.loader.exec_module(own)
    return own
