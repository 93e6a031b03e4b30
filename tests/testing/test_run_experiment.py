"""``run_experiment``: a small experiment, kept apart from what else is installed."""

from __future__ import annotations

import json
import os

import pytest

from crystallize import ArtifactPlugin, BasePlugin, Hypothesis, Treatment, paired_t_test
from crystallize.errors import UnknownNameError

GUEST = """
    from crystallize import BasePlugin

    class Plugin(BasePlugin):
        def before_replicate(self, ctx):
            ctx.record(__name__, 1)
"""


@pytest.fixture
def guests(tmp_plugin):
    for name in ("acme_one", "acme_two"):
        tmp_plugin(name, {f"{name}.py": GUEST}, plugins={name: f"{name}:Plugin"})


def metrics_of(result) -> set[str]:
    return set(result.metrics.baseline.metrics)


def test_it_runs_a_small_experiment_by_default(run_experiment, tmp_path) -> None:
    result = run_experiment()
    assert result.metrics.baseline.metrics == {"total": [6.0, 7.0]}
    assert result.metrics.treatments["doubled"].metrics == {"total": [12.0, 14.0]}
    assert result.path.is_relative_to(tmp_path)
    assert run_experiment.experiment.name == "experiment"
    assert run_experiment.experiment.master_seed == 0


def test_every_part_can_be_given(run_experiment, tmp_path) -> None:
    class Noting(BasePlugin):
        def before_replicate(self, ctx):
            ctx.add("noted", ctx["replicate"])

    def measure(data, ctx):
        return data, {"m": data + ctx["noted"] + ctx["start"] + ctx.get("more", 0)}

    result = run_experiment(
        Noting(),
        datasource=lambda ctx: 10 * ctx["replicate"],
        steps=[measure],
        treatments=[Treatment("more", {"more": 100})],
        hypotheses=[Hypothesis(paired_t_test(), metrics="m")],
        replicates=3,
        seed=5,
        name="mine",
        initial_ctx={"start": 1},
    )
    assert result.metrics.baseline.metrics == {"m": [1, 12, 23]}
    assert result.metrics.treatments["more"].metrics == {"m": [101, 112, 123]}
    assert len(result.metrics.hypotheses) == 1
    assert result.path == tmp_path / "data" / "mine" / "v0"


def test_own_steps_come_without_the_treatment_of_the_default_ones(run_experiment) -> None:
    assert run_experiment(steps=[lambda data: data]).conditions == ("baseline",)


@pytest.mark.parametrize(
    "execution", ["serial", "thread", "async", {"strategy": "process", "max_workers": 1}]
)
def test_it_runs_under_every_strategy(run_experiment, execution) -> None:
    result = run_experiment(execution=execution, replicates=3)
    assert result.metrics.baseline.metrics == {"total": [6.0, 7.0, 8.0]}


def test_a_plugin_of_its_own_may_store_the_run_elsewhere(run_experiment, tmp_path) -> None:
    result = run_experiment(ArtifactPlugin(root_dir=tmp_path / "mine", versioned=True))
    assert result.path == tmp_path / "mine" / "experiment" / "v0"


@pytest.mark.usefixtures("guests")
def test_installed_plugins_stay_out(run_experiment) -> None:
    assert metrics_of(run_experiment()) == {"total"}


@pytest.mark.usefixtures("guests")
@pytest.mark.parametrize(
    ("installed", "joining"),
    [
        ("acme_one", {"acme_one"}),
        ("Acme-One", {"acme_one"}),
        (["acme_one", "acme_two"], {"acme_one", "acme_two"}),
        ([], set()),
        (False, set()),
    ],
)
def test_installed_plugins_that_are_named_join(run_experiment, installed, joining) -> None:
    assert metrics_of(run_experiment(installed=installed)) == {"total"} | joining
    stored = json.loads((run_experiment().path / "metadata.json").read_text())
    assert {plugin["name"] for plugin in stored["plugins"]} >= {"seed", "logging", "artifact"}


@pytest.mark.usefixtures("guests")
def test_with_true_it_is_the_environment_as_it_is(run_experiment, monkeypatch) -> None:
    assert metrics_of(run_experiment(installed=True)) >= {"acme_one", "acme_two"}
    monkeypatch.setenv("CRYSTALLIZE_DISABLE_PLUGINS", "acme_one")
    assert "acme_one" not in metrics_of(run_experiment(installed=True))


@pytest.mark.usefixtures("guests")
def test_a_plugin_to_join_that_is_not_installed_is_an_error(run_experiment) -> None:
    with pytest.raises(UnknownNameError, match=r"'acme_on'.*Did you mean 'acme_one'"):
        run_experiment(installed="acme_on")


@pytest.mark.usefixtures("guests")
@pytest.mark.parametrize("installed", [False, "acme_one"])
def test_the_developers_own_switches_make_no_difference_and_stay(
    run_experiment, monkeypatch, installed
) -> None:
    switches = {"CRYSTALLIZE_DISABLE_PLUGINS": "seed,acme_one", "CRYSTALLIZE_DISABLE_PLUGIN_AUTOLOAD": "yes"}
    for name, value in switches.items():
        monkeypatch.setenv(name, value)
    result = run_experiment(installed=installed)
    assert result.seeds["baseline"] == [0, 31337]
    assert ("acme_one" in metrics_of(result)) is (installed == "acme_one")

    class Broken(BasePlugin):
        def before_run(self):
            raise LookupError

    with pytest.raises(RuntimeError):
        run_experiment(Broken(), installed=installed)
    assert {name: os.environ[name] for name in switches} == switches


def test_no_switch_is_left_in_the_environment(run_experiment) -> None:
    run_experiment()
    assert not [name for name in os.environ if name.startswith("CRYSTALLIZE_")]


@pytest.mark.usefixtures("guests")
def test_plugins_can_be_disabled_besides(run_experiment) -> None:
    result = run_experiment(installed=["acme_one", "acme_two"], disable_plugins=["acme_one"])
    assert metrics_of(result) == {"total", "acme_two"}
