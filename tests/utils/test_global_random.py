"""The states of the random generators that a whole process shares."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest

from crystallize.utils.global_random import GLOBAL_GENERATORS


@pytest.fixture(params=["MT19937", "PCG64", "Philox", "SFC64"])
def bit_generator(request: pytest.FixtureRequest) -> Iterator[str]:
    """Have NumPy's global functions draw from a bit generator, as users of ``np.random.set_bit_generator`` do."""
    before = np.random.get_bit_generator()
    np.random.set_bit_generator(getattr(np.random, request.param)(3))
    yield request.param
    np.random.set_bit_generator(before)


def test_a_state_of_numpys_generator_is_put_back_whichever_it_is(bit_generator: str) -> None:
    shared = GLOBAL_GENERATORS["numpy.random"]
    before = shared.state()
    drawn = np.random.normal(size=3).tolist()  # an odd number of them leaves one for the next call
    assert shared.state() != before
    shared.restore(before)
    assert shared.state() == before
    assert np.random.normal(size=3).tolist() == drawn


@pytest.mark.parametrize("name", ["numpy.random", "random"])
def test_a_generator_is_fresh_until_somebody_draws(name: str) -> None:
    shared, draw = GLOBAL_GENERATORS[name], {"numpy.random": np.random.random, "random": random.random}[name]
    before = shared.state()
    {"numpy.random": np.random.seed, "random": random.seed}[name](5)
    assert shared.is_fresh(shared.state())
    draw()
    assert not shared.is_fresh(shared.state())
    shared.restore(before)
