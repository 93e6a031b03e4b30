"""Treatments: what a condition changes."""

from __future__ import annotations

import pickle
from functools import partial
from typing import Any

import cloudpickle
import pytest

from crystallize import DataSource, Experiment, FrozenContext, Treatment, standalone_context, treatment
from crystallize.errors import InvalidNameError, InvalidTypeError, InvalidValueError
from crystallize.experiments.treatment import as_treatments


@treatment("shifted")
def shifted(ctx: FrozenContext, *, by: float = 1.0) -> None:
    """Shift it."""
    ctx.add("shift", by)


def low(ctx: FrozenContext) -> None:
    ctx.add("shift", -1.0)


def measure(data: Any, *, shift: float = 0.0) -> Any:
    return data, {"shift": shift, "data": data}


def run(*treatments: Any, **options: Any) -> dict[str, Any]:
    result = Experiment(lambda: "data", [measure], treatments=treatments, seed=1, **options).run()
    result.raise_for_errors()
    return {
        name: (values["shift"], values["data"])
        for name in result.conditions
        for values in [{metric: column[0] for metric, column in result.condition(name).metrics.items()}]
    }


@pytest.mark.parametrize(
    ("given", "name", "shift"),
    [
        (Treatment("t", {"shift": 2.0}), "t", 2.0),
        (treatment("t", {"shift": 2.0}), "t", 2.0),
        (treatment("t", low), "t", -1.0),
        (treatment("t", lambda ctx: ctx.add("shift", 3.0)), "t", 3.0),
        (Treatment("t", {}), "t", 0.0),
        (shifted, "shifted", 1.0),
        (shifted(), "shifted", 1.0),
        (shifted(by=5.0), "shifted", 5.0),
    ],
)
def test_a_treatment_is_settings_or_a_function_or_a_factory(given: Any, name: str, shift: float) -> None:
    assert run(given) == {"baseline": (0.0, "data"), name: (shift, "data")}


def test_the_baseline_runs_always_and_first_whatever_the_order() -> None:
    treatments = [treatment("b", {}), treatment("baseline", {"shift": 9.0}), treatment("a", {})]
    found = run(*treatments)
    assert list(found) == ["baseline", "b", "a"]
    assert found["baseline"] == (9.0, "data")
    assert found["a"] == (0.0, "data")


def test_settings_are_laid_over_the_initial_context_for_their_condition_only() -> None:
    found = run(treatment("t", {"shift": 2.0}), initial_ctx={"shift": 1.0})
    assert found == {"baseline": (1.0, "data"), "t": (2.0, "data")}


def test_a_data_source_can_be_swapped_for_one_condition() -> None:
    class Other(DataSource):
        def fetch(self, ctx: FrozenContext) -> str:
            return f"other of {ctx['condition']}"

    found = run(treatment("t", datasource=Other()), treatment("u", {"shift": 1.0}, datasource=lambda: "bare"))
    assert found == {"baseline": (0.0, "data"), "t": (0.0, "other of t"), "u": (1.0, "bare")}


def test_settings_are_copied_from_the_mapping() -> None:
    settings = {"shift": 1.0}
    made = treatment("t", settings)
    settings["shift"] = 2.0
    assert run(made)["t"] == (1.0, "data")


def test_a_function_treatment_has_a_random_stream_of_its_own_and_the_seed_of_its_replicate() -> None:
    seen = []

    def note(ctx: FrozenContext) -> None:
        seen.append((ctx["seed_used"], ctx["step_name"]))
        ctx.add("drawn", float(ctx.rng.random()))

    def draw(data: Any, ctx: FrozenContext) -> Any:
        return data, {"drawn": ctx.get("drawn", -1.0), "own": float(ctx.rng.random())}

    result = Experiment(lambda: 0, [draw], treatments=[treatment("t", note)], seed=7).run()
    assert seen == [(7, "treatment")]
    treated, baseline = result.metrics.treatments["t"].metrics, result.metrics.baseline.metrics
    assert treated["own"] == baseline["own"] != treated["drawn"]


def test_a_function_that_sets_a_key_a_second_time_fails_in_its_outcome_only() -> None:
    result = Experiment(
        lambda: 0, [measure], initial_ctx={"shift": 0.0}, treatments=[shifted, treatment("fine", {})], seed=1
    ).run()
    (error,) = result.errors
    assert (error.condition, error.step) == ("shifted", "treatment")
    assert error.kind == "crystallize.errors.ContextMutationError"
    assert result.metrics.treatments["fine"].metrics["shift"] == [0.0]


# -- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("apply", [5, None, "low", [("a", 1)], dict])
def test_what_it_applies_is_a_mapping_or_a_function(apply: Any) -> None:
    with pytest.raises(InvalidTypeError, match="treatment 't' is a mapping of settings or a function"):
        Treatment("t", apply)


def test_an_asynchronous_function_is_refused_as_nobody_would_await_it() -> None:
    async def later(ctx: FrozenContext) -> None: ...

    with pytest.raises(InvalidTypeError, match="treatment 't' is an async function"):
        Treatment("t", later)
    with pytest.raises(InvalidTypeError, match="treatment 't' is an async function"):
        treatment("t")(later)


@pytest.mark.parametrize("key", ["replicate", "condition", "seed_used", "step_name"])
def test_a_reserved_key_is_refused(key: str) -> None:
    with pytest.raises(InvalidValueError, match=f"treatment 't' sets '{key}'.*Choose another key"):
        treatment("t", {key: 1})


def test_keys_are_str() -> None:
    with pytest.raises(InvalidTypeError, match="treatment 't' has the key 5"):
        treatment("t", {5: 1})  # type: ignore[dict-item]


@pytest.mark.parametrize("name", ["", "../up", "a/b", "replicate_3", "metadata.json", ".hidden"])
def test_its_name_is_a_folder(name: str) -> None:
    for make in (lambda: Treatment(name, {}), lambda: treatment(name, {}), lambda: treatment(name)):
        with pytest.raises(InvalidNameError, match="the name of a treatment"):
            make()


@pytest.mark.parametrize("name", [None, 5, b"low", low])
def test_its_name_is_a_str(name: Any) -> None:
    with pytest.raises(InvalidTypeError, match="the name of a treatment is a str"):
        treatment(name)


def test_its_data_source_is_checked() -> None:
    with pytest.raises(InvalidTypeError, match="a data source is"):
        treatment("t", {}, datasource=5)


def test_an_argument_that_the_decorated_function_does_not_have_is_refused() -> None:
    with pytest.raises(InvalidTypeError, match=r"treatment 'shifted'.*'too'.*It takes \(ctx"):
        shifted(too=2)


@pytest.mark.parametrize("wrong", [5, Treatment, "fn"])
def test_only_a_function_is_decorated(wrong: Any) -> None:
    with pytest.raises(InvalidTypeError, match="decorates a function"):
        treatment("t")(wrong)


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ([treatment("a", {}), Treatment("a", {})], InvalidNameError, "two treatments are called 'a'"),
        ([shifted, shifted(by=2)], InvalidNameError, "two treatments are called 'shifted'"),
        (["a"], InvalidTypeError, "a treatment is a Treatment, got 'a'"),
        ([Treatment], InvalidTypeError, "a treatment is a Treatment, got <class"),
        ([low], InvalidTypeError, "a treatment is a Treatment, got <function low"),
        ([None], InvalidTypeError, "a treatment is a Treatment, got None"),
        ("low", InvalidTypeError, "treatments are a list"),
        ({"low": {}}, InvalidTypeError, "treatments are a list"),
        (5, InvalidTypeError, "treatments are a list"),
    ],
)
def test_a_list_of_treatments_is_checked(given: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        as_treatments(given)


def test_one_treatment_alone_is_a_list_of_one() -> None:
    assert [each.name for each in as_treatments(shifted)] == ["shifted"]


# -- the rest --------------------------------------------------------------------------------------------------------


def test_it_describes_itself_for_the_metadata() -> None:
    described = treatment("t", {"alpha": 1}, datasource=low).describe()
    assert described["alpha"] == 1
    assert "low" in described["datasource"]
    assert treatment("t", low).describe() == {"apply": "low"}
    assert shifted(by=2.0).describe() == {"apply": "shifted"}


def keep(ctx: Any, seen: list[int] = []) -> None:  # noqa: B006 - what is tested
    seen.append(1)
    ctx.add("count", len(seen))


kept = treatment("kept")(keep)


@pytest.mark.parametrize(
    "made",
    [treatment("t", {"shift": 2.0}), shifted(by=2.0), treatment("t", low)],
    ids=["values", "factory", "datasource"],
)
def test_it_can_be_pickled(made: Treatment) -> None:
    for module in (pickle, cloudpickle):
        copy = module.loads(cloudpickle.dumps(made))
        assert (copy.name, copy.settings) == (made.name, made.settings)
        if copy.function is not None:
            ctx = standalone_context()
            copy.function(ctx)
            assert "shift" in ctx


@pytest.mark.parametrize("given", [keep, partial(keep, seen=[]), kept()], ids=["plain", "partial", "factory"])
def test_a_default_that_the_function_changes_is_the_same_for_each_outcome(given: Any) -> None:
    made = given if isinstance(given, Treatment) else treatment("t", given)
    for _ in range(2):
        ctx = standalone_context()
        made.function(ctx)
        assert ctx["count"] == 1


def test_two_names_that_share_a_folder_on_some_systems_are_refused() -> None:
    with pytest.raises(InvalidNameError, match=r"'High' and 'high' would share a folder"):
        as_treatments([treatment("High", {}), treatment("high", {})])
