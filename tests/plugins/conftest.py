"""Real distributions to test with: a folder with modules and a .dist-info is enough for Python."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from textwrap import dedent

import pytest

TmpDistribution = Callable[..., Path]


@pytest.fixture
def tmp_distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TmpDistribution]:
    """Return a function that installs a distribution in a folder of its own, first on ``sys.path``.

    ``tmp_distribution(name, {"module.py": source}, plugins={"entry": "module:thing"}, version="1.0",
    groups={group: {entry: value}}, on_path=True)`` returns the folder. Its modules are forgotten again
    after the test.
    """
    before = set(sys.modules)

    def install(
        name: str,
        files: Mapping[str, str] | None = None,
        plugins: Mapping[str, str] | None = None,
        version: str = "1.0",
        groups: Mapping[str, Mapping[str, str]] | None = None,
        on_path: bool = True,
    ) -> Path:
        folder = tmp_path / f"site-{name}-{version}"
        info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        sections = {**({"crystallize.plugins": plugins} if plugins else {}), **(groups or {})}
        (info / "entry_points.txt").write_text(
            "\n".join(
                "\n".join([f"[{group}]", *(f"{entry} = {value}" for entry, value in entries.items()), ""])
                for group, entries in sections.items()
            )
        )
        for path, source in (files or {}).items():
            (folder / path).write_text(dedent(source))
        if on_path:
            monkeypatch.syspath_prepend(str(folder))
        return folder

    yield install
    for module in set(sys.modules) - before:
        origin = getattr(sys.modules[module], "__file__", None)
        if origin and Path(origin).is_relative_to(tmp_path):
            del sys.modules[module]
