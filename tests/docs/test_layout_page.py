"""The page about the layout on disk."""

from __future__ import annotations

import json
import re
from pathlib import Path

from crystallize.testing import RunExperiment

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "layout.md"


def test_the_keys_of_the_metadata_are_those_that_are_documented(run_experiment: RunExperiment) -> None:
    path = run_experiment().path
    assert path is not None
    table = PAGE.read_text(encoding="utf-8").partition("## metadata.json")[2]
    documented = {
        key for row in re.findall(r"^\| (.*?) \|", table, re.MULTILINE) for key in re.findall(r"`(\w+)`", row)
    }
    metadata = json.loads((path / "metadata.json").read_text(encoding="utf-8"))
    assert set(metadata) == documented
    assert set(metadata["code"]) == {"git_commit", "command"}
