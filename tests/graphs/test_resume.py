"""A graph that is resumed: each experiment runs what it owes, and what reads nothing new does not run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crystallize import Experiment, ExperimentGraph, Treatment, open_run


@pytest.fixture
def ran() -> Any:
    """Return what marks an outcome as run, and tells and forgets what was marked: in a file, since values count."""

    class Ran:
        def __call__(self, ctx: Any) -> None:
            if Path("stop").exists():
                raise KeyboardInterrupt
            with Path("ran").open("a") as marks:
                marks.write(f"{ctx['condition']} {ctx['replicate']}\n")

        def since(self) -> list[Any]:
            seen = Path("ran").read_text().split("\n")[:-1] if Path("ran").exists() else []
            Path("ran").unlink(missing_ok=True)
            return sorted((condition, int(replicate)) for condition, replicate in map(str.split, seen))

    return Ran()


def resume(*nodes: Any, **options: Any) -> Any:
    return ExperimentGraph(*nodes).run(strategy="resume", **options)


def test_nothing_runs_where_all_is_there(node: Any, ran: Any) -> None:
    a = node("a", before=ran, replicates=2)
    b = node("b", a, before=ran)
    first = ExperimentGraph(a, b).run()
    assert len(ran.since()) == 4
    again = resume(a, b)
    assert ran.since() == []
    assert {name: each.to_json() for name, each in again.items()} == {
        name: each.to_json() for name, each in first.items()
    }


def test_what_is_resumed_under_some_treatments_keeps_the_others_where_nothing_is_owed(
    node: Any, ran: Any
) -> None:
    few, many = Treatment("few", {"factor": 2}), Treatment("many", {"factor": 3})
    a = node("a", before=ran, replicates=2, treatments=[few, many])
    b = node("b", a, before=ran, replicates=2, treatments=[many])
    first = ExperimentGraph(a, b).run()
    ran.since()
    files = {path: path.read_bytes() for path in Path("data/a/v0").rglob("*") if path.is_file()}
    again = resume(a, b, treatments=["many"])
    assert ran.since() == []
    assert {path: path.read_bytes() for path in Path("data/a/v0").rglob("*") if path.is_file()} == files
    assert again["a"].conditions == ("baseline", "many")
    assert again["a"].condition("many").metrics == first["a"].condition("many").metrics
    assert open_run("a") == first["a"]
    ran.since()
    without = node("a", before=ran, replicates=2, treatments=[many])
    resume(without)
    assert open_run("a").conditions == ("baseline", "many")


def test_what_was_not_reached_runs(node: Any, ran: Any) -> None:
    a = node("a", replicates=2)
    b = node("b", a, before=ran)
    Path("stop").touch()
    with pytest.raises(KeyboardInterrupt):
        ExperimentGraph(a, b).run()
    Path("stop").unlink()
    resume(a, b)
    assert ran.since() == [("baseline", 0), ("baseline", 1)]


def test_more_replicates_upstream_are_more_downstream(node: Any, ran: Any) -> None:
    a = node("a")
    b = node("b", a, before=ran)
    ExperimentGraph(a, b).run(replicates=2)
    ran.since()
    resume(a, b, replicates=3)
    assert ran.since() == [("baseline", 2)]


def test_what_reads_what_has_changed_runs_again_and_no_more(node: Any, ran: Any, caplog: Any) -> None:
    def build(factor: float) -> Any:
        a = node("a", treatments=[Treatment("high", {"factor": factor})], replicates=2)
        b = node("b", a, before=ran, treatments=[Treatment("high", {})])
        return a, b

    ExperimentGraph(*build(2.0)).run()
    ran.since()
    resume(*build(3.0))
    assert ran.since() == [("high", 0), ("high", 1)]
    told = [record.getMessage() for record in caplog.records]
    assert "experiment 'a': condition high runs again: factor was 2.0, is 3.0" in told
    again = "experiment 'b': condition high runs again in replicate 0, 1: what it reads"
    assert any(line.startswith(again) for line in told)


def test_what_reads_the_same_bytes_of_another_run_does_not_run_again(node: Any, ran: Any) -> None:
    a = node("a", replicates=2, seed=1)
    b = node("b", a, before=ran)
    ExperimentGraph(a, b).run()
    ran.since()
    a.run()
    resume(a, b)
    assert ran.since() == []


# -- a producer with fewer replicates than before ---------------------------------------------------------------------


def numbers_read(result: Any) -> list[float]:
    """Return the number that each replicate has read of its producer: two that are equal are one, run twice."""
    return result.metrics.baseline.metrics["read"]


def build_chain(node: Any, *, by_path: bool = False, seed: int = 1, **options: Any) -> tuple[Any, Any]:
    """Return a producer, and a consumer that records the number that it has read; it has no number of its own."""

    def record(data: Any) -> Any:
        read = json.loads(data.read_text()) if by_path else data
        return data, {"read": read["number"]}

    a = node("a", seed=seed)
    source = a.artifact_datasource(step="ProduceStep", name="out.json") if by_path else a.outputs["out"]
    return a, Experiment(source, [record], name="b", seed=1, **options)


@pytest.mark.parametrize("by_path", [False, True])
def test_a_consumer_has_as_many_replicates_as_its_producer_has_now(node: Any, by_path: bool) -> None:
    a, b = build_chain(node, by_path=by_path)
    three = numbers_read(ExperimentGraph(a, b).run(replicates=3)["b"])
    a.run(replicates=2)
    result = b.run(strategy="resume")
    assert numbers_read(result) == three[:2]
    assert result.replicates == 2
    stored = open_run("b")
    assert (stored.to_json(), stored.replicates, stored.arrived) == (result.to_json(), 2, 2)
    assert "replicate_2" not in {path.name for path in Path("data/b/v0").iterdir()}


def test_of_another_producer_with_fewer_replicates_no_artifact_is_read_twice(node: Any) -> None:
    ExperimentGraph(*build_chain(node)).run(replicates=3)
    a, b = build_chain(node, seed=2)
    read = numbers_read(resume(a, b, replicates=2)["b"])
    assert read == a.run(replicates=2).metrics.baseline.metrics["number"]
    assert len({*read}) == 2


def test_nothing_that_was_never_measured_is_run_on_an_artifact_that_another_replicate_reads(
    node: Any, ran: Any
) -> None:
    a = node("a")
    b = node("b", a, before=ran)
    a.run(replicates=3)
    Path("stop").touch()
    with pytest.raises(KeyboardInterrupt):
        b.run()
    Path("stop").unlink()
    a.run(replicates=2)
    assert b.run(strategy="resume").replicates == 2
    assert ran.since() == [("baseline", 0), ("baseline", 1)]


def test_a_number_that_is_asked_for_again_is_measured_again(node: Any) -> None:
    a, b = build_chain(node)
    three = numbers_read(ExperimentGraph(a, b).run(replicates=3)["b"])
    a.run(replicates=2)
    b.run(strategy="resume")
    read = numbers_read(b.run(strategy="resume", replicates=3))
    assert read == [*three[:2], three[0]], "somebody has asked for it"
    a.run(replicates=3)
    assert numbers_read(b.run(strategy="resume")) == three


def test_what_still_applies_beyond_the_number_of_the_producer_stays(node: Any) -> None:
    a, b = build_chain(node)
    a.run(replicates=1)
    four = b.run(replicates=4)
    assert b.run(strategy="resume").to_json() == four.to_json(), "it was asked for, and reads the same"


def test_replicates_that_are_kept_share_inputs_as_before(node: Any, caplog: Any) -> None:
    a, b = build_chain(node, treatments=[Treatment("new", {})])
    a.run(replicates=2)
    b.run(replicates=4, treatments=[])
    caplog.clear()
    result = b.run(strategy="resume", replicates=2)
    assert result.replicates == 4
    assert result.shared_inputs == open_run("b").shared_inputs == {"a": 2}
    assert "'b' has up to 4 replicates, and 'a', whose artifacts it reads, has 2" in caplog.text


def test_what_has_read_others_runs_anew_where_there_is_no_journal(node: Any, ran: Any) -> None:
    a = node("a", replicates=2)
    b = node("b", a, before=ran, treatments=[Treatment("high", {})])
    ExperimentGraph(a, b).run()
    ran.since()
    Path("data/b/v0/journal.jsonl").unlink()
    a.treatments = (
        Treatment("high", {"factor": 2}),
    )  # which the run of `a` gets besides: it is still the same one
    again = resume(a, b)["b"]
    assert len(ran.since()) == 4
    assert again.path is not None
    assert (
        json.loads((again.path / "replicate_0/high/ProduceStep/out.json").read_text())["read"]["a"]["factor"]
        == 2
    )
