"""Random streams: which generator belongs to which place of an experiment.

Every stream is derived from the master seed and its place by ``numpy.random.SeedSequence`` with a spawn key,
NumPy's published way to independent streams (see *Parallel random number generation* in NumPy's manual,
and O'Neill, M. E. (2015), "Developing a seed_seq alternative"). Nothing depends on the order of calls.
"""

from __future__ import annotations

import hashlib
import os
from operator import index
from typing import TYPE_CHECKING, Any

from crystallize.errors import InvalidTypeError, InvalidValueError

if TYPE_CHECKING:
    from numpy.random import Generator

SEED_RANGE = 2**32
"""Drawn seeds are integers in ``range(SEED_RANGE)``: what ``numpy.random.seed`` accepts."""


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


def check_seed(seed: Any) -> int:
    """Return `seed` if it is an int that is not negative, of any size.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If it is not.
    """
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise InvalidTypeError(f"seed is an int that is not negative, got {seed!r}")
    try:
        number = index(seed)
    except TypeError as error:  # an array has __index__ and more than one element
        raise InvalidTypeError(f"seed is an int that is not negative, got {seed!r}") from error
    if number < 0:
        raise InvalidValueError(f"seed is an int that is not negative, got {number}")
    return number
