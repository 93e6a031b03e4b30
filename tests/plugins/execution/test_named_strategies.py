"""A plain class drives the replicates when it is named: it needs neither BasePlugin nor @hookimpl."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from textwrap import dedent

import cloudpickle
import pytest

from crystallize import ArtifactPlugin, ExecutionStrategy, Experiment, Pipeline, pipeline_step
from crystallize.discovery import EXECUTION
from crystallize.errors import CrystallizeError, InvalidTypeError, PluginError
from crystallize.plugins.execution.resolution import resolve_strategy

SOURCE = """
    from concurrent.futures import ProcessPoolExecutor
    from functools import partialmethod
    from multiprocessing import get_context

    from crystallize import BasePlugin, hookimpl


    class Plain:
        '''Drive them one by one.'''

        def __init__(self, label="plain"):
            self.label = label
            self.settings = {"label": label}

        def run_experiment_loop(self, experiment, replicate_fn):
            return [replicate_fn(number) for number in range(experiment.replicates)]


    class Slotted(Plain):
        __slots__ = ()


    class Pooled:
        def __init__(self, method="spawn"):
            self.method = method

        def run_experiment_loop(self, experiment, replicate_fn):
            with ProcessPoolExecutor(2, mp_context=get_context(self.method)) as pool:
                return list(pool.map(replicate_fn, range(experiment.replicates)))


    class Needy(Plain):
        def __init__(self, address):
            super().__init__(address)


    class Watching(Plain):
        @hookimpl
        def before_run(self, experiment):
            experiment.watched = True


    class Forgetful(Plain):
        def before_run(self, experiment):
            raise AssertionError("never called")


    class Static:
        @staticmethod
        def run_experiment_loop(replicate_fn, experiment):
            return [replicate_fn(number) for number in range(experiment.replicates)]


    class Forwarding:
        def __getattr__(self, name):
            if name == "run_experiment_loop":
                return Plain().run_experiment_loop
            raise AttributeError(name)


    def run_experiment_loop(experiment, replicate_fn):
        return Plain().run_experiment_loop(experiment, replicate_fn)


    class Async:
        async def run_experiment_loop(self, experiment, replicate_fn):
            return []


    class Yields:
        def run_experiment_loop(self, experiment, replicate_fn):
            yield 1


    class Odd:
        def run_experiment_loop(self, experiment, function):
            return []


    class Lacking:
        def run_experiment_loop(self, experiment, replicate_fn, *, workers):
            return []


    class Wraps:
        @hookimpl(wrapper=True)
        def run_experiment_loop(self):
            return (yield)


    class Partial:
        def _loop(self, experiment, replicate_fn, workers):
            return []

        run_experiment_loop = partialmethod(_loop, workers=2)


    class Narrowed(BasePlugin):
        def run_experiment_loop(self, experiment, replicate_fn):
            return []

        def active_hooks(self):
            return frozenset()


    plain = Plain("instance")
"""


COMMAND = "import sys; from crystallize.cli.app import main; sys.argv[0] = 'crystallize'; main()"


@pytest.fixture(autouse=True)
def strategies(tmp_plugin):
    """Install a distribution with execution strategies that are no plugins."""
    entries = {name.lower(): f"drivers:{name}" for name in ("Plain", "Pooled", "Needy")}
    entries |= {"made": "drivers:plain", "whole": "drivers"}
    tmp_plugin("acme-drivers", {"drivers.py": SOURCE}, groups={EXECUTION: entries}, version="1.3")


@pipeline_step()
def double(data):
    return data * 2, {"double": data * 2}


def build(**options):
    return Experiment(lambda: 5, Pipeline([double]), **options)


@pytest.mark.parametrize(
    "execution",
    [
        "plain",
        "made",
        "whole",
        "drivers:Plain",
        "drivers:plain",
        "drivers:Slotted",
        "drivers:Static",
        {"strategy": "plain", "label": "given"},
        {"strategy": "needy", "address": "given"},
        {"strategy": "drivers:Needy", "address": "given"},
    ],
)
def test_a_plain_class_that_is_named_drives_the_replicates(execution):
    for given in (execution, resolve_strategy(execution)):
        experiment = build(execution=given)
        assert experiment.run(replicates=3).metrics.baseline.metrics["double"] == [10, 10, 10]
        assert isinstance(experiment.plugins.strategy.plugin, ExecutionStrategy)
        assert experiment.plugins.order()["run_experiment_loop"][-1] == experiment.plugins.strategy.name


def test_it_is_written_into_the_metadata_with_its_settings(tmp_path):
    experiment = build(
        name="seen",
        execution={"strategy": "plain", "label": "given"},
        plugins=[ArtifactPlugin(root_dir=tmp_path)],
    )
    experiment.run(replicates=2)
    metadata = json.loads((tmp_path / "seen" / "v0" / "metadata.json").read_text())
    assert metadata["hooks"]["run_experiment_loop"][-1] == "plain"
    assert [each for each in metadata["plugins"] if each["name"] == "plain"] == [
        {"name": "plain", "distribution": "acme-drivers", "version": "1.3", "settings": {"label": "given"}}
    ]


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_it_goes_to_worker_processes_with_the_experiment(method):
    experiment = build(execution={"strategy": "pooled", "method": method})
    assert experiment.run(replicates=3).metrics.baseline.metrics["double"] == [10, 10, 10]


def test_one_that_no_other_process_can_import_is_pickled_by_value():
    class Local:
        def run_experiment_loop(self, experiment, replicate_fn):
            return resolve_strategy("pooled").run_experiment_loop(experiment, replicate_fn)

    experiment = build(execution=Local())
    assert experiment.run(replicates=2).metrics.baseline.metrics["double"] == [10, 10]
    copy = pickle.loads(cloudpickle.dumps(experiment.plugins))
    assert copy.order() == experiment.plugins.order()
    assert copy.strategy.plugin is not experiment.plugins.strategy.plugin


def test_one_that_forwards_to_another_will_do():
    from drivers import Forwarding

    experiment = build(execution=Forwarding())
    assert experiment.run(replicates=2).metrics.baseline.metrics["double"] == [10, 10]


def test_its_other_hooks_are_called_if_they_are_marked_and_warned_of_if_not(caplog):
    experiment = build(execution="drivers:Watching")
    experiment.run(replicates=1)
    assert experiment.watched
    assert "lacks @hookimpl" not in caplog.text
    build(execution="drivers:Forgetful").run(replicates=1)
    assert [each for each in caplog.messages if "lacks @hookimpl" in each] == [
        "plugin 'Forgetful' (distribution acme-drivers 1.3): before_run bears a hook's name and lacks "
        "@hookimpl, so it is never called"
    ]


def test_in_a_list_of_plugins_it_needs_a_mark(caplog):
    experiment = build(plugins=[resolve_strategy("plain")])
    assert experiment.plugins.strategy.name == "serial"
    assert "run_experiment_loop bears a hook's name and lacks @hookimpl" in caplog.text


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("Async", PluginError, "cannot be used: run_experiment_loop is an async def"),
        ("Yields", PluginError, "cannot be used: run_experiment_loop has a yield, and returns a list"),
        ("Odd", PluginError, "has an argument 'function'; it may have 'experiment', 'replicate_fn'"),
        ("Lacking", PluginError, "has an argument 'workers'; it may have 'experiment', 'replicate_fn'"),
        ("Partial", PluginError, "run_experiment_loop is a partial, and hooks are functions or methods"),
        (
            "Wraps",
            InvalidTypeError,
            "its run_experiment_loop is a wrapper, which drives nothing. Define run_",
        ),
        ("Narrowed", InvalidTypeError, "its active_hooks() leaves run_experiment_loop out"),
    ],
)
def test_its_mistakes_are_errors_at_once(name, error, message):
    with pytest.raises(CrystallizeError) as caught:
        build(execution=f"drivers:{name}")
    assert type(caught.value) is error
    assert message in str(caught.value)
    assert f"'drivers:{name}'" in str(caught.value)


def test_a_folder_s_configuration_and_the_command_line_name_it_too(run_python):
    folder = Path("mine")
    folder.mkdir()
    (folder / "steps.py").write_text("def number(data):\n    return data, {'number': data}\n")
    (folder / "datasources.py").write_text("def five():\n    return 5\n")
    config = """
        name: mine
        datasource: five
        steps: [number]
        replicates: 2
        execution: {strategy: plain, label: from the file}
    """
    (folder / "config.yaml").write_text(dedent(config))
    for number, (options, driver) in enumerate(
        (([], "plain"), (["--execution", "drivers:Plain"], "plain"), (["--execution", "pooled"], "pooled"))
    ):
        run_python(COMMAND, "run", "mine", *options, cwd=Path.cwd())
        metadata = json.loads(Path(f"data/mine/v{number}/metadata.json").read_text())
        assert metadata["hooks"]["run_experiment_loop"][-1] == driver


@pytest.mark.parametrize("arguments", [["list"], ["show", "plain"], ["check"]])
def test_the_listing_knows_it(run_python, arguments):
    as_json = ["--json"] if arguments != ["check"] else []
    done = run_python(COMMAND, "plugins", *arguments, *as_json)
    if not as_json:
        assert "all is well" in done.stdout
        return
    known = {each["name"]: each for each in json.loads(done.stdout) if each["distribution"] == "acme-drivers"}
    assert {each["status"] for each in known.values()} == {"active"}
    assert all(each["hooks"] == ["run_experiment_loop"] for each in known.values())
    assert known["plain"]["summary"] == "Drive them one by one."
    if arguments == ["show", "plain"]:
        (call,) = known["plain"]["calls"]
        assert (call["hook"], call["position"], call["of"]) == ("run_experiment_loop", 1, 1)
