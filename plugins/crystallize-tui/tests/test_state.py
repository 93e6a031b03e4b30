"""What is switched on and off, and kept between starts."""

from __future__ import annotations

import pytest
from crystallize_tui.state import STATE, Toggles, read_toggles, write_toggles

STEPS, TREATMENTS = ("fit", "score"), ("low", "high")


def test_without_a_file_caching_is_as_the_config_says_and_everything_runs(tmp_path):
    assert read_toggles(tmp_path) == (Toggles(), "")
    assert read_toggles(tmp_path, cache=False) == (Toggles(cache=False), "")
    assert Toggles().arguments(STEPS, TREATMENTS) == ["--resume"]


def test_what_is_switched_is_there_at_the_next_start(tmp_path):
    toggles = Toggles().with_cache_toggled().with_step_toggled("fit").with_treatment_toggled("low")
    assert write_toggles(tmp_path, toggles) == ""
    assert read_toggles(tmp_path) == (toggles, "")
    assert list(tmp_path.glob(".*")) == [tmp_path / STATE]  # nothing is left of the writing


def test_caching_decides_between_resume_and_rerun():
    off = Toggles().with_cache_toggled()
    assert (Toggles().strategy, off.strategy) == ("resume", "rerun")
    assert off.arguments(STEPS, TREATMENTS) == ["--rerun", "--no-cache"]


def test_caching_is_told_to_a_run_only_where_the_config_says_otherwise():
    on, off = Toggles(cache=True), Toggles(cache=False)
    assert off.arguments(STEPS, TREATMENTS, caches=False) == ["--rerun"]
    assert on.arguments(STEPS, TREATMENTS, caches=False) == ["--resume", "--use-cache"]


def test_a_step_is_as_its_files_say_then_cached_then_not():
    on = Toggles().with_step_toggled("fit")
    off = on.with_step_toggled("fit")
    assert (on.strategy, off.strategy) == ("resume", "rerun")
    assert on.arguments(STEPS, ()) == ["--resume", "--cache", "fit"]
    assert off.arguments(STEPS, ()) == ["--rerun", "--cache", "no:fit"]
    assert off.with_step_toggled("fit") == Toggles()


def test_the_treatments_that_are_on_are_named():
    one = Toggles().with_treatment_toggled("low")
    assert one.arguments((), TREATMENTS) == ["--resume", "--treatment", "high"]
    none = one.with_treatment_toggled("high")
    assert none.arguments((), TREATMENTS) == ["--resume", "--treatment", "baseline"]
    assert none.with_treatment_toggled("low").with_treatment_toggled("high") == Toggles()


def test_what_the_experiment_no_longer_has_is_left_out():
    toggles = Toggles(steps={"gone": True}, treatments_off=frozenset({"gone"}))
    assert toggles.arguments(STEPS, TREATMENTS) == ["--resume"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"version": 2}',
        b'{"version": 1, "cache": 1, "steps": {}, "treatments_off": []}',
        b'{"version": 1, "cache": true, "steps": {"fit": "yes"}, "treatments_off": []}',
        b'{"version": 1, "cache": true, "steps": {}, "treatments_off": "low"}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_file_is_told_and_left_out(tmp_path, content):
    (tmp_path / STATE).write_bytes(content)
    toggles, note = read_toggles(tmp_path)
    assert toggles == Toggles()
    assert note == f"{STATE} is damaged, and is left out; the next switch writes it anew"


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    (tmp_path / STATE).mkdir()
    toggles, note = read_toggles(tmp_path)
    assert toggles == Toggles()
    assert "a folder" in note


def test_a_folder_that_cannot_be_written_is_told_and_not_fatal(tmp_path):
    gone = tmp_path / "gone"
    note = write_toggles(gone, Toggles())
    assert (
        note == f"{STATE} cannot be written, so that switches hold for this session only: the folder is gone"
    )
    assert not gone.exists()
    (tmp_path / STATE).mkdir()
    (tmp_path / STATE / "in the way").touch()
    assert "cannot be written" in write_toggles(tmp_path, Toggles())
