"""The result of a run: reading it, showing it, handing it on."""

from __future__ import annotations

import json
import math
import pickle
import sys
from typing import Any

import numpy as np
import pytest

from crystallize import (
    Artifact,
    Experiment,
    FrozenContext,
    Hypothesis,
    PipelineStep,
    grid,
    paired_t_test,
    treatment,
)
from crystallize.errors import RunFailedError, UnknownNameError
from crystallize.utils.json_text import to_json


class Fit(PipelineStep):
    def __init__(self, out: Artifact) -> None:
        self.out = out

    def __call__(self, data: Any, ctx: FrozenContext) -> Any:
        if ctx["replicate"] in ctx["fails"]:
            raise ValueError(f"bad split {ctx['replicate']}")
        for epoch in range(2):
            ctx.record("curve", ctx["replicate"] + epoch / 10, tags={"epoch": epoch})
        self.out.write(b"abc")
        return data, {"loss": ctx["replicate"] + ctx["shift"] + ctx.rng.random() / 100}


def make(fails: tuple[int, ...] = (), treated_fails: tuple[int, ...] = (), **options: Any) -> Experiment:
    out = Artifact("model.bin")
    return Experiment(
        lambda: None,
        [Fit(out)],
        name="demo",
        outputs=[out],
        initial_ctx={"shift": 0.0, "fails": fails},
        treatments=[treatment("low", {"shift": -1.0, "fails": treated_fails})],
        hypotheses=[Hypothesis(paired_t_test(), metrics="loss", name="lower", direction="min")],
        seed=3,
        **options,
    )


# -- reading --------------------------------------------------------------------------------------------------------


def test_metrics_are_flat_lists_in_replicate_order() -> None:
    result = make().run(replicates=3)
    baseline, low = result.metrics.baseline.metrics, result.metrics.treatments["low"].metrics
    assert baseline["curve"] == [0.0, 0.1, 1.0, 1.1, 2.0, 2.1]
    assert [int(loss) for loss in baseline["loss"]] == [0, 1, 2]
    assert low["loss"] == pytest.approx([loss - 1 for loss in baseline["loss"]])
    assert list(baseline) == ["curve", "loss"]


def test_conditions_seeds_and_numbers_are_at_hand() -> None:
    result = make().run(replicates=2)
    assert result.experiment == "demo"
    assert result.replicates == 2
    assert result.master_seed == 3
    assert result.conditions == ("baseline", "low")
    assert result.condition("low") is result.metrics.treatments["low"]
    assert result.condition("baseline") is result.metrics.baseline
    assert result.seeds == {"baseline": [3, 31340], "low": [3, 31340]}
    assert result.path is not None
    assert (result.path / "metadata.json").is_file()
    assert [(entry.replicate, entry.condition, entry.size) for entry in result.artifacts] == [
        (0, "baseline", 3),
        (0, "low", 3),
        (1, "baseline", 3),
        (1, "low", 3),
    ]
    assert all((result.path / entry.path).read_bytes() == b"abc" for entry in result.artifacts)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (
            lambda result: result.condition("lo"),
            r"no condition 'lo'.*Did you mean 'low'\?.*'baseline', 'low'",
        ),
        (
            lambda result: result.get_hypothesis("lwer"),
            r"no hypothesis 'lwer'.*Did you mean 'lower'\?.*'lower'",
        ),
    ],
)
def test_a_name_that_is_not_there_gets_the_nearest_one(ask: Any, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message) as raised:
        ask(make().run(replicates=2))
    assert isinstance(raised.value, LookupError)


def test_a_hypothesis_is_found_by_its_name() -> None:
    result = make().run(replicates=6)  # equal differences: with fewer it could be chance
    found = result.get_hypothesis("lower")
    assert found is result.metrics.hypotheses[0]
    assert found.ranking["best"] == "low"


# -- errors ----------------------------------------------------------------------------------------------------------


def test_errors_are_in_the_result_and_stop_nothing_else() -> None:
    result = make(fails=(1, 3), treated_fails=(0, 1)).run(replicates=5)
    assert [(error.replicate, error.condition) for error in result.errors] == [
        (0, "low"),
        (1, "baseline"),
        (1, "low"),
        (3, "baseline"),
    ]
    assert len(result.metrics.baseline.metrics["loss"]) == 3
    first = result.errors[1]
    assert (first.kind, first.message, first.step) == ("ValueError", "bad split 1", "Fit")
    assert first.traceback.startswith("Traceback")
    assert "bad split 1" in first.traceback
    assert result.condition("baseline").errors == [first, result.errors[3]]
    assert str(first) == "ValueError: bad split 1 (condition 'baseline', replicate 1, step 'Fit')"


def test_raise_for_errors_raises_with_the_first_ones_and_a_traceback() -> None:
    result = make(fails=(0, 1, 2, 3, 4)).run(replicates=6)
    with pytest.raises(RunFailedError) as raised:
        result.raise_for_errors()
    assert isinstance(raised.value, RuntimeError)
    text = str(raised.value)
    assert "5 of 12 outcomes of 'demo' failed" in text
    assert "bad split 0" in text
    assert "bad split 2" in text
    assert "bad split 3" not in text
    assert "and 2 more" in text
    assert "result.errors has them all" in text
    assert "Traceback" in raised.value.__notes__[0]


def test_raise_for_errors_does_nothing_without_errors() -> None:
    make().run(replicates=2).raise_for_errors()


def test_a_condition_that_failed_throughout_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    make(treated_fails=(0, 1)).run(replicates=2)
    (error,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert "every outcome of condition 'low' failed (2 of 2)" in error


# -- handing on -------------------------------------------------------------------------------------------------------


def test_to_dict_has_everything_as_plain_data() -> None:
    result = make(fails=(1,)).run(replicates=3)
    content = result.to_dict()
    assert sorted(content) == [
        "arrived", "artifacts", "conditions", "experiment", "hypotheses", "master_seed", "preregistration",
        "replicates", "shared_inputs", "stopped_inputs", "stopping",
    ]  # fmt: skip
    assert content["conditions"]["low"]["metrics"] == result.metrics.treatments["low"].metrics
    assert content["conditions"]["low"]["seeds"] == result.seeds["low"]
    assert content["conditions"]["baseline"]["errors"][0]["message"] == "bad split 1"
    assert content["hypotheses"][0]["name"] == "lower"
    assert content["artifacts"][0]["name"] == "model.bin"
    assert json.loads(result.to_json()) == json.loads(to_json(content, strict=True))
    assert pickle.loads(pickle.dumps(content)) == content


def test_to_json_takes_what_json_has_no_form_for() -> None:
    result = Experiment(
        lambda: 0, [lambda data: (data, {"odd": {1, 2}, "plain": 1})], name="odd", seed=1
    ).run()
    metrics = json.loads(result.to_json(indent=None))["conditions"]["baseline"]["metrics"]
    assert metrics == {"odd": [[1, 2]], "plain": [1]}


def test_to_json_is_what_any_reader_of_json_takes() -> None:
    values = {
        "nan": math.nan,
        "low": -math.inf,
        "array": np.float32([1, 2]),
        "by": {(1, 2): "x", np.int64(3): 4},
    }
    result = Experiment(lambda: 0, [lambda data: (data, values)], name="odd", seed=1).run()
    text = result.to_json()
    assert text.isascii()
    metrics = json.loads(text, parse_constant=pytest.fail)["conditions"]["baseline"]["metrics"]
    assert metrics == {
        "nan": [None],
        "low": [None],
        "array": [[1, 2]],
        "by": [{"(1, 2)": "x", "3": 4}],
    }


def test_to_frame_is_tidy_with_a_column_for_each_tag() -> None:
    frame = make(fails=(1,)).run(replicates=2).to_frame()
    assert list(frame.columns) == ["replicate", "condition", "metric", "value", "epoch"]
    assert len(frame) == 9
    assert frame["replicate"].is_monotonic_increasing
    curve = frame[(frame.metric == "curve") & (frame.condition == "low") & (frame.replicate == 1)]
    assert curve[["value", "epoch"]].to_numpy().tolist() == [[1.0, 0], [1.1, 1]]
    assert frame[frame.metric == "loss"]["epoch"].isna().all()


def test_to_frame_keeps_the_digits_of_large_integers_beside_floats_and_gaps() -> None:
    large = 2**60 + 1

    def step(data: Any, *, key: int = 0) -> tuple[Any, dict[str, float]]:
        return data, {"loss": 0.5, "seed": large}

    frame = Experiment(lambda: None, [step], treatments=grid(key=[large]), name="e").run().to_frame()
    assert frame[frame.metric == "seed"]["value"].tolist() == [large, large]
    assert frame[frame.metric == "loss"]["value"].tolist() == [0.5, 0.5]
    assert frame[frame.condition == "baseline"]["key"].isna().all()
    assert frame[frame.condition != "baseline"]["key"].tolist() == [large, large]


def test_to_frame_without_pandas_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install 'crystallize-lab\[frame\]'"):
        make().run().to_frame()


def test_it_can_be_pickled() -> None:
    result = make(fails=(1,)).run(replicates=3)
    copy = pickle.loads(pickle.dumps(result))
    assert copy.to_dict() == result.to_dict()
    assert list(copy.provenance) == list(result.provenance)


# -- showing ----------------------------------------------------------------------------------------------------------


def test_its_repr_tells_what_ran() -> None:
    assert repr(make().run(replicates=2)) == "<Result of 'demo': 2 replicates of baseline, low>"
    assert repr(make(fails=(0,)).run(replicates=2)).endswith("baseline, low, 1 failed outcome>")


def test_it_shows_its_summary_in_terminals_and_notebooks() -> None:
    from rich.console import Console

    result = make().run(replicates=5)
    console = Console(width=120, record=True, file=open("shown.txt", "w"))  # noqa: PTH123, SIM115
    console.print(result)
    shown = console.export_text()
    console.file.close()
    for word in ("loss", "curve", "low", "baseline"):
        assert word in shown
        assert word in result._repr_html_()
