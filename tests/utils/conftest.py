"""Small projects of a few modules, which are edited and imported anew."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from types import ModuleType

import pytest

from crystallize.utils import own_code

Load = Callable[[Mapping[str, str]], ModuleType]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Return a function that writes modules into a folder, and imports ``steps`` from there as a new process would.

    The modules are given by name; a name with a slash is a package's: ``{"steps": ..., "tools/__init__": ...}``.
    """
    number = count()
    own: set[str] = set()

    def forget() -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] in own]:
            del sys.modules[name]

    def load(modules: Mapping[str, str]) -> ModuleType:
        folder = tmp_path / f"project-{next(number)}"
        for name, source in modules.items():
            own.add(name.partition("/")[0])
            file = folder / f"{name}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(source)
        forget()
        monkeypatch.setattr(own_code, "_began", time.time())
        importlib.invalidate_caches()
        with monkeypatch.context() as patch:
            patch.syspath_prepend(str(folder))
            found = importlib.import_module("steps")
        monkeypatch.setattr(
            sys, "path", [str(folder), *(each for each in sys.path if "project-" not in each)]
        )
        return found

    yield load
    forget()
