"""``crystallize diff``: what differs between two stored runs."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from crystallize import Experiment


@pytest.fixture
def changed(call, project) -> str:
    """Store a run of ``make`` beside an older one with another factor and other code; return the older one's folder."""
    assert call("run", "make").code == 0
    shutil.copytree("data/make/v0", "old")
    steps = project / "make" / "steps.py"
    steps.write_text(steps.read_text().replace("sum(data) * factor", "sum(data) * factor + 1"))
    config = project / "make" / "config.yaml"
    config.write_text(config.read_text().replace("factor: 2", "factor: 3"))
    assert call("run", "make").code == 0
    return "old"


def test_settings_code_and_paired_metrics_of_changed_runs_are_shown(call, changed):
    found = json.loads(call("diff", changed, "make", "--json").out)
    assert found["settings"] == [{"name": "conditions.bigger.settings.factor", "before": 2, "after": 3}]
    assert found["code"] == ["publish() in steps.py"]
    assert [found[part] for part in ("environment", "plugins", "seeds")] == [[], [], []]
    rows = {row["condition"]: row for row in found["metrics"]}
    assert rows["baseline"] == {
        "condition": "baseline",
        "metric": "total",
        "pairs": 3,
        "before": 6.0,
        "after": 7.0,
        "difference": 1.0,
        "largest": 1.0,
        "same": False,
    }
    assert rows["bigger"]["difference"] == 7.0


def test_the_text_is_at_most_80_columns_wide(call, changed):
    done = call("diff", changed, "make@v1")
    assert (done.code, done.err) == (0, "")
    assert "conditions.bigger.settings.factor: 2 -> 3" in done.out
    assert max(map(len, done.out.splitlines())) <= 80


def test_a_run_is_the_same_as_itself(call, project):
    assert call("run", "make").code == 0
    out = call("diff", "make", "data/make/v0").out
    assert out.count("no difference") == 7
    assert [line.split()[-2] for line in out.splitlines()[-2:]] == ["same", "same"]


def test_arrays_are_the_same_only_if_each_number_is(call, project):
    for last in (1.0, 2.0):
        long, close = np.arange(2000.0), np.array([1.0 + last * 1e-12])
        long[1000] = last
        metrics = {"long": long, "close": close, "equal": np.arange(2000.0)}
        Experiment(lambda: None, [lambda data, m=metrics: (data, m)], name="arrays", seed=1).run()
    found = json.loads(call("diff", "arrays@v0", "arrays", "--json").out)
    assert {row["metric"]: row["same"] for row in found["metrics"]} == {
        "long": False,
        "close": False,
        "equal": True,
    }


def test_other_seeds_give_no_pairs_but_a_difference_of_means(call, changed):
    assert call("run", "make", "--seed", "9").code == 0
    found = json.loads(call("diff", changed, "make", "--json").out)
    assert found["seeds"][0] == {"name": "master_seed", "before": 1, "after": 9}
    baseline = found["metrics"][0]
    assert (baseline["pairs"], baseline["difference"], baseline["largest"]) == (0, 1.0, None)


@pytest.mark.parametrize("seed", [1, 2])
def test_numbers_of_any_size_have_their_difference(call, project, seed):
    for master_seed, larger in ((1, 0), (seed, 1)):
        metrics = {"count": 2**60 + larger, "loss": (1 - larger) * 1.7e308}
        Experiment(
            lambda: None, [lambda data, m=metrics: (data, m)], name="large", seed=master_seed, replicates=2
        ).run()
    found = json.loads(call("diff", "large@v0", "large", "--json").out)
    assert {row["metric"]: row["difference"] for row in found["metrics"]} == {"count": 1.0, "loss": -1.7e308}
    assert {row["pairs"] for row in found["metrics"]} == {2 if seed == 1 else 0}


def test_what_was_read_of_other_experiments_differs_if_its_bytes_do(call, project):
    steps = project / "make" / "steps.py"
    assert [call("run", "use").code for _ in range(2)] == [0, 0]
    steps.write_text(steps.read_text().replace("sum(data) * factor", "sum(data) * factor + 1"))
    assert call("run", "use").code == 0
    same, other = (json.loads(call("diff", "use@v0", f"use@v{number}", "--json").out) for number in (1, 2))
    assert same["inputs"] == []
    assert other["code"] == []
    (change,) = other["inputs"]
    assert change["name"] == "make/total.json"
    assert [change[side].split(", run ")[0] for side in ("before", "after")] == ["v0", "v2"]


def test_more_replicates_have_no_other_seeds(call, project):
    for replicates in ("3", "5"):
        assert call("run", "make", "--replicates", replicates).code == 0
    found = json.loads(call("diff", "make@v0", "make@v1", "--json").out)
    assert found["settings"] == [{"name": "replicates", "before": 3, "after": 5}]
    assert found["seeds"] == []


@pytest.mark.parametrize("run", ["nowhere", "make@v7", "make@", "old/nothing"])
def test_a_run_that_is_not_there_is_an_error_without_a_traceback(call, changed, run):
    done = call("diff", run, "make")
    assert done.code == 2
    assert "Error:" in done.err
    assert "Traceback" not in done.err
