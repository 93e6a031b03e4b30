"""Stopping rules in config.yaml and on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

import pytest

from crystallize import Artifact, Experiment, ExperimentGraph, Treatment, decided, open_run, precise
from crystallize.config.build import load_experiment
from crystallize.config.errors import ConfigError
from crystallize.errors import GraphError, InvalidTypeError

SLEEP = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]


@pytest.fixture
def sleep() -> Path:
    files = {
        "config.yaml": """
            datasource: hours
            steps: [measure]
            treatments: {drug: {effect: 1}}
            replicates: 10
            stop: decided(gain, max=10)
            """,
        "datasources.py": f"""
            def hours(ctx):
                return {SLEEP}[ctx["replicate"]]
            """,
        "steps.py": """
            from crystallize import pipeline_step

            @pipeline_step()
            def measure(data, *, effect=0):
                return data, {"gain": effect * data}
            """,
    }
    for name, text in files.items():
        Path("sleep", name).parent.mkdir(exist_ok=True)
        Path("sleep", name).write_text(dedent(text))
    return Path("sleep")


def test_the_rule_of_a_config_ends_the_run_and_is_told(call, sleep):
    done = call("run", "sleep")
    assert done.code == 0
    assert "stopped after 8 replicates by decided('gain', max=10): every treatment is" in done.out
    assert "gain higher: 'drug' 1.22 [" in done.out
    assert "95% confidence sequence of the difference" in done.out
    shown = call("show", "sleep").out
    assert shown[shown.index("stopped after") :] == done.out[done.out.index("stopped after") :]


def test_programs_get_what_the_rule_saw(call, sleep):
    told = json.loads(call("run", "sleep", "--json").out)["sleep"]["stopping"]
    assert (told["replicates"], told["is_decided"]) == (8, True)
    stored = json.loads(call("show", "sleep", "--json").out)
    assert stored["summary"]["stopping"] == told == stored["metadata"]["stopping"]
    assert stored["metadata"]["replicates"] == 8


def test_a_rule_of_the_command_line_takes_its_place(call, sleep):
    done = call("run", "sleep", "--stop-when", "precise(gain, half_width=3, max=10)", "--json")
    assert json.loads(done.out)["sleep"]["replicates"] == 10
    done = call("run", "sleep", "--stop-when", "decided(gain)", "-n", 5, "--json")
    assert json.loads(done.out)["sleep"]["replicates"] == 5


def test_a_run_that_was_stopped_is_verified_and_resumed(call, sleep):
    call("run", "sleep", "--execution", "process", "--workers", "2")
    before = Path("data/sleep/v0/metadata.json").read_bytes()
    assert call("verify", "sleep").code == 0
    assert call("run", "sleep", "--resume").code == 0
    assert Path("data/sleep/v0/metadata.json").read_bytes() == before
    assert call("run", "sleep", "--debug", "--replicate", 7, "--condition", "drug").code == 0


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("decided(gain", "'(' was never closed"),
        ("desided(gain)", "Did you mean 'decided'?"),
        ("decided(gain, alpha=3)", "alpha lies between 0 and 1, got 3"),
    ],
)
def test_a_rule_that_is_none_is_a_users_mistake(call, sleep, rule, message):
    done = call("run", "sleep", "--stop-when", rule)
    assert done.code == 2
    assert "--stop-when" in done.err
    assert message in " ".join(done.err.replace("│", " ").split())
    config = sleep / "config.yaml"
    config.write_text(config.read_text().replace("decided(gain, max=10)", f"'{rule}'"))
    with pytest.raises(ConfigError) as caught:
        load_experiment("sleep")
    assert "sleep/config.yaml:6:7: stop: " in str(caught.value)
    assert message in str(caught.value)
    assert call("run", "sleep").code == 2
    assert not Path("data").exists()


# -- before anything runs ---------------------------------------------------------------------------------------------


def change(sleep, old, new):
    config = sleep / "config.yaml"
    assert old in config.read_text()
    config.write_text(config.read_text().replace(old, new))


def test_a_dry_run_tells_how_many_there_are_at_most_and_what_they_would_cost(call, sleep):
    change(sleep, "replicates: 10", "replicates: 40")
    change(sleep, "max=10", "max=9")
    first = call("run", "sleep", "--dry-run").out.splitlines()
    assert first[:2] == [
        "sleep: 2 conditions x at most 9 replicates = at most 18 outcomes",
        "  ends when decided('gain', max=9) has seen enough",
    ]
    assert first[-1] == "  cost: not known, for no run with outcomes is stored"
    assert call("run", "sleep").code == 0
    fewer = call("run", "sleep", "--dry-run", "-n", "5").out
    assert fewer.startswith("sleep: 2 conditions x at most 5 replicates = at most 10 outcomes\n")
    assert "  cost: at most about " in fewer
    told = json.loads(call("run", "sleep", "--dry-run", "--json").out)["sleep"]
    assert (told["replicates"], told["outcomes"], told["at_most"]) == (9, 18, True)
    assert told["rule"] == "decided('gain', max=9)"
    assert told["seconds"] > 0


REFUSED = [
    ("treatments: {drug: {effect: 1}}", "", "nothing to compare"),
    ("replicates: 10\nstop: decided(gain, max=10)", "stop: decided(gain)", "nothing ends the run"),
]


@pytest.mark.parametrize(("old", "new", "message"), REFUSED, ids=["no treatments", "no end"])
def test_what_run_refuses_is_refused_by_a_dry_run_and_by_check(call, sleep, old, new, message):
    change(sleep, old, new)
    for command in (("run", "sleep"), ("run", "sleep", "--dry-run")):
        done = call(*command)
        assert (done.code, message in done.err) == (2, True)
    line = 1 + next(
        n for n, text in enumerate((sleep / "config.yaml").read_text().splitlines()) if "stop:" in text
    )
    checked = call("check", "sleep")
    assert checked.code == 2
    assert f"sleep/config.yaml:{line}:7: stop: " in checked.out
    assert message in checked.out
    assert not Path("data").exists()


def test_a_rule_that_drops_what_another_reads_is_a_problem_of_its_config(call, sleep):
    change(sleep, "max=10)", "max=10, drop=true)")
    with (sleep / "config.yaml").open("a") as config:
        config.write("outputs: {slept: {loader: json}}\n")
    (sleep / "steps.py").write_text(
        (sleep / "steps.py")
        .read_text()
        .replace("import pipeline_step", "import Artifact, pipeline_step")
        .replace("effect=0)", "effect=0, slept: Artifact)")
        .replace("    return", "    slept.write(data)\n    return")
    )
    reader = Path("reader")
    reader.mkdir()
    (reader / "config.yaml").write_text("datasource: {slept: sleep#slept}\nsteps: [look]\n")
    (reader / "steps.py").write_text(
        "from crystallize import pipeline_step\n\n@pipeline_step()\ndef look(data):\n    return data\n"
    )
    for command in (("run", "reader"), ("run", "reader", "--dry-run")):
        done = call(*command)
        assert (done.code, "drops conditions" in done.err) == (2, True)
    checked = call("check", "reader")
    assert checked.code == 2
    assert "sleep/config.yaml:6:7: stop: " in checked.out
    assert "drops conditions" in checked.out
    change(sleep, ", drop=true", "")
    assert call("check", "reader").code == 0
    dry = call("run", "reader", "--dry-run").out
    assert "reader: 1 condition x at most 10 replicates = at most 10 outcomes" in dry


def test_a_metric_that_is_not_there_is_told_with_what_is(call, sleep):
    done = call("run", "sleep", "--stop-when", "decided(gian, max=10)")
    assert done.code != 0
    assert "no condition recorded the metric 'gian'" in " ".join(done.err.split())
    assert "Did you mean 'gain'?" in " ".join(done.err.split())


def test_the_rule_is_part_of_a_plan_that_is_locked(call, sleep):
    assert call("lock", "sleep").code == 0
    assert "Preregistered: plan" in call("run", "sleep").out
    departs = call("run", "sleep", "--stop-when", "decided(gain, max=10, alpha=0.2)").out
    assert "Departs from its plan" in departs
    assert "stop_when was" in departs


# -- graphs -----------------------------------------------------------------------------------------------------------


def chain() -> tuple[Experiment, Experiment]:
    number = Artifact("number.json", loader="json")

    def make(data: None, ctx, number: Artifact):
        number.write(float(ctx.rng.normal()) + ctx.get("shift", 0.0))
        return data, {"made": 1.0 + ctx.get("shift", 0.0) + float(ctx.stream(ctx["condition"]).normal())}

    def use(data: float, ctx):
        return data, {"used": data + float(ctx.stream(ctx["condition"]).normal())}

    shifted = Treatment("shifted", {"shift": 3.0})
    first = Experiment(lambda: None, [make], name="first", outputs=[number], treatments=[shifted], seed=1)
    second = Experiment(number, [use], name="second", treatments=[Treatment("shifted", {})], seed=2)
    return first, second


def test_in_a_graph_a_rule_ends_what_nothing_depends_on():
    first, second = chain()
    results = ExperimentGraph(first, second).run(replicates=30, stop_when=decided("used"))
    assert results["first"].replicates == 30
    assert results["first"].stopping is None
    assert 2 < results["second"].replicates < 30
    assert results["second"].stopping is not None
    assert results["second"].stopping.is_decided


def test_what_reads_a_run_that_a_rule_has_ended_has_as_many_replicates():
    first, second = chain()
    first.stop_when = precise("made", half_width=1.2, max=40)
    results = ExperimentGraph(first, second).run()
    assert 10 <= results["first"].replicates < 40
    assert results["second"].replicates == results["first"].replicates
    assert open_run("first").stopping == results["first"].stopping


def test_what_others_read_drops_no_condition():
    first, second = chain()
    first.treatments = (*first.treatments, Treatment("alike", {"shift": 0.0}))
    first.stop_when = decided("made", max=40, drop=True)
    with pytest.raises(GraphError, match="'first' is read by 'second', and the rule"):
        ExperimentGraph(first, second).run()
    first.run()
    result = second.run()  # on its own, it gets what there is
    assert {error.condition for error in result.errors} == {"shifted"}
    assert "stopping rule had dropped that condition" in result.errors[0].message


def test_a_graph_refuses_what_is_no_rule():
    with pytest.raises(InvalidTypeError, match="stop_when is a stopping rule"):
        ExperimentGraph(*chain()).run(stop_when="decided")
