"""Resuming: what is owed runs, nothing else, and the end is that of a run that nobody disturbed."""

from __future__ import annotations

import json
import logging
import os
import platform
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from crystallize import (
    Artifact,
    BasePlugin,
    Experiment,
    Hypothesis,
    Result,
    SeedPlugin,
    Treatment,
    hookimpl,
    open_run,
    paired_t_test,
    pipeline_step,
)
from crystallize.errors import PluginError, RunFailedError, StoreError, ValidationError
from crystallize.plugins.artifact import ArtifactPlugin
from crystallize.store.retention import pin

REPLICATES = 6


@pipeline_step()
def fit(data: Any, ctx: Any, model: Artifact, lr: float = 0.1) -> Any:
    condition, replicate = ctx["condition"], ctx["replicate"]
    with Path("ran").open("a") as marks:
        marks.write(f"{condition} {replicate}\n")
    if Path(f"stop-{replicate}").exists():
        raise KeyboardInterrupt
    model.write(f"{condition} {replicate} {lr}".encode())
    if Path(f"fail-{condition}-{replicate}").exists():
        raise ValueError("not today")
    ctx.record("loss", float(ctx.rng.normal()) + lr, tags={"fold": replicate})
    return data


def experiment(lr: float = 0.3, conditions: tuple[str, ...] = ("high",), **options: Any) -> Experiment:
    return Experiment(
        lambda ctx: ctx.rng.random(),
        [fit()],
        **{
            "name": "demo",
            "outputs": [Artifact("model.txt", alias="model")],
            "treatments": [Treatment(name, {"lr": lr}) for name in conditions],
            "hypotheses": [Hypothesis(paired_t_test(), metrics="loss", direction="min")],
            "replicates": REPLICATES,
            "seed": 5,
            "plugins": [ArtifactPlugin(versioned=True)],
            **options,
        },
    )


def ran() -> list[str]:
    """What has run since the last call, in order."""
    marks = Path("ran")
    lines = sorted(marks.read_text().split("\n")[:-1]) if marks.exists() else []
    marks.unlink(missing_ok=True)
    return lines


def owed(*replicates: int, conditions: tuple[str, ...] = ("baseline", "high")) -> list[str]:
    return sorted(f"{condition} {replicate}" for replicate in replicates for condition in conditions)


def interrupted(replicate: int = 3, **options: Any) -> None:
    stop = Path(f"stop-{replicate}")
    stop.touch()
    with pytest.raises(KeyboardInterrupt):
        experiment(**options).run()
    stop.unlink()
    ran()


def content(run: Path | None) -> dict[str, bytes]:
    """All files of a run, but for those that tell when it was."""
    assert run is not None
    return {
        path.relative_to(run).as_posix(): path.read_bytes()
        for path in run.rglob("*")
        if path.is_file() and path.name not in ("metadata.json", "journal.jsonl")
    }


def undisturbed(**options: Any) -> Result:
    result = experiment(**options, plugins=[ArtifactPlugin("elsewhere")]).run()
    ran()
    return result


def assert_same(result: Result, other: Result) -> None:
    assert result.to_json() == other.to_json()
    assert list(map(repr, result.provenance)) == list(map(repr, other.provenance))
    assert content(result.path) == content(other.path)


# -- what is owed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("execution", ["serial", "thread", "process", "async"])
def test_resume_runs_what_is_owed_and_ends_as_if_nothing_had_happened(execution: str) -> None:
    interrupted(3)
    result = experiment(execution=execution).run(strategy="resume")
    assert ran() == owed(3, 4, 5)
    assert result.path == Path.cwd() / "data/demo/v0"
    assert_same(result, undisturbed())


def test_a_finished_run_is_read_and_nothing_is_written() -> None:
    first = experiment().run()
    ran()
    assert first.path is not None
    before = {path: path.stat().st_mtime_ns for path in first.path.parent.rglob("*")}
    result = experiment().run(strategy="resume")
    assert ran() == []
    assert {path: path.stat().st_mtime_ns for path in first.path.parent.rglob("*")} == before
    assert result.to_json() == first.to_json()
    assert result.path == first.path


def test_on_what_each_session_ran_stays_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for threads, replicate in (("1", 1), ("2", 3)):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        Path(f"stop-{replicate}").touch()
        with pytest.raises(KeyboardInterrupt):
            experiment().run(strategy="resume")
        Path(f"stop-{replicate}").unlink()
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    for _ in range(2):  # the second time nothing is owed
        experiment().run(strategy="resume", replicates=REPLICATES)
    metadata = json.loads(Path("data/demo/v0/metadata.json").read_text())
    sessions = [*metadata["earlier_sessions"], metadata]
    assert [each["environment"]["variables"]["OMP_NUM_THREADS"] for each in sessions] == ["1", "2", "3"]
    assert all(each["finished"] for each in sessions)


def test_a_run_that_is_interrupted_again_has_what_was_there_of_each_replicate() -> None:
    Path("fail-high-1").touch()
    experiment().run()
    Path("fail-high-1").unlink()
    Path("stop-2").touch()
    with pytest.raises(KeyboardInterrupt) as stopped:
        experiment(conditions=("high", "higher")).run(strategy="resume")
    live, there = stopped.value.result, open_run("demo", 0)  # type: ignore[attr-defined]
    assert (there, there.arrived) == (live, live.arrived)
    counts = {name: len(live.condition(name).metrics["loss"]) for name in live.conditions}
    assert counts == {"baseline": REPLICATES, "high": REPLICATES, "higher": 2}


@pytest.mark.parametrize("ended_by", ["a failure", "Ctrl-C"])
def test_what_failed_before_counts_as_failed_until_it_has_run_again(ended_by: str) -> None:
    for replicate in (1, 3, 4):
        Path(f"fail-high-{replicate}").touch()
    Path("fail-baseline-4").touch()
    experiment().run()
    Path("fail-high-1").unlink()
    if ended_by == "Ctrl-C":
        Path("stop-3").touch()
    with pytest.raises((KeyboardInterrupt, RunFailedError)) as stopped:
        experiment(on_error="stop").run(strategy="resume")
    live, there = stopped.value.result, open_run("demo", 0)  # type: ignore[union-attr]
    failed = [(3, "high"), (4, "baseline"), (4, "high")]
    assert [(error.replicate, error.condition) for error in there.errors] == failed
    assert (there, there.arrived) == (live, live.arrived)
    assert [entry.path for entry in there.artifacts if not (live.path / entry.path).exists()] == []


def test_where_nothing_is_stored_all_is_owed() -> None:
    result = experiment().run(strategy="resume")
    assert ran() == owed(*range(REPLICATES))
    assert_same(result, undisturbed())


def test_more_replicates_than_before_are_added() -> None:
    experiment(replicates=2).run()
    ran()
    result = experiment().run(strategy="resume")
    assert ran() == owed(2, 3, 4, 5)
    assert_same(result, undisturbed())


def test_that_nothing_is_stored_to_be_resumed_is_told(caplog: pytest.LogCaptureFixture) -> None:
    told = "nothing stores the runs of experiment 'demo', so that there is none to resume: all is run"
    experiment().run(strategy="resume")
    assert told not in caplog.messages
    experiment(plugins=[], disable_plugins=["artifact"]).run(strategy="resume")
    assert told in caplog.messages


def test_fewer_replicates_than_before_take_nothing_away() -> None:
    first = experiment().run()
    result = experiment(replicates=2).run(strategy="resume")
    assert result.to_json() == first.to_json()


def test_one_more_treatment_runs_alone() -> None:
    experiment().run()
    ran()
    conditions = ("higher", "high")
    result = experiment(conditions=conditions).run(strategy="resume")
    assert ran() == owed(*range(REPLICATES), conditions=("higher",))
    assert_same(result, undisturbed(conditions=conditions))


def test_failed_outcomes_are_tried_again_and_no_others() -> None:
    Path("fail-high-2").touch()
    first = experiment().run()
    assert len(first.errors) == 1
    ran()
    Path("fail-high-2").unlink()
    result = experiment().run(strategy="resume")
    assert ran() == ["high 2"]
    assert_same(result, undisturbed())
    lines = [json.loads(line) for line in Path("data/demo/v0/journal.jsonl").read_text().splitlines()]
    tried = [line for line in lines if (line.get("replicate"), line.get("condition")) == (2, "high")]
    assert [(line["attempt"], line["status"]) for line in tried] == [(0, "failed"), (1, "ok")]


def test_an_outcome_that_fails_again_stays_failed() -> None:
    Path("fail-high-2").touch()
    experiment().run()
    result = experiment().run(strategy="resume")
    assert [(error.replicate, error.condition) for error in result.errors] == [(2, "high")]
    assert not Path("data/demo/v0/high/.crystallize_complete").exists()
    assert Path("data/demo/v0/baseline/.crystallize_complete").exists()


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"")])
def test_an_outcome_whose_artifact_is_not_as_it_was_runs_again(damage: Any) -> None:
    interrupted(3)
    damage(Path("data/demo/v0/replicate_1/high/FitStep/model.txt"))
    result = experiment().run(strategy="resume")
    assert ran() == sorted([*owed(3, 4, 5), "high 1"])
    assert_same(result, undisturbed())


def test_nothing_is_left_of_outcomes_that_were_cut_off() -> None:
    interrupted(3)
    leftover = Path("data/demo/v0/replicate_3/high/FitStep/half.tmp")
    leftover.parent.mkdir(parents=True)
    leftover.touch()
    assert_same(experiment().run(strategy="resume"), undisturbed())


# -- what has changed ------------------------------------------------------------------------------------------


def told(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING)


def test_a_condition_whose_settings_have_changed_runs_again_and_the_log_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    experiment(lr=0.05).run()
    ran()
    result = experiment(lr=0.1).run(strategy="resume")
    assert ran() == owed(*range(REPLICATES), conditions=("high",))
    assert "condition high runs again: lr was 0.05, is 0.1" in told(caplog)
    assert_same(result, undisturbed(lr=0.1))


@pytest.mark.parametrize(("before", "now"), [(1, 1.0), (1, True), (0.0, -0.0), ([1], [1.0])])
def test_equal_values_of_which_a_step_makes_different_things_are_a_change(
    before: Any, now: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A forest of ``max_features=1`` looks at one feature, and one of ``1.0`` at all of them."""

    def run(features: Any, strategy: str) -> Result:
        treatments = [Treatment("forest", {"features": features})]
        step = lambda data, ctx: ctx.metrics.add("features", repr(ctx.get("features")))  # noqa: E731
        return Experiment(lambda: 0, [step], name="demo", treatments=treatments, seed=1).run(
            strategy=strategy
        )

    run(before, "rerun")
    found = run(now, "resume")
    assert found.metrics.treatments["forest"].metrics["features"] == [repr(now)]
    assert f"features was {before}, is {now}" in told(caplog)


def test_another_setting_of_a_plugin_is_a_change_also_if_the_plugin_tells_of_none(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Offset:
        def __init__(self, offset: float) -> None:
            self._offset = offset

        @hookimpl
        def before_replicate(self, ctx: Any) -> None:
            ctx.add("lr", self._offset)

    def plugins(offset: float) -> list[Any]:
        return [ArtifactPlugin(versioned=True), Offset(offset)]

    experiment(conditions=(), hypotheses=[], plugins=plugins(0.1)).run()
    ran()
    experiment(conditions=(), hypotheses=[], plugins=plugins(0.2)).run(strategy="resume")
    assert ran() == owed(*range(REPLICATES), conditions=("baseline",))
    assert "condition baseline runs again: offset of plugin 'Offset' was 0.1, is 0.2" in told(caplog)


@pytest.mark.parametrize("cacheable", [True, False])
@pytest.mark.parametrize(
    ("before", "now", "reason"),
    [
        ({"version": "1"}, {"version": "2"}, "version of step 'ReadStep' was '1', is '2'"),
        ({"depends_on": [1.0, 2.0]}, {"depends_on": [3.0, 2.0]}, "was 1.0, is 3.0"),
        ({}, {}, "weights.bin in depends_on of step 'ReadStep' was 'xxh3"),
    ],
)
def test_what_a_step_says_that_it_rests_on_counts(
    before: dict[str, Any],
    now: dict[str, Any],
    reason: str,
    cacheable: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    weights = Path("weights.bin")

    def read(data: Any) -> Any:
        return data, {"weights": weights.read_text()}

    for said, content, strategy in ((before, "old", "rerun"), (now, "new", "resume")):
        weights.write_text(content)
        step = pipeline_step(cacheable=cacheable, **(said or {"depends_on": [weights]}))(read)
        run = Experiment(lambda: 0, [step], name="demo", seed=1).run(strategy=strategy)
    assert run.metrics.baseline.metrics["weights"] == ["new"]
    assert reason in told(caplog)


def test_other_code_in_hooks_py_is_a_change(caplog: pytest.LogCaptureFixture) -> None:
    folder = Path("hooked")
    folder.mkdir()
    files = {
        "config.yaml": "{seed: 1, datasource: one, steps: [read]}",
        "datasources.py": "from crystallize import data_source\n@data_source\ndef one(): return 1\n",
        "steps.py": "from crystallize import pipeline_step\n"
        "@pipeline_step()\ndef read(data, *, given): return data, {'given': given}\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text)

    def given(value: int, replicates: int) -> list[int]:
        hook = f"@hookimpl\ndef before_replicate(ctx): ctx.add('given', {value})\n"
        (folder / "hooks.py").write_text("from crystallize import hookimpl\n" + hook)
        result = Experiment.from_yaml(folder).run(replicates=replicates, strategy="resume")
        return result.metrics.baseline.metrics["given"]

    assert given(1, replicates=2) == [1, 1]
    assert given(1, replicates=3) == [1, 1, 1]
    assert not told(caplog)
    assert given(2, replicates=4) == [2, 2, 2, 2]
    assert "in the code of plugin 'hooks', before_replicate() in hooks.py changed" in told(caplog)


def test_what_was_measured_with_other_settings_is_never_taken_up_again() -> None:
    """Not even if the run that measured it anew was cut off, and the settings are changed back."""
    experiment(lr=0.05).run()
    Path("stop-4").touch()
    with pytest.raises(KeyboardInterrupt):
        experiment(lr=0.1).run(strategy="resume")
    Path("stop-4").unlink()
    ran()
    result = experiment(lr=0.05).run(strategy="resume")
    assert ran() == owed(*range(REPLICATES), conditions=("high",))
    assert_same(result, undisturbed(lr=0.05))


@pytest.mark.parametrize(("now", "again"), [(0.05, ()), (0.1, ("high",))])
def test_a_condition_that_the_run_went_on_without_comes_back_only_as_it_was_measured(
    now: float, again: tuple[str, ...]
) -> None:
    experiment(lr=0.05).run()
    for more in (1, 2):
        experiment(conditions=(), hypotheses=[], replicates=REPLICATES + more).run(strategy="resume")
    ran()
    result = experiment(lr=now, replicates=REPLICATES).run(strategy="resume")
    assert ran() == sorted(
        owed(*range(REPLICATES), conditions=again) + owed(REPLICATES, REPLICATES + 1, conditions=("high",))
    )
    assert_same(result, undisturbed(lr=now, replicates=REPLICATES + 2))


def test_of_a_run_that_is_pinned_nothing_is_measured_again() -> None:
    before = experiment().run(replicates=2)
    assert before.path is not None
    pin(before.path)
    files = content(before.path)
    ran()
    with pytest.raises(ValidationError, match="is pinned"):
        experiment(lr=0.4).run(strategy="resume", replicates=2)
    assert ran() == []
    assert content(before.path) == files
    assert open_run("demo") == before
    experiment().run(strategy="resume", replicates=3)
    assert ran() == owed(2), "it takes nothing away"


def test_another_function_of_a_library_as_the_data_source_is_a_change(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def run(source: Any, strategy: str) -> Result:
        step = lambda data, ctx: ctx.record("name", data)  # noqa: E731
        return Experiment(source, [step], name="demo", replicates=2, seed=1).run(strategy=strategy)

    run(platform.node, "rerun")
    found = run(platform.machine, "resume")
    assert found.metrics.baseline.metrics["name"] == [platform.machine()] * 2
    assert "callable of the data source was 'platform.node', is 'platform.machine'" in told(caplog)


def other_source(ctx: Any) -> float:
    return float(ctx.rng.random()) + 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"seed": 6}, "the master seed was 5, is 6"),
        ({"seed": 6, "conditions": ("high", "higher")}, "the master seed was 5, is 6"),
        ({"initial_ctx": {"lr": 0.2}}, "lr of initial_ctx is new"),
        (
            {"plugins": [ArtifactPlugin(versioned=True), SeedPlugin(5, auto_seed=False)], "seed": None},
            "auto_seed",
        ),
    ],
)
def test_if_nothing_applies_any_more_a_new_run_begins_and_the_old_one_stays(
    change: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = experiment().run()
    before = content(first.path)
    ran()
    result = experiment(**change).run(strategy="resume")
    assert ran() == owed(*range(REPLICATES), conditions=result.conditions)
    assert reason in told(caplog)
    assert result.path == Path.cwd() / "data/demo/v1"
    assert content(first.path) == before


CODE = """
from pathlib import Path
from crystallize import ArtifactPlugin, Experiment, Treatment
import helper
def step(data, ctx):
    with Path("ran").open("a") as marks:
        marks.write(f"{ctx['condition']} {ctx['replicate']}\\n")
    return data, {"loss": helper.double(1)}
def treat(ctx):
    ctx.add("x", 1)
Experiment(lambda: 0, [step], name="demo", treatments=[Treatment("high", treat)], replicates=2, seed=1,
    plugins=[ArtifactPlugin(versioned=True)]).run(strategy="resume")
"""


def test_changed_code_is_found_wherever_the_step_reaches_it(warm_interpreter: Any) -> None:
    def run(code: str = CODE, helper: str = "def double(x):\n    return 2 * x\n") -> list[str]:
        Path("script.py").write_text(code)
        Path("helper.py").write_text(helper)
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        done = warm_interpreter.run("script.py", cwd=Path.cwd(), environment=environment)
        assert done.returncode == 0, done.stderr
        return ran()

    everything = owed(0, 1)
    assert run() == everything
    assert run() == []
    assert run(helper="def double(x):  # a comment changes nothing\n    return 2 * x\n") == []
    assert run(CODE.replace('"x", 1', '"x", 2')) == owed(0, 1, conditions=("high",))
    assert run(helper="def double(x):\n    return x + x\n") == everything


def test_the_seed_that_was_drawn_is_that_of_the_whole_run() -> None:
    interrupted(3, seed=None)
    result = experiment(seed=None).run(strategy="resume")
    assert ran() == owed(3, 4, 5)
    assert_same(result, undisturbed(seed=result.master_seed))


def test_another_execution_strategy_changes_nothing() -> None:
    interrupted(3, execution="thread")
    experiment(execution="process").run(strategy="resume")
    assert set(ran()) <= set(owed(*range(REPLICATES)))
    assert experiment(execution="async").run(strategy="resume").to_json() == undisturbed().to_json()
    assert ran() == []


# -- plugins ---------------------------------------------------------------------------------------------------


class Counts(BasePlugin):
    """Counts outcomes with the steps in the workers, and replicates in the coordinator."""

    def __init__(self) -> None:
        self.sum = 0
        self.replicates: list[int] = []

    def after_step(self, experiment: Any, step: Any, data: Any, ctx: Any) -> None:
        ctx.hand_back(self, ctx["replicate"] + 1)

    def after_replicate(self, experiment: Any, result: Any) -> None:
        self.replicates.append(result.replicate)
        self.sum += sum(each.value for each in experiment.handed_back(self))


def test_a_plugin_that_counts_counts_the_same() -> None:
    interrupted(3, plugins=[ArtifactPlugin(versioned=True), Counts()])
    counts = Counts()
    experiment(plugins=[ArtifactPlugin(versioned=True), counts]).run(strategy="resume")
    assert ran() == owed(3, 4, 5)
    assert counts.replicates == list(range(REPLICATES))
    assert counts.sum == 2 * sum(range(REPLICATES + 1))


class ToTheLetter(BasePlugin):
    """The strategy of the documentation, which knows nothing of what is owed."""

    def run_experiment_loop(self, experiment: Any, replicate_fn: Any) -> list[Any]:
        return [replicate_fn(replicate) for replicate in range(experiment.replicates)]


def test_a_strategy_that_asks_for_all_replicates_gets_those_that_are_there() -> None:
    interrupted(3)
    result = experiment(plugins=[ArtifactPlugin(versioned=True), ToTheLetter()]).run(strategy="resume")
    assert ran() == owed(3, 4, 5)
    assert result.to_json() == undisturbed().to_json()


# -- what else may be in the folder ----------------------------------------------------------------------------


def test_conditions_with_a_marker_are_honoured_where_there_is_no_journal() -> None:
    first = experiment(replicates=3).run()
    ran()
    assert first.path is not None
    (first.path / "journal.jsonl").unlink()
    (first.path / "high/.crystallize_complete").unlink()
    result = experiment(replicates=3).run(strategy="resume")
    assert ran() == owed(0, 1, 2, conditions=("high",))
    for name in ("baseline", "high"):
        assert result.condition(name).metrics == first.condition(name).metrics
    assert experiment(replicates=3).run(strategy="resume").to_json() == result.to_json()
    assert ran() == []


def test_artifacts_are_kept_where_there_is_no_journal() -> None:
    first = experiment(replicates=3).run()
    assert first.path is not None
    before = content(first.path)
    (first.path / "journal.jsonl").unlink()
    result = experiment(replicates=3).run(strategy="resume")
    assert result.artifacts == first.artifacts
    assert content(first.path) == before


def test_an_artifact_that_is_gone_is_made_again_where_there_is_no_journal() -> None:
    first = experiment(replicates=3).run()
    ran()
    assert first.path is not None
    (first.path / "journal.jsonl").unlink()
    (first.path / "replicate_1/high/FitStep/model.txt").unlink()
    result = experiment(replicates=3).run(strategy="resume")
    assert ran() == ["high 1"]
    assert {entry.path for entry in result.artifacts} == {entry.path for entry in first.artifacts}


def test_results_that_were_written_by_hand_are_honoured() -> None:
    folder = Path("data/demo/v0/baseline")
    folder.mkdir(parents=True)
    (folder / "results.json").write_text('{"metrics": {"loss": [1.0, 2.0]}}')
    (folder / ".crystallize_complete").touch()
    result = experiment(replicates=2).run(strategy="resume")
    assert ran() == owed(0, 1, conditions=("high",))
    assert result.metrics.baseline.metrics["loss"] == [1.0, 2.0]


def test_a_journal_of_another_experiment_is_refused_and_nothing_is_touched() -> None:
    experiment().run()
    experiment(name="other").run()
    shutil.copy("data/other/v0/journal.jsonl", "data/demo/v0/journal.jsonl")
    before = content(Path("data/demo/v0"))
    with pytest.raises(
        PluginError, match=r"journal is that of another run, of experiment 'other'.*journal\.jsonl"
    ):
        experiment().run(strategy="resume")
    assert content(Path("data/demo/v0")) == before
    assert experiment().run().path == Path.cwd() / "data/demo/v1"


def test_damaged_lines_are_named_and_their_outcomes_run_again(caplog: pytest.LogCaptureFixture) -> None:
    experiment().run()
    ran()
    journal = Path("data/demo/v0/journal.jsonl")
    lines = journal.read_text().splitlines(keepends=True)
    (number,) = (i for i, line in enumerate(lines) if '"replicate":4,"condition":"high"' in line)
    lines[number] = lines[number].replace("0", "1", 1)
    journal.write_text("".join(lines))
    result = experiment().run(strategy="resume")
    assert ran() == ["high 4"]
    assert f"line {number + 1} is damaged" in told(caplog)
    assert_same(result, undisturbed())


def test_the_newest_run_is_the_one_that_goes_on() -> None:
    interrupted(3)
    experiment().run()
    ran()
    assert experiment().run(strategy="resume").path == Path.cwd() / "data/demo/v1"
    assert ran() == []


@pytest.mark.parametrize("versioned", [True, False])
def test_an_interrupted_run_beside_an_older_complete_one_goes_on(versioned: bool) -> None:
    plugin = ArtifactPlugin(versioned=versioned)
    experiment(plugins=[plugin], replicates=2).run()
    interrupted(3, plugins=[plugin])
    result = experiment(plugins=[plugin]).run(strategy="resume")
    assert ran() == owed(3, 4, 5)
    assert_same(result, undisturbed())
    assert experiment(plugins=[plugin]).run(strategy="resume").path == result.path


class Refuses(BasePlugin):
    """Stops each run before it begins, when `artifact` has prepared it already."""

    def before_run(self, experiment: Any) -> None:
        raise ValueError("not this one")


@pytest.mark.parametrize(
    "changes",
    [{}, {"lr": 0.9}, {"initial_ctx": {"a": 1}}, {"replicates": 9}],
    ids=lambda changes: "-".join(changes),
)
@pytest.mark.parametrize("versioned", [True, False])
def test_a_resume_that_another_plugin_stops_before_it_begins_leaves_the_stored_run_as_it_is(
    changes: dict[str, Any], versioned: bool
) -> None:
    artifact = ArtifactPlugin(versioned=versioned)
    experiment(plugins=[artifact], replicates=2).run()
    interrupted(3, plugins=[artifact])
    root = Path("data")
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert before
    with pytest.raises(PluginError, match="not this one"):
        experiment(plugins=[artifact, Refuses()], **changes).run(strategy="resume")
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    experiment(plugins=[artifact]).run(strategy="resume")
    assert ran() == owed(3, 4, 5)


# -- two at a time ---------------------------------------------------------------------------------------------

HOLDER = """
import os, signal, sys, time
from crystallize import ArtifactPlugin, Experiment
def step(data, ctx):
    if ctx["replicate"] == 1:
        print(flush=True)
        sys.stdin.readline()
    return data
Experiment(lambda: 0, [step], name="held", replicates=2, seed=1, plugins=[ArtifactPlugin(versioned=True)]).run()
"""


@pytest.mark.usefixtures("warm_processes")
def test_who_resumes_a_run_that_another_process_holds_is_told_so_and_a_dead_holder_is_none() -> None:
    def resume() -> Any:
        return Experiment(
            lambda: 0,
            [lambda data: data],
            name="held",
            replicates=2,
            seed=1,
            plugins=[ArtifactPlugin(versioned=True)],
        ).run(strategy="resume")

    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(PluginError, match=rf"written by process {holder.pid} on ") as caught:
            resume()
        assert isinstance(caught.value.__cause__, StoreError)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert resume().path is not None
