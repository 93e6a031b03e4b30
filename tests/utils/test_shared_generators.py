"""What draws from the generators of the whole process does so wherever it is made anew, and counts by their names."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from crystallize.hashing import content_hash
from crystallize.pipelines.cache.entry import pickled
from crystallize.utils.code import code_of
from crystallize.utils.fingerprint import fingerprint
from crystallize.utils.pickling import pack, unpack
from crystallize.utils.sharing import protect


def travelled(value: Any) -> Any:
    return unpack(*pack(value))


def kept(value: Any) -> Any:
    return pickled(value, None).load(lambda: None)


def copied(value: Any) -> Any:
    (found,) = protect(deque([value]))
    return found


SHARED = [random.gauss, np.random.normal]  # type: ignore[list-item]


def draws() -> Any:
    return [draw(0, 1) for draw in SHARED]


@pytest.mark.parametrize("again", [travelled, kept, copied])
def test_what_draws_from_them_is_seeded_with_them(again: Callable[[Any], Any]) -> None:
    random.seed(2)
    np.random.seed(2)
    found = again(SHARED)
    numbers = []
    for draw in (*SHARED, *found):
        random.seed(1)
        np.random.seed(1)
        numbers.append(draw(0, 1))
    assert numbers[:2] == numbers[2:]


@pytest.mark.parametrize("again", [travelled, kept, copied])
@pytest.mark.parametrize("kind", [random.Random, np.random.RandomState])
def test_a_generator_of_ones_own_is_copied_as_it_is(kind: Any, again: Callable[[Any], Any]) -> None:
    generator = kind(3)
    found = again(generator)
    assert found is not generator
    assert found.uniform(0, 1) == generator.uniform(0, 1)
    assert fingerprint(generator) != fingerprint(kind(3))


def test_how_far_they_were_drawn_makes_no_other_content_and_no_other_code() -> None:
    before = content_hash(SHARED), fingerprint(SHARED), code_of(draws)
    draws()
    assert (content_hash(SHARED), fingerprint(SHARED), code_of(draws)) == before
    assert content_hash(SHARED[:1]) != content_hash(SHARED[1:])
