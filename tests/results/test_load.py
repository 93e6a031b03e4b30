"""A stored run as a Result: what of it is there, and what says that it is not."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

import crystallize
from crystallize import (
    Artifact,
    ArtifactPlugin,
    Experiment,
    FrozenContext,
    Hypothesis,
    PipelineStep,
    Result,
    paired_t_test,
    pipeline_step,
    treatment,
)
from crystallize.errors import RunFailedError, StoreError
from crystallize.results.load import load_result, load_run, open_run
from crystallize.results.measured import MeasuredRun
from crystallize.store.locks import FileLock, lock_of


class Fit(PipelineStep):
    def __init__(self, out: Artifact) -> None:
        self.out = out

    def __call__(self, data: Any, ctx: FrozenContext) -> Any:
        replicate = ctx["replicate"]
        self.out.write(b"abc" * replicate)
        if replicate == ctx["fails"]:
            raise ValueError("bad split")
        if replicate % 2:
            ctx.metrics.add("odd", [-0.0, math.nan, math.inf, 2**70][replicate % 4])
        for epoch in range(replicate):
            ctx.metrics.add("curve", epoch / 3)
        return data, {"loss": replicate + ctx["shift"] + ctx.rng.random(), "label": f"n{replicate}"}


def run(replicates: int = 6, fails: int | None = 3) -> Result:
    out = Artifact("model.bin")
    return Experiment(
        lambda: None,
        [Fit(out)],
        name="demo",
        outputs=[out],
        initial_ctx={"shift": 0.0, "fails": None},
        treatments=[treatment("low", {"shift": -1.0, "fails": fails}), treatment("high", {"shift": 1.0})],
        hypotheses=[Hypothesis(paired_t_test(), metrics="loss", name="lower")],
        seed=3,
    ).run(replicates=replicates)


def stored(**options: Any) -> tuple[Result, Path]:
    result = run(**options)
    assert result.path is not None
    return result, result.path


def without_journal(**options: Any) -> tuple[Result, Path]:
    """A run as another tool may have written it: what is left is in results.json."""
    result, path = stored(**options)
    (path / "journal.jsonl").unlink()
    return result, path


def by_replicate(result: Result) -> dict[str, dict[str, str]]:
    return {
        name: {
            metric: repr(list(column.by_replicate()))
            for metric, column in result.condition(name).columns.items()
        }
        for name in result.conditions
    }


def test_a_stored_run_is_the_result_that_it_returned() -> None:
    result, path = stored()
    loaded = load_result(path)
    assert loaded.path == path
    assert loaded == result
    assert loaded.to_json() == result.to_json()
    assert by_replicate(loaded) == by_replicate(result)
    assert list(map(repr, loaded.provenance)) == list(map(repr, result.provenance))
    assert loaded.errors == result.errors
    assert loaded.artifacts == result.artifacts
    assert loaded.to_frame().to_string() == result.to_frame().to_string()
    assert str(loaded.summary()) == str(result.summary())
    assert repr(loaded) == repr(result)


def of_values(*values: Any, seed: int = 1, tag: str = "a", reads: Any = 0, shift: float = 1.0) -> Result:
    """Return the result of a run that records each of the values in a replicate of its own, and no None."""

    def record(data: Any, ctx: FrozenContext) -> Any:
        if values[ctx["replicate"]] is not None:
            ctx.record("value", values[ctx["replicate"]], tags={"tag": tag})
        return data, {"loss": ctx["read"] * 0 + ctx.rng.random() + ctx.get("shift", 0.0)}

    return Experiment(
        lambda: None,
        [record],
        name="values",
        initial_ctx={"read": reads},
        treatments=[treatment("up", {"shift": shift})],
        hypotheses=[Hypothesis(paired_t_test(), metrics="loss")],
        seed=seed,
    ).run(replicates=len(values))


def test_results_are_equal_if_they_hold_the_same() -> None:
    result = of_values(1, math.nan, None)
    assert result.path is not None
    again = of_values(1, math.nan, None)
    assert again.path != result.path
    assert again == result == crystallize.open_run(result.path)
    assert result != result.to_dict()


class Point(NamedTuple):
    x: float
    y: float


class Level(IntEnum):
    LOW = 1


def test_of_a_value_that_json_has_no_type_for_what_it_shows_is_stored() -> None:
    values = (
        pd.Series([1.5, math.nan], index=["a", "b"]),
        np.ma.array([1, 2], mask=[False, True]),
        OrderedDict(b=1, a=[math.inf]),
        Point(1, 2.5),
        Level.LOW,
        {3}.__iter__,
    )
    result = of_values(*values)
    assert result.path is not None
    stored = crystallize.open_run(result.path)
    assert stored == result
    assert stored.to_json() == result.to_json()
    shown = [[1.5, math.nan], [1, None], {"b": 1, "a": [math.inf]}, [1, 2.5], 1, repr(values[-1])]
    assert repr(stored.metrics.baseline.metrics["value"]) == repr(shown)
    assert stored.summary().identical == result.summary().identical


@pytest.mark.parametrize(
    "other",
    [
        lambda: of_values(1.0, math.nan, None),
        lambda: of_values(True, math.nan, None),
        lambda: of_values(1, math.inf, None),
        lambda: of_values(1, None, math.nan),
        lambda: of_values(1, math.nan, None, None),
        lambda: of_values(1, math.nan, None, seed=2),
        lambda: of_values(1, math.nan, None, tag="b"),
        lambda: of_values(1, math.nan, None, reads=False),
        lambda: of_values(1, math.nan, None, shift=2.0),
    ],
)
def test_results_differ_in_a_value_its_type_its_replicate_a_seed_a_tag_and_what_a_step_has_read(
    other: Any,
) -> None:
    assert of_values(1, math.nan, None) != other()


def test_results_without_a_journal_differ_in_the_replicate_of_a_value() -> None:
    loaded = []
    for values in ((1, 2, None), (1, None, 2), (1, 2, None)):
        path = of_values(*values).path
        assert path is not None
        (path / "journal.jsonl").unlink()
        loaded.append(load_result(path))
    assert loaded[0] != loaded[1]
    assert loaded[0] == loaded[2]


class Kernel:
    """A parameter that JSON has no form for, and that has changed by the time that the run is over."""

    calls = 0

    def __repr__(self) -> str:
        return f"Kernel({self.calls})"


@pipeline_step()
def act(data: Any, ctx: FrozenContext, *, kernel: Any, labels: Any, plain: Any, shift: float = 0.0) -> Any:
    kernel.calls += 1
    [ctx.get(key) for key in ("text", "number", "missing", "password")]
    ctx.rng.random()
    ctx.artifacts.write("a.bin", b"a")
    ctx.add("more", np.zeros(3))
    ctx.record("early", 1.0)
    if ctx["replicate"] == 1 and shift:
        raise ValueError("bad\nluck")
    return data, {"loss": 1}


TREES = (
    "condition > replicate > step",
    "replicate > condition > step",
    "condition > replicate",
    "replicate > condition",
)


def acted(execution: str = "serial", **options: Any) -> Result:
    """Return the result of a run of steps with parameters of many kinds, which do all that a record tells of."""
    parameters = {
        "kernel": Kernel(),
        "labels": {"x", "y", "z", "w"},
        "plain": {"a": (1, [None, math.nan, -0.0, 2**70, "é"]), 3: np.float32(0.5)},
    }
    return Experiment(
        lambda ctx: ctx["number"],
        [act(**parameters), lambda data: data],
        name="tree",
        initial_ctx={"text": "'\"\n", "number": math.inf, "password": "hunter2"},
        treatments=[treatment("low", {"shift": -1.0}), treatment("set", lambda ctx: ctx.add("shift", 0.0))],
        execution=execution,
        seed=3,
        **options,
    ).run(replicates=3)


@pytest.mark.parametrize("execution", ["serial", "process"])
def test_the_tree_of_a_stored_run_is_the_live_ones_to_the_letter_in_all_formats(
    execution: str, capsys: Any, run_python: Any
) -> None:
    result = acted(execution)
    printed = []
    for tree in TREES:
        result.print_tree(tree)
        printed.append(capsys.readouterr().out)
    code = "import crystallize, sys\nfor tree in sys.argv[2:]: crystallize.open_run(sys.argv[1]).print_tree(tree)"
    elsewhere = run_python(code, str(result.path), *TREES, env={"PYTHONHASHSEED": "5"})
    assert elsewhere.stdout == "".join(printed)
    assert "kernel='Kernel(0)'" in printed[0]
    assert "failed: ValueError: bad\nluck (condition 'low', replicate 1, step 'ActStep')" in printed[3]
    assert "draws from rng; adds more='<ndarray float64[3]>'; records early, loss; writes a.bin" in printed[1]
    assert "hunter2" not in printed[0]


def test_the_tree_of_a_run_that_was_stopped_is_the_same_from_disk_and_tells_what_was_not_measured() -> None:
    with pytest.raises(RunFailedError) as stopped:
        acted(on_error="stop")
    (run,) = crystallize.runs("tree")
    assert run.result().provenance.tree().splitlines().count("    not measured") == 3
    assert [run.result().to_dict()[key] for key in ("replicates", "arrived")] == [3, 2]
    with pytest.raises(RunFailedError, match="1 of 6 outcomes"):
        run.result().raise_for_errors()
    assert [run.result().provenance.tree(tree) for tree in TREES] == [
        stopped.value.result.provenance.tree(tree)  # type: ignore[attr-defined]
        for tree in TREES
    ]


def test_a_run_that_was_broken_off_before_its_rule_had_decided_has_as_many_replicates_as_live() -> None:
    def stop(data: Any, ctx: FrozenContext) -> Any:
        if ctx["replicate"] == 2:
            raise KeyboardInterrupt
        return data, {"loss": ctx.rng.random() + ctx.get("shift", 0.0)}

    experiment = Experiment(
        lambda: None, [stop], name="watched", treatments=[treatment("up", {"shift": 1.0})], seed=1
    )
    with pytest.raises(KeyboardInterrupt) as stopped:
        experiment.run(stop_when=crystallize.decided("loss", max=9))
    found = crystallize.open_run("watched", 0)
    assert (found.arrived, found.replicates) == (2, 9)
    assert found == stopped.value.result  # type: ignore[attr-defined]
    assert "2 of 9 replicates" in str(found.summary())


def test_a_run_without_a_journal_is_read_as_far_as_its_results_go() -> None:
    result, path = without_journal()
    loaded = load_result(path)
    assert loaded != result
    for what in ("experiment", "replicates", "master_seed", "conditions", "artifacts"):
        assert getattr(loaded, what) == getattr(result, what)
    assert by_replicate(loaded) == by_replicate(result)
    assert str(loaded.summary()) == str(result.summary())
    assert loaded.to_frame().to_string() == result.to_frame().to_string()


def test_what_the_hypotheses_found_is_stored_and_can_be_found_again() -> None:
    result, path = stored()
    assert str(load_result(path).get_hypothesis("lower")) == str(result.get_hypothesis("lower"))
    metrics = load_result(path).metrics
    again = Hypothesis(paired_t_test(), metrics="loss", name="lower").evaluate(
        metrics.baseline, metrics.treatments
    )
    assert again == result.get_hypothesis("lower")


def test_without_a_journal_nobody_knows_why_an_outcome_failed() -> None:
    result, path = without_journal()
    loaded = load_result(str(path))
    assert [error[:2] for error in loaded.errors] == [error[:2] for error in result.errors] == [(3, "low")]
    with pytest.raises(RunFailedError, match=r"1 of 18 outcomes.*why is not stored.*'low', replicate 3"):
        loaded.raise_for_errors()


@pytest.mark.parametrize(
    "ask",
    [
        lambda result: result.provenance,
        lambda result: result.print_tree(),
    ],
)
def test_without_a_journal_provenance_says_that_it_is_not_stored(ask: Any) -> None:
    _, path = without_journal(replicates=1)
    with pytest.raises(StoreError, match=r"of experiment 'demo' is not stored") as caught:
        ask(load_result(path))
    assert str(path) in str(caught.value)


def test_without_a_journal_seeds_are_not_known() -> None:
    _, path = without_journal(replicates=2)
    assert load_result(path).seeds == {name: [None, None] for name in ("baseline", "low", "high")}


def test_a_stored_run_goes_on_as_json() -> None:
    _, path = without_journal()
    document = json.loads(load_result(path).to_json())
    assert document["conditions"]["low"]["errors"][0]["replicate"] == 3
    assert len(document["artifacts"]) == 18


@pytest.mark.parametrize("content", ["", "[1]", '[{"name": "h"}]', '{"a": ', "[null]"])
def test_a_damaged_file_of_hypotheses_is_named(content: str) -> None:
    _, path = without_journal(replicates=1)
    (path / "hypotheses.json").write_text(content)
    with pytest.raises(StoreError, match=r"hypotheses of a run found cannot be read.*hypotheses\.json"):
        load_result(path)


# -- what cannot be read --------------------------------------------------------------------------------------------


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no run is stored here"):
        load_result(tmp_path / "missing")


@pytest.mark.parametrize("read", [load_result, MeasuredRun])
def test_a_run_with_the_journal_of_another_one_is_not_read(read: Callable[[Path], Any]) -> None:
    (_, other), (_, path) = stored(replicates=1), stored(replicates=1)
    shutil.copy(other / "journal.jsonl", path)
    told = r"the journal is that of another run.*v1/journal\.jsonl.*Put the one back.*v1/metadata\.json"
    with pytest.raises(StoreError, match=told):
        read(path)


@pytest.mark.parametrize("status", ["interrupted", "failed", "running", "complete"])
def test_a_run_without_results_says_how_it_ended(status: str) -> None:
    _, path = without_journal(replicates=1)
    metadata = path / "metadata.json"
    metadata.write_text(metadata.read_text().replace('"complete"', f'"{status}"'))
    (path / "high" / "results.json").unlink()
    ended = "interrupted" if status == "running" else status  # nobody makes it
    with pytest.raises(StoreError, match=f"'demo' is {ended} and has no results"):
        load_result(path)


@pytest.mark.parametrize("written", [None, b"", b'{"sum":"'])
def test_a_run_that_has_just_begun_is_empty_and_one_that_was_killed_then_has_no_results(
    written: bytes | None,
) -> None:
    result, path = without_journal(replicates=3)
    metadata = path / "metadata.json"
    running = metadata.read_text().replace('"complete"', '"running"')
    for condition in result.conditions:
        (path / condition / "results.json").unlink()
    if written is not None:
        (path / "journal.jsonl").write_bytes(written)
    maker = FileLock(lock_of(path))
    maker.acquire()
    metadata.unlink()
    with pytest.raises(StoreError, match="A run has just begun here"):
        load_result(path)
    metadata.write_text(running)
    begun = load_result(path)
    assert (begun.conditions, begun.replicates, begun.arrived) == (result.conditions, 3, 0)
    assert (begun.errors, begun.artifacts, begun.metrics.baseline.metrics) == ([], [], {})
    assert "0 of 3 replicates" in str(begun.summary())
    maker.leave()
    with pytest.raises(StoreError, match="'demo' is interrupted and has no results"):
        load_result(path)


@pytest.mark.parametrize("key", ["replicates", "conditions", "master_seed"])
@pytest.mark.parametrize("value", [None, "x", {}])
def test_metadata_that_do_not_tell_what_ran(key: str, value: Any) -> None:
    _, path = without_journal(replicates=1)
    metadata = path / "metadata.json"
    metadata.write_text(json.dumps(json.loads(metadata.read_text()) | {key: value}))
    with pytest.raises(StoreError, match=r"(do not tell|are damaged).*metadata\.json"):
        load_result(path)


def test_results_with_more_values_than_the_run_had_replicates() -> None:
    _, path = without_journal(replicates=1)
    (path / "low" / "results.json").write_text('{"metrics": {"loss": [1, 2]}}')
    with pytest.raises(StoreError, match=r"low/results\.json"):
        load_result(path)


def test_more_replicates_than_left_a_trace_are_not_believed() -> None:
    _, path = without_journal(replicates=1)
    metadata = path / "metadata.json"
    metadata.write_text(json.dumps(json.loads(metadata.read_text()) | {"replicates": 10**9}))
    with pytest.raises(StoreError, match=r"1000000000 replicates, and the results have 2 values"):
        load_result(path)


@pytest.mark.parametrize("name", ["../outside", "/outside", "..", "baseline/..", "replicate_0"])
def test_a_condition_that_leads_elsewhere_is_an_error(name: str) -> None:
    _, path = without_journal(replicates=1)
    metadata = path / "metadata.json"
    conditions = {"baseline": {}, name: {}}
    metadata.write_text(json.dumps(json.loads(metadata.read_text()) | {"conditions": conditions}))
    with pytest.raises(StoreError, match=r"damaged.*metadata\.json"):
        load_result(path)


@pytest.mark.parametrize("place", ["low", "low/results.json"])
def test_results_behind_a_link_are_not_read(place: str, tmp_path: Path) -> None:
    _, path = without_journal(replicates=1)
    (path / place).rename(tmp_path / "outside")
    (path / place).symlink_to(tmp_path / "outside")
    with pytest.raises(StoreError, match="link"):
        load_result(path)


def test_a_pipe_in_the_place_of_results_does_not_hang() -> None:
    _, path = without_journal(replicates=1)
    (path / "low" / "results.json").unlink()
    os.mkfifo(path / "low" / "results.json")
    with pytest.raises(StoreError, match="a pipe"):
        load_result(path)


AGAIN = """
import sys
from crystallize import ArtifactPlugin, Experiment
one = [ArtifactPlugin(versioned=False)]
for value in range(40):
    Experiment(lambda: 0, [lambda data: (data, {"x": value})], name="exp", seed=value, plugins=one).run(replicates=2)
"""


@pytest.mark.usefixtures("warm_processes")
def test_a_run_that_is_shown_while_others_take_its_place_is_one_run() -> None:
    def record(data: Any) -> Any:
        return data, {"x": 0}

    one = [ArtifactPlugin(versioned=False)]
    run = Experiment(lambda: 0, [record], name="exp", seed=0, plugins=one).run(replicates=2).path
    assert run is not None
    seen = 0
    with subprocess.Popen([sys.executable, "-c", AGAIN]) as writer:
        while writer.poll() is None:
            result, metadata = load_run(run)
            seed = result.master_seed
            assert result.metrics.baseline.metrics["x"] == [seed, seed]
            assert metadata["master_seed"] == seed
            seen += 1
    assert writer.returncode == 0
    assert seen
    Experiment(lambda: 0, [lambda data: data], name="exp", plugins=one).run()
    assert [path.name for path in run.parent.iterdir()] == ["v0"]  # what was read last is gone too


@pytest.mark.parametrize("gap", range(4))
@pytest.mark.parametrize("read", [partial(load_result, "data/exp/v0"), partial(open_run, "exp")])
def test_a_run_is_found_whenever_another_one_takes_its_place(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    gap: int,
    read: Callable[[], Result],
) -> None:
    made = [
        Experiment(lambda: 0, [lambda data: data], name=name, seed=seed).run().path
        for seed, name in enumerate(("old", "new"))
    ]
    experiment = Path("data/exp")
    run, staging, old = (experiment / name for name in ("v0", ".v0.1-a-0", ".v0.1-a-0.old"))
    swap: dict[int, Callable[[], object]] = {}
    looks = 0

    def looking(look: Callable[..., Any]) -> Callable[..., Any]:
        def after_what_is_due(*place: Any, **options: Any) -> Any:
            nonlocal looks
            looks += 1
            while (step := swap.pop(looks, None)) is not None:
                looks += 1000  # what a step looks at does not count
                step()
                looks -= 1000
            return look(*place, **options)

        return after_what_is_due

    for name in ("lstat", "stat", "open", "listdir", "scandir"):
        monkeypatch.setattr(os, name, looking(getattr(os, name)))
    caplog.clear()
    begin, seeds = 0, set()
    while not swap:  # it begins so late that the run is read before
        begin += 1
        shutil.rmtree(experiment, ignore_errors=True)
        for source, target in zip(made, (run, staging), strict=True):
            assert source is not None
            shutil.copytree(source, target)
        looks = 0
        steps = (partial(run.rename, old), partial(staging.rename, run), partial(shutil.rmtree, old))
        swap |= {begin + number * (gap + 1): step for number, step in enumerate(steps)}
        seeds.add(read().master_seed)
        if len(swap) < len(steps):
            swap.clear()
    assert seeds == {0, 1}
    assert not caplog.messages


def test_lines_that_are_damaged_are_told(caplog: pytest.LogCaptureFixture) -> None:
    path = run(fails=None).path
    assert path is not None
    caplog.clear()
    load_result(path)
    assert not caplog.messages
    journal = path / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    places = [place for place, line in enumerate(lines) if b'"seconds"' in line]
    told = {1: f"line {places[3] + 1} is damaged, and counts as not written"}
    first_five = ", ".join(str(place + 1) for place in places[3:8])
    told[7] = f"lines {first_five} and 2 more are damaged, and count as not written"
    for count, message in told.items():
        for place in places[3 : 3 + count]:
            lines[place] = lines[place].replace(b'"seconds"', b'"Seconds"')
        journal.write_bytes(b"".join(lines))
        caplog.clear()
        load_result(path)
        assert caplog.messages == [f"{journal}: {message}"]
