"""Running a stored run again: what is run, on what, and what is said of it."""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest

import crystallize
from crystallize import (
    Artifact,
    ArtifactPlugin,
    BasePlugin,
    Experiment,
    Hypothesis,
    Treatment,
    paired_t_test,
    pipeline_step,
)
from crystallize.errors import (
    CrystallizeError,
    ExecutionError,
    InvalidValueError,
    MissingMetricError,
    StoreError,
    UnknownNameError,
    ValidationError,
)
from crystallize.results.verification import DIFF, INCONCLUSIVE, PASS

STRATEGIES = [
    "serial",
    {"strategy": "thread", "max_workers": 2},
    {"strategy": "process", "max_workers": 2},
    "async",
]


@pytest.fixture
def own_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have scratch folders made in a folder of the test's own, and return that."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def ran() -> list[str]:
    """What has run since the last call, in order."""
    marks = Path("ran")
    lines = sorted(marks.read_text().split("\n")[:-1]) if marks.exists() else []
    marks.unlink(missing_ok=True)
    return lines


@pipeline_step()
def fit(data: Any, ctx: Any, model: Artifact, lr: float = 0.1) -> Any:
    replicate = ctx["replicate"]
    with Path("ran").open("a") as marks:
        marks.write(f"{ctx['condition']} {replicate}\n")
    if Path(f"stop-{replicate}").exists():
        raise KeyboardInterrupt
    if lr > 1:
        raise ValueError(f"lr is {lr}")
    offset = float(Path("offset").read_text()) if Path("offset").exists() else 0.0
    model.write(f"{replicate} {lr} {offset}".encode())
    return data, {"loss": float(ctx.rng.normal()) * lr + offset}


def experiment(name: str = "demo", **options: Any) -> Experiment:
    return Experiment(
        lambda ctx: ctx.rng.random(),
        [fit()],
        **{
            "name": name,
            "outputs": [Artifact("model.txt", alias="model")],
            "treatments": [Treatment("high", {"lr": 0.3}), Treatment("broken", {"lr": 2.0})],
            "hypotheses": [Hypothesis(paired_t_test(), metrics="loss", name="lower", direction="min")],
            "replicates": 4,
            **options,
        },
    )


def measured(**options: Any) -> Experiment:
    """An experiment that has run."""
    made = experiment(**options)
    with contextlib.suppress(MissingMetricError):  # of the condition that is broken
        made.run()
    ran()
    return made


def files_of(folder: str) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


# -- the verdict ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("execution", STRATEGIES, ids=str)
def test_a_run_is_the_same_again_under_every_strategy(execution: Any) -> None:
    measured()
    before = files_of("data")
    found = crystallize.verify(experiment(execution=execution, seed=99))
    assert (found.verdict, found.findings.outcomes, found.replicates) == (PASS, 12, [0, 1, 2, 3])
    assert len(ran()) == 12
    assert files_of("data") == before


def test_the_scratch_folder_is_gone_afterwards(own_scratch: Path) -> None:
    assert crystallize.verify(measured()).passed
    assert list(own_scratch.iterdir()) == []


def test_what_differs_with_nothing_changed_is_a_diff() -> None:
    made = measured()
    Path("offset").write_text("0.5")
    found = crystallize.verify(made)
    assert found.verdict == DIFF
    assert not found.passed
    first = found.findings.first
    assert first is not None
    assert (first.condition, first.replicate, first.step) == ("baseline", 0, "FitStep")
    assert found.findings.different == 8  # those that fail do so as before
    assert "replicate 0, step 'FitStep', metric 'loss'" in str(found)
    assert json.loads(json.dumps(found.to_dict()["findings"]["first"]))["kind"] == "metric"


def test_nothing_comes_from_the_step_cache() -> None:
    @pipeline_step(cacheable=True)
    def differs_each_time(data: int) -> Any:
        return data, {"size": secrets.randbits(64)}

    experiment = Experiment(lambda: 3, [differs_each_time], name="cached", seed=1)
    experiment.run()
    assert crystallize.verify(experiment).verdict == DIFF
    assert experiment.run().explain_cache().count("hit") == 1


def test_what_differs_where_something_has_changed_is_inconclusive() -> None:
    measured()
    changed = experiment(initial_ctx={"lr": 0.2})
    found = crystallize.verify(changed)
    assert found.verdict == INCONCLUSIVE
    assert [change.name for change in found.changes.settings] == ["initial_ctx.settings.lr"]


def test_what_has_changed_without_effect_is_told_with_the_pass() -> None:
    measured()
    found = crystallize.verify(experiment(initial_ctx={"unused": 1}))
    assert found.passed
    assert "initial_ctx.settings.unused: - -> 1" in str(found)


def test_a_condition_that_is_gone_is_inconclusive_though_the_rest_is_the_same() -> None:
    measured()
    found = crystallize.verify(experiment(treatments=[Treatment("high", {"lr": 0.3})]))
    assert (found.verdict, found.findings.first, found.findings.outcomes) == (INCONCLUSIVE, None, 8)
    assert found.reasons == ["condition 'broken' is not defined any more"]


def test_conditions_of_the_run_alone_are_run_and_a_run_with_its_own_is_given_them() -> None:
    made = experiment()
    special = [Treatment("special", {"lr": 0.7})]
    made.run(treatments=special)
    ran()
    found = crystallize.verify(made)
    assert found.reasons == ["condition 'special' is not defined any more"]
    found = crystallize.verify(made, treatments=special)
    assert (found.verdict, found.conditions) == (PASS, ("baseline", "special"))


def test_what_a_hypothesis_said_of_the_metrics_has_to_come_again() -> None:
    made = measured()
    file = Path("data/demo/v0/hypotheses.json")
    stored = file.read_text()
    said = json.loads(stored)
    said[0]["comparisons"][0]["p_value"] = 0.01
    file.write_text(json.dumps(said))
    found = crystallize.verify(made, replicates=1)
    first = found.findings.first
    assert first is not None
    assert (found.verdict, first.kind, first.name) == (DIFF, "hypothesis", "lower")
    assert first.before == {"comparisons.0.p_value": 0.01}
    file.write_text(stored)
    other = experiment(hypotheses=[Hypothesis(paired_t_test(alpha=0.2), metrics="loss", name="lower")])
    found = crystallize.verify(other, replicates=1)
    assert found.verdict == INCONCLUSIVE
    assert "hypotheses.lower.parameters.alpha" in [change.name for change in found.changes.settings]


def test_a_tolerance_is_found_from_reruns_that_each_have_their_own_folder(own_scratch: Path) -> None:
    made = measured()
    found = crystallize.verify(made, calibrate=3, keep=True)
    assert (found.verdict, found.reruns, len(ran())) == (PASS, 3, 36)
    assert found.scratch is not None
    assert sorted(each.name for each in found.scratch.iterdir()) == ["rerun_0", "rerun_1", "rerun_2"]
    assert f"kept:   {found.scratch}" in str(found)


# -- what is run ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("execution", STRATEGIES, ids=str)
@pytest.mark.parametrize(("replicates", "run"), [(2, [0, 1]), ([3, 1], [1, 3]), (4, [0, 1, 2, 3])])
def test_some_replicates_can_be_run_again(execution: Any, replicates: Any, run: list[int]) -> None:
    measured()
    found = crystallize.verify(experiment(execution=execution), replicates=replicates)
    assert (found.verdict, found.replicates) == (PASS, run)
    conditions = ("baseline", "broken", "high")
    assert ran() == [f"{name} {number}" for name in conditions for number in run]


class ToTheLetter(BasePlugin):
    """A strategy that asks for every replicate, whatever is owed."""

    def run_experiment_loop(self, experiment: Any, replicate_fn: Any) -> list[Any]:
        return [replicate_fn(number) for number in range(experiment.replicates)]


def test_a_strategy_that_asks_for_all_replicates_runs_those_that_are_wanted() -> None:
    measured()
    assert crystallize.verify(experiment(execution=ToTheLetter()), replicates=[2]).passed
    assert ran() == ["baseline 2", "broken 2", "high 2"]


class Counting(BasePlugin):
    """Takes what is handed back, in the order in which it becomes due."""

    def __init__(self) -> None:
        self.order: list[int] = []

    def after_step(self, ctx: Any) -> None:
        ctx.hand_back(self, 1)

    def after_replicate(self, experiment: Any) -> None:
        self.order += [each.replicate for each in experiment.handed_back(self)]


def test_plugins_get_what_is_handed_back_and_see_the_number_of_replicates_that_the_run_had() -> None:
    class Source:
        replicates = 6

        def fetch(self, ctx: Any) -> int:
            return 1

    counting = Counting()
    made = Experiment(Source(), [lambda data: (data, {"m": 1})], name="fixed", plugins=[counting])
    made.run()
    counting.order.clear()
    assert crystallize.verify(made, replicates=[1, 4]).passed
    assert counting.order == [1, 4]


def test_the_result_of_repeated_replicates_says_how_many_there_are() -> None:
    result = experiment().repeat(seed=1, replicates=4, only=[1, 3])
    assert (result.replicates, result.arrived) == (4, 2)
    assert [error.replicate for error in result.errors] == [1, 3]


def test_a_run_that_was_broken_off_is_compared_as_far_as_it_came() -> None:
    made = experiment()
    Path("stop-2").touch()
    with pytest.raises(KeyboardInterrupt):
        made.run()
    Path("stop-2").unlink()
    found = crystallize.verify(made, 0)
    assert (found.verdict, found.status, found.replicates) == (PASS, "interrupted", [0, 1])
    assert "which is interrupted" in str(found)
    assert made.replicates == 4


def test_a_complete_run_that_has_lost_outcomes_is_inconclusive() -> None:
    made = measured()
    journal = Path("data/demo/v0/journal.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    places = [place for place, line in enumerate(lines) if b'"replicate":3,' in line]
    for place in places[-2:]:
        lines[place] = lines[place].replace(b'"seconds"', b'"Seconds"')
    journal.write_bytes(b"".join(lines))
    found = crystallize.verify(made)
    assert (found.verdict, found.findings.outcomes) == (INCONCLUSIVE, 10)
    assert "2 outcomes of the run cannot be read from its journal any more" in str(found)
    with contextlib.suppress(MissingMetricError):
        made.run(strategy="resume")
    assert crystallize.verify(made).verdict == PASS


def test_a_run_that_stopped_at_its_first_failure_is_run_again_to_the_end() -> None:
    made = experiment(on_error="stop")
    with pytest.raises(CrystallizeError):
        made.run()
    found = crystallize.verify(made, 0)
    assert (found.verdict, found.status, found.findings.outcomes) == (PASS, "failed", 3)


def test_the_experiment_is_as_it_was_afterwards() -> None:
    made = measured(max_failures=9)
    seed, policy = made.master_seed, made.failure_policy
    crystallize.verify(made, replicates=1)
    assert made.location() is not None
    assert (made.location().root, made.master_seed, made.failure_policy) == ("data", seed, policy)  # type: ignore[union-attr]


def test_a_run_of_another_tool_is_compared_by_its_results() -> None:
    made = measured()
    Path("data/demo/v0/journal.jsonl").unlink()
    found = crystallize.verify(made)
    assert (found.verdict, found.findings.outcomes) == (PASS, 12)
    results = Path("data/demo/v0/high/results.json")
    values = json.loads(results.read_text())
    values["metrics"]["loss"][0] += 1
    results.write_text(json.dumps(values))
    first = crystallize.verify(made).findings.first
    assert first is not None
    assert (first.condition, first.replicate, first.step) == ("high", 0, None)


def test_where_the_run_is_stored_is_no_part_of_an_error() -> None:
    def save(data: Any, ctx: Any, *, out: Artifact) -> None:
        raise ValueError(f"cannot read {out.write(b'x')}")

    made = Experiment(lambda: 1, [pipeline_step()(save)], name="places", outputs=[Artifact("out.bin")])
    made.run()
    assert crystallize.verify(made).passed


# -- what it reads -------------------------------------------------------------------------------------------


def producer(value: str, **options: Any) -> tuple[Experiment, Artifact]:
    out = Artifact("value.txt", loader="text")

    def publish(data: Any) -> Any:
        out.write(value)
        return data

    made = Experiment(
        lambda: 1,
        [publish],
        name="producer",
        outputs=[out],
        replicates=2,
        plugins=[ArtifactPlugin(**options)],
    )
    return made, out


def consumer(out: Artifact) -> Experiment:
    return Experiment(out, [lambda data: (data, {"length": len(data)})], name="consumer", replicates=2)


def test_the_run_that_was_read_is_read_again_though_there_is_a_newer_one() -> None:
    first, out = producer("abc")
    first.run()
    reader = consumer(out)
    reader.run()
    producer("something else")[0].run()
    assert crystallize.verify(reader).passed
    inputs = json.loads(Path("data/consumer/v0/metadata.json").read_text())["inputs"]
    assert inputs[0]["version"] == "v0"


@pytest.mark.parametrize("loss", ["file", "run"])
def test_what_is_gone_is_inconclusive_unless_the_newest_run_has_the_same(loss: str) -> None:
    first, out = producer("abc")
    first.run()
    reader = consumer(out)
    reader.run()
    gone = "data/producer/v0" + ("/replicate_0" if loss == "file" else "")
    shutil.rmtree(gone)
    found = crystallize.verify(reader)
    assert (found.verdict, found.reruns, found.scratch) == (INCONCLUSIVE, 0, None)
    assert "is gone" in found.reasons[0]
    assert "replicate 0, condition 'baseline'" in str(found)
    assert crystallize.verify(reader, replicates=[1]).passed == (loss == "file")
    producer("else")[0].run()
    assert not crystallize.verify(reader).passed
    producer("abc")[0].run()
    assert crystallize.verify(reader).passed


def test_a_run_that_took_the_place_of_the_one_that_was_read_is_told() -> None:
    first, out = producer("abc", versioned=False)
    first.run()
    reader = consumer(out)
    reader.run()
    other, _ = producer("other", versioned=False)
    other.run()
    found = crystallize.verify(reader)
    assert found.verdict == INCONCLUSIVE
    assert "of experiment 'producer' has changed" in found.reasons[0]


def test_a_file_that_was_edited_is_told() -> None:
    first, out = producer("abc")
    first.run()
    reader = consumer(out)
    reader.run()
    (file,) = Path("data/producer/v0/replicate_1").rglob("value.txt")
    file.write_text("xyz")
    assert "is not what was written" in crystallize.verify(reader).reasons[0]


# -- bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"run": 7}, StoreError, "version 7 is not stored"),
        ({"run": "nowhere"}, StoreError, "no run is stored here"),
        ({"run": True}, CrystallizeError, "a version is a number"),
        ({"replicates": 0}, InvalidValueError, "replicates is at least 1"),
        ({"replicates": []}, InvalidValueError, "no replicate is to be run again"),
        ({"replicates": [-1]}, InvalidValueError, "a replicate is at least 0"),
        ({"replicates": [0, 9]}, UnknownNameError, "has not measured replicate 9 .* It has 0 to 3"),
        ({"ignore": ["los"]}, UnknownNameError, "no metric or artifact 'los' .* Did you mean 'loss'"),
        ({"rtol": -1}, InvalidValueError, "rtol is a number of 0 or more"),
        ({"calibrate": 1}, InvalidValueError, "calibrate is at least 2"),
        ({"calibrate": 2, "atol": 1e-3}, InvalidValueError, "a tolerance is given, and is to be found"),
        ({"keep": "yes"}, CrystallizeError, "keep is True or False"),
    ],
)
def test_a_wrong_argument_is_told_and_nothing_runs(
    arguments: dict[str, Any], kind: type[Exception], message: str
) -> None:
    made = measured()
    with pytest.raises(kind, match=message):
        crystallize.verify(made, **arguments)
    assert ran() == []


def test_a_name_is_no_experiment() -> None:
    name: Any = measured().name
    with pytest.raises(
        TypeError, match=r"verify takes the experiment itself, got 'demo'.*'crystallize verify NAME'"
    ):
        crystallize.verify(name)


def test_a_run_of_another_experiment_is_refused() -> None:
    measured()
    with pytest.raises(InvalidValueError, match="a run of experiment 'demo', and not of 'other'"):
        crystallize.verify(experiment("other"), "data/demo/v0")


def test_an_experiment_that_stores_nothing_cannot_be_verified() -> None:
    measured()
    bare = experiment(disable_plugins=["artifact"])
    for run in ("latest", "data/demo/v0"):
        with pytest.raises(ValidationError, match="nothing stores them"):
            crystallize.verify(bare, run)


def test_a_run_that_has_measured_nothing_is_told() -> None:
    made = experiment()
    Path("stop-0").touch()
    with pytest.raises(KeyboardInterrupt):
        made.run()
    with pytest.raises(StoreError, match="has measured nothing yet"):
        crystallize.verify(made, 0)


def test_what_breaks_a_rerun_off_leaves_no_scratch_folder(own_scratch: Path) -> None:
    measured()

    class Broken(BasePlugin):
        def run_experiment_loop(self, experiment: Any, replicate_fn: Any) -> list[Any]:
            raise ExecutionError("no workers today")

    with pytest.raises(ExecutionError, match="no workers today"):
        crystallize.verify(experiment(execution=Broken()))
    assert list(own_scratch.iterdir()) == []
