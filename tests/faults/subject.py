"""What is disturbed: an experiment made from a plan, run in forks of a process that has imported everything.

:func:`serve` reads a list of jobs from each line of a socket, runs them at the same time, each in a process of its own,
and answers with their exit codes when all have ended.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import posix
import signal
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

import calls
import early_fork_server

import crystallize
from crystallize import (
    Artifact,
    ArtifactPlugin,
    Experiment,
    Hypothesis,
    SeedPlugin,
    Treatment,
    paired_t_test,
    pipeline_step,
)
from crystallize.cli.app import main
from crystallize.store import journal_writer

FLUSH_SECONDS = journal_writer.FLUSH_SECONDS
_MARKS, _PHASE, _PAUSE, _IN_WORKERS = "FAULT_MARKS", "FAULT_PHASE", "FAULT_PAUSE", "FAULT_IN_WORKERS"


@pipeline_step()
def measure(
    data: Any,
    ctx: Any,
    model: Artifact,
    table: Artifact,
    shift: float = 0.0,
    fails: tuple[str, ...] = (),
    size: int = 100,
    values: tuple[Any, ...] = (),
) -> Any:
    """Leave a mark outside of the store, then measure and write."""
    outcome = f"{ctx['condition']} {ctx['replicate']}"
    worker = os.environ.get(_IN_WORKERS)
    if worker and os.getpid() != int(os.environ["FAULT_COORDINATOR"]):
        importlib.import_module("calls").install_once("data", json.loads(worker))
    # Not those of `os`: what is put in their place would be a part of the step's code.
    mark = posix.open(os.environ[_MARKS], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    posix.write(mark, f"{os.environ[_PHASE]} {outcome}\n".encode())
    posix.close(mark)
    time.sleep(float(os.environ.get(_PAUSE, "0")))
    if outcome in fails:
        raise ValueError(f"{outcome} always fails")
    model.write(outcome.encode() + b"." * size)
    if ctx["replicate"] % 2 == 0:
        with table.open("wb") as stream:
            for _ in range(3):
                stream.write(outcome.encode() * size)
    for value in values:
        ctx.record("value", value, tags={"half": ctx["replicate"] // 2})
    ctx.record("loss", float(ctx.rng.normal()) + shift, tags={"fold": [1, 2]})
    return data


def build(plan: dict[str, Any], execution: str) -> Experiment:
    """Make the experiment of a plan."""
    return Experiment(
        lambda ctx: ctx.rng.random(),
        [
            measure(
                fails=tuple(plan.get("fails", ())),
                size=plan.get("size", 100),
                values=tuple(map(_value, plan.get("values", ()))),
            )
        ],
        name="demo",
        outputs=[Artifact("model.txt", alias="model"), Artifact("table.txt", alias="table")],
        treatments=[
            Treatment(f"t{number}", {"shift": 0.5 * number}) for number in range(1, plan["conditions"])
        ],
        hypotheses=[Hypothesis(paired_t_test(), metrics="loss", direction="min")]
        if plan["conditions"] > 1
        else [],
        replicates=plan["replicates"],
        plugins=[
            ArtifactPlugin(versioned=plan["versioned"], fsync=plan.get("fsync", False)),
            SeedPlugin(plan["seed"]),
        ],
        execution=execution,
    )


def _value(text: Any) -> Any:
    """Numbers that JSON has no form for come as text."""
    return float(text[1:]) if isinstance(text, str) and text.startswith("=") else text


def run(job: dict[str, Any]) -> None:
    """Run the job in this process and write what came of it."""
    os.chdir(job["cwd"])
    os.environ[_MARKS], os.environ[_PHASE] = str(Path("marks").absolute()), str(job["phase"])
    os.environ["FAULT_COORDINATOR"] = str(os.getpid())
    os.environ[_PAUSE] = str(job.get("pause", 0))
    if "in_workers" in job:
        os.environ[_IN_WORKERS] = json.dumps(job["in_workers"])
    if job.get("prompt"):
        journal_writer.FLUSH_SECONDS = 0.0
    counted = calls.install("data", job["fault"]) if "fault" in job else None
    if "arguments" in job:
        sys.argv = ["crystallize", *job["arguments"]]
        main()
    report: dict[str, Any] = {}
    try:
        experiment = build(job["plan"], job["execution"])
        result = experiment.run(strategy="resume") if job["resume"] else experiment.run()
    except BaseException as error:
        cause = error.__cause__
        kept = getattr(error, "result", None)
        traceback.print_exc()
        report = {
            "error": type(error).__name__,
            "cause": type(cause).__name__,
            "message": str(error),
            "arrived": None if kept is None else kept.arrived,
        }
    else:
        provenance = [(f"{each['condition']} {each['replicate']}", repr(each)) for each in result.provenance]
        report = {"json": result.to_json(), "provenance": provenance}
        report["path"] = str(result.path)
        report["failed"] = len(result.errors)
    if counted is not None:
        report["calls"] = counted.count
    part = Path(job["report"]).with_suffix(".part")  # a kill may come while it is written
    part.write_text(json.dumps(report))
    part.replace(job["report"])


def _child(job: dict[str, Any]) -> NoReturn:
    with Path(job["cwd"], "output").open("ab") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    if job["execution"] == "process":
        early_fork_server.prepare()
    code: Any = None
    try:
        run(job)
    except SystemExit as ended:  # so ends a command
        code = ended.code
    # As any process ends, but for taking down all that was imported, which most of the time of a job would go into.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


def _warm_up() -> None:
    """Run once what every job runs, so that what is kept for the next time is there; no thread may be left by it."""
    plan = {"conditions": 2, "replicates": 2, "seed": 1, "versioned": True}
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        for resume in (False, True):
            job = {"plan": plan, "execution": "serial", "phase": 0, "resume": resume, "prompt": True}
            run(job | {"cwd": folder, "report": f"{folder}/report"})
        os.chdir(here)
    journal_writer.FLUSH_SECONDS = FLUSH_SECONDS
    assert threading.active_count() == 1, "a process with threads had better not fork"


def serve(descriptor: int) -> None:
    """Run what is asked for on the socket until it is closed."""
    for module in pkgutil.walk_packages(crystallize.__path__, "crystallize."):
        if not module.name.startswith("crystallize.testing"):
            importlib.import_module(module.name)
    _warm_up()
    gc.freeze()
    requests = os.fdopen(descriptor, "r")
    for jobs in map(json.loads, iter(requests.readline, "")):
        children = []
        for job in jobs:
            child = os.fork()
            if not child:
                os.close(descriptor)
                _child(job)
            children.append(child)
        for child, job in zip(children, jobs, strict=True):
            if "kill_after" in job:
                time.sleep(job["kill_after"])
                os.kill(child, getattr(signal, job["signal"]))
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        os.write(descriptor, json.dumps(codes).encode() + b"\n")
