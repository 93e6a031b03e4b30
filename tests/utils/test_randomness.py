"""Which generator belongs to which place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize.errors import InvalidTypeError, InvalidValueError
from crystallize.utils.randomness import SEED_RANGE, check_seed, draw_master_seed, generator, stream_key


def test_a_generator_is_pcg64_from_the_documented_seed_sequence() -> None:
    expected = np.random.Generator(np.random.PCG64(np.random.SeedSequence(42, spawn_key=(3, 1))))
    assert list(generator(42, 3, 1).random(4)) == list(expected.random(4))


def test_the_numbers_are_the_same_on_every_machine_and_in_every_version() -> None:
    assert generator(1, 2, 3).integers(0, 1000, 4).tolist() == [925, 89, 40, 228]
    assert generator(1, 2, stream_key("noise")).integers(0, 1000, 4).tolist() == [354, 203, 346, 877]


@given(seed=st.integers(0, 2**140), replicate=st.integers(0, 2**32), key=st.integers(0, 2**32 - 1))
def test_equal_places_have_equal_numbers(seed: int, replicate: int, key: int) -> None:
    assert list(generator(seed, replicate, key).random(3)) == list(generator(seed, replicate, key).random(3))


@given(name=st.text(), step=st.integers(0, 2**32 - 1))
def test_a_stream_never_has_the_key_of_a_step(name: str, step: int) -> None:
    key = stream_key(name)
    assert key == stream_key(name)
    assert 2**127 <= key < 2**128
    assert key != step


def test_master_seeds_are_drawn_from_the_range_that_numpy_takes() -> None:
    drawn = {draw_master_seed() for _ in range(50)}
    assert len(drawn) > 40
    assert all(0 <= seed < SEED_RANGE for seed in drawn)


@pytest.mark.parametrize("seed", [0, 7, 2**100, np.int64(5), np.uint8(3)])
def test_any_int_that_is_not_negative_is_a_seed(seed: Any) -> None:
    checked = check_seed(seed)
    assert checked == seed
    assert type(checked) is int


@pytest.mark.parametrize("seed", [True, 1.0, "1", None, [1], np.array([1, 2]), np.float64(1)])
def test_a_seed_of_another_type_is_refused(seed: Any) -> None:
    with pytest.raises(InvalidTypeError, match="seed is an int of at least 0"):
        check_seed(seed)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="seed is at least 0, got -1"):
        check_seed(-1)
