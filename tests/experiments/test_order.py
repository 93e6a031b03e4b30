"""The order in time of replicates and conditions: drawn from the seed, recorded, and without effect on results."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from crystallize import Artifact, Experiment, ExperimentGraph, FrozenContext, Treatment, grid, pipeline_step
from crystallize.errors import ExecutionError, InvalidValueError
from crystallize.experiments.order import RANDOMISED, order_of_conditions, order_of_replicates
from crystallize.plugins.execution import SerialExecution
from crystallize.results.result import Result

REPLICATES = 12
TREATMENTS = [grid(shift=[1, 2]), Treatment("far", {"shift": 9.0})]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pipeline_step()
def measure(
    data: float, ctx: FrozenContext, log: Artifact, *, shift: float = 0.0
) -> tuple[float, dict[str, Any]]:
    value = data + shift + ctx.rng.normal()
    log.write(repr(value).encode())
    if ctx["replicate"] == 3 and shift == 2:
        raise ValueError("this one fails")
    return value, {"value": value}


def fetch(ctx: FrozenContext) -> float:
    return float(ctx.rng.normal())


def experiment(order: str, **options: Any) -> Experiment:
    return Experiment(
        fetch,
        [measure],
        name="ordered",
        outputs=[Artifact("log")],
        **{"treatments": TREATMENTS, "replicates": REPLICATES, "seed": 5, "order": order, **options},
    )


def files_of(result: Result) -> dict[str, bytes]:
    """Return what a run has stored but for what tells of its time: metadata and journal."""
    assert result.path is not None
    return {
        str(file.relative_to(result.path)): file.read_bytes()
        for file in result.path.rglob("*")
        if file.is_file() and file.name not in ("metadata.json", "journal.jsonl", ".crystallize_complete")
    }


def sequence(result: Result) -> list[tuple[int, str]]:
    """Return replicate and condition of each outcome, in the order of time."""
    assert result.path is not None
    lines = (json.loads(line) for line in (result.path / "journal.jsonl").read_text().splitlines())
    began = [(line["started"], line["replicate"], line["condition"]) for line in lines if "condition" in line]
    return [(replicate, condition) for _, replicate, condition in sorted(began)]


# -- the same results ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return the files and the values of the run in the usual order."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("usual"))
        result = experiment("interleaved").run()
        return files_of(result), result.to_dict()


@pytest.mark.parametrize(
    "execution",
    [
        "serial",
        {"strategy": "thread", "max_workers": 3},
        {"strategy": "process", "max_workers": 2},
        "async",
        {"strategy": "async", "max_concurrency": 2},
    ],
    ids=str,
)
def test_a_randomised_run_gives_the_same_bytes_under_every_strategy(
    undisturbed: tuple[dict[str, bytes], dict[str, Any]], execution: Any
) -> None:
    result = experiment("randomised", execution=execution).run()
    files, values = undisturbed
    assert files_of(result) == files
    assert result.to_dict() == values
    assert len(result.errors) == 1


@pytest.mark.parametrize("done", [1, 5])
def test_a_randomised_run_that_is_resumed_gives_the_same_bytes(
    undisturbed: tuple[dict[str, bytes], dict[str, Any]], done: int
) -> None:
    cut = experiment("randomised", treatments=[grid(shift=[1])], replicates=done)
    cut.run()
    result = experiment("randomised").run(strategy="resume")
    assert (files_of(result), result.to_dict()) == undisturbed


def test_a_run_goes_on_in_another_order(undisturbed: tuple[dict[str, bytes], dict[str, Any]]) -> None:
    experiment("interleaved", replicates=5).run()
    result = experiment("randomised").run(strategy="resume")
    assert (files_of(result), result.to_dict()) == undisturbed


# -- the order -------------------------------------------------------------------------------------------------------


def test_interleaved_each_replicate_runs_all_conditions_as_they_are_listed() -> None:
    result = experiment("interleaved").run()
    assert sequence(result) == [(number, name) for number in range(REPLICATES) for name in result.conditions]


def test_randomised_replicates_and_their_conditions_run_as_the_seed_has_drawn() -> None:
    result = experiment("randomised").run()
    found = sequence(result)
    replicates = list(dict.fromkeys(number for number, _ in found))
    assert replicates == order_of_replicates(RANDOMISED, 5, REPLICATES)
    assert replicates != sorted(replicates)
    by_replicate = [tuple(name for number, name in found if number == each) for each in replicates]
    assert by_replicate == [
        tuple(order_of_conditions(RANDOMISED, 5, each, result.conditions)) for each in replicates
    ]
    assert len(set(by_replicate)) > 5
    assert sequence(experiment("randomised").run()) == found, "it is repeatable"
    assert sequence(experiment("randomised", seed=6).run()) != found


def test_each_condition_takes_each_place_equally_often_in_the_long_run() -> None:
    places = Counter(
        (place, name)
        for replicate in range(2000)
        for place, name in enumerate(order_of_conditions(RANDOMISED, 1, replicate, "abcd"))
    )
    # 500 each; three standard errors of a share of a quarter, with room for sixteen comparisons
    assert all(abs(count - 500) < 80 for count in places.values())
    assert len(places) == 16
    firsts = Counter(order_of_replicates(RANDOMISED, seed, 4)[0] for seed in range(2000))
    assert all(abs(count - 500) < 80 for count in firsts.values())


def test_the_order_is_recorded() -> None:
    for order in ("interleaved", "randomised"):
        result = experiment(order, replicates=1).run()
        assert result.path is not None
        assert json.loads((result.path / "metadata.json").read_text())["order"] == order


def test_the_builder_and_graphs_keep_the_order() -> None:
    built = Experiment.builder("b").datasource(lambda: 1).steps(abs).order("randomised").build()
    assert built.order == "randomised"
    (result,) = ExperimentGraph(experiment("randomised")).run().values()
    assert sequence(result)[0][0] == order_of_replicates(RANDOMISED, 5, REPLICATES)[0]


# -- mistakes --------------------------------------------------------------------------------------------------------


def test_an_unknown_order_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        InvalidValueError, match=r"order is 'interleaved' or 'randomised'.*Did you mean 'randomised'"
    ):
        experiment("randomized")
    with pytest.raises(InvalidValueError, match="got None"):
        experiment(None)  # type: ignore[arg-type]


class Twice(SerialExecution):
    """Returns the first result again at the end."""

    def run_experiment_loop(self, experiment: Any, replicate_fn: Any) -> list[Any]:
        results = [replicate_fn(number) for number in experiment.owed]
        return [*results, results[0]]


def test_a_strategy_that_returns_a_replicate_twice_is_told_so_in_any_order() -> None:
    with pytest.raises(ExecutionError, match="twice"):
        experiment("randomised", execution=Twice()).run()
