from __future__ import annotations

from pathlib import Path

import pytest

from crystallize.utils.failures import error_text, place_of
from crystallize.utils.references import UnreachableError, import_object, search_hint


def write(folder: Path, monkeypatch: pytest.MonkeyPatch, **modules: str) -> None:
    for name, source in modules.items():
        (folder / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(str(folder))


def test_a_reference_leads_to_a_module_or_to_what_is_in_it() -> None:
    import os.path

    assert import_object("os.path") is os.path
    assert import_object("os", "path.join") is os.path.join


@pytest.mark.parametrize(
    ("source", "attribute", "is_missing", "line"),
    [
        ("import not_there_at_all", "x", False, 1),
        ("\n\n1 / 0", "x", False, 3),
        ("def x(:", "x", False, 1),
        ("y = 1", "x", True, 0),
        ("class x: pass", "x.y", True, 0),
        ("def __getattr__(name):\n    raise OSError(name)", "x", False, 2),
    ],
)
def test_a_reference_that_leads_nowhere_says_whether_anything_is_missing_and_where_code_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, attribute: str, is_missing: bool, line: int
) -> None:
    name = f"led_astray_{abs(hash(source))}"
    write(tmp_path, monkeypatch, **{name: source})
    with pytest.raises(UnreachableError) as caught:
        import_object(name, attribute)
    assert caught.value.is_missing == is_missing
    assert caught.value.place == (f"{tmp_path / name}.py:{line}" if line else "")
    assert caught.value.__cause__ is not None


def test_a_module_that_is_not_there_is_missing_also_in_a_package() -> None:
    for name in ("not_there_at_all", "not_there_at_all.sub", "json.not_there_at_all"):
        with pytest.raises(UnreachableError) as caught:
            import_object(name)
        assert caught.value.is_missing


def test_the_advice_for_a_missing_module_looks_into_the_current_folder() -> None:
    assert search_hint("pack.mod").startswith("Install what provides it")
    Path("pack").mkdir()
    assert search_hint("pack.mod").startswith("'pack' is in the current folder")


def test_an_error_is_told_even_if_it_has_no_text() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise KeyError

    assert error_text(MuteError()) == "MuteError: <no text: its __str__ raised KeyError>"
    assert error_text(ValueError()) == "ValueError"
    assert place_of(ValueError()) == ""
