import itertools
import math

import pytest

from crystallize import design, grid, integers, linear, log
from crystallize.errors import InvalidTypeError, InvalidValueError, UnknownNameError
from crystallize.experiments.designs import factorial


def two_level(count):
    return {chr(ord("a") + number): [-1, 1] for number in range(count)}


def codes(made):
    return [tuple(cell.values()) for cell in made.cells]


def is_orthogonal(rows):
    return all(sum(one * other for one, other in zip(a, b, strict=True)) == 0 for a, b in pairs(rows))


def pairs(rows):
    return itertools.combinations([*zip(*rows, strict=True), (1,) * len(rows)], 2)


# -- spread over ranges ----------------------------------------------------------------------------------------------


def test_each_part_of_each_range_has_one_cell_of_a_latin_hypercube():
    made = design("latin_hypercube", n=40, lr=log(1e-4, 1e-1), x=linear(-1, 3), depth=integers(2, 9), seed=3)
    assert sorted(int((cell.x + 1) / 4 * 40) for cell in made.cells) == list(range(40))
    assert sorted(int((math.log10(cell.lr) + 4) / 3 * 40) for cell in made.cells) == list(range(40))
    assert {
        depth: sum(cell.depth == depth for cell in made.cells) for depth in range(2, 10)
    } == dict.fromkeys(range(2, 10), 5)


def test_a_sobol_design_has_as_many_cells_in_each_quarter():
    made = design("sobol", n=16, x=linear(0, 1), y=linear(0, 1), kind=["p", "q"])
    quarters = [(cell.x < 0.5, cell.y < 0.5) for cell in made.cells]
    assert {quarter: quarters.count(quarter) for quarter in set(quarters)} == dict.fromkeys(
        itertools.product((True, False), repeat=2), 4
    )
    assert sum(cell.kind == "p" for cell in made.cells) == 8


@pytest.mark.parametrize("kind", ["latin_hypercube", "sobol"])
def test_a_seed_makes_the_same_design_each_time_and_another_seed_another(kind):
    def named(**options):
        return [each.name for each in design(kind, n=8, lr=log(0.001, 1), **options)]

    assert named() == named(seed=0) == named()
    assert named(seed=1) != named()


def test_levels_have_six_digits_so_that_names_stay_short():
    made = design("latin_hypercube", n=100, lr=log(1e-7, 1e3), x=linear(1000, 1000.001))
    assert all(cell.lr == float(f"{cell.lr:.6g}") for cell in made.cells)
    assert max(len(each.name) for each in made) <= 40
    assert all(1000 <= cell.x <= 1000.001 for cell in made.cells)


# -- in few cells ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factors", "n", "resolution"),
    [
        (3, 4, 3),
        (4, 8, 4),
        (5, 8, 3),
        (5, 16, 5),
        (6, 16, 4),
        (7, 8, 3),
        (8, 16, 4),
        (6, 32, 5),
        (8, 64, 5),
        (15, 16, 3),
    ],
)
def test_a_fraction_has_the_resolution_of_the_tables(factors, n, resolution):
    # Box, Hunter and Hunter (2005), "Statistics for Experimenters", table 6.22.
    rows = [[2 * part - 1 for part in row] for row in factorial.fractional(factors, n)]
    assert len(set(map(tuple, rows))) == n
    columns = list(zip(*rows, strict=True))
    words = (
        size
        for size in range(1, factors + 1)
        for chosen in itertools.combinations(columns, size)
        if abs(sum(map(math.prod, zip(*chosen, strict=True)))) == n
    )
    assert next(words) >= resolution


def test_the_half_fraction_of_three_factors_is_the_principal_one():
    assert {tuple(cell.values()) for cell in design("fractional", n=4, **two_level(3)).cells} == {
        (1, 1, 1),
        (1, -1, -1),
        (-1, 1, -1),
        (-1, -1, 1),
    }


def test_all_of_a_two_level_grid_is_a_fraction_too():
    assert set(codes(design("fractional", n=8, **two_level(3)))) == set(codes(grid(**two_level(3))))


@pytest.mark.parametrize(("factors", "n"), [(3, 4), (7, 8), (11, 12), (12, 16), (19, 20), (20, 24), (30, 32)])
def test_the_columns_of_a_plackett_burman_design_are_orthogonal_and_balanced(factors, n):
    rows = codes(design("plackett_burman", {f"f{number}": [-1, 1] for number in range(factors)}))
    assert len(rows) == n
    assert is_orthogonal(rows)


def test_a_central_composite_has_corners_ends_of_axes_and_the_centre_within_the_ranges():
    assert set(codes(design("central_composite", a=linear(-1, 1), b=log(0.01, 100)))) == {
        *itertools.product((-1, 1), (0.01, 100)),
        *((-1, 1.0), (1, 1.0), (0, 0.01), (0, 100)),
        (0, 1.0),
    }
    rotatable = design("central_composite", a=linear(-2, 2), b=linear(-2, 2), axial=2**0.5)
    assert {round(math.hypot(*row), 3) for row in codes(rotatable)} == {0.0, 2.0}


# -- mistakes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: design("sobol", n=12, x=linear(0, 1)), "Use n=8 or n=16"),
        (lambda: design("sobol", x=linear(0, 1)), "needs n"),
        (lambda: design("latin_hypercube", n=0, x=linear(0, 1)), "n is at least 1"),
        (lambda: design("latin_hypercube", n=9, x=integers(1, 3)), "twice. Have fewer cells"),
        (lambda: design("latin_hypercube", n=9), "design has no factors"),
        (lambda: design("latin_hypercube", n=9, condition=linear(0, 1)), "which the framework sets itself"),
        (lambda: design("fractional", n=6, **two_level(3)), "has one of 4, 8 cells, got n=6"),
        (lambda: design("fractional", **two_level(3)), "has one of 4, 8 cells, got n=None"),
        (lambda: design("fractional", n=4, a=[1, 2, 3], b=[1, 2], c=[1, 2]), "has two levels, and 'a' has 3"),
        (lambda: design("plackett_burman", n=28, **two_level(3)), "has one of 4, 8, 12, 16, 20 ... cells"),
        (lambda: design("plackett_burman", n=8, seed=[1, 2]), "takes no seed. If it is a factor, write"),
        (lambda: design("central_composite", x=linear(0, 1), axial=0.5), "axial is a number of at least 1"),
        (lambda: log(0, 1), "above zero"),
        (lambda: linear(2, 1), "from the smaller number to the larger"),
        (lambda: linear(0, math.inf), "finite ends"),
    ],
)
def test_a_design_that_cannot_be_made_is_refused(make, message):
    with pytest.raises(InvalidValueError, match=message):
        make()


def test_wrong_types_and_unknown_designs_are_refused():
    with pytest.raises(InvalidTypeError, match="is a range, and 'x' is"):
        design("central_composite", x=[1, 2])
    with pytest.raises(InvalidTypeError, match="a range of integers is an int"):
        integers(1.5, 3)
    with pytest.raises(InvalidTypeError, match="from a number to a number"):
        linear("a", 3)
    with pytest.raises(UnknownNameError, match="Did you mean 'latin_hypercube'"):
        design("latin_hyper_cube", n=3, x=linear(0, 1))


def test_factors_called_like_options_come_in_a_mapping():
    cells = design("plackett_burman", {"n": [1, 2], "seed": [3, 4], "kind": [5, 6]}).cells
    assert list(cells[0]) == ["n", "seed", "kind"]


def test_a_fixed_design_with_a_cell_twice_says_what_has_none() -> None:
    two = {factor: [0, 1] for factor in "abcd"}
    with pytest.raises(InvalidValueError, match="twice") as caught:
        design("plackett_burman", two, n=12)
    assert "seed" not in str(caught.value)
    assert "ranges" not in str(caught.value)
    assert "Write n=8, which has no cell twice, or design('fractional', ...)" in str(caught.value)
    assert len(design("plackett_burman", two, n=8)) == 8
    with pytest.raises(InvalidValueError, match=r"twice.*Take the corners alone") as caught:
        design("central_composite", x=linear(0, 1))
    assert "seed" not in str(caught.value)
