"""Random streams: which generator belongs to which place of an experiment.

Every stream is derived from the master seed and its place by ``numpy.random.SeedSequence`` with a spawn key,
NumPy's published way to independent streams (see *Parallel random number generation* in NumPy's manual,
and O'Neill, M. E. (2015), "Developing a seed_seq alternative"). Nothing depends on the order of calls.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.errors import InvalidTypeError
from crystallize.utils.checks import check_count

if TYPE_CHECKING:
    from numpy.random import Generator

SEED_RANGE = 2**32
"""Drawn seeds are integers in ``range(SEED_RANGE)``: what ``numpy.random.seed`` accepts."""

_PCG64_MULTIPLIER = 0x2360ED051FC65DA44385DF649FCCF645
_128_BITS = (1 << 128) - 1


def draw_master_seed() -> int:
    """Draw a master seed from the operating system, in ``range(SEED_RANGE)``."""
    return int.from_bytes(os.urandom(4), "big")


def stream_key(name: str) -> int:
    """Return the stable 128-bit number of a named stream.

    The top bit is always set, so that the number takes four 32-bit words in a spawn key and can never equal
    the index of a step, which takes one.
    """
    if not isinstance(name, str):
        raise InvalidTypeError(f"the name of a random stream is a str, got {name!r}")
    digest = hashlib.blake2b(
        name.encode("utf-8", "surrogatepass"), digest_size=16, person=b"crystallize"
    ).digest()
    return int.from_bytes(digest, "big") | (1 << 127)


def generator(master_seed: int, replicate: int, key: int) -> Generator:
    """Make the generator of one replicate and one place.

    Parameters
    ----------
    master_seed : int
        The experiment's master seed.
    replicate : int
        Index of the replicate.
    key : int
        Index of a step, or the :func:`stream_key` of a name.

    Returns
    -------
    numpy.random.Generator
        A PCG64 generator at the start of its stream; the same for the same three arguments, on every machine.
    """
    from numpy.random import PCG64, Generator, SeedSequence

    return Generator(PCG64(SeedSequence(master_seed, spawn_key=(replicate, key))))


class StreamUse(NamedTuple):
    """How far a stage of an outcome went in one random stream.

    Attributes
    ----------
    name : str or None
        The name given to ``ctx.stream``; None for ``ctx.rng``.
    key : int
        What the stream derives from besides seed and replicate.
    start, stop : float
        How many 64-bit words had been drawn before and after; a half is a word of which 32 bits are left.
    spawned_before, spawned : int
        How many generators had been spawned before, and were by this stage.
    """

    name: str | None
    key: int
    start: float
    stop: float
    spawned_before: int
    spawned: int


class Stream:
    """A random generator of one context, and how far it has been drawn from.

    Parameters
    ----------
    generator : numpy.random.Generator
        What :func:`generator` made for `key`.
    key : int
        Index of a step, or the :func:`stream_key` of `name`.
    name : str, optional
        The name that the stream was asked for by.
    """

    __slots__ = ("_state", "_words", "generator", "key", "name")

    def __init__(self, generator: Generator, key: int, name: str | None) -> None:
        self.generator = generator
        self.key = key
        self.name = name
        self._words = 0
        self._state: int = generator.bit_generator.state["state"]["state"]

    def position(self) -> tuple[float, int]:
        """Return how many 64-bit words were drawn, less a half if 32 bits are left, and how often it spawned."""
        state = self.generator.bit_generator.state
        now = state["state"]["state"]
        if now != self._state:
            self._words += _steps_between(self._state, now, state["state"]["inc"])
            self._state = now
        words = self._words - 0.5 if state["has_uint32"] else self._words
        spawned: int = self.generator.bit_generator.seed_seq.n_children_spawned  # type: ignore[attr-defined]
        return words, spawned

    def use_since(self, start: float, spawned: int) -> StreamUse:
        """Return what was done with it since it stood at an earlier :meth:`position`."""
        stop, spawned_in_all = self.position()
        return StreamUse(self.name, self.key, start, stop, spawned, spawned_in_all - spawned)


def _steps_between(state: int, later: int, increment: int) -> int:
    """Return how many steps of PCG64 lead from one state to another.

    A step is ``state * multiplier + increment`` modulo 2**128. The answer is found bit by bit from the lowest, as the
    inverse of the jump in Brown, F. B. (1994), "Random number generation with arbitrary strides", Transactions of
    the American Nuclear Society 71: in as many rounds as it has bits.
    """
    multiplier, steps, bit = _PCG64_MULTIPLIER, 0, 1
    while state != later and bit <= _128_BITS:
        if (state ^ later) & bit:
            state = (state * multiplier + increment) & _128_BITS
            steps |= bit
        increment = (multiplier + 1) * increment & _128_BITS
        multiplier = multiplier * multiplier & _128_BITS
        bit <<= 1
    return steps


def check_seed(seed: Any) -> int:
    """Return `seed` if it is an int that is not negative, of any size.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If it is not.
    """
    return check_count("seed", seed, least=0)
