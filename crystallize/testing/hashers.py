"""What every hasher owes, as tests."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from itertools import combinations
from typing import Any, ClassVar

import pytest

from crystallize.errors import UnhashableContentError
from crystallize.hashing.content import hash_with
from crystallize.hashing.lookup import hasher_of
from crystallize.utils.pickling import pack

_IN_ANOTHER_PROCESS = """
import pickle, sys
from crystallize.utils.pickling import unpack
hash_with, hasher_for, values = unpack(*pickle.load(sys.stdin.buffer))
print(*(hash_with(hasher_for, value) for value in values))
"""


class HasherContract:
    """Tests of a hasher: subclass it and give it the fixture ``hasher`` and the attributes `values` and `equal`.

    Give the subclass a name that pytest collects.

    Attributes
    ----------
    values : sequence, or method that returns one
        Objects of the hasher's types. Each differs from all the others in something that counts.
    equal : sequence of pairs, or method that returns one
        Objects that are to count as the same, though they were made in another way: in another order, in other memory.
    bad_values : sequence, or method that returns one
        Objects of the hasher's types whose content nobody can know, as of one that holds an open file.

    Examples
    --------
    >>> from collections import Counter
    >>> class TestBag(HasherContract):
    ...     values = [Counter(), Counter("a"), Counter("ab")]
    ...     equal = [(Counter("ab"), Counter("ba"))]
    ...
    ...     @pytest.fixture
    ...     def hasher(self):
    ...         return lambda bag: sorted(bag.elements())
    """

    values: ClassVar[Sequence[Any] | Callable[..., Sequence[Any]]] = ()
    equal: ClassVar[Sequence[tuple[Any, Any]] | Callable[..., Sequence[tuple[Any, Any]]]] = ()
    bad_values: ClassVar[Sequence[Any] | Callable[..., Sequence[Any]]] = ()

    def test_unequal_values_have_unequal_hashes(self, hasher: Any) -> None:
        """What counts is in what the hasher returns."""
        values = self._all_values()
        hashes = self._hashes(hasher, values)
        for (one, first), (other, second) in combinations(zip(values, hashes, strict=True), 2):
            assert first != second, f"{one!r} and {other!r} have one hash"

    def test_equal_values_have_equal_hashes(self, hasher: Any) -> None:
        """What does not count is not in it."""
        for pair in self._all_pairs():
            first, second = self._hashes(hasher, pair)
            assert first == second, f"{pair[0]!r} and {pair[1]!r} have two hashes"

    def test_a_hash_is_the_same_each_time(self, hasher: Any) -> None:
        """Nothing is used up by reading it, and nothing that was read before changes the hash."""
        values = self._all_values()
        assert self._hashes(hasher, values) == self._hashes(hasher, values)

    def test_a_copy_has_the_same_hash(self, hasher: Any) -> None:
        """Content counts, and never where an object lies in memory."""
        values = self._all_values()
        before = self._hashes(hasher, values)
        assert self._hashes(hasher, map(deepcopy, values)) == before, "a deep copy has another hash"
        assert self._hashes(hasher, pickle.loads(pickle.dumps(values))) == before, (
            "what was pickled has another hash"
        )

    def test_another_process_gives_the_same_hash(self, hasher: Any) -> None:
        """There, sets have another order (PYTHONHASHSEED), and objects other addresses."""
        values = [*self._all_values(), *(each for pair in self._all_pairs() for each in pair)]
        packed = pack((hash_with, _Lookup(hasher, values), values))
        payload = pickle.dumps(packed)
        seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", _IN_ANOTHER_PROCESS],
            input=payload,
            env=environment,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        assert done.stdout.decode().split() == self._hashes(hasher, values)

    def test_threads_share_it(self, hasher: Any) -> None:
        """It keeps no state between calls."""
        values = self._all_values()
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(lambda value: self._hashes(hasher, [value])[0], values * 8))
        assert found == self._hashes(hasher, values) * 8

    def test_a_value_that_hides_its_content_is_an_error(self, hasher: Any) -> None:
        """It is refused, and never counts as the same as all others of its class."""
        bad_values = self.bad_values
        for value in bad_values() if callable(bad_values) else bad_values:
            with pytest.raises(UnhashableContentError):
                pytest.fail(f"{value!r} was given the hash {self._hashes(hasher, [value])[0]}")

    # -- the means -----------------------------------------------------------------------------------------

    def _all_values(self) -> list[Any]:
        values = list(self.values() if callable(self.values) else self.values)
        assert values, f"{type(self).__name__}.values is empty: there is nothing to check"
        return values

    def _all_pairs(self) -> list[tuple[Any, Any]]:
        return list(self.equal() if callable(self.equal) else self.equal)

    @staticmethod
    def _hashes(hasher: Any, values: Iterable[Any]) -> list[str]:
        values = list(values)
        return [hash_with(_Lookup(hasher, values), value) for value in values]


class _Lookup:
    """Gives the hasher that is tested for the types of some values, and for others what is installed."""

    def __init__(self, hasher: Any, values: Iterable[Any]) -> None:
        self._hasher = hasher
        self._kinds = {type(value) for value in values}

    def __call__(self, kind: type) -> Any:
        return self._hasher if kind in self._kinds else hasher_of(kind)
