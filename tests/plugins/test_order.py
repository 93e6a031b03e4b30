"""In which order hooks are called: docs/explanation/plugins.md lists the rules, and here is a whole run."""

from __future__ import annotations

import json
from itertools import groupby

import pytest

from crystallize import BasePlugin, Experiment, Treatment, pipeline_step
from crystallize.errors import ExecutionError

INSTALLED = """
    from crystallize import BasePlugin, hookimpl

    class Zebra(BasePlugin):
        def before_run(self): pass
        def before_replicate(self, ctx): ctx.hand_back("Ledger", ("zebra", "before_replicate"))
        def before_step(self, ctx): ctx.hand_back("Ledger", ("zebra", "before_step " + ctx["step_name"]))

    class Ape(BasePlugin):
        @hookimpl(trylast=True)
        def before_replicate(self, ctx): ctx.hand_back("Ledger", ("ape", "before_replicate"))
        @hookimpl(tryfirst=True)
        def before_step(self, ctx): ctx.hand_back("Ledger", ("ape", "before_step " + ctx["step_name"]))
        @hookimpl(wrapper=True)
        def after_step(self, ctx):
            ctx.hand_back("Ledger", ("ape", "after_step begins"))
            yield
            ctx.hand_back("Ledger", ("ape", "after_step ends"))
"""


class Ledger(BasePlugin):
    """Writes down all calls of a run, its own and those that others tell it of."""

    def __init__(self):
        self.lines = []

    def note(self, hook):
        self.lines.append(("ledger", hook))

    def init_hook(self):
        self.note("init_hook")

    def before_run(self):
        self.note("before_run")

    def before_replicate(self, ctx):
        ctx.hand_back(self, ("ledger", f"before_replicate {ctx['replicate']} {ctx['condition']}"))

    def before_step(self, ctx):
        ctx.hand_back(self, ("ledger", f"before_step {ctx['step_name']}"))

    def after_step(self, ctx, data):
        ctx.hand_back(self, ("ledger", f"after_step {ctx['step_name']} {data}"))

    def after_replicate(self, experiment):
        self.lines += [each.value for each in experiment.handed_back(self)]

    def after_run(self):
        self.note("after_run")


@pipeline_step()
def double(data, *, factor=2):
    return data * factor


def outcome(replicate, condition, data):
    return [
        ("ledger", f"before_replicate {replicate} {condition}"),  # passed ones come first,
        ("zebra", "before_replicate"),  # then installed ones by name,
        ("ape", "before_replicate"),  # but trylast comes last,
        ("ape", "before_step DoubleStep"),  # and tryfirst first;
        ("ledger", "before_step DoubleStep"),
        ("zebra", "before_step DoubleStep"),
        ("ape", "after_step begins"),  # wrappers surround the others
        ("ledger", f"after_step DoubleStep {data}"),
        ("ape", "after_step ends"),
    ]


@pytest.fixture
def installed(tmp_plugin, monkeypatch):
    folder = tmp_plugin("zoo", {"zoo.py": INSTALLED}, {"zebra": "zoo:Zebra", "ape": "zoo:Ape"}, version="1.0")
    monkeypatch.setenv("PYTHONPATH", str(folder))


STRATEGIES = [
    "serial",
    {"strategy": "thread", "max_workers": 3},
    {"strategy": "process", "max_workers": 2},
    "async",
]


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("execution", STRATEGIES, ids=str)
def test_the_calls_of_a_run_come_in_one_order_under_every_strategy(execution):
    ledger = Ledger()
    experiment = Experiment(
        lambda: 5,
        [double],
        plugins=[ledger],
        execution=execution,
        treatments=[Treatment("triple", {"factor": 3})],
    )
    experiment.run(replicates=2)
    assert ledger.lines == [
        ("ledger", "init_hook"),
        ("ledger", "before_run"),
        *outcome(0, "baseline", 10),
        *outcome(0, "triple", 15),
        *outcome(1, "baseline", 10),
        *outcome(1, "triple", 15),
        ("ledger", "after_run"),
    ]


@pytest.mark.usefixtures("installed")
def test_the_order_is_that_which_the_manager_tells_and_the_metadata_hold(tmp_path):
    experiment = Experiment(lambda: 5, [double], name="ordered", plugins=[Ledger()])
    order = experiment.plugins.order()
    assert order == {
        "init_hook": ["Ledger", "seed"],
        "before_run": ["Ledger", "artifact", "zebra", "logging"],
        "run_experiment_loop": ["serial"],
        "before_replicate": ["seed", "Ledger", "zebra", "ape"],
        "before_step": ["ape", "Ledger", "zebra"],
        "after_step": ["ape", "Ledger"],
        "after_replicate": ["artifact", "Ledger"],
        "after_run": ["artifact", "Ledger", "logging"],
    }
    result = experiment.run(replicates=1)
    metadata = json.loads((result.path / "metadata.json").read_text())
    assert metadata["hooks"] == order
    assert [plugin["name"] for plugin in metadata["plugins"]] == [
        "Ledger", "ape", "artifact", "logging", "seed", "zebra", "serial",
    ]  # fmt: skip


def test_the_order_of_installed_plugins_is_that_of_their_names_not_that_of_the_path(tmp_plugin):
    source = "from crystallize import BasePlugin\nclass P(BasePlugin):\n    def before_run(self): pass\n"
    for name in ("b", "c", "a"):
        tmp_plugin(f"dist-{name}", {f"module_{name}.py": source}, {name: f"module_{name}:P"})
    assert Experiment(lambda: 1, [double]).plugins.order()["before_run"] == [
        "a",
        "artifact",
        "b",
        "c",
        "logging",
    ]


def test_every_worker_hook_of_an_outcome_comes_between_before_replicate_and_the_next(tmp_plugin):
    ledger = Ledger()
    Experiment(lambda: 1, [double, double], plugins=[ledger]).run(replicates=2)
    worker = [line for _, line in ledger.lines][2:-1]
    starts = [line for line in worker if line.startswith("before_replicate")]
    assert starts == ["before_replicate 0 baseline", "before_replicate 1 baseline"]
    per_outcome = [
        [line.split()[0] for line in lines]
        for is_start, lines in groupby(worker, lambda line: line.startswith("before_replicate"))
        if not is_start
    ]
    assert per_outcome == [["before_step", "after_step", "before_step", "after_step"]] * 2


DRIVERS = """
    from crystallize import BasePlugin, hookimpl

    class Plain(BasePlugin):
        def run_experiment_loop(self, experiment, replicate_fn):
            return [replicate_fn(replicate) for replicate in experiment.owed]

    class Unwilling(BasePlugin):
        def run_experiment_loop(self, experiment, replicate_fn): return None

    class First(Plain):
        @hookimpl(tryfirst=True)
        def run_experiment_loop(self, experiment, replicate_fn):
            return super().run_experiment_loop(experiment, replicate_fn)

    class Junk(BasePlugin):
        def run_experiment_loop(self, experiment, replicate_fn): return 7
"""


@pytest.mark.parametrize(
    ("installed", "driver"),
    [(["Plain", "First"], "p1"), (["Unwilling", "Plain"], "p1"), (["Unwilling"], "serial")],
)
def test_the_strategy_in_the_metadata_is_the_plugin_that_drove(tmp_plugin, installed, driver):
    entries = {f"p{number}": f"drivers:{name}" for number, name in enumerate(installed)}
    tmp_plugin("acme-drivers", {"drivers.py": DRIVERS}, entries)
    result = Experiment(lambda: 1, [double]).run(replicates=2)
    assert json.loads((result.path / "metadata.json").read_text())["execution"]["name"] == driver


def test_no_installed_plugin_drives_in_place_of_the_strategy_that_was_named(tmp_plugin):
    tmp_plugin("acme-drivers", {"drivers.py": DRIVERS}, {"first": "drivers:First"})
    named = Experiment(lambda: 1, [double], execution="thread")
    assert named.plugins.order()["run_experiment_loop"] == ["thread"]


def test_the_plugin_that_drove_is_to_blame_for_what_it_returned(tmp_plugin):
    tmp_plugin("acme-drivers", {"drivers.py": DRIVERS}, {"a": "drivers:Unwilling", "b": "drivers:Junk"})
    with pytest.raises(ExecutionError, match=r"strategy, plugin 'b' \(.*\), returned int, not a list"):
        Experiment(lambda: 1, [double]).run(replicates=2)
