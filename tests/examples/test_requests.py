"""The example that asks a local HTTP server."""

from __future__ import annotations

import json
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "examples" / "requests" / "ask.py"


def test_every_page_is_fetched_over_as_many_connections_as_the_condition_says(run_python, tmp_path):
    done = run_python(f"import runpy; runpy.run_path({str(SCRIPT)!r}, run_name='__main__')")
    assert done.stderr == ""
    assert done.stdout.startswith("metric")
    stored = tmp_path / "data" / "requests" / "v0"
    for condition, connections in (("baseline", 20), ("one_connection", 1)):
        metrics = json.loads((stored / condition / "results.json").read_text())["metrics"]
        assert metrics["connections"] == [connections] * 40
        assert metrics["bytes"] == [sum(len(f"This is /pages/{page}.") for page in range(20))] * 40
        assert len(metrics["milliseconds"]) == 40
        assert min(metrics["milliseconds"]) >= 20 * 2  # the server's own work


def test_a_page_that_is_not_there_is_the_error_of_its_outcome(run_python):
    code = f"""
import runpy
from crystallize import Experiment, Pipeline
example = runpy.run_path({str(SCRIPT)!r})
Page = example["Page"]
Page.do_GET = lambda self: self.send_error(404)
with example["serving"]() as port:
    result = Experiment(
        lambda: ["/nowhere"],
        Pipeline([example["fetch"]()]),
        initial_ctx={{"port": port}},
        execution="async",
        disable_plugins=["seed"],
    ).run(replicates=2)
print(*(error.message for error in result.errors), sep="\\n")
"""
    assert run_python(code).stdout.splitlines() == ["/nowhere was answered with status 404"] * 2
