"""A run under Dask that is cut off, and resumed: the end is that of a run that nobody disturbed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

REPLICATES = 6
KILLED_AFTER = 3

# Each replicate takes longer than outcomes wait for each other, so that what has arrived is on disk.
SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from crystallize import ArtifactPlugin, BasePlugin, Experiment, Treatment
if sys.argv[2]:
    from crystallize_dask import DaskExecution

def measure(data, ctx):
    time.sleep(0.06)
    with open(MARKS, "a") as marks:
        marks.write(f"{ctx['condition']} {ctx['replicate']}\\n")
    ctx.artifacts.write("model.txt", f"{ctx['condition']} {ctx['replicate']}".encode())
    if os.path.exists(f"{MARKS}-kill") and ctx["replicate"] == 1:
        os.unlink(f"{MARKS}-kill")
        os.kill(os.getpid(), signal.SIGKILL)
    return data, {"loss": float(ctx.rng.normal()) + ctx.get("shift", 0.0)}

def source(ctx):
    return 0

class Kills(BasePlugin):
    affects_outcomes = False
    left = int(sys.argv[3])

    def after_replicate(self, experiment, result):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)

MARKS = os.path.abspath("marks")
folder, address, _, resume = sys.argv[1:]
result = Experiment(source, [measure], name="demo", replicates=REPLICATES, seed=4,
    treatments=[Treatment("shifted", {"shift": 1.0})], plugins=[ArtifactPlugin(folder, versioned=True), Kills()],
    execution=DaskExecution(address) if address else "serial").run(**({"strategy": "resume"} if resume else {}))
Path("result.json").write_text(result.to_json())
""".replace("REPLICATES", str(REPLICATES))


def run(folder: str, address: str = "", killed_after: int = 0, *, resume: bool = False) -> int:
    """Run the script; return its exit code."""
    Path("script.py").write_text(SCRIPT)
    arguments = [folder, address, str(killed_after), "resume" if resume else ""]
    return subprocess.run([sys.executable, "script.py", *arguments], check=False).returncode


def ended(folder: str) -> tuple[str, dict[str, bytes]]:
    """Return the result, and all files of the run but those that tell when and under which strategy it was."""
    run = Path(folder, "demo", "v0")
    files = {
        path.relative_to(run).as_posix(): path.read_bytes()
        for path in run.rglob("*")
        if path.is_file() and path.name not in ("metadata.json", "journal.jsonl")
    }
    return Path("result.json").read_text(), files


def ran() -> list[str]:
    marks = Path("marks")
    lines = sorted(marks.read_text().splitlines())
    marks.unlink()
    return lines


def journaled() -> list[str]:
    """Return the outcomes of the journal's lines."""
    lines = map(json.loads, Path("data/demo/v0/journal.jsonl").read_text().splitlines())
    return [f"{line['condition']} {line['replicate']}" for line in lines if "replicate" in line]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Return the end of a run that nobody disturbs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("undisturbed"))
        assert run("data") == 0
        return ended("data")


def test_a_run_whose_coordinator_was_killed_owes_what_had_not_arrived(undisturbed, shared_cluster):
    assert run("data", shared_cluster.address, KILLED_AFTER) == -signal.SIGKILL
    there = journaled()
    assert len(there) == 2 * KILLED_AFTER
    Path("marks").unlink()
    assert run("data", resume=True) == 0
    assert ended("data") == undisturbed
    assert journaled()[: len(there)] == there
    assert sorted(journaled()) == sorted(
        f"{name} {i}" for name in ("baseline", "shifted") for i in range(REPLICATES)
    )


def test_a_run_goes_on_under_dask_and_a_killed_worker_leaves_no_trace(undisturbed, shared_cluster):
    assert run("data", killed_after=1) == -signal.SIGKILL
    Path("marks").unlink()
    Path("marks-kill").touch()
    assert run("data", shared_cluster.address, resume=True) == 0
    assert not Path("marks-kill").exists()
    assert {line.split()[1] for line in ran()} == {str(replicate) for replicate in range(1, REPLICATES)}
    assert ended("data") == undisturbed
