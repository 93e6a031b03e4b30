"""Where things are on disk: which names a condition may have beside the store's own."""

from __future__ import annotations

import pytest

from crystallize.errors import InvalidNameError
from crystallize.store.layout import check_condition_name


@pytest.mark.parametrize(
    "name",
    [
        "replicate_0",
        "replicate_12",
        "metadata.json",
        "_manifest.json",
        "ro-crate-metadata.json",
        "journal.jsonl",
        "Replicate_3",
        "METADATA.json",
        ".hidden",
        ".crystallize_complete",
    ],
)
def test_a_condition_does_not_bear_a_name_of_the_store(name: str) -> None:
    with pytest.raises(InvalidNameError, match="the store keeps that name for itself"):
        check_condition_name(name)


@pytest.mark.parametrize("name", ["baseline", "replicate", "replicate_x", "v0", "metadata"])
def test_other_names_are_free_for_conditions(name: str) -> None:
    assert check_condition_name(name) == name


@pytest.mark.parametrize("name", ["a/b", "..", ""])
def test_a_condition_must_stay_in_its_folder_too(name: str) -> None:
    with pytest.raises(InvalidNameError, match="the name of a treatment"):
        check_condition_name(name)


@pytest.mark.parametrize("name", ["Baseline", "BASELINE", "ba\u017feline"])
def test_no_treatment_is_nearly_called_baseline(name: str) -> None:
    with pytest.raises(InvalidNameError, match="some systems do not tell it from 'baseline'"):
        check_condition_name(name)
