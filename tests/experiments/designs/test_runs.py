"""Runs of designs: what is stored of the coordinates, and what a resumed run still owes."""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from crystallize import Experiment, Result, Treatment, cases, grid, open_run
from crystallize.errors import UnknownNameError

ran: Counter[tuple[Any, ...]] = Counter()


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran.clear()


def fit(
    data: float, lr: Any = 0.05, depth: Any = 2, width: Any = 8, value: Any = 0
) -> tuple[float, dict[str, Any]]:
    ran[lr, depth, width] += 1
    return data, {"loss": lr * depth + width, "fold": 1.5, "text": "a"}


def experiment(*treatments: Any, **options: Any) -> Experiment:
    return Experiment(
        lambda: 1.0, [fit], name="sweep", treatments=treatments, **{"seed": 1, "replicates": 3, **options}
    )


# -- coordinates -----------------------------------------------------------------------------------------------------


def test_coordinates_are_in_the_metadata_and_in_the_result_and_in_the_stored_result() -> None:
    result = experiment(Treatment("plain", {"lr": 1}), grid(lr=[0.1], depth=[2, 4])).run()
    assert result.path is not None
    expected = {"lr=0.1,depth=2": {"lr": 0.1, "depth": 2}, "lr=0.1,depth=4": {"lr": 0.1, "depth": 4}}
    assert json.loads((result.path / "metadata.json").read_text())["coordinates"] == expected
    for found in (result, open_run(result.path)):
        assert {name: found.condition(name).coordinates for name in found.conditions} == {
            "baseline": {},
            "plain": {},
            **expected,
        }


def test_coordinates_that_are_no_plain_data_are_stored_as_texts() -> None:
    result = experiment(cases({"value": fit}, {"value": (1, "x")}, {"value": float("inf")})).run()
    assert result.path is not None
    for found in (result, open_run(result.path)):
        levels = [found.condition(name).coordinates["value"] for name in found.conditions[1:]]
        assert levels == ["fit", [1, "x"], float("inf")]


def test_a_run_whose_metadata_lack_coordinates_or_hold_something_else_can_be_opened() -> None:
    result = experiment(grid(lr=[0.1])).run()
    assert result.path is not None
    file = result.path / "metadata.json"
    metadata = json.loads(file.read_text())
    for damaged in (None, [1], {"lr=0.1": 3, "gone": {"lr": 1}}):
        file.write_text(json.dumps(metadata | {"coordinates": damaged}))
        assert open_run(result.path).condition("lr=0.1").coordinates == {}


def test_the_frame_has_a_column_for_each_factor() -> None:
    frame = experiment(grid(lr=[0.1, 0.2], depth=[3])).run().to_frame()
    assert list(frame.columns) == ["replicate", "condition", "lr", "depth", "metric", "value"]
    losses = frame[frame.metric == "loss"]
    assert losses[losses.lr == 0.2].value.tolist() == [0.2 * 3 + 8] * 3
    assert losses[losses.condition == "baseline"].lr.isna().all()


def test_a_factor_called_like_another_column_stands_beside_it() -> None:
    frame = experiment(grid(value=[5])).run().to_frame()
    assert list(frame.columns) == ["replicate", "condition", "factor:value", "metric", "value"]
    assert set(frame[frame.condition == "value=5"]["factor:value"]) == {5}


def test_the_array_has_the_replicate_and_the_factors_as_its_dimensions() -> None:
    array = experiment(grid(lr=[0.1, 0.2], depth=[3, 1])).run().to_xarray()
    assert dict(array.sizes) == {"replicate": 3, "lr": 2, "depth": 2}
    assert set(array.data_vars) == {"loss", "fold"}, "what is no number is left out"
    assert array.loss.sel(lr=0.2, depth=3).values.tolist() == [0.2 * 3 + 8] * 3
    assert array.loss.mean(["replicate", "depth"]).values.tolist() == pytest.approx([8.2, 8.4])


def test_combinations_that_were_not_run_are_nan_if_they_are_few() -> None:
    array = experiment(grid(lr=[0.1, 0.2], depth=[3, 1]) - cases({"lr": 0.2, "depth": 1})).run().to_xarray()
    assert array.loss.isnull().sum() == 3
    few = (
        experiment(cases({"lr": 0.1, "depth": 1}, {"lr": 0.2, "depth": 2}, {"lr": 0.3, "depth": 3}))
        .run()
        .to_xarray()
    )
    assert dict(few.sizes) == {"replicate": 3, "condition": 4}
    assert few.depth.values.tolist() == [None, 1, 2, 3]


def test_without_a_design_the_array_has_conditions() -> None:
    array = experiment(Treatment("high", {"lr": 1})).run().to_xarray()
    assert array.loss.sel(condition="high", replicate=2) == 10


def test_replicates_that_failed_are_nan(caplog: pytest.LogCaptureFixture) -> None:
    def fail_at(data: float, ctx: Any, lr: float = 0) -> tuple[float, dict[str, float]]:
        if ctx["replicate"] == 1 and lr:
            raise ValueError("no")
        return data, {"loss": lr}

    with caplog.at_level(logging.ERROR):
        result = Experiment(lambda: 1.0, [fail_at], treatments=grid(lr=[1, 2]), replicates=3, seed=1).run()
    assert result.to_xarray().loss.isnull().values.tolist() == [[False] * 2, [True] * 2, [False] * 2]


def test_integers_beyond_all_floats_are_infinite_in_the_array() -> None:
    def huge(data: float, lr: int = 0) -> tuple[float, dict[str, int]]:
        return data, {"loss": (lr - 2) * 10**400}

    result = Experiment(lambda: 1.0, [huge], treatments=grid(lr=[1, 2, 3]), replicates=1, seed=1).run()
    assert result.to_xarray().loss.values.tolist() == [[-math.inf, 0, math.inf]]


# -- mistakes --------------------------------------------------------------------------------------------------------


def test_a_factor_that_nothing_reads_is_told_before_anything_runs() -> None:
    with pytest.raises(UnknownNameError, match=r"sets 'dpth', which nothing reads.*Did you mean 'depth'"):
        experiment(grid(lr=[1, 2], dpth=[1, 2])).run()
    assert not ran


# -- resuming --------------------------------------------------------------------------------------------------------


def metrics(result: Result) -> dict[str, Any]:
    return {name: result.condition(name).metrics for name in result.conditions}


def test_with_another_level_a_resumed_run_runs_the_new_cells_only() -> None:
    experiment(grid(lr=[0.1, 0.2], depth=[2, 4])).run()
    assert ran.total() == 3 * 5
    ran.clear()
    larger = grid(lr=[0.3, 0.1, 0.2], depth=[4, 2])
    resumed = experiment(larger).run(strategy="resume")
    assert ran == {(0.3, 4, 8): 3, (0.3, 2, 8): 3}
    assert metrics(resumed) == metrics(experiment(larger).run())


def test_with_another_factor_a_resumed_run_runs_the_new_cells_only() -> None:
    small = grid(lr=[0.1, 0.2])
    experiment(small).run()
    ran.clear()
    larger = small + small * grid(width=[16, 32])
    resumed = experiment(larger).run(strategy="resume")
    assert ran == {(lr, 2, width): 3 for lr in (0.1, 0.2) for width in (16, 32)}
    assert metrics(resumed) == metrics(experiment(larger).run())


def test_with_fewer_levels_a_resumed_run_runs_nothing() -> None:
    experiment(grid(lr=[0.1, 0.2])).run()
    ran.clear()
    resumed = experiment(grid(lr=[0.2])).run(strategy="resume")
    assert not ran
    assert resumed.conditions == ("baseline", "lr=0.2")
