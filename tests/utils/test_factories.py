"""Functions that a decorator hides behind their own name reach a worker by that name."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from crystallize import data_source, hypothesis, pipeline_step, treatment, verifier
from crystallize.errors import InvalidTypeError
from crystallize.utils.factories import WrappedReference, portable, restore

MODULE = """
from crystallize import data_source, pipeline_step, treatment

CALLS = []

@pipeline_step()
def note(data, *, word="x"):
    CALLS.append(word)
    return CALLS

@data_source
def calls(n=1):
    CALLS.append(n)
    return CALLS

@treatment("louder")
def louder(ctx, *, by=2):
    ctx.add("word", "X" * by)

def plain(data):
    return data
"""


def test_a_function_whose_name_stands_for_its_factory_is_found_through_the_factory(
    tmp_path: Path, monkeypatch: Any
) -> None:
    (tmp_path / "wrapped_steps.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    import wrapped_steps  # type: ignore[import-not-found]

    fn = wrapped_steps.note.__wrapped__
    assert portable(fn) == WrappedReference("wrapped_steps", "note")
    assert restore(portable(fn)) is fn


def test_steps_sources_and_treatments_keep_their_modules_state_when_pickled(
    tmp_path: Path, monkeypatch: Any
) -> None:
    (tmp_path / "wrapped_state.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    import wrapped_state  # type: ignore[import-not-found]

    made = (
        wrapped_state.note(word="y"),
        wrapped_state.calls(n=3),
        wrapped_state.louder(by=3),
        wrapped_state.note,
    )
    for module in (pickle, cloudpickle):
        step, source, treatment, factory = module.loads(module.dumps(made))
        assert step.fn is wrapped_state.note.__wrapped__
        assert step.arguments == {"word": "y"}
        assert source.fetch(None) is wrapped_state.CALLS
        assert treatment.name == "louder"
        assert treatment.function.fn is wrapped_state.louder.__wrapped__
        assert factory().fn is wrapped_state.note.__wrapped__


def test_a_plain_or_local_function_is_left_to_pickle() -> None:
    def local(data: Any) -> Any:
        return data

    for fn in (local, test_a_plain_or_local_function_is_left_to_pickle, lambda: None, len):
        assert portable(fn) is fn
        assert restore(fn) is fn


def test_a_module_that_is_sent_by_value_is_not_imported_by_the_worker(
    tmp_path: Path, monkeypatch: Any
) -> None:
    (tmp_path / "wrapped_value.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    import wrapped_value  # type: ignore[import-not-found]

    cloudpickle.register_pickle_by_value(wrapped_value)
    try:
        fn = wrapped_value.note.__wrapped__
        assert portable(fn) is fn
    finally:
        cloudpickle.unregister_pickle_by_value(wrapped_value)


def _step(data: Any, *, factor: float = 1.0) -> Any:
    """Multiply."""
    return data * factor


def _source(ctx: Any, *, n: int = 1) -> Any:
    """Count."""
    return n


def _condition(ctx: Any, *, by: int = 1) -> None:
    """Shift."""


def _compare(baseline: Any, treatment: Any, *, alpha: float = 0.05) -> Any:
    """Compare."""
    return {}


def _rank(result: Any) -> float:
    """Rank."""
    return 0.0


FACTORIES = {
    "step": (pipeline_step(), _step),
    "data source": (data_source, _source),
    "treatment": (treatment("shifted"), _condition),
    "verifier": (verifier, _compare),
    "hypothesis": (hypothesis(verifier=verifier(_compare)), _rank),
}


@pytest.mark.parametrize("kind", FACTORIES)
def test_every_factory_bears_the_name_and_documentation_of_its_function(kind: str) -> None:
    decorate, fn = FACTORIES[kind]
    factory = decorate(fn)
    assert (factory.__wrapped__, factory.__name__, factory.__doc__) == (fn, fn.__name__, fn.__doc__)
    assert repr(factory) == f"<{kind} factory {fn.__name__}>"


@pytest.mark.parametrize("kind", FACTORIES)
def test_every_factory_refuses_to_be_called_like_its_function(kind: str) -> None:
    decorate, fn = FACTORIES[kind]
    with pytest.raises(
        InvalidTypeError, match=rf"^{fn.__name__}\(\.\.\.\) makes a {kind} and takes the {kind}'s"
    ):
        decorate(fn)(None)


@pytest.mark.parametrize("kind", FACTORIES)
def test_every_factory_refuses_an_argument_that_its_function_does_not_take(kind: str) -> None:
    decorate, fn = FACTORIES[kind]
    with pytest.raises(InvalidTypeError, match="wrong"):
        decorate(fn)(wrong=1)


@pytest.mark.parametrize("kind", FACTORIES)
def test_every_factory_and_what_it_makes_can_be_pickled(kind: str) -> None:
    decorate, fn = FACTORIES[kind]
    factory = decorate(fn)
    for module in (pickle, cloudpickle):
        copy, made = module.loads(module.dumps((factory, factory())))
        assert (type(copy), copy.__wrapped__) == (type(factory), fn)
        assert type(made) is type(factory())
        assert type(copy()) is type(made)


@pytest.mark.parametrize("kind", FACTORIES)
@pytest.mark.parametrize("wrong", [dict, 5])
def test_no_decorator_takes_what_is_not_a_function(kind: str, wrong: Any) -> None:
    decorate, _ = FACTORIES[kind]
    with pytest.raises(InvalidTypeError, match="decorates a function"):
        decorate(wrong)
