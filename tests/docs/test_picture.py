"""The picture on the first page of the documentation."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

from rich.text import Text

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "index.md").read_text(encoding="utf-8")


def test_each_theme_has_a_picture_of_its_own_that_the_first_page_shows(picture: ModuleType) -> None:
    drawn = {
        name: picture.draw(Text("what was found"), theme, "a run") for name, theme in picture.THEMES.items()
    }
    assert drawn["light"] != drawn["dark"]
    for name, svg in drawn.items():
        assert "what&#160;was&#160;found" in svg
        assert f"(result-{name}.svg#only-{name})" in PAGE


def test_a_picture_fetches_nothing(picture: ModuleType) -> None:
    svg = picture.draw(Text("text"), picture.THEMES["dark"], "a run")
    assert re.findall(r"https?://[^\"]+", svg) == ["http://www.w3.org/2000/svg"]
