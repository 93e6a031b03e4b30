"""A graph that is resumed: each experiment runs what it owes, and what reads nothing new does not run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crystallize import ExperimentGraph, Treatment


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
    assert "condition high runs again: factor was 2.0, is 3.0" in told
    assert any("condition high runs again in replicate 0, 1: what it reads" in line for line in told)


def test_what_reads_the_same_bytes_of_another_run_does_not_run_again(node: Any, ran: Any) -> None:
    a = node("a", replicates=2, seed=1)
    b = node("b", a, before=ran)
    ExperimentGraph(a, b).run()
    ran.since()
    a.run()
    resume(a, b)
    assert ran.since() == []
