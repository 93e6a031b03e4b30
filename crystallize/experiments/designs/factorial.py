"""Classical designs in few cells: fractions of a two-level grid, Plackett and Burman's, and central composites."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from crystallize.errors import InvalidValueError

MOST_TRIALS = 20_000
"""How many generators are tried for a resolution before the next lower one."""

Row = tuple[float, ...]
"""For each factor, a part of the way from its low level (0) to its high one (1)."""


def fractional(factors: int, n: int | None) -> list[Row]:
    """Return a regular fraction of the two-level grid in `n` cells, of the highest resolution that is found, up to V.

    The first factors make a full grid; each other is the product of some of them, and any ``resolution - 1`` columns
    are independent (Box and Hunter (1961), "The 2^(k-p) fractional factorial designs", Technometrics 3).

    Raises
    ------
    InvalidValueError
        If `n` is no power of two above the number of factors, or no fraction.
    """
    if n is None or n & (n - 1) or not factors < n <= 2**factors:
        allowed = [2**power for power in range(1, factors + 1) if 2**power > factors]
        raise InvalidValueError(
            f"a fractional design of {factors} factors has one of {', '.join(map(str, allowed[:8]))} cells, got n={n}"
        )
    base = n.bit_length() - 1
    columns = [1 << place for place in range(base)]
    for resolution in (5, 4, 3):
        generators = _generators(columns, factors - base, base, resolution)
        if generators is not None:
            break
    assert generators is not None  # of resolution III there always are
    # Of an even number of factors, the product of the codes -1 and 1 is turned, so that all highs give a high.
    return [
        tuple(
            float((cell & column).bit_count() % 2 == column.bit_count() % 2)
            for column in (*columns, *generators)
        )
        for cell in range(n)
    ]


def _generators(columns: Sequence[int], count: int, base: int, resolution: int) -> list[int] | None:
    """Return columns that keep the resolution, or None if none are found; longer products are tried first."""
    candidates = [word for word in range(1, 1 << base) if word.bit_count() > 1]
    candidates.sort(key=lambda word: (-word.bit_count(), word))
    trials = 0

    def search(chosen: list[int], start: int) -> list[int] | None:
        nonlocal trials
        if len(chosen) == len(columns) + count:
            return chosen[len(columns) :]
        pairs = {one ^ other for one, other in itertools.combinations(chosen, 2)} if resolution > 3 else set()
        for place in range(start, len(candidates)):
            trials += 1
            if trials > MOST_TRIALS and resolution > 3:
                return None
            word = candidates[place]
            if word in pairs or (resolution > 4 and any(word ^ one in pairs for one in chosen)):
                continue
            found = search([*chosen, word], place + 1)
            if found is not None:
                return found
        return None

    return search(list(columns), 0)


def plackett_burman(factors: int, n: int | None) -> list[Row]:
    """Return a design for main effects in `n` cells, a multiple of four above the number of factors.

    The columns are those of a Hadamard matrix, by Paley's construction and Sylvester's doubling (Plackett and Burman
    (1946), "The design of optimum multifactorial experiments", Biometrika 33).

    Raises
    ------
    InvalidValueError
        If there is none of `n` cells.
    """
    sizes = (size for size in itertools.count(4, 4) if size > factors and _hadamard(size) is not None)
    size = next(sizes) if n is None else n
    matrix = _hadamard(size) if size > factors and size % 4 == 0 else None
    if matrix is None:
        allowed = ", ".join(map(str, itertools.islice(sizes, 5)))
        raise InvalidValueError(
            f"a Plackett-Burman design of {factors} factors has one of {allowed} ... cells, got n={n}"
        )
    return [tuple(float(code > 0) for code in row[1 : factors + 1]) for row in matrix]


def _hadamard(size: int) -> list[list[int]] | None:
    """Return a matrix of 1 and -1 with orthogonal columns, the first one all 1; None if these ways make none."""
    if size <= 2:
        return [[1]] if size == 1 else [[1, 1], [1, -1]]
    prime = size - 1
    if prime % 4 == 3 and all(prime % divisor for divisor in range(3, int(prime**0.5) + 1, 2)):
        squares = {place * place % prime for place in range(1, prime)}
        rows = [
            [1 if column == row or (column - row) % prime not in squares else -1 for column in range(prime)]
            for row in range(prime)
        ]
        return [[1] + [-1] * prime, *([1, *row] for row in rows)]
    half = _hadamard(size // 2) if size % 2 == 0 else None
    if half is None:
        return None
    return [[*row, *row] for row in half] + [[*row, *(-code for code in row)] for row in half]


def central_composite(factors: int, axial: float) -> list[Row]:
    """Return the corners of the grid, the two ends of each factor's axis, and the centre: for curved surfaces.

    Parameters
    ----------
    factors : int
        How many there are.
    axial : float
        How far the ends of the axes are from the centre, where corners are at 1; the ends, or the corners if they are
        further out, are at the ends of the ranges.
    """
    return [tuple((place / axial + 1) / 2 for place in row) for row in _coded(factors, axial)]


def _coded(factors: int, axial: float) -> Iterator[Row]:
    yield from itertools.product((-1.0, 1.0), repeat=factors)
    for factor, end in itertools.product(range(factors), (-axial, axial)):
        yield tuple(end if place == factor else 0.0 for place in range(factors))
    yield (0.0,) * factors
