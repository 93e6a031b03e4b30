"""A stranger's installed plugin lives through a real run."""

from __future__ import annotations

import json

import pytest

from crystallize import Experiment, ParallelExecution, Pipeline, pipeline_step, treatment

WITNESS = """
    import json, os
    from pathlib import Path
    from crystallize import BasePlugin

    FILE = Path(os.environ["WITNESS"])

    def note(hook, where=""):
        with FILE.open("a") as file:
            file.write(json.dumps([hook, where]) + "\\n")

    class Witness(BasePlugin):
        def init_hook(self): note("init_hook")
        def before_run(self): note("before_run")
        def before_replicate(self, ctx): note("before_replicate", f"{ctx['replicate']} {ctx['condition']}")
        def before_step(self, step, ctx): note("before_step", ctx["step_name"])
        def after_step(self, data): note("after_step", str(data))
        def after_replicate(self, result): note("after_replicate", str(result.replicate))
        def after_run(self, result): note("after_run", ", ".join(result.conditions))
"""


@pytest.fixture
def witness(tmp_plugin, tmp_path, monkeypatch):
    """Install the witness, and return a function that reads what it has noted."""
    file = tmp_path / "witness.jsonl"
    monkeypatch.setenv("WITNESS", str(file))
    folder = tmp_plugin("witness", {"witness.py": WITNESS}, {"witness": "witness:Witness"}, version="1.2")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return lambda: [tuple(json.loads(line)) for line in file.read_text().splitlines()]


@pipeline_step()
def double(data, factor=2):
    return data * factor


def experiment(*plugins, **options):
    treatments = [treatment("triple", {"factor": 3})]
    return Experiment(lambda: 5, Pipeline([double]), plugins=list(plugins), treatments=treatments, **options)


def test_an_installed_plugin_is_called_at_every_stage_of_a_run(witness):
    experiment().run(replicates=1)
    assert witness() == [
        ("init_hook", ""),
        ("before_run", ""),
        ("before_replicate", "0 baseline"),
        ("before_step", "DoubleStep"),
        ("after_step", "10"),
        ("before_replicate", "0 triple"),
        ("before_step", "DoubleStep"),
        ("after_step", "15"),
        ("after_replicate", "0"),
        ("after_run", "baseline, triple"),
    ]


def test_an_installed_plugin_takes_part_in_worker_processes(witness):
    experiment(ParallelExecution(max_workers=2, executor_type="process")).run(replicates=3)
    noted = witness()
    assert sorted(where for hook, where in noted if hook == "before_replicate") == [
        f"{replicate} {condition}" for replicate in range(3) for condition in ("baseline", "triple")
    ]
    assert sorted(where for hook, where in noted if hook == "after_replicate") == ["0", "1", "2"]
    assert [hook for hook, _ in noted if hook.endswith("_run") or hook == "init_hook"] == [
        "init_hook",
        "before_run",
        "after_run",
    ]


def test_a_plugin_that_is_switched_off_sees_nothing(witness, tmp_path):
    experiment(disable_plugins=["witness"]).run(replicates=1)
    assert not (tmp_path / "witness.jsonl").exists()
