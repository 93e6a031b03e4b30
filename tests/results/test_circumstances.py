"""What has changed since a run, as the metadata of both tell."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from crystallize.results.circumstances import Change, Circumstances, compare_circumstances

METADATA: dict[str, Any] = {
    "signature": {
        "python": "3.11",
        "seed": 1,
        "steps": {
            "FitStep": {"code": {"steps.fit": "aa"}, "parameters": {"lr": 0.1}, "defaults": {}},
            "ScoreStep": {"code": {"steps.score": "bb"}, "parameters": {}, "defaults": {}},
        },
        "conditions": {"baseline": {"settings": {}}, "high": {"settings": {"lr": 1}}},
        "hypotheses": {"h": {"code": {"verifiers.v": "cc"}, "parameters": {"alpha": 0.05}}},
        "plugins": {"seed": {"version": "1", "settings": {"seed": 1, "auto_seed": True}}},
    },
    "code": {"git_commit": "abc", "dirty": False, "diff": None},
    "environment": {
        "python": "3.11.7",
        "implementation": "CPython",
        "platform": "Linux",
        "processor": "P",
        "cores": 8,
        "variables": {"OMP_NUM_THREADS": "1", "CRYSTALLIZE_STRICT_PLUGINS": "1"},
    },
    "numeric_libraries": [{"library": "openblas", "version": "0.3", "threads": 8, "architecture": "Zen"}],
    "execution": {"name": "serial", "settings": {}},
    "packages": {"numpy": "1.0", "left-behind": "2.0"},
}


def changed(*path: str, to: Any, **options: Any) -> Circumstances:
    """Compare metadata with the same in which one entry is another one."""
    now = copy.deepcopy(METADATA)
    place = now
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = to
    return compare_circumstances(METADATA, now, **options)


def test_nothing_has_changed_in_equal_metadata() -> None:
    assert not compare_circumstances(METADATA, METADATA)


@pytest.mark.parametrize(
    ("path", "to", "part", "found"),
    [
        (
            "signature/steps/FitStep/parameters/lr",
            0.2,
            "settings",
            Change("steps.FitStep.parameters.lr", 0.1, 0.2),
        ),
        ("signature/steps/FitStep/code/steps.fit", "zz", "code", Change("steps.fit", "aa", "zz")),
        (
            "signature/conditions/high/settings/lr",
            2,
            "settings",
            Change("conditions.high.settings.lr", 1, 2),
        ),
        (
            "signature/conditions/high/settings/lr",
            1.0,  # which equals 1, and a step may make something else of it
            "settings",
            Change("conditions.high.settings.lr", 1, 1.0),
        ),
        ("signature/plugins/seed/version", "2", "settings", Change("plugins.seed.version", "1", "2")),
        ("code/git_commit", "def", "code", Change("git commit", "abc", "def")),
        ("code/diff", "99", "code", Change("uncommitted changes", None, "99")),
        ("environment/python", "3.11.8", "environment", Change("python", "3.11.7", "3.11.8")),
        ("environment/processor", "Q", "environment", Change("processor", "P", "Q")),
        ("environment/variables/OMP_NUM_THREADS", "2", "environment", Change("OMP_NUM_THREADS", "1", "2")),
        ("packages/numpy", "1.1", "packages", Change("numpy", "1.0", "1.1")),
    ],
)
def test_a_change_is_told_with_what_was_and_what_is(path: str, to: Any, part: str, found: Change) -> None:
    assert changed(*path.split("/"), to=to) == Circumstances(**{part: [found]})


@pytest.mark.parametrize(
    ("path", "to"),
    [
        ("signature/seed", 2),  # it is run again with its own
        ("signature/plugins/seed/settings/seed", None),
        ("signature/hypotheses/h/parameters/alpha", 0.1),  # they measure nothing
        ("environment/cores", 2),  # how many threads there are says more
        ("environment/variables/CRYSTALLIZE_STRICT_PLUGINS", "0"),
        ("code/dirty", None),  # git was not there
        ("numeric_libraries", []),  # nothing had loaded them
    ],
)
def test_what_decides_no_metric_is_no_change(path: str, to: Any) -> None:
    assert not changed(*path.split("/"), to=to)


def test_hypotheses_count_where_they_are_what_differs() -> None:
    found = changed("signature", "hypotheses", "h", "parameters", "alpha", to=0.1, with_hypotheses=True)
    assert found.settings == [Change("hypotheses.h.parameters.alpha", 0.05, 0.1)]


def test_the_order_of_the_steps_counts() -> None:
    steps = METADATA["signature"]["steps"]
    found = changed("signature", "steps", to=dict(reversed(steps.items())))
    assert found.settings == [Change("steps", ["FitStep", "ScoreStep"], ["ScoreStep", "FitStep"])]


def test_conditions_that_were_not_run_again_are_no_change() -> None:
    assert not changed("signature", "conditions", to={"baseline": {"settings": {}}})


def test_the_threads_of_numeric_libraries_are_those_where_replicates_ran() -> None:
    found = changed("execution", to={"name": "process", "settings": {"threads_per_worker": 1}})
    assert found.environment == [Change("threads of numeric libraries", 8, 1)]


def test_another_kernel_of_a_numeric_library_is_a_change() -> None:
    library = METADATA["numeric_libraries"][0]
    found = changed("numeric_libraries", to=[library | {"architecture": "Haswell"}])
    assert found.environment == [Change("openblas", ["0.3 Zen"], ["0.3 Haswell"])]
    assert not changed("numeric_libraries", to=[library, library | {"version": "0.4"}])  # one more is loaded
    several = METADATA | {"numeric_libraries": [library, library | {"version": "0.2"}]}
    assert not compare_circumstances(several, METADATA)  # one less


def test_a_package_that_is_not_imported_now_is_looked_up_where_it_is_installed() -> None:
    import numpy

    before = {"packages": {"numpy": numpy.__version__, "no-such-thing": "1.0"}, "signature": {}}
    found = compare_circumstances(before, {"packages": {}, "signature": {}})
    assert found.packages == [Change("no-such-thing", "1.0", None)]


def test_of_a_run_that_was_resumed_a_change_since_any_session_counts_once() -> None:
    first = {"code": {"git_commit": "before"}, "packages": {"numpy": "0.9", "left-behind": "2.0"}}
    resumed = METADATA | {"earlier_sessions": [first, first]}
    assert compare_circumstances(resumed, METADATA) == Circumstances(
        code=[Change("git commit", "before", "abc")], packages=[Change("numpy", "0.9", "1.0")]
    )


def test_a_run_that_has_no_record_of_its_code_is_a_change() -> None:
    found = compare_circumstances({}, METADATA)
    assert found == Circumstances(code=[Change("what ran", "not recorded", None)])
