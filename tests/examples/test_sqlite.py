"""The example with a database for each worker."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "examples" / "sqlite" / "lookup.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("sqlite_example", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_index_saves_work_and_changes_no_total(run_python, tmp_path, example):
    done = run_python(f"import runpy; runpy.run_path({str(SCRIPT)!r}, run_name='__main__')")
    assert done.stdout.startswith("metric")
    stored = tmp_path / "data" / "lookup" / "v0"
    without, indexed = (
        json.loads((stored / condition / "results.json").read_text())["metrics"]
        for condition in ("baseline", "index")
    )
    assert without["total"] == indexed["total"]
    assert len(without["total"]) == 100
    # Without an index each row is looked at, with one only those of the customer: about 20.
    assert min(without["instructions"]) > example.ORDERS
    assert max(indexed["instructions"]) < 1000


def test_a_total_is_the_sum_of_the_orders_of_that_customer(example):
    from crystallize import standalone_context

    database = example.open_database(None)
    try:
        rows = np.array(database.execute("SELECT customer, amount FROM orders").fetchall())
        assert len(rows) == example.ORDERS
        for table in ("orders", "indexed_orders"):
            ctx = standalone_context({"database": database, "table": table})
            total, metrics = example.TotalOfCustomer()(17, ctx)
            assert total == metrics["total"] == rows[rows[:, 0] == 17, 1].sum()
    finally:
        database.close()


def test_workers_open_databases_of_their_own(run_python, tmp_path):
    code = f"""
import os, runpy
from crystallize import Experiment, Pipeline, pipeline_step, resource_factory
example = runpy.run_path({str(SCRIPT)!r})

@pipeline_step()
def where(data, ctx):
    ctx["database"].execute("SELECT 1").fetchone()
    return data, {{"process": os.getpid()}}

def open_here(ctx):
    with open(f"opened by {{os.getpid()}}", "a") as file:
        file.write("x")
    return example["open_database"](ctx)

result = Experiment(
    lambda: None,
    Pipeline([where()]),
    initial_ctx={{"database": resource_factory(open_here)}},
    execution={{"strategy": "process", "max_workers": 2}},
).run(replicates=20)
result.raise_for_errors()
processes = set(result.metrics.baseline.metrics["process"])
assert os.getpid() not in processes
print(*processes)
"""
    processes = run_python(code).stdout.split()
    opened = {path.name: path.read_text() for path in tmp_path.glob("opened by *")}
    assert opened == {f"opened by {process}": "x" for process in processes}
