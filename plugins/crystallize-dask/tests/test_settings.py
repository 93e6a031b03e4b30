"""What `DaskExecution` takes, and what it says about it before Dask has anything to do."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest
from crystallize_dask import DaskExecution

from crystallize import Experiment
from crystallize.errors import InvalidTypeError, InvalidValueError


@pytest.mark.parametrize(
    ("name", "value", "error", "text"),
    [
        ("address", 8786, InvalidTypeError, "address of a Dask scheduler"),
        ("address", "cluster", InvalidValueError, "'cluster'.*tcp://"),
        ("address", "/", InvalidValueError, "'/'"),
        ("address", "tcp://:8786", InvalidValueError, "tcp://:8786"),
        ("address", "tcp://host:port", InvalidValueError, "dask scheduler"),
        ("max_workers", 0, InvalidValueError, "at least 1"),
        ("max_workers", 1.5, InvalidTypeError, "max_workers"),
        ("resources", ["GPU"], InvalidTypeError, '{"GPU": 1}'),
        ("resources", {"GPU": "1"}, InvalidTypeError, "'1'"),
        ("resources", {"GPU": True}, InvalidTypeError, "True"),
        ("resources", {"GPU": 0}, InvalidValueError, "greater than 0, got 0 of 'GPU'"),
        ("resources", {"GPU": float("nan")}, InvalidValueError, "nan"),
        ("retries", -1, InvalidValueError, "at least 0"),
        ("retries", True, InvalidTypeError, "retries"),
        ("timeout", 0, InvalidValueError, "Leave it out for no limit"),
        ("timeout", "5m", InvalidTypeError, "seconds"),
        ("progress", 1, InvalidTypeError, "progress"),
    ],
)
def test_an_argument_that_cannot_be_used_is_refused(name, value, error, text):
    with pytest.raises(error, match=text):
        DaskExecution(**{name: value})


def test_settings_are_the_arguments_as_plain_data():
    strategy = DaskExecution("tls://node-1:8786/", resources={"GPU": 0.5}, timeout=2, retries=0)
    assert strategy.settings == {
        "address": "tls://node-1:8786",
        "max_workers": None,
        "resources": {"GPU": 0.5},
        "retries": 0,
        "timeout": 2,
        "progress": False,
        "threads_per_worker": None,
    }


def test_it_is_found_by_its_name():
    experiment = Experiment(lambda: 0, [lambda data: data], execution="dask", disable_plugins=["artifact"])
    assert any(type(record.plugin) is DaskExecution for record in experiment.plugins.records)


def test_without_replicates_nothing_is_started():
    unreachable = DaskExecution("tcp://127.0.0.1:1")
    assert unreachable.run_experiment_loop(SimpleNamespace(owed=iter(range(0))), None) == []


def test_dask_is_not_imported_before_an_experiment_runs():
    code = """
import sys
from crystallize_dask import DaskExecution
DaskExecution("tcp://127.0.0.1:8786").settings
print([name for name in sys.modules if name.partition(".")[0] in {"dask", "distributed", "tornado", "numpy"}])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
