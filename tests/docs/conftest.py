"""What the tests of the documentation share."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

HOOKS = Path(__file__).resolve().parents[2] / "docs" / "hooks"


def _hook(name: str) -> ModuleType:
    """Import a hook of the site as MkDocs does: its folder can be imported from meanwhile."""
    sys.path.insert(0, str(HOOKS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(HOOKS))


@pytest.fixture(scope="session")
def names() -> ModuleType:
    """Return the module that links names to the reference."""
    return _hook("names")


@pytest.fixture(scope="session")
def picture() -> ModuleType:
    """Return the module that draws the picture of the first page."""
    return _hook("picture")
