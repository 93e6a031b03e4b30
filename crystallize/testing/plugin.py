"""The pytest plugin: fixtures for the tests of plugins.

pytest imports this module in every test run of an environment that has Crystallize. It imports nothing else of
Crystallize until a fixture is asked for. Where plugins are not loaded by themselves, ask for it by
``-p crystallize.testing.plugin``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from crystallize.plugins.manager import PluginManager
    from crystallize.testing.distribution import TmpPlugin
    from crystallize.testing.recorder import HookRecorder
    from crystallize.testing.running import RunExperiment


@pytest.fixture
def plugin_manager() -> Callable[..., PluginManager]:
    """Return a function that makes the PluginManager of the plugins it is given, and of no others.

    ``plugin_manager(*plugins)`` looks at nothing that is installed.
    """
    from crystallize.plugins.manager import PluginManager

    return PluginManager.of


@pytest.fixture
def hook_recorder() -> HookRecorder:
    """Return a plugin that remembers every hook call, also those in worker processes; pass it to a run."""
    from crystallize.testing.recorder import HookRecorder

    return HookRecorder()


@pytest.fixture
def tmp_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TmpPlugin]:
    """Return a function that installs a distribution of its own for this test.

    ``tmp_plugin(name, {"module.py": source}, plugins={"entry": "module:thing"})`` returns its folder.
    """
    from crystallize.testing.distribution import TmpPlugin

    install = TmpPlugin(tmp_path, monkeypatch)
    yield install
    install.forget()


@pytest.fixture
def run_experiment(tmp_path: Path) -> RunExperiment:
    """Return a function that runs a small experiment with the plugins it is given, and returns its Result.

    ``run_experiment(*plugins, steps=[...], treatments=[...], replicates=2, execution="process")``; what is not
    given has a default. Third-party plugins stay out unless ``installed`` says otherwise.
    """
    from crystallize.testing.running import RunExperiment

    return RunExperiment(tmp_path / "data")
