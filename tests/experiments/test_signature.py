"""What decides the outcomes of a run, as its metadata keep it."""

from __future__ import annotations

import itertools
import json
import platform
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crystallize import (
    Artifact,
    Experiment,
    ExperimentInput,
    Hypothesis,
    Pipeline,
    PipelineStep,
    SeedPlugin,
    Treatment,
    data_source,
    paired_t_test,
    pipeline_step,
    treatment,
    verifier,
    welch_t_test,
)
from crystallize.experiments.signature import experiment_signature
from crystallize.plugins.base import BasePlugin

RATE = 0.5


def helper(x: float) -> float:
    return x * RATE


@pipeline_step()
def fit(data: float, ctx: Any, *, lr: float = 0.1, loss: Any = None, model: Any = None) -> Any:
    return data, {"loss": helper(data) * lr}


class Held(PipelineStep):
    def __init__(self, table: Any, name: str) -> None:
        self.table = table
        self._name = name
        self._lock = threading.Lock()

    def __call__(self, data: Any, ctx: Any) -> Any:
        return data


@data_source
def numbers(ctx: Any, *, n: int = 1) -> float:
    return float(n)


@treatment("shifted")
def shifted(ctx: Any, *, by: float = 1.0) -> None:
    ctx.add("shift", helper(by))


@verifier
def differs(baseline: Any, other: Any, *, alpha: float = 0.05) -> Any:
    return {"p_value": alpha}


def seed_fn(seed: int) -> None: ...


class Watcher(BasePlugin):
    def __init__(self, level: int = 1) -> None:
        self.level = level

    def before_step(self, experiment: Any, step: Any, ctx: Any) -> None:
        helper(1.0)


def experiment(**changes: Any) -> Experiment:
    parts: dict[str, Any] = {
        "datasource": numbers(n=2),
        "pipeline": [fit(loss=helper), Held(np.zeros(3), "a")],
        "treatments": [treatment("low", {"lr": 0.01, "fn": helper}), shifted(by=2.0)],
        "hypotheses": [Hypothesis(differs(), metrics="loss", direction="min")],
        "initial_ctx": {"shift": 0.0, "fn": None},
        "outputs": [Artifact("table.json", loader="json")],
        "plugins": [SeedPlugin(seed=7), Watcher()],
    }
    parts |= changes
    return Experiment(parts.pop("datasource"), Pipeline(parts.pop("pipeline")), name="study", **parts)


def signature(**changes: Any) -> Any:
    made = experiment(**changes)
    return experiment_signature(made, made.hypotheses)


def flat(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, dict) and value:
        return {
            name: leaf for key, item in value.items() for name, leaf in flat(item, f"{path}/{key}").items()
        }
    return {path: value}


def test_it_says_what_each_part_was_made_with_and_which_code_it_reaches() -> None:
    found = signature()
    assert found["seed"] == 7
    step = found["steps"]["FitStep"]
    assert step["parameters"] == {"loss": "test_signature.helper"}
    assert step["defaults"] == {"lr": 0.1, "model": None}
    assert set(step["code"]) == {f"{name} in test_signature.py" for name in ("fit()", "helper()", "RATE")}
    held = found["steps"]["Held"]
    assert held["parameters"]["_name"] == "a"
    assert held["parameters"]["table"].startswith("ndarray ")
    assert "Held.__call__() in test_signature.py" in held["code"]
    assert found["datasource"]["parameters"] == {"n": 2}
    assert set(found["datasource"]["code"]) == {"numbers() in test_signature.py"}
    assert found["initial_ctx"]["settings"] == {"shift": 0.0, "fn": None}
    assert list(found["conditions"]) == ["baseline", "low", "shifted"]
    low, shift = found["conditions"]["low"], found["conditions"]["shifted"]
    assert low["settings"] == {"lr": 0.01, "fn": "test_signature.helper"}
    assert "helper() in test_signature.py" in low["code"]
    assert shift["parameters"] == {"by": 2.0}
    assert {"shifted() in test_signature.py", "helper() in test_signature.py"} < set(shift["code"])
    compared = found["hypotheses"]["differs"]
    assert (compared["parameters"], compared["metrics"], compared["direction"]) == (
        {"alpha": 0.05},
        [["loss"]],
        "min",
    )
    assert set(compared["code"]) == {"differs() in test_signature.py"}
    watcher = found["plugins"]["Watcher"]
    assert watcher["settings"] == {"level": 1}
    assert {"Watcher.before_step() in test_signature.py", "helper() in test_signature.py"} < set(
        watcher["code"]
    )
    assert found["plugins"]["seed"]["code"] == {}
    assert "serial" not in found["plugins"]


CHANGES: dict[str, tuple[Callable[[], dict[str, Any]], set[str]]] = {
    "a parameter": (
        lambda: {"pipeline": [fit(loss=helper, lr=0.2), Held(np.zeros(3), "a")]},
        {"/steps/FitStep/parameters/lr", "/steps/FitStep/defaults/lr"},
    ),
    "an array that a step holds": (
        lambda: {"pipeline": [fit(loss=helper), Held(np.ones(3), "a")]},
        {"/steps/Held/parameters/table"},
    ),
    "a private attribute": (
        lambda: {"pipeline": [fit(loss=helper), Held(np.zeros(3), "b")]},
        {"/steps/Held/parameters/_name"},
    ),
    "the data source": (lambda: {"datasource": numbers(n=3)}, {"/datasource/parameters/n"}),
    "a setting of a treatment": (
        lambda: {"treatments": [treatment("low", {"lr": 0.02, "fn": helper}), shifted(by=2.0)]},
        {"/conditions/low/settings/lr"},
    ),
    "what a treatment's function is given": (
        lambda: {"treatments": [treatment("low", {"lr": 0.01, "fn": helper}), shifted(by=3.0)]},
        {"/conditions/shifted/parameters/by"},
    ),
    "the initial context": (
        lambda: {"initial_ctx": {"shift": 1.0, "fn": None}},
        {"/initial_ctx/settings/shift"},
    ),
    "the seed": (
        lambda: {"plugins": [SeedPlugin(seed=8), Watcher()]},
        {"/seed", "/plugins/seed/settings/seed"},
    ),
    "a setting of a plugin": (
        lambda: {"plugins": [SeedPlugin(seed=7), Watcher(2)]},
        {"/plugins/Watcher/settings/level"},
    ),
    "a setting of a verifier": (
        lambda: {"hypotheses": [Hypothesis(differs(alpha=0.1), metrics="loss", direction="min")]},
        {"/hypotheses/differs/parameters/alpha"},
    ),
    "what a hypothesis is measured by": (
        lambda: {
            "hypotheses": [
                Hypothesis(
                    differs(), metrics="loss", direction="min", smallest_effect=1, correction="hochberg"
                )
            ]
        },
        {"/hypotheses/differs/smallest_effect", "/hypotheses/differs/correction"},
    ),
    "nothing": (dict, set()),
    "the execution": (lambda: {"execution": "thread"}, set()),
    "replicates": (lambda: {"replicates": 9}, set()),
}


@pytest.mark.parametrize(("change", "expected"), CHANGES.values(), ids=CHANGES)
def test_what_changed_is_where_two_signatures_differ(
    change: Callable[[], dict[str, Any]], expected: set[str]
) -> None:
    before, after = flat(signature()), flat(signature(**change()))
    assert {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)} == expected


@pytest.mark.parametrize(
    ("change", "paths"),
    [
        (lambda function: {"datasource": function}, {"/datasource/callable"}),
        (lambda function: {"datasource": partial(function)}, {"/datasource/callable"}),
        (
            lambda function: {"treatments": [Treatment("low", {"fn": function})]},
            {"/conditions/low/settings/fn"},
        ),
        (lambda function: {"pipeline": [Held(function, "a")]}, {"/steps/Held/parameters/table"}),
    ],
)
def test_functions_of_libraries_whose_code_counts_for_nothing_are_told_apart_by_their_names(
    change: Callable[[Any], dict[str, Any]], paths: set[str]
) -> None:
    before, after = (flat(signature(**change(function))) for function in (platform.node, platform.machine))
    assert {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)} == paths


def test_builtin_functions_are_told_apart_too() -> None:
    first, second = (signature(datasource=each)["datasource"] for each in (time.time, time.monotonic))
    assert first != second


def test_another_verifier_of_the_same_settings_is_another_hypothesis() -> None:
    first, second = (
        signature(hypotheses=[Hypothesis(each, metrics="loss", direction="min", name="h")])["hypotheses"]["h"]
        for each in (paired_t_test(), welch_t_test())
    )
    assert (first["verifier"], second["verifier"]) == ("paired_t_test", "welch_t_test")


def test_the_sources_of_a_bundle_are_parts_of_their_own() -> None:
    bundle = ExperimentInput(one=numbers(n=1), two=lambda: 2.0)
    own = Treatment("low", {"lr": 0.01}, datasource=numbers(n=5))
    found = signature(datasource=bundle, treatments=[own], initial_ctx={})
    assert found["datasource"]["sources"]["one"]["parameters"] == {"n": 1}
    assert set(found["datasource"]["sources"]) == {"one", "two"}
    assert found["conditions"]["low"]["datasource"]["parameters"] == {"n": 5}


class Quantity:
    """A number with a unit, as pint's are: what it gives as its number is a quantity again."""

    ndim = 0

    def __init__(self, magnitude: float, unit: str) -> None:
        self.magnitude, self.unit = magnitude, unit

    def item(self) -> Quantity:
        return Quantity(self.magnitude, self.unit)


def test_a_quantity_counts_with_its_unit() -> None:
    settings = [
        signature(initial_ctx={"radius": Quantity(3.0, unit)})["initial_ctx"]["settings"]
        for unit in ("m", "m", "km")
    ]
    assert settings[0] == settings[1] != settings[2]


def test_values_of_different_types_are_told_apart() -> None:
    alike: list[Any] = [
        [1, 2],
        (1, 2),
        {1, 2},
        frozenset({1, 2}),
        "a",
        Path("a"),
        ["a"],
        [Path("a")],
        [[1]],
        [(1,)],
        {1: 2},
        {"1": 2},
    ]
    settings = [
        signature(initial_ctx={"value": value})["initial_ctx"]["settings"]["value"] for value in alike
    ]
    assert not [pair for pair in itertools.combinations(settings, 2) if pair[0] == pair[1]]


def test_keys_of_settings_are_the_same_in_every_process() -> None:
    made = signature(initial_ctx={"table": {helper: 1, frozenset({"b", "a"}): 2, 3: 4, Held: 5, "3 ": 6}})
    assert list(made["initial_ctx"]["settings"]["table"]) == [
        "test_signature.helper",
        "frozenset('a', 'b')",
        "int(3)",
        "test_signature.Held",
        "3 ",
    ]


ODD: dict[str, Any] = {
    "nan": float("nan"),
    "infinite": float("-inf"),
    "numpy": np.float64(1.5),
    "set": {"b", "a"},
    "long": list(range(1_000)),
    "text": "x" * 10_000,
    "path": Path("a") / "b",
    "lock": threading.Lock(),
    "bytes": b"\x00",
    "keys": {1: (1, 2), None: complex(1, 2)},
    "huge": np.zeros(1_000_000),
}


def test_values_of_any_kind_are_equal_to_what_is_read_back_and_to_those_of_another_experiment() -> None:
    circle: list[Any] = []
    circle.append(circle)
    settings = ODD | {"circle": circle}
    found = signature(initial_ctx=settings)
    assert json.loads(json.dumps(found)) == found
    assert found["initial_ctx"] == signature(initial_ctx=dict(settings))["initial_ctx"]
    assert found["initial_ctx"]["settings"]["set"] == "set('a', 'b')"
    assert len(json.dumps(found)) < 20_000


def test_secrets_are_in_no_part_of_a_runs_metadata() -> None:
    secret = "hunter2"
    made = experiment(
        datasource=token_source(api_key=secret),
        pipeline=[with_token(token=secret)],
        treatments=[treatment("low", {"password": secret})],
        initial_ctx={"password": secret, "url": f"https://me:{secret}@host"},
        hypotheses=[],
    )
    path = made.run().path
    assert path is not None
    text = (path / "metadata.json").read_text()
    assert secret not in text
    assert text.count("***") >= 5


@data_source
def token_source(ctx: Any, *, api_key: str) -> float:
    return 1.0


@pipeline_step()
def with_token(data: Any, ctx: Any, *, token: str, password: str = "") -> Any:
    return data


def test_it_is_that_of_the_start_of_the_run() -> None:
    @pipeline_step()
    def edits(data: Any, ctx: Any) -> Any:
        ctx.get("fn")
        globals()["RATE"] = 0.25
        return data

    before = signature(pipeline=[edits, fit])["steps"]["FitStep"]["code"]
    try:
        path = experiment(pipeline=[edits, fit]).run().path
    finally:
        globals()["RATE"] = 0.5
    assert path is not None
    stored = json.loads((path / "metadata.json").read_text())
    assert stored["signature"]["steps"]["FitStep"]["code"] == before
    assert stored["signature"]["conditions"].keys() == stored["conditions"].keys()


def test_no_file_of_a_run_tells_a_secret(tmp_path: Path) -> None:
    @pipeline_step()
    def logs_in(data: int, ctx: Any, *, api_key: str, token: str = "") -> Any:
        ctx.add("password", ctx["passphrase"] + "4")
        return data, {"length": len(api_key + token + ctx["password"])}

    result = Experiment(
        lambda: 3,
        [logs_in(api_key="hidden-1")],
        name="secrets",
        initial_ctx={"passphrase": "hidden-2", "url": "https://me:hidden-3@host"},
        treatments=[Treatment("other", {"token": "hidden-5"})],
    ).run()
    assert result.metrics.baseline.metrics["length"] == [17]
    assert "hidden" not in str(list(result.provenance))
    for path in Path("data").rglob("*"):
        assert path.is_dir() or b"hidden" not in path.read_bytes(), path
