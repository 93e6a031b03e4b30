"""What other distributions install can be named in a config.yaml."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crystallize.config.build import load_experiment
from crystallize.config.errors import Problem

MakeFolder = Callable[..., Path]
ProblemsOf = Callable[[Path], list[Problem]]

CONFIG = "datasource: numbers\nsteps: [total]\n"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Return a function that installs a distribution of one module."""

    def install(name: str, entry_points: str, source: str) -> None:
        site = tmp_path / f"site_{name}"
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(entry_points)
        (site / f"{name}.py").write_text(source)
        monkeypatch.syspath_prepend(site)
        names.append(name)

    names: list[str] = []
    yield install
    for name in names:
        sys.modules.pop(name, None)


def test_a_strangers_verifier_is_named_like_ours(
    make_folder: MakeFolder, install: Callable[..., None]
) -> None:
    source = (
        "from crystallize import verifier\n@verifier\ndef calm(a, b, *, level=1): return {'p_value': level}\n"
    )
    install("calm_statistics", "[crystallize.verifiers]\ncalm = calm_statistics:calm\n", source)
    config = (
        CONFIG
        + "treatments: {more: {x: 1}}\nhypotheses: [{verifier: calm, metrics: total, args: {level: 0.5}}]\n"
    )
    result = load_experiment(make_folder("study", config)).run()
    assert result.get_hypothesis("calm").get_for_treatment("more") == {"p_value": 0.5}


def test_the_folders_own_verifier_comes_before_an_installed_one(make_folder: MakeFolder) -> None:
    own = "from crystallize import verifier\n@verifier\ndef welch_t_test(a, b): return {'p_value': 0.25}\n"
    config = CONFIG + "treatments: {more: {x: 1}}\nhypotheses: [{verifier: welch_t_test, metrics: total}]\n"
    result = load_experiment(make_folder("study", config, verifiers=own)).run()
    assert result.get_hypothesis("welch_t_test").get_for_treatment("more") == {"p_value": 0.25}


def test_a_named_plugin_that_cannot_be_loaded_is_an_error(
    make_folder: MakeFolder, problems_of: ProblemsOf, install: Callable[..., None]
) -> None:
    install("broken_plugin", "[crystallize.plugins]\nbroken = broken_plugin:Plugin\n", "1 / 0\n")
    for setting in ("true", "{level: 3}"):
        folder = make_folder("study", f"{CONFIG}plugins: {{broken: {setting}}}\n")
        (problem,) = problems_of(folder)
        assert (problem.key, problem.line, problem.column) == ("plugins.broken", 3, 11)
        assert "broken_plugin 1.0" in problem.message
        assert "division by zero" in problem.message
    assert problems_of(make_folder("study", f"{CONFIG}plugins: {{broken: false}}\n")) == []


def test_a_strangers_plugin_takes_its_arguments_and_takes_its_own_place(
    make_folder: MakeFolder,
    problems_of: ProblemsOf,
    install: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = """
from crystallize.plugins.plugins import BasePlugin

class Marker(BasePlugin):
    def __init__(self, mark="x"):
        self.mark = mark
    def before_replicate(self, experiment, ctx):
        ctx.add("mark", self.mark)
"""
    install("marker", "[crystallize.plugins]\nmarker = marker:Marker\n", source)
    steps = "def total(data, *, mark): return data, {'mark': mark}\n"

    def marks(setting: str) -> object:
        experiment = load_experiment(
            make_folder("study", f"{CONFIG}plugins: {{marker: {setting}}}\n", steps=steps)
        )
        return experiment.run().metrics.baseline.metrics["mark"]

    assert marks("{mark: y}") == ["y"]
    assert marks("true") == ["x"]
    monkeypatch.setenv("CRYSTALLIZE_DISABLE_PLUGIN_AUTOLOAD", "1")
    assert marks("true") == ["x"]  # what is named is wanted
    (problem,) = problems_of(make_folder("study", f"{CONFIG}plugins: {{marker: {{mrk: y}}}}\n", steps=steps))
    assert "Did you mean 'mark'?" in problem.mend
