"""How treatments flow through a graph, by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crystallize import Experiment, ExperimentGraph, Hypothesis, Treatment, treatment, verifier
from crystallize.errors import InvalidNameError, InvalidTypeError, UnknownNameError


def hot(factor: int) -> Treatment:
    return treatment("hot", {"factor": factor})


def written(name: str, condition: str = "baseline", replicate: int = 0) -> Any:
    (path,) = Path(f"data/{name}/v0/replicate_{replicate}/{condition}").rglob("out.json")
    return json.loads(path.read_text())


def conditions(results: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    return {name: result.conditions for name, result in results.items()}


def test_without_treatments_each_experiment_runs_its_own(node: Any) -> None:
    a = node("a", treatments=[hot(2)])
    results = ExperimentGraph(a, node("b", a, treatments=[treatment("cold", {})])).run()
    assert conditions(results) == {"a": ("baseline", "hot"), "b": ("baseline", "cold")}


def test_a_name_activates_each_experiments_own_treatment(node: Any) -> None:
    a = node("a", treatments=[hot(2), treatment("cold", {"factor": 0})])
    b = node("b", a, treatments=[hot(3), treatment("other", {})])
    results = ExperimentGraph(a, b).run(treatments=["hot"])
    assert conditions(results) == {"a": ("baseline", "hot"), "b": ("baseline", "hot")}
    read = written("b", "hot")
    assert (read["factor"], read["read"]["a"]["condition"], read["read"]["a"]["factor"]) == (3, "hot", 2)
    assert written("b")["read"]["a"]["condition"] == "baseline"


def test_an_upstream_experiment_without_the_treatment_runs_its_baseline(node: Any) -> None:
    a = node("a")
    results = ExperimentGraph(a, node("b", a, treatments=[hot(3)])).run(treatments=["hot"])
    assert conditions(results) == {"a": ("baseline",), "b": ("baseline", "hot")}
    assert written("b", "hot")["read"]["a"]["condition"] == "baseline"


def test_in_a_chain_whose_middle_lacks_the_treatment_the_end_reads_the_middles_baseline(node: Any) -> None:
    a = node("a", treatments=[hot(2)])
    b = node("b", a)
    c = node("c", b, treatments=[hot(3)])
    results = ExperimentGraph(a, b, c).run(treatments=["hot"])
    assert conditions(results) == {"a": ("baseline", "hot"), "b": ("baseline",), "c": ("baseline", "hot")}
    middle = written("c", "hot")["read"]["b"]
    assert (middle["condition"], middle["read"]["a"]["condition"]) == ("baseline", "baseline")


def test_in_a_diamond_each_branch_gives_its_matching_condition(node: Any) -> None:
    a = node("a", treatments=[hot(2)], replicates=2)
    b, c = node("b", a, treatments=[hot(4)]), node("c", a)
    d = node("d", b, c, treatments=[hot(5)])
    ExperimentGraph(d, c, b, a).run(treatments=["hot"])
    for replicate in range(2):
        read = written("d", "hot", replicate)["read"]
        assert (read["b"]["condition"], read["b"]["read"]["a"]["condition"]) == ("hot", "hot")
        assert (read["c"]["condition"], read["c"]["read"]["a"]["condition"]) == ("baseline", "baseline")
        assert {read[branch]["replicate"] for branch in "bc"} == {replicate}


def test_no_treatments_means_baselines_only_and_hypotheses_rest(node: Any) -> None:
    @verifier
    def never_asked(baseline: Any, treatment: Any) -> dict[str, Any]:
        raise AssertionError

    a = node("a", treatments=[hot(2)], hypotheses=[Hypothesis(never_asked(), "number")])
    for asked in ([], ["baseline"]):
        results = ExperimentGraph(a).run(treatments=asked)
        assert conditions(results) == {"a": ("baseline",)}
        assert not results["a"].metrics.hypotheses


def test_what_gives_the_baseline_its_settings_stays(node: Any) -> None:
    a = node("a", treatments=[treatment("baseline", {"factor": 7}), hot(2)])
    ExperimentGraph(a).run(treatments=["hot"])
    assert (written("a")["factor"], written("a", "hot")["factor"]) == (7, 2)


def test_a_name_that_no_experiment_has_is_refused_before_anything_runs(node: Any) -> None:
    ran: list[Any] = []
    graph = ExperimentGraph(node("a", treatments=[treatment("high_lr", {})], before=ran.append))
    with pytest.raises(UnknownNameError, match=r"has a treatment 'hihg_lr'.*Did you mean 'high_lr'"):
        graph.run(treatments=["hihg_lr"])
    assert not ran


def test_an_instance_is_for_the_last_experiments_and_a_name_for_the_others(node: Any) -> None:
    a = node("a", treatments=[hot(2)])
    b = node("b", a)
    c, d = node("c", b, treatments=[hot(3)]), node("d", b)
    results = ExperimentGraph(a, b, c, d).run(treatments=[hot(9)])
    assert conditions(results) == {
        "a": ("baseline", "hot"),
        "b": ("baseline",),
        "c": ("baseline", "hot"),
        "d": ("baseline", "hot"),
    }
    assert [written(name, "hot")["factor"] for name in "acd"] == [2, 9, 9]


def test_a_new_treatment_may_read_another_experiment_of_the_graph(node: Any) -> None:
    a, b = node("a"), node("b")
    swapped = treatment("swapped", datasource=a.outputs["out"])
    results = ExperimentGraph(b, a).run(treatments=[swapped])
    assert conditions(results) == {"a": ("baseline",), "b": ("baseline", "swapped")}
    assert list(results) == ["a", "b"], "what is read comes first"
    assert written("b", "swapped")["read"]["name"] == "a"


def test_a_decorated_treatment_and_a_single_name_are_taken(node: Any) -> None:
    @treatment("hot")
    def heat(ctx: Any, *, by: int = 6) -> None:
        ctx.add("factor", by)

    graph = ExperimentGraph(node("a"))
    graph.run(treatments=[heat])
    assert written("a", "hot")["factor"] == 6
    assert conditions(ExperimentGraph(node("a", treatments=[hot(1)])).run(treatments="hot")) == {
        "a": ("baseline", "hot")
    }


@pytest.mark.parametrize("wrong", [{"hot": {}}, 3, [3], b"hot"])
def test_what_is_no_treatment_is_refused(node: Any, wrong: Any) -> None:
    with pytest.raises(InvalidTypeError, match="treatment"):
        ExperimentGraph(node("a")).run(treatments=wrong)


def test_treatments_that_would_share_a_folder_are_refused_before_anything_runs(node: Any) -> None:
    ran: list[Any] = []
    graph = ExperimentGraph(node("a", treatments=[hot(2)], before=ran.append))
    with pytest.raises(InvalidNameError):
        graph.run(treatments=["hot", treatment("HOT", {})])
    assert not ran


def test_the_experiments_are_as_they_were_after_the_run(node: Any) -> None:
    a: Experiment = node("a", treatments=[hot(2)], replicates=2)
    ExperimentGraph(a).run(treatments=[], replicates=1)
    assert (a.conditions, a.replicates) == (("baseline", "hot"), 2)


def said(caplog: Any) -> list[tuple[str, str]]:
    return [
        (each.levelname, each.getMessage())
        for each in caplog.records
        if "baseline's output" in each.getMessage()
    ]


def test_treatments_that_nothing_upstream_defines_are_told_once_for_each_experiment(
    node: Any, caplog: Any
) -> None:
    caplog.set_level("INFO", logger="crystallize.graph")
    a = node("a", treatments=[hot(2)])
    b = node("b", a, treatments=[treatment("hott", {}), treatment("cold", {"factor": 3})])
    c = node("c", b, treatments=[hot(2), treatment("cold", {"factor": 3})])
    ExperimentGraph(a, b, c).run(replicates=2)
    assert said(caplog) == [
        (
            "WARNING",
            "experiment 'b' runs 'cold', 'hott' on the baseline's output of 'a', where no treatment is called so. "
            "Did you mean 'hot'?",
        ),
        (
            "WARNING",
            "experiment 'c' runs 'hot' on the baseline's output of 'b', where no treatment is called so. "
            "Did you mean 'hott'?",
        ),
    ]


def test_it_is_no_warning_where_no_name_can_have_been_meant(node: Any, caplog: Any) -> None:
    caplog.set_level("INFO", logger="crystallize.graph")
    a = node("a")
    ExperimentGraph(a, node("b", a, treatments=[hot(3)])).run()
    ExperimentGraph(a, node("c", a, treatments=[treatment("empty", {})])).run()
    assert [level for level, _ in said(caplog)] == ["INFO", "WARNING"]
