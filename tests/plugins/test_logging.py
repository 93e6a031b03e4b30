from __future__ import annotations

import logging
import re

import pytest

from crystallize import Experiment, LoggingPlugin, ParallelExecution, Pipeline, pipeline_step, treatment
from crystallize.errors import InvalidTypeError, InvalidValueError

ROOT = logging.getLogger("crystallize")


@pipeline_step()
def work(data):
    return data


@pipeline_step()
def fail_on_request(data, ctx):
    if ctx.get("fail"):
        raise ValueError("asked for")


def experiment(*plugins, steps=(work,), **options):
    options.setdefault("treatments", [treatment("t", {})])
    return Experiment(lambda: 1, Pipeline(list(steps)), name="demo", plugins=list(plugins), **options)


def messages(caplog, level=logging.NOTSET):
    return [
        re.sub(r"\d+\.\d\d m?s", "TIME", record.getMessage())
        for record in caplog.records
        if record.name == "crystallize.run" and record.levelno >= level
    ]


def test_start_and_end_of_a_run_are_logged(caplog):
    experiment(LoggingPlugin()).run(replicates=2)
    assert messages(caplog) == [
        "experiment 'demo': 2 replicates under 2 conditions (baseline, t) starts",
        "experiment 'demo': 2 replicates under 2 conditions (baseline, t) in TIME, no failures",
    ]


def test_the_default_plugin_logs_too(caplog):
    experiment().run(replicates=1)
    assert len(messages(caplog)) == 2


def test_failures_are_counted(caplog):
    options = {"treatments": [treatment("bad", {"fail": True})]}
    experiment(steps=[fail_on_request], **options).run(replicates=3)
    assert messages(caplog)[-1].endswith("in TIME, 3 outcomes failed")


def test_each_step_is_logged_when_verbose(caplog):
    experiment(LoggingPlugin(verbose=True), treatments=()).run(replicates=2)
    assert messages(caplog)[1:-1] == [
        "condition 'baseline', replicate 0, step 'WorkStep': TIME",
        "condition 'baseline', replicate 1, step 'WorkStep': TIME",
    ]


def test_the_level_debug_tells_when_a_step_starts(caplog):
    experiment(LoggingPlugin(verbose=True, log_level="DEBUG"), treatments=()).run(replicates=1)
    assert "condition 'baseline', replicate 0, step 'WorkStep': starts" in messages(caplog)


def test_steps_in_worker_processes_are_logged_too(caplog):
    strategy = ParallelExecution(max_workers=1, executor_type="process")
    experiment(LoggingPlugin(verbose=True), strategy, treatments=()).run(replicates=2)
    assert sum("step 'WorkStep'" in message for message in messages(caplog)) == 2


def test_the_step_hooks_cost_nothing_unless_verbose():
    assert "after_step" not in LoggingPlugin().active_hooks()
    assert {"before_step", "after_step"} <= LoggingPlugin(verbose=True).active_hooks()


def test_the_level_holds_during_the_run_and_is_put_back(caplog):
    seen = []
    experiment(LoggingPlugin(log_level="debug"), steps=[lambda data: seen.append(ROOT.level)]).run(
        replicates=1
    )
    assert seen == [logging.DEBUG] * 2
    assert ROOT.level == logging.NOTSET
    experiment(LoggingPlugin(log_level="ERROR")).run(replicates=1)
    assert len(messages(caplog)) == 2


def test_the_level_is_put_back_when_a_run_breaks_off():
    def interrupt(data):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        experiment(LoggingPlugin(verbose=True, log_level="DEBUG"), steps=[interrupt]).run(replicates=1)
    assert ROOT.level == logging.NOTSET
    assert ROOT.handlers == []


def test_a_level_that_the_user_set_stands_against_the_default_plugin(caplog):
    ROOT.setLevel(logging.ERROR)
    try:
        experiment().run(replicates=1)
        assert messages(caplog) == []
        experiment(LoggingPlugin(log_level="DEBUG")).run(replicates=1)
        assert len(messages(caplog)) == 2
        assert ROOT.level == logging.ERROR
    finally:
        ROOT.setLevel(logging.NOTSET)


SHOW = """
import logging, sys
from crystallize import Experiment, LoggingPlugin, Pipeline, pipeline_step

@pipeline_step()
def work(data):
    return data

exec(sys.argv[1])
Experiment(lambda: 1, Pipeline([work]), plugins=[eval(sys.argv[2])], name="demo").run(replicates=1)
assert logging.getLogger("crystallize").handlers == []
"""


def test_a_verbose_log_is_visible_where_no_logging_is_configured(run_python):
    done = run_python(SHOW, "", "LoggingPlugin(verbose=True, log_level='DEBUG')")
    assert "INFO experiment 'demo': 1 replicate under 1 condition (baseline) starts" in done.stderr
    assert "step 'WorkStep'" in done.stderr
    assert done.stdout == ""


def test_handlers_that_are_configured_get_the_log_and_nothing_is_added(run_python):
    configure = "logging.basicConfig(format='MINE %(message)s')"
    done = run_python(SHOW, configure, "LoggingPlugin(verbose=True)")
    assert all(line.startswith("MINE") for line in done.stderr.splitlines())
    assert len(done.stderr.splitlines()) == 3


def test_a_run_that_is_not_verbose_shows_nothing_where_no_logging_is_configured(run_python):
    assert run_python(SHOW, "", "LoggingPlugin()").stderr == ""


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"log_level": "DEBUGG"}, InvalidValueError, "'DEBUGG' is no logging level. Did you mean 'DEBUG'"),
        ({"log_level": None}, InvalidTypeError, "log_level is the name of a logging level, got None"),
        ({"log_level": True}, InvalidTypeError, "got True"),
        ({"verbose": "yes"}, InvalidTypeError, "verbose is True or False, got 'yes'"),
    ],
)
def test_a_bad_argument_is_a_clear_error(arguments, error, message):
    with pytest.raises(error, match=message):
        LoggingPlugin(**arguments)
