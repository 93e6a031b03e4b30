"""How an experiment was built for a stored run."""

from __future__ import annotations

from typing import Any

import pytest

from crystallize.config.recorded import recorded_overrides
from crystallize.errors import InvalidValueError


def metadata(**settings: Any) -> dict[str, Any]:
    return {"signature": {"initial_ctx": {"settings": settings}}}


def test_entries_of_the_context_are_those_that_are_stored_and_those_that_are_given() -> None:
    stored = {"lr": 0.1, "names": ["a", {"b": None}], "text": "long 12"}
    assert recorded_overrides(metadata(**stored), {"lr": 0.2})["context"] == stored | {"lr": 0.2}
    assert recorded_overrides({}, {})["context"] == {}


@pytest.mark.parametrize(
    "value",
    [
        "***",
        "https://me:***@host",
        "str 0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        "nan",
        "-inf",
        {"a": ["***"]},
        "tuple(1, 2)",
        {"int(1)": 2},
    ],
)
def test_what_only_stands_for_a_value_has_to_be_given(value: Any) -> None:
    with pytest.raises(
        InvalidValueError, match=r"was given 'key', and what exactly is not stored. .*--set key="
    ):
        recorded_overrides(metadata(key=value), {})
    assert recorded_overrides(metadata(key=value), {"key": 1})["context"] == {"key": 1}


def test_the_strategy_is_made_with_those_of_its_settings_that_are_arguments() -> None:
    settings = {"max_workers": 2, "progress": False, "workers": 2, "threads_per_worker": 1}
    found = recorded_overrides({"execution": {"name": "process", "settings": settings}}, {})
    assert found["execution"] == {"strategy": "process", "max_workers": 2, "progress": False}


@pytest.mark.parametrize("execution", [None, {"name": "gone", "settings": {}}])
def test_a_strategy_that_is_not_installed_gives_way_to_that_of_the_folder(execution: Any) -> None:
    assert recorded_overrides({"execution": execution}, {})["execution"] is None


def test_plugins_that_took_no_part_are_left_out() -> None:
    plugins = [{"name": "artifact"}, {"name": "seed"}, {"name": "ProgressPlugin"}]
    assert recorded_overrides({"plugins": plugins}, {})["disable_plugins"] == ["logging"]
    assert recorded_overrides({}, {})["disable_plugins"] == []
