from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from crystallize.loaders import get_loader, loader_for
from crystallize.testing import LoaderContract

from {{ cookiecutter.__module }} import {{ cookiecutter.__class }}


class TestContract(LoaderContract):
    """What every loader owes, as tests that Crystallize brings along."""

    values = ([1, 2.5, None], {"name": "ä", "parts": [{"empty": []}]}, "text", list(range(1000)))
    bad_bytes = (b"[1, 2]", gzip.compress(b"[1, 2"))  # not compressed; not JSON
    bad_values = ({1, 2}, [b"bytes"])

    @pytest.fixture
    def loader(self) -> {{ cookiecutter.__class }}:
        return {{ cookiecutter.__class }}()


def test_it_is_chosen_by_its_name_and_by_the_suffix_of_a_file() -> None:
    assert isinstance(get_loader("{{ cookiecutter.__entry }}"), {{ cookiecutter.__class }})
    assert isinstance(loader_for("table.json.gz"), {{ cookiecutter.__class }})


def test_equal_values_are_equal_files(monkeypatch: pytest.MonkeyPatch) -> None:
    loader = {{ cookiecutter.__class }}()
    first = loader.dump([1, 2])
    monkeypatch.setattr("time.time", lambda: 1e9)  # long ago
    assert loader.dump([1, 2]) == first


def test_other_programs_can_read_it(tmp_path: Path) -> None:
    file = tmp_path / "table.json.gz"
    file.write_bytes({{ cookiecutter.__class }}().dump([1, 2]))
    with gzip.open(file, "rt") as text:
        assert text.read() == "[1, 2]"
