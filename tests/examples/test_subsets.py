"""The example whose expensive step is cached."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


@pytest.fixture(scope="module")
def crystallize(warm_interpreter, tmp_path_factory):
    """Return a function that calls a command in a copy of the example, and returns all that it prints."""
    folder = tmp_path_factory.mktemp("examples")
    shutil.copytree(EXAMPLES / "subsets", folder / "subsets")
    prepare = Path("diabetes", "experiments", "prepare")
    shutil.copytree(EXAMPLES / prepare, folder / prepare)

    def call(*words):
        done = warm_interpreter.crystallize(*words, cwd=folder / "subsets", environment={**os.environ})
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout, done.stderr

    call.steps = folder / "subsets" / "experiments" / "subsets" / "steps.py"
    return call


def run(crystallize):
    return crystallize("run", "subsets", "--replicates", "1")


def test_the_second_run_gives_the_same_from_the_cache_and_an_edit_of_a_helper_is_seen(crystallize):
    first, told = run(crystallize)
    assert "From the cache: 0 of 3 outputs of 'subsets'" in told
    second, told = run(crystallize)
    assert "From the cache: 3 of 3 outputs of 'subsets'" in told
    assert second.replace("v1", "v0") == first

    source = crystallize.steps.read_text()
    crystallize.steps.write_text(
        source.replace("return np.mean(errors)", "return np.median(errors)  # robust")
    )
    why, _ = crystallize("cache", "why", "subsets", "choose_measurements")
    assert why.splitlines()[1:] == ["  cross_validated() in steps.py changed"]

    crystallize.steps.write_text(
        source.replace("return np.mean(errors)", "return np.mean(errors)  # as it was")
    )
    assert "3 entries are stored" in crystallize("cache", "why", "subsets", "choose_measurements")[0]
    assert "From the cache: 3 of 3" in run(crystallize)[1]
