"""The page about the layout on disk."""

from __future__ import annotations

import json
import re
from pathlib import Path

from crystallize.testing import RunExperiment

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "layout.md"


def documented(heading: str) -> set[str]:
    """Return the keys that the table below a heading names first in each row."""
    section = re.split(r"\n#+ ", PAGE.read_text(encoding="utf-8").partition(f"# {heading}\n")[2])[0]
    rows = re.findall(r"^\| (.*?) \|", section, re.MULTILINE)
    return {key for row in rows for key in re.findall(r"`(\w+)`", row)}


def test_the_keys_of_the_metadata_are_those_that_are_documented(run_experiment: RunExperiment) -> None:
    path = run_experiment().path
    assert path is not None
    metadata = json.loads((path / "metadata.json").read_text(encoding="utf-8"))
    assert set(metadata) == documented("metadata.json")
    assert set(metadata["code"]) == documented("code")
    assert set(metadata["environment"]) == documented("environment")
