"""Run the examples in docstrings; the public names are there without an import."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import crystallize

MODULES = [
    module.name
    for module in pkgutil.walk_packages(crystallize.__path__, "crystallize.")
    if not module.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_are_true(name: str) -> None:
    failures, _ = doctest.testmod(
        importlib.import_module(name),
        extraglobs={public: getattr(crystallize, public) for public in crystallize.__all__},
        optionflags=doctest.ELLIPSIS,
    )
    assert failures == 0
