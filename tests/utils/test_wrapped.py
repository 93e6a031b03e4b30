"""Functions that a decorator hides behind their own name reach a worker by that name."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import cloudpickle

from crystallize.utils.wrapped import WrappedReference, portable, restore

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
