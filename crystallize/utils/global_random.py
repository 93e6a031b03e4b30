"""The states of the random generators that a whole process shares: ``random``, ``numpy.random``, PyTorch's on a CPU."""

from __future__ import annotations

import pickle
import random
import struct
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

from crystallize.utils.imports import imported


class GlobalGenerator(NamedTuple):
    """A generator that a process shares.

    Attributes
    ----------
    state : callable
        Returns its state, as something that can be compared, hashed and kept; None as long as nobody can use it.
    restore : callable
        Puts it into such a state.
    is_fresh : callable
        Tells of a state whether it is known that it was seeded, and nothing was drawn since.
    """

    state: Callable[[], Any]
    restore: Callable[[Any], None]
    is_fresh: Callable[[Any], bool]


def _numpy_state() -> Any:
    numpy_random = imported("numpy.random")
    # Pickled, for there are arrays in it: which, depends on np.random.set_bit_generator.
    return None if numpy_random is None else pickle.dumps(numpy_random.get_state(legacy=False))


def _restore_numpy(state: bytes) -> None:
    import_module("numpy.random").set_state(pickle.loads(state))


def _is_fresh_numpy(state: bytes) -> bool:
    return bool(pickle.loads(state)["state"].get("pos") == _SEEDED)  # of other bit generators nobody can tell


def _torch_state() -> Any:
    torch = imported("torch")
    return None if torch is None else torch.get_rng_state().numpy().tobytes()


def _restore_torch(state: Any) -> None:
    torch = import_module("torch")
    torch.set_rng_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))


def _is_fresh_torch(state: bytes) -> bool:
    left, _, place = struct.unpack_from("<iiQ", state, 8)  # behind the seed
    return bool(left == 1 and place == 0)


_SEEDED = 624
"""The place of a Mersenne Twister in its numbers when it was seeded: behind the last, until one is drawn."""

GLOBAL_GENERATORS = {
    "numpy.random": GlobalGenerator(_numpy_state, _restore_numpy, _is_fresh_numpy),
    "random": GlobalGenerator(random.getstate, random.setstate, lambda state: state[1][-1] == _SEEDED),
    "torch": GlobalGenerator(_torch_state, _restore_torch, _is_fresh_torch),
}


def global_states() -> dict[str, Any]:
    """Return the state of each generator that somebody could draw from."""
    states = {name: each.state() for name, each in GLOBAL_GENERATORS.items()}
    return {name: state for name, state in states.items() if state is not None}
