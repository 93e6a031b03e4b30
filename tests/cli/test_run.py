"""``crystallize run``: what it runs, what it shows, and how it ends."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest

from crystallize import Experiment
from crystallize.errors import UnknownNameError

CODE = "from crystallize.cli.app import main; main()"


def results(done) -> dict:
    return json.loads(done.out)


# -- what is run ---------------------------------------------------------------------------------------------


def test_prerequisites_run_first_and_the_results_say_where_they_are(call, project):
    done = call("run", "use")
    assert done.code == 0
    order = [line.partition(":")[0] for line in done.err.splitlines() if not line.startswith("Warning")]
    assert order == ["make", "make", "use", "use"]
    assert "Results: data/make/v0" in done.out
    assert "Results: data/use/v0" in done.out
    assert Path("data/use/v0/shifted/results.json").is_file()


def test_the_summary_and_the_verdicts_of_the_hypotheses_are_printed(call, project):
    lines = call("run", "use").out.splitlines()
    start = lines.index("hypothesis 'never_equal', larger is better")
    assert lines[start + 3].split() == ["seen", "shifted", "+1.00", "0.01", "0.02", "better"]
    assert lines[start + 6] == "best is 'bigger'."
    assert "Seed: 1" in lines
    row, _ = [line for line in lines if line.startswith("seen") and "shifted" in line]
    assert row.split()[:4] == ["seen", "shifted", "3", "7.0"]


def test_a_metric_that_only_some_conditions_lack_is_told_with_the_result(call, project):
    steps = project / "use" / "steps.py"
    steps.write_text(
        steps.read_text().replace(
            '{"seen": data["total"] + shift}', '{"seen": 1} if shift < 1 else {"other": 1}'
        )
    )
    config = project / "use" / "config.yaml"
    config.write_text(
        config.read_text().replace("verifier: never_equal", "verifier: never_equal, metrics: seen")
    )
    done = call("run", "use")
    assert done.code == 1
    assert "condition 'shifted' never recorded metric 'seen'" in done.err
    assert "shifted was not compared: 'shifted' has not recorded metric 'seen'; it" in done.out
    assert "seen    bigger " in done.out
    assert call("show", "use").code == 0


@pytest.mark.parametrize("path", ["experiments/make", "experiments/make/config.yaml"])
def test_an_experiment_may_be_named_by_its_path(call, project, path):
    assert "Results: data/make/v0" in call("run", path).out


def test_only_runs_one_experiment_on_what_is_stored(call, project):
    missing = call("run", "use", "--only")
    assert missing.code == 2
    assert "has no stored run" in missing.err
    assert call("run", "make").code == 0
    done = call("run", "use", "--only", "--json", "-t", "shifted")
    assert done.code == 0
    assert {name: list(each["conditions"]) for name, each in results(done).items()} == {
        "use": ["baseline", "shifted"]
    }


def test_treatments_replicates_and_seed_take_the_place_of_those_of_the_file(call, project):
    done = call("run", "use", "--json", "-t", "bigger", "--replicates", "2", "--seed", "7")
    assert done.code == 0
    for name, replicates in [("make", 3), ("use", 2)]:
        each = results(done)[name]
        assert list(each["conditions"]) == ["baseline", "bigger"]
        assert (each["replicates"], each["master_seed"]) == (replicates, 7)


def test_the_number_of_replicates_is_for_the_named_experiment_and_for_what_has_none(call, project):
    config = project / "make" / "config.yaml"
    for own, expected in [("replicates: 1", 1), ("", 5)]:
        config.write_text(config.read_text().replace("replicates: 3", own).replace("replicates: 1", own))
        done = results(call("run", "use", "--json", "--replicates", "5"))
        assert {name: each["replicates"] for name, each in done.items()} == {"make": expected, "use": 5}


def test_an_unknown_strategy_on_the_command_line_is_laid_to_no_file(call, project):
    done = call("run", "use", "--execution", "proces")
    assert (done.code, "config.yaml" in done.err) == (2, False)


def test_a_setting_that_only_what_is_not_run_would_read_is_refused(call, project):
    assert call("run", "use", "--set", "factor=3").code == 0
    for options in [["--only"], ["--debug", "--replicate", "0"]]:
        done = call("run", "use", *options, "--set", "factor=2")
        assert done.code == 2
        assert "nothing reads 'factor' from the context (experiment 'use')" in done.err
    with pytest.raises(UnknownNameError, match="nothing reads 'factor'"):
        Experiment.from_yaml(project / "use", context={"factor": 2})
    assert call("run", "use", "--only", "--set", "shift=2").code == 0
    assert call("verify", "use").code == 0


def test_only_asks_for_a_run_of_the_producer_that_has_the_condition(call, project):
    assert call("run", "make", "-t", "baseline").code == 0
    done = call("run", "use", "--only")
    assert done.code == 2
    assert "experiment 'make' defines 'bigger', which its stored run in" in done.err
    assert "`crystallize run make` makes a run that has" in done.err
    assert call("run", "use", "--only", "-t", "shifted").code == 0
    assert call("run", "make").code == 0
    done = call("run", "use", "--only")
    assert (done.code, "stale" in done.err) == (0, False)


def test_only_says_that_a_stored_run_is_stale(call, project):
    assert call("run", "make").code == 0
    steps = project / "make" / "steps.py"
    steps.write_text(steps.read_text().replace("sum(data)", "max(data)"))
    (project / "make" / "outputs.py").touch()
    done = call("run", "use", "--only")
    assert done.code == 0
    (line,) = [line for line in done.err.splitlines() if "stale" in line]
    assert "experiment 'make'" in line
    assert "'outputs.py', 'steps.py' changed since. `crystallize run make` makes a new one" in line


def test_only_says_that_a_stored_run_was_made_with_other_settings(call, project):
    assert call("run", "use", "--set", "factor=3").code == 0
    (line,) = [line for line in call("run", "use", "--only").err.splitlines() if "stale" in line]
    assert "experiment 'make'" in line
    assert "factor of initial_ctx is gone. `crystallize run make` makes a new one" in line
    assert call("run", "make", "--seed", "11").code == 0
    assert "stale" not in call("run", "use", "--only").err  # another seed is no other definition


def test_an_experiment_whose_output_is_read_is_not_stale_for_a_setting_that_it_cannot_read(call, project):
    assert call("run", "use").code == 0
    again = call("run", "use", "--resume", "--set", "text=x")
    assert again.err.count("text of initial_ctx is new") == 3  # the conditions of 'use'
    assert "stale" not in call("run", "use", "--only", "--set", "shift=2").err
    steps = project / "use" / "steps.py"
    steps.write_text(steps.read_text().replace("shift=0.0", "shift=0.0, factor=1"))
    (line,) = [
        line for line in call("run", "use", "--only", "--set", "factor=2").err.splitlines() if "stale" in line
    ]
    assert "factor of initial_ctx is new. `crystallize run make --set ...` makes a new one" in line


def test_only_says_that_a_stored_run_has_read_what_is_stored_otherwise_now(call, project):
    middle, last = project / "middle", project / "last"
    for folder, config, step in [
        (
            middle,
            "{datasource: {total: make#total}, steps: [copy], outputs: {total: {file_name: t.json, loader: json}}}",
            "def copy(data, *, total: Artifact):\n    total.write(data['total'])\n    return data, {}",
        ),
        (
            last,
            "{datasource: {old: middle#total, new: make#total}, steps: [compare]}",
            "def compare(data):\n    return data, {'apart': data['new'] - data['old']}",
        ),
    ]:
        folder.mkdir()
        (folder / "config.yaml").write_text(config)
        (folder / "steps.py").write_text(
            f"from crystallize import Artifact, pipeline_step\n\n@pipeline_step()\n{step}\n"
        )
    assert call("run", "last").code == 0
    assert call("run", "make").code == 0
    assert "stale" not in call("run", "last", "--only").err  # another run, of the same numbers
    sources = project / "make" / "datasources.py"
    sources.write_text(sources.read_text().replace("[1, 2, 3]", "[1, 2, 4]"))
    assert call("run", "make").code == 0
    (line,) = [line for line in call("run", "last", "--only").err.splitlines() if "stale" in line]
    assert "experiment 'middle'" in line
    assert "what it reads of other experiments has changed. `crystallize run middle` makes a new one" in line
    assert call("run", "middle").code == 0
    assert "stale" not in call("run", "last", "--only").err
    assert call("runs", "delete", "make", "--version", "0", "-y").code == 0
    assert call("runs", "prune", "make", "--keep", "0", "-y").code == 0
    assert "stale" not in call("run", "last", "--only").err  # what is gone has no other in its place


def test_a_treatment_that_what_is_read_does_not_define_is_told_once(call, project):
    config = project / "use" / "config.yaml"
    config.write_text(config.read_text().replace("bigger: {shift: 0.5}", "biger: {}"))
    for options in ([], ["--only"], ["-t", "biger"]):
        done = call("run", "use", *options)
        (line,) = [line for line in done.err.splitlines() if "baseline's output" in line]
        assert "experiment 'use' runs 'biger'" in line
        assert "on the baseline's output of 'make', where no treatment is called so" in line
        assert "Did you mean 'bigger'?" in line


@pytest.mark.parametrize(
    ("setting", "value"),
    [("factor=1e1", 60.0), ("factor=0x2", 12), ("factor=.5", 3.0), ("factor= 3", 18)],
)
def test_a_set_value_is_read_as_in_yaml_and_given_to_the_steps(call, project, setting, value):
    done = call("run", "make", "--json", "--set", setting, "-t", "baseline")
    assert done.code == 0, done.err
    assert results(done)["make"]["conditions"]["baseline"]["metrics"]["total"] == [value] * 3


def test_set_reaches_every_experiment_and_treatments_stand_above_it(call, project):
    done = call("run", "use", "--json", "--set", "factor=10", "--set", "shift=1000")
    seen = {name: each["metrics"]["seen"][0] for name, each in results(done)["use"]["conditions"].items()}
    assert seen == {"baseline": 1060, "shifted": 61, "bigger": 12.5}


@pytest.mark.parametrize("options", [["--workers", "2"], []])
def test_an_execution_strategy_is_chosen_with_its_workers(call, project, options):
    done = call("run", "make", "--json", "--execution", "process", *options)
    assert done.code == 0
    (plugin,) = [
        each
        for each in json.loads(Path("data/make/v0/metadata.json").read_text())["plugins"]
        if each["name"] == "process"
    ]
    assert plugin["settings"]["max_workers"] == (2 if options else None)


def test_workers_alone_keep_the_strategy_of_the_file(call, project):
    config = project / "make" / "config.yaml"
    config.write_text(config.read_text() + "execution: thread\n")
    done = call("run", "make", "--workers", "2", "-p", "no:seed")
    assert done.code == 0
    plugins = json.loads(Path("data/make/v0/metadata.json").read_text())["plugins"]
    assert {"strategy": "thread", "max_workers": 2}["max_workers"] in [
        each["settings"].get("max_workers") for each in plugins
    ]


def test_a_plugin_is_switched_off(call, project):
    done = call("run", "make", "-p", "no:artifact")
    assert done.code == 0
    assert "Results: not stored" in done.out
    assert not Path("data").exists()


def test_debug_runs_one_replicate_here_and_logs_each_step(call, project):
    done = call("run", "use", "--debug", "--json", "-t", "shifted")
    assert done.code == 0
    assert {name: each["replicates"] for name, each in results(done).items()} == {"make": 1, "use": 1}
    assert "condition 'shifted', replicate 0, step 'LookStep': starts" in done.err


def test_debug_leaves_what_is_stored_as_it_is_and_one_folder_for_all_its_runs(call, project):
    assert call("run", "use", "--replicates", "3").code == 0
    stored = {path: path.read_bytes() for path in Path("data").rglob("*") if path.is_file()}
    done = call("run", "use", "--debug", "--json")
    assert {path: path.read_bytes() for path in Path("data").rglob("*") if path.is_file()} == stored
    assert "crystallize-debug-" in results(done)["use"]["path"]
    again = call("run", "use", "--debug", "--json")
    assert results(again)["use"]["path"] == results(done)["use"]["path"]


# -- what is shown -------------------------------------------------------------------------------------------


def test_json_is_one_document_whatever_the_steps_print(project, warm_interpreter):
    for execution, version in (("serial", "v0"), ("process", "v1")):
        options = ("--json", "--execution", execution)
        done = warm_interpreter.crystallize("run", "use", *options, cwd=Path.cwd())
        assert done.returncode == 0
        document = json.loads(done.stdout)
        assert list(document) == ["make", "use"]
        assert document["use"]["path"] == str(Path("data/use", version).absolute())
        assert document["use"]["hypotheses"][0]["ranking"]["best"] == "bigger"
        assert "said by a step" in done.stderr


def test_a_pipe_gets_plain_lines(call, project):
    done = call("run", "use", "--set", "fail_at=1")
    assert done.code == 1
    assert not any(character < " " and character != "\n" for character in done.out + done.err)


def test_a_terminal_gets_a_bar_for_each_condition(project, in_a_terminal):
    code, shown = in_a_terminal("run", "use", columns=100)
    assert code == 0
    text = shown.decode()
    for bar in ("make  baseline", "make  bigger", "use  baseline", "use  shifted", "use  bigger"):
        assert bar in text
    assert "3/3" in text
    assert "\x1b[" in text


def test_the_first_failure_is_told_at_once_with_the_traceback_of_the_users_code(call, project):
    done = call("run", "use", "--set", "fail_at=1", "--set", "text=fail")
    assert done.code == 1
    assert done.err.count("Traceback") == 1
    told = done.err.index("use: the first failure under 'shifted': ValueError: told to fail")
    assert told < done.err.index("use: 3/3 replicates, 3 outcomes failed")
    traceback = done.err[done.err.index("Traceback") :].splitlines()
    assert traceback[1].strip().startswith(f'File "{project.absolute() / "use" / "steps.py"}"')
    assert "Results: data/use/v0" in done.out


def test_some_failed_outcomes_are_counted_and_make_the_exit_code_1(call, project):
    steps = project / "use" / "steps.py"
    steps.write_text(
        dedent(
            """
            from crystallize import pipeline_step

            @pipeline_step()
            def look(data, ctx, *, shift=0.0):
                if ctx["replicate"] == 1 and shift:
                    raise OSError("unlucky")
                return data, {"seen": shift}
            """
        )
    )
    done = call("run", "use")
    assert done.code == 1
    assert "Failed outcomes: 2 of 'use'." in done.err
    assert done.err.count("the first failure under") == 2
    assert done.err.count("Traceback") == 1


def test_an_experiment_that_fails_stops_what_depends_on_it(call, project):
    (project / "make" / "steps.py").write_text(
        "from crystallize import pipeline_step, Artifact\n\n"
        "@pipeline_step()\n"
        "def publish(data, *, factor=1, total: Artifact):\n"
        "    raise RuntimeError('no numbers')\n"
    )
    done = call("run", "use", "--json")
    assert done.code == 1
    assert "Failed: make." in done.err
    assert "Not run: use, which depends on make." in done.err
    assert "use" not in results(done)


@pytest.mark.parametrize(("options", "code"), [([], 1), (["--only"], 2)])
def test_a_plugin_that_breaks_off_the_run_makes_it_a_failed_one_if_anything_ran(call, project, options, code):
    assert call("run", "make").code == 0
    (project / "use" / "hooks.py").write_text(
        "from crystallize import hookimpl\n\n"
        "@hookimpl\n"
        "def before_run(experiment):\n"
        "    raise RuntimeError('no licence')\n"
    )
    done = call("run", "use", *options)
    assert done.code == code
    assert "raised in before_run: RuntimeError: no licence" in done.err


def test_hooks_that_raise_while_the_run_goes_on_are_told_at_once_and_each_hook_once(call, project):
    (project / "make" / "hooks.py").write_text(
        "from crystallize import hookimpl\n\n"
        "@hookimpl\n"
        "def after_replicate(result):\n"
        "    raise OSError(f'no connection, {result.replicate}')\n\n"
        "@hookimpl\n"
        "def after_run():\n"
        "    raise RuntimeError('no connection either')\n"
    )
    done = call("run", "make")
    assert done.code == 1
    lines = done.err.splitlines()
    told = [line for line in lines if line.startswith("Warning: plugin 'hooks' raised in")]
    assert [line.partition(": ")[2].partition(" (")[0] for line in told] == [
        "plugin 'hooks' raised in after_replicate: OSError: no connection, 0",
        "plugin 'hooks' raised in after_run: RuntimeError: no connection either",
    ]
    assert lines.index(told[0]) < next(place for place, line in enumerate(lines) if "3/3 replicates" in line)
    assert Path("data/make/v0/bigger/results.json").is_file()


# -- wrong use -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "mke"], "Did you mean 'make'?"),
        (["run", "use", "-t", "shiftd"], "Did you mean 'shifted'?"),
        (["run", "make", "--only", "-t", "biger"], "Did you mean 'bigger'?"),
        (["run", "use", "--execution", "proces"], "Did you mean 'process'?"),
        (["run", "use", "--workers", "2"], "has no max_workers"),
        (["run", "use", "--workers", "0"], "--workers"),
        (["run", "use", "--replicates", "0"], "--replicates"),
        (["run", "use", "--seed", "-1"], "--seed"),
        (["run", "use", "--set", "shift"], "KEY=VALUE"),
        (["run", "use", "--set", "=1"], "KEY=VALUE"),
        (["run", "use", "--set", "shift=1", "--set", "shift=2"], "is given twice"),
        (["run", "use", "--set", "shift=[1"], "cannot be read"),
        (["run", "use", "--set", "shfit=1"], "Did you mean 'shift'?"),
        (["run", "use", "--set", "replicate=1"], "replicate"),
        (["run", "use", "-p", "seed"], "no:NAME"),
        (["run", "use", "--debug", "--replicates", "5"], "--debug"),
        (["run", "use", "--debug", "--only"], "--debug"),
        (["run"], "Missing argument"),
    ],
)
def test_wrong_use_is_a_message_and_exit_code_2_before_anything_runs(call, project, arguments, told):
    done = call(*arguments)
    assert done.code == 2
    assert told in " ".join(done.err.replace("│", " ").split())
    assert "Traceback" not in done.err
    assert done.out == ""
    assert not Path("data").exists()


def occupied(place):
    Path(place).parent.mkdir(exist_ok=True)
    Path(place).write_text("a file in the place of a folder")


def pinned(call):
    assert call("run", "make").code == 0
    assert call("runs", "pin", "make", "--version", "0").code == 0


def newer(call):
    assert call("run", "make").code == 0
    file = Path("data/make/v0/metadata.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"schema_version": 10**6}))


OBSTACLES = {
    "a file as the root": ("{}", (), lambda _: occupied("data"), "'data' is a file"),
    "a file above the root": ("{root_dir: a/b/c}", (), lambda _: occupied("a/b"), "'b' is a file"),
    "a file below the root": ("{}", (), lambda _: occupied("data/make"), "'make' is a file"),
    "a root that cannot be made": ("{root_dir: /proc/none/of/ours}", (), lambda _: None, "cannot be stored"),
    "a pinned run": ("{versioned: false}", (), pinned, "is pinned"),
    "a newer run": ("{}", ("--resume",), newer, "newer"),
}


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_what_cannot_be_stored_at_all_does_not_begin_and_the_exit_code_is_2(call, project, obstacle):
    settings, options, prepare, told = OBSTACLES[obstacle]
    with (project / "make" / "config.yaml").open("a") as config:
        config.write(f"plugins: {{artifact: {settings}}}\n")
    prepare(call)
    done = call("run", "make", *options)
    assert done.code == 2
    assert told in done.err
    assert "said by a step" not in done.out + done.err


FOLDER = {
    "config.yaml": """
        replicates: 5
        datasource: nothing
        steps: [fail]
        treatments: {odd: {alpha: 3}}
        """,
    "datasources.py": """
        from crystallize import data_source
        @data_source
        def nothing(ctx): return 0
        """,
    "steps.py": """
        from crystallize import pipeline_step
        @pipeline_step
        def fail(data, ctx, alpha=1):
            if ctx["replicate"] == 3 and alpha == 3:
                raise ValueError(f"drawn {ctx.rng.random()}")
            return data, {"value": ctx["replicate"]}
        """,
}


@pytest.fixture
def failing(tmp_path, monkeypatch):
    for name, text in FOLDER.items():
        (tmp_path / "fails").mkdir(exist_ok=True)
        (tmp_path / "fails" / name).write_text(dedent(text))
    monkeypatch.chdir(tmp_path)


def test_the_first_failure_names_the_command_that_runs_it_alone_with_its_seed(call, failing):
    done = call("run", "fails")
    assert done.code == 1
    command = "crystallize run fails --replicate 3 --condition odd --debug"
    assert f"Run this outcome alone: {command}" in done.err
    error = next(line for line in done.err.splitlines() if line.startswith("ValueError: drawn"))
    again = call(*command.split()[1:])
    assert again.code == 1
    assert error in again.err.splitlines()
    assert "Failed: replicate 3 under 'odd', with the seed" in again.err
    assert call("run", "fails", "--replicate", 2, "--debug").code == 0
    assert [path.name for path in Path("data/fails").iterdir() if path.name.startswith("v")] == ["v0"]


def test_the_commands_for_an_experiment_that_no_name_leads_to_have_its_path(call, failing):
    with Path("fails/config.yaml").open("a") as config:
        config.write("name: another\n")
    done = call("run", "fails", "--on-error", "stop")
    (alone,) = (line for line in done.err.splitlines() if line.startswith("Run this outcome alone: "))
    again = call(*alone.partition("crystallize ")[2].split())
    assert "Failed: replicate 3 under 'odd'" in again.err
    assert "Go on with: crystallize run fails --on-error stop --resume" in done.err


def test_one_outcome_is_run_again_with_the_settings_that_the_run_was_given(call, failing):
    assert call("run", "fails", "--set", "alpha=3").code == 1
    again = call("run", "fails", "--replicate", 3, "--condition", "baseline", "--debug")
    assert "Failed: replicate 3 under 'baseline'" in again.err
    other = call("run", "fails", "--replicate", 3, "--condition", "baseline", "--debug", "--set", "alpha=4")
    assert "No error in replicate 3" in other.err


def test_what_is_told_to_go_on_with_repeats_what_was_asked_for(call, failing):
    asked = ("-n", "5", "--set", "alpha= 2", "-t", "odd", "--seed", "5", "--no-cache", "--on-error", "stop")
    done = call("run", "fails", *asked, "--rerun")
    (told,) = (line for line in done.err.splitlines() if "Go on with: crystallize " in line)
    words = shlex.split(told.partition("crystallize ")[2])
    assert words == [
        *("run", "fails", "--replicates", "5", "--treatment", "odd", "--set", "alpha= 2", "--seed", "5"),
        *("--on-error", "stop", "--no-cache", "--resume"),
    ]
    again = call(*words)
    assert "runs again" not in again.err  # everything is as it was
    assert "1 of 5" not in again.err


@pytest.mark.usefixtures("warm_processes")
def test_a_run_that_the_disk_does_not_take_ends_with_its_results_and_how_to_go_on(call, failing):
    with Path("fails/steps.py").open("a") as steps:
        steps.write(
            "\nimport resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (9000, resource.RLIM_INFINITY))\n"
        )
    command = [sys.executable, "-m", "crystallize", "run", "fails", "-n", "2000"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the run cannot be stored: File too large" in done.stderr
    assert "Go on with: crystallize run fails --replicates 2000 --resume" in done.stderr
    assert "Results: data/fails/v0\n" in done.stdout
    (stored,) = json.loads(call("runs", "list", "fails", "--json").out)
    assert (stored["status"], stored["failed_outcomes"]) == ("failed", 1)


def test_a_run_goes_on_or_begins_anew_and_not_both(call, failing):
    for both in (("--resume", "--rerun"), ("--rerun", "--resume")):
        done = call("run", "fails", *both)
        assert (done.code, "--rerun" in done.err) == (2, True)
    assert not Path("data").exists()


def test_a_run_with_too_many_failures_ends_with_its_results_and_how_to_go_on(call, failing):
    done = call("run", "fails", "--on-error", "stop")
    assert done.code == 1
    assert "max_failures is 0" in done.err
    assert "Go on with: crystallize run fails --on-error stop --resume" in done.err
    assert "value" in done.out
    assert "Results: data/fails/v0\n" in done.out
    (stored,) = json.loads(call("runs", "list", "fails", "--json").out)
    assert (stored["status"], stored["failed_outcomes"]) == ("failed", 1)
    assert "Failed:     1 outcome\n" in call("runs", "show", "fails", "--version", "0").out
    assert call("run", "fails", "--max-failures", 1).code == 1
    assert "attempt 2 failed" not in call("run", "fails", "--retries", 1).err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--on-error", "stpo"], "Did you mean 'stop'?"),
        (["--on-error", "stop", "--max-failures", "2"], "Give one of the two"),
        (["--max-failures", "-1"], "--max-failures"),
        (["--timeout", "0"], "a number of seconds above 0"),
        (["--replicate", "2"], "it goes with --debug"),
        (["--debug", "--condition", "od"], "Did you mean 'odd'?"),
        (["--debug", "--replicate", "5"], "It has 5: 0 to 4"),
    ],
)
def test_a_policy_or_an_outcome_that_cannot_be_is_told_before_anything_runs(call, failing, options, told):
    done = call("run", "fails", *options)
    assert done.code == 2
    assert told in done.err
    assert not Path("data").exists()


def test_all_mistakes_of_the_folder_are_told_at_once(call, project):
    config = project / "use" / "config.yaml"
    config.write_text(config.read_text().replace("[look]", "[lok]").replace("never_equal", "nver_equal"))
    done = call("run", "use")
    assert done.code == 2
    places = [line for line in done.err.splitlines() if "experiments/use/config.yaml:" in line]
    assert len(places) == 2
    assert "Did you mean 'look'?" in done.err
    assert "Did you mean 'never_equal'?" in done.err


def test_a_key_that_nothing_is_seen_to_read_is_warned_of_if_code_might(call, project):
    steps = project / "use" / "steps.py"
    steps.write_text(steps.read_text().replace("look(data, *,", "look(data, ctx, *,"))
    done = call("run", "use", "--set", "shfit=1")
    assert (done.code, "nothing reads 'shfit'" in done.err) == (2, True)
    steps.write_text(steps.read_text().replace("    return", "    dict(ctx)\n    return"))
    done = call("run", "use", "--set", "shfit=1")
    assert done.code == 0
    assert "nothing reads 'shfit' from the context, as far as can be known. Did you mean 'shift'?" in done.err


def test_what_a_run_warns_of_is_told_and_a_failure_once(call):
    folder = Path("experiments/late")
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(
        "datasource: one\nsteps: [wait]\ntimeout: 0.1\ntreatments: {large: {size: 9}}\n"
    )
    (folder / "datasources.py").write_text("def one():\n    return 1\n")
    (folder / "steps.py").write_text(
        dedent(
            """
            import logging
            import time
            from threading import Event

            is_warned = Event()

            class Listener(logging.Handler):
                def emit(self, record):
                    is_warned.set()

            logging.getLogger("crystallize.experiment").addHandler(Listener())

            def wait(data, ctx):
                if not is_warned.is_set():
                    is_warned.wait(60)
                    time.sleep(0.1)  # both watch the same time, and the other one began a moment later
                return ctx.get("size") if data > 1 else data
            """
        )
    )
    done = call("run", "late")
    assert done.code == 1
    assert "Warning: replicate 0 under condition 'baseline' takes more than 0.1 seconds." in done.err
    assert "Warning: experiment 'late': treatment 'large' sets 'size', and no step, data source" in done.err
    assert done.err.count("first failure") == 1


def test_a_setting_that_the_step_is_given_in_config_yaml_is_told_with_its_line(call, project):
    config = project / "make" / "config.yaml"
    config.write_text(config.read_text().replace("[publish]", "[publish: {factor: 3}]"))
    done = call("run", "make")
    assert done.code == 2
    assert "experiments/make/config.yaml:8:23: treatments.bigger.factor: treatment 'bigger' sets" in done.err
    assert "Step 'PublishStep' has 'factor' as an argument of its own" in done.err
    config.write_text(config.read_text().replace("{bigger: {factor: 2}}", "{}"))
    assert call("run", "make", "--set", "factor=4").code == 2


def test_an_unknown_plugin_is_warned_of_with_the_nearest_name(call, project):
    done = call("run", "make", "-p", "no:sed")
    assert done.code == 0
    assert "Warning: no installed plugin is called 'sed'" in done.err
    assert "Did you mean 'seed'?" in done.err


# -- Ctrl-C --------------------------------------------------------------------------------------------------


def test_an_interruption_that_has_broken_the_import_of_a_library_is_told_as_any_other(project, tmp_path):
    """The library's second import fails, and with it the table of what was measured; nothing else does."""
    (tmp_path / "scipy.py").write_text("raise ImportError('cannot load module more than once per process')\n")
    (project / "use" / "steps.py").write_text(
        dedent(
            """
            from crystallize import pipeline_step

            @pipeline_step()
            def look(data, ctx, *, shift=0.0):
                if ctx["replicate"] == 2:
                    raise KeyboardInterrupt
                return data, {"seen": shift * ctx["replicate"]}
            """
        )
    )
    done = subprocess.run(
        [sys.executable, "-c", CODE, "run", "use"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 130
    assert "What was measured cannot be shown now: ImportError: cannot load module" in done.stderr
    assert done.stderr.endswith("Go on with: crystallize run use --resume\n")


@pytest.mark.parametrize(
    ("execution", "signum", "code"),
    [("serial", signal.SIGINT, 130), ("thread", signal.SIGTERM, 143), ("process", signal.SIGHUP, 129)],
)
@pytest.mark.usefixtures("warm_processes")
def test_ctrl_c_and_signals_end_it_cleanly_and_it_says_what_was_written(
    call, project, execution, signum, code
):
    (project / "use" / "steps.py").write_text(
        dedent(
            """
            import os, pathlib, time
            from crystallize import pipeline_step

            @pipeline_step()
            def look(data, ctx, *, shift=0.0):
                time.sleep(float(os.environ.get("TEST_NAP", 0)))
                with pathlib.Path("began").open("a") as file:
                    file.write(".")
                return data, {"seen": shift}
            """
        )
    )
    assert call("run", "use").code == 0
    Path("began").unlink()
    before = Path("data/use/v0/metadata.json").read_bytes()
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, "run", "use", "--replicates", "500", "--execution", execution],
        env={**os.environ, "TEST_NAP": "0.1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 30
    while not Path("began").exists() or Path("began").stat().st_size < 16:  # so that some have arrived
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signum)
    shown, told = process.communicate(timeout=60)
    assert process.returncode == code
    assert "seen" in shown, "what was measured is not shown"
    assert "Traceback" not in told
    assert "Interrupted." in told
    assert "  make: complete, in data/make/v1" in told
    assert "of 500 replicates had finished" in told
    assert f"Go on with: crystallize run use --replicates 500 --execution {execution} --resume" in told
    assert Path("data/use/v0/metadata.json").read_bytes() == before
    while running(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def running(group: int) -> list[str]:
    """Return the processes of a group that are alive; those that wait for nothing but their burial are not."""
    alive = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, own_group = status.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # it has ended since
            continue
        if int(own_group) == group and state != "Z":
            alive.append(status.parent.name)
    return alive
