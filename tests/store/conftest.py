from __future__ import annotations

from pathlib import Path

import pytest

from crystallize.store.layout import RunLocation
from crystallize.store.metadata import FINISHED, write_metadata


@pytest.fixture
def single(tmp_path: Path) -> RunLocation:
    return RunLocation(str(tmp_path / "data"), "exp", versioned=False)


@pytest.fixture
def many(tmp_path: Path) -> RunLocation:
    return RunLocation(str(tmp_path / "data"), "exp", versioned=True)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Return a folder outside of the root that looks like a complete run with an artifact."""
    folder = tmp_path / "outside"
    (folder / "replicate_0" / "baseline").mkdir(parents=True)
    (folder / "replicate_0" / "baseline" / "a").write_text("precious")
    write_metadata(folder, {"run": "outside"}, FINISHED)
    return folder
