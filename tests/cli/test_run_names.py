"""The names that the options of ``crystallize run`` take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

DRIVERS = """
    from crystallize import BasePlugin

    class Mine(BasePlugin):
        def __init__(self, max_workers=1):
            self.max_workers = max_workers
        def run_experiment_loop(self, experiment, replicate_fn):
            import sys
            print(f"driven with {self.max_workers}", file=sys.stderr)
            return [replicate_fn(number) for number in range(experiment.replicates)]

    class Fixed(Mine):
        def __init__(self):
            self.max_workers = 0
"""


@pytest.fixture
def study(tmp_plugin) -> Callable[[str], Path]:
    """Install strategies, and return a function that writes an experiment with lines of its own."""
    groups = {"crystallize.execution": {"my-mine": "drivers:Mine"}}
    tmp_plugin("my-drivers", {"drivers.py": DRIVERS}, groups=groups)

    def write(lines: str = "") -> Path:
        folder = Path("experiments/study")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(f"datasource: one\nsteps: [same]\nreplicates: 2\n{lines}\n")
        (folder / "datasources.py").write_text("def one(): return 1\n")
        (folder / "steps.py").write_text("def same(data): return data, {'same': data}\n")
        return folder

    return write


@pytest.mark.parametrize(
    ("lines", "options", "workers"),
    [
        ("", ["--execution", "drivers:Mine"], 1),
        ("", ["--execution", "drivers:Mine", "--workers", "3"], 3),
        ("", ["--execution", "MY_MINE", "--workers", "3"], 3),
        ("execution: drivers:Mine", ["--workers", "2"], 2),
        ("execution: {strategy: my_mine, max_workers: 5}", ["--workers", "4"], 4),
        ("execution: process", ["--execution", "drivers:Fixed"], 0),
    ],
)
def test_a_strategy_is_named_by_its_name_or_its_dotted_path(command, study, lines, options, workers):
    study(lines)
    assert f"driven with {workers}\n" in command("run", "study", *options).stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--execution", "proces"], "no execution strategy is called 'proces'. Did you mean 'process'?"),
        (["--execution", "drivers:Mien"], "Did you mean 'Mine'?"),
        (["--execution", "drivers.Mine"], "A dotted path is written 'package.module:Name'"),
        (["--execution", "nowhere:Mine"], "No module named 'nowhere'"),
        (["--execution", "nowhere:Mine", "--workers", "2"], "No module named 'nowhere'"),
        (["--execution", "drivers:Fixed", "--workers", "2"], "'drivers:Fixed' has no max_workers"),
        (["-p", "seed"], "'seed' is not of the form no:NAME"),
        (["-p", "no: "], "'no: ' is not of the form no:NAME"),
    ],
)
def test_a_name_that_means_nothing_is_wrong_use_and_nothing_runs(command, study, options, message):
    study()
    done = command("run", "study", *options, code=2, COLUMNS="400")
    assert message in " ".join(done.stderr.split())
    assert not Path("data").exists()


def test_an_unknown_name_in_a_switch_is_a_warning_and_the_run_goes_on(command, study):
    study("plugins: {loggin: false}")
    done = command("run", "study", "-p", "no:artifac", "-p", "no:SEED")
    told = " ".join(done.stderr.split())
    assert (
        "no installed plugin is called 'artifac', so it is not switched off. Did you mean 'artifact'?" in told
    )
    assert (
        "plugins.loggin: no plugin is called 'loggin', so none is switched off. Did you mean 'logging'?"
        in told
    )
    assert told.count("Did you mean") == 2
