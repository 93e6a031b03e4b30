"""Run the examples in docstrings; the public names are there without an import."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import crystallize

PACKAGE = Path(crystallize.__file__).parent
MODULES = [
    ".".join(("crystallize", *source.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    for source in sorted(PACKAGE.rglob("*.py"))
    if ">>>" in source.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_are_true(name: str) -> None:
    failures, tried = doctest.testmod(
        importlib.import_module(name),
        extraglobs={public: getattr(crystallize, public) for public in crystallize.__all__},
        optionflags=doctest.ELLIPSIS,
    )
    assert failures == 0
    assert tried > 0, "an example that is no part of a docstring"
