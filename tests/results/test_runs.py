"""Stored runs from Python: found, chosen, opened, compared."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import crystallize
from crystallize import ArtifactPlugin, Experiment, Result, grid, treatment
from crystallize.errors import InvalidTypeError, InvalidValueError, StoreError, UnknownNameError
from crystallize.store.locks import ReadLock
from crystallize.store.retention import Removed, pruned_of, remove_artifacts


def store(
    name: str, value: float, replicates: int = 2, root: str = "data", strategy: str = "rerun"
) -> Result:
    def step(data: Any, ctx: Any) -> Any:
        ctx.record("loss", value + ctx["replicate"] + ctx.get("more", 0), tags={"fold": ctx["replicate"]})
        return data

    treatments = [treatment("high", {"more": 10})]
    return Experiment(
        lambda: 0, [step], name=name, treatments=treatments, seed=1, plugins=[ArtifactPlugin(root)]
    ).run(replicates=replicates, strategy=strategy)


def test_runs_are_light_records_of_what_is_stored_the_newest_last() -> None:
    results = [store("centre", value, replicates) for value, replicates in ((1, 2), (2, 4))]
    runs = crystallize.runs("centre")
    assert [run.path for run in runs] == [result.path for result in results]
    assert [(run.version, run.name, run.status, run.replicates) for run in runs] == [
        (0, "v0", "complete", 2),
        (1, "v1", "complete", 4),
    ]
    newest = runs[-1]
    assert newest.conditions == ("baseline", "high")
    assert newest.started is not None
    assert newest.when == newest.finished
    assert (newest.failed_outcomes, newest.pinned, newest.size) == (0, False, 0)
    assert newest.result().metrics.baseline.metrics == results[1].metrics.baseline.metrics
    assert [run.version for run in runs[:1]] == [0]
    assert "centre v1: complete" in repr(runs)


def test_how_long_a_run_took_is_not_told_of_one_that_was_resumed() -> None:
    store("centre", 1)
    (run,) = crystallize.runs("centre")
    assert run.took is not None
    assert run.took == run.finished - run.started
    metadata = run.path / "metadata.json"
    yesterday = (run.started - timedelta(days=1)).isoformat()
    metadata.write_text(json.dumps(json.loads(metadata.read_text()) | {"started": yesterday}))
    store("centre", 1, replicates=3, strategy="resume")
    (run,) = crystallize.runs("centre")
    assert (run.replicates, run.took) == (3, None)
    assert run.duration is not None
    assert run.duration < 3600 < (run.finished - run.started).total_seconds()


def test_what_was_measured_is_not_read() -> None:
    path = store("centre", 1).path
    assert path is not None
    (path / "journal.jsonl").write_text("{")
    assert [run.status for run in crystallize.runs("centre")] == ["complete"]
    assert len(crystallize.runs("centre").select(where="loss < 3")) == 0


def test_all_experiments_are_found_below_a_root_and_one_by_its_folder() -> None:
    for name, root in (("b", "data"), ("a", "data"), ("c", "kept")):
        store(name, 1, root=root)
    assert [run.experiment for run in crystallize.runs()] == ["a", "b"]
    assert [run.experiment for run in crystallize.runs(root_dir="kept")] == ["c"]
    assert [run.experiment for run in crystallize.runs(Path("kept/c"))] == ["c"]
    assert [run.version for run in crystallize.runs("kept/c/v0")] == [0]
    assert len(crystallize.runs(root_dir="nowhere")) == 0


def test_an_experiment_may_be_called_like_a_run() -> None:
    newest = [store("v2", 1), store("v2", 1)][-1]
    for name in ("v2", "data/v2", Path("data/v2"), "data/v2/v1"):
        assert crystallize.open_run(name).path == newest.path
    assert [run.version for run in crystallize.runs(Path("data/v2"))] == [0, 1]


def test_open_run_gives_the_newest_complete_run_or_the_one_that_is_asked_for() -> None:
    first, second = store("centre", 1), store("centre", 2, 3)
    third = store("centre", 3).path
    assert third is not None
    metadata = third / "metadata.json"
    metadata.write_text(metadata.read_text().replace('"complete"', '"interrupted"'))
    newest = crystallize.open_run("centre")
    assert newest.path == second.path
    assert str(newest.summary()) == str(second.summary())
    for opened in (
        crystallize.open_run("centre", 0),
        crystallize.open_run("centre", version=0),
        crystallize.open_run("data/centre/v0"),
        crystallize.open_run(Path("data/centre"), 0),
        crystallize.open_run("centre", 0, root_dir="data"),
        Result.load("centre", 0),
    ):
        assert opened.path == first.path


@pytest.mark.parametrize(
    ("action", "kind", "told"),
    [
        (
            lambda: crystallize.runs("cente"),
            UnknownNameError,
            r"Did you mean 'centre'\? There are runs of 'centre'$",
        ),
        (lambda: crystallize.open_run("cente"), UnknownNameError, "Did you mean 'centre'"),
        (lambda: crystallize.open_run(".."), UnknownNameError, "no run of '..' is stored"),
        (lambda: crystallize.open_run("kept/x", root_dir="no"), UnknownNameError, "There are no runs at all"),
        (lambda: crystallize.open_run("centre", 7), StoreError, "version 7 is not stored.*There is v0"),
        (lambda: crystallize.open_run("data/centre/v7"), StoreError, "version 7 is not stored"),
        (lambda: crystallize.open_run("data/centre/v0", 1), InvalidValueError, "is a run already"),
        (lambda: crystallize.open_run("centre", "newest"), InvalidTypeError, "or 'latest', got 'newest'"),
        (
            lambda: crystallize.open_run(Path("data/centre/v0").rename("crate")),
            UnknownNameError,
            "load_result",
        ),
        (lambda: crystallize.open_run("centre", -1), InvalidTypeError, "from 0 on"),
        (lambda: crystallize.open_run("centre", True), InvalidTypeError, "got True"),
        (lambda: crystallize.open_run(3), InvalidTypeError, "by its name or its folder, got 3"),
        (lambda: crystallize.runs("centre").select(status="done"), UnknownNameError, "no run is ever 'done'"),
        (
            lambda: crystallize.runs("centre").select(where="loss"),
            InvalidValueError,
            "a comparison is missing",
        ),
        (lambda: crystallize.runs("centre").select(where="los < 1"), UnknownNameError, "Did you mean 'loss'"),
    ],
)
def test_what_cannot_be_found_is_told_with_what_there_is(
    action: Any, kind: type[Exception], told: str
) -> None:
    store("centre", 1)
    with pytest.raises(kind, match=told):
        action()


def test_runs_are_chosen_by_several_things_at_once() -> None:
    for value in (1, 2, 3):
        store("centre", value)
    runs = crystallize.runs("centre")
    assert [run.version for run in runs.select(where=["baseline.loss > 1.5", "high.loss <= 12.5"])] == [1]
    assert [run.version for run in runs.select(where="loss > 13")] == [2]
    assert len(runs.select(status=["complete", "failed"], newer_than=timedelta(days=1))) == 3
    assert len(runs.select(older_than=timedelta(days=1))) == 0
    assert len(runs.select(larger_than=0)) == 0


def test_filters_take_numbers_beyond_all_floats_as_the_summary_does() -> None:
    def step(data: Any, ctx: Any) -> Any:
        sign = -1 if ctx["replicate"] else 1
        infinite = float("inf")
        return data, {"huge": 10**400, "low": -(10**400), "large": 1e308, "both": sign * infinite}

    result = Experiment(lambda: 0, [step], name="huge", seed=1).run(replicates=4)
    means = {row.metric: repr(row.mean) for row in result.summary().rows}
    assert means == {"huge": "inf", "low": "-inf", "large": "1e+308", "both": "nan"}
    runs = crystallize.runs("huge")
    holds = {
        where: bool(runs.select(where=where))
        for where in ("huge < 5", "huge > 1e308", "low < 5", "large == 1e308", "both > 0", "both < 0")
    }
    assert [where for where, found in holds.items() if found] == ["huge > 1e308", "low < 5", "large == 1e308"]


def test_the_mean_of_a_filter_is_that_of_the_summary_to_the_last_digit() -> None:
    def step(data: Any, ctx: Any) -> Any:
        for fold in range(3):
            ctx.record("score", ctx.rng.normal(), tags={"fold": fold})
        return data, {f"m{n}": ctx.rng.normal() * 10 ** (n % 5) for n in range(40)}

    rows = Experiment(lambda: 0, [step], name="digits", seed=1).run(replicates=9).summary().rows
    assert (
        len(crystallize.runs("digits").select(where=[f"{row.metric} == {row.mean!r}" for row in rows])) == 1
    )


def test_a_frame_of_several_runs_compares_them() -> None:
    pytest.importorskip("pandas")
    store("centre", 1)
    store("centre", 5, replicates=3)
    frame = crystallize.runs("centre").to_frame()
    assert list(frame.columns) == ["run", "replicate", "condition", "metric", "value", "fold"]
    assert frame.groupby(["run", "condition"])["value"].mean().to_dict() == {
        ("v0", "baseline"): 1.5,
        ("v0", "high"): 11.5,
        ("v1", "baseline"): 6.0,
        ("v1", "high"): 16.0,
    }
    of_one = crystallize.open_run("centre", 1).to_frame()
    assert frame[frame["run"] == "v1"].drop(columns="run").reset_index(drop=True).equals(of_one)
    store("other", 1)
    assert list(crystallize.runs().to_frame()["run"].unique()) == ["centre/v0", "centre/v1", "other/v0"]
    assert list(crystallize.runs().select(status="failed").to_frame().columns) == list(frame.columns)[:5]


def test_a_tag_and_a_factor_that_are_called_run_stand_beside_the_names_of_the_runs() -> None:
    pytest.importorskip("pandas")

    def step(data: Any, ctx: Any, run: int = 0) -> Any:
        ctx.record("loss", run * 10, tags={"run": f"tag {run}"})
        return data

    experiment = Experiment(lambda: 0, [step], name="runs", treatments=grid(run=[1, 2]), seed=1)
    experiment.run(replicates=1)
    frame = crystallize.runs("runs").to_frame().astype(object)
    assert frame[["run", "factor:run", "tag:run", "value"]].iloc[1:].values.tolist() == [
        ["v0", 1, "tag 1", 10],
        ["v0", 2, "tag 2", 20],
    ]


def test_a_run_that_waits_for_its_place_is_found_by_its_name() -> None:
    path = store("centre", 1).path
    assert path is not None
    path.rename(path.with_name(".v0.1-a-0.old"))  # as it is while another run takes its place
    assert crystallize.open_run("centre").metrics.baseline.metrics["loss"] == [1, 2]


MAKES = """
import sys
from crystallize import Experiment
def step(data, ctx):
    if ctx["replicate"] == 1:
        print(flush=True)
        sys.stdin.read()
    return data
Experiment(lambda: 0, [step], name="centre").run(replicates=3)
"""


@pytest.mark.usefixtures("warm_processes")
def test_a_run_is_running_as_long_as_its_process_lives_and_interrupted_after_a_kill() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", MAKES],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as maker:
        assert maker.stdout is not None
        maker.stdout.readline()
        before = sorted(Path("data/centre").iterdir())
        assert [run.status for run in crystallize.runs("centre")] == ["running"]
        maker.kill()
        maker.wait()
    assert [run.status for run in crystallize.runs("centre")] == ["interrupted"]
    assert sorted(Path("data/centre").iterdir()) == before, "to look is to change nothing"


def test_the_size_is_what_is_there_also_of_a_run_that_never_came_to_its_end() -> None:
    def step(data: Any, ctx: Any) -> Any:
        ctx.artifacts.write("a", bytes(500))
        if ctx["replicate"] == 1:
            raise KeyboardInterrupt
        return data

    with pytest.raises(KeyboardInterrupt):
        Experiment(lambda: 0, [step], name="centre").run(replicates=3)
    assert [(run.status, run.size) for run in crystallize.runs("centre")] == [("interrupted", 1000)]


def test_the_size_counts_all_that_is_there_after_some_conditions_were_resumed() -> None:
    def write(data: Any, ctx: Any) -> Any:
        ctx.artifacts.write("a", bytes(1000 if ctx["condition"] == "large" else 1))
        return data, {"value": 1}

    large = treatment("large", lambda ctx: None)
    experiment = Experiment(lambda: 0, [write], name="sizes", treatments=[large])
    experiment.run(replicates=2)
    experiment.run(replicates=3, treatments=[], strategy="resume")
    (stored,) = crystallize.runs("sizes")
    assert (stored.conditions, stored.size) == (("baseline",), 2003)


def test_the_size_is_right_after_a_pruned_run_was_resumed() -> None:
    def step(data: Any, ctx: Any) -> Any:
        ctx.artifacts.write("a", bytes(500))
        if ctx["replicate"] == 2 and Path("interrupt").exists():
            raise KeyboardInterrupt
        return data

    experiment = Experiment(lambda: 0, [step], name="centre", seed=1)
    path = experiment.run(replicates=3).path
    assert path is not None
    assert remove_artifacts(path) == Removed(3, 1500)
    assert crystallize.runs("centre")[0].size == 0
    Path("interrupt").touch()
    with pytest.raises(KeyboardInterrupt):
        experiment.run(replicates=3, strategy="resume")
    assert (crystallize.runs("centre")[0].size, pruned_of(path)) == (1500, Removed(0, 0))
    Path("interrupt").unlink()
    experiment.run(replicates=3, strategy="resume")
    assert (crystallize.runs("centre")[0].size, pruned_of(path)) == (1500, Removed(0, 0))
    experiment.run(replicates=3, strategy="resume")  # nothing is owed
    assert remove_artifacts(path, smallest=500) == Removed(3, 1500)


def test_reading_a_run_waits_for_no_reader_and_a_copy_of_a_store_is_a_store() -> None:
    path = store("centre", 1).path
    assert path is not None
    reader = ReadLock(path / "metadata.json")
    shutil.copytree("data", "copy")
    assert crystallize.open_run("centre", root_dir="copy").metrics.baseline.metrics["loss"] == [1, 2]
    assert crystallize.open_run("centre").replicates == 2
    reader.release()
