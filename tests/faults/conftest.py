"""Disturbing a run, resuming it, and comparing the end with that of a run that nobody disturbed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crystallize.errors import StoreError
from crystallize.results.load import load_result
from crystallize.store.journal import Entry
from crystallize.store.journal_reader import JournalReader
from crystallize.store.outcome import Outcome

SECONDS = 60
OF_THE_MOMENT = {
    *("run", "command", "folder", "packages", "replaces"),
    *("started", "finished", "duration"),
    *("execution", "plugins", "hooks"),  # they name the strategy
    "earlier_sessions",  # one that nobody disturbs has none
}
"""What of metadata.json tells when, how long, in how many sessions, from where and under which strategy."""


class Server:
    """Runs jobs in forks of an interpreter that has imported Crystallize; see subject.py."""

    def __init__(self) -> None:
        self._answers, theirs = socket.socketpair()
        with theirs:
            code = f"import subject; subject.serve({theirs.fileno()})"
            here = Path(__file__).parent
            folders = [str(here), str(here.parent), os.environ.get("PYTHONPATH", "")]
            self._process = subprocess.Popen(
                [sys.executable, "-W", "error", "-c", code],
                env={
                    **os.environ,
                    "OPENBLAS_NUM_THREADS": "1",
                    "PYTHONPATH": os.pathsep.join(filter(None, folders)),
                },
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._answers.settimeout(SECONDS)

    def run(self, *jobs: dict[str, Any]) -> list[int]:
        """Run jobs at the same time, and return their exit codes."""
        self._answers.sendall(json.dumps(jobs).encode() + b"\n")
        return list(json.loads(self._answers.recv(4096)))

    def close(self) -> None:
        """End the server, with whatever it still runs."""
        self._answers.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(SECONDS)


class World:
    """A folder with one experiment's runs, which are disturbed.

    Parameters
    ----------
    server : Server
        Runs the jobs.
    folder : pathlib.Path
        Where.
    plan : dict
        The experiment; see ``subject.build``.
    """

    def __init__(self, server: Server, folder: Path, plan: dict[str, Any]) -> None:
        self.folder, self.plan = folder, plan
        self.root = folder / "data"
        self.demo = self.root / "demo"
        self._server = server
        self._phase = 0
        self.code = 0  # of the last process that `run` has run
        self._foreign: set[str] = set()
        folder.mkdir(parents=True)

    def job(self, execution: str, *, resume: bool, **options: Any) -> dict[str, Any]:
        """Describe a run."""
        self._phase += 1
        report = str(self.folder / f"report-{self._phase}")
        return {
            "plan": self.plan,
            "execution": execution,
            "resume": resume,
            "phase": self._phase,
            "cwd": str(self.folder),
            "report": report,
            **options,
        }

    def run(self, execution: str, *, resume: bool = False, **options: Any) -> dict[str, Any]:
        """Run or resume, and return what the process tells of it; nothing if it was killed."""
        job = self.job(execution, resume=resume, **options)
        (self.code,) = self._server.run(job)
        return report_of(job)

    def run_together(self, *jobs: dict[str, Any]) -> list[dict[str, Any]]:
        """Run several jobs at the same time."""
        self._server.run(*jobs)
        return [report_of(job) for job in jobs]

    def command(self, *arguments: str, **options: Any) -> tuple[int, str]:
        """Run ``crystallize`` with arguments; return its exit code, and what it printed."""
        output = self.folder / "output"
        output.unlink(missing_ok=True)
        (code,) = self._server.run(self.job("", resume=False, arguments=arguments, **options))
        return code, output.read_text()

    def store_older_run(self) -> None:
        """Complete a run of another seed, which no resume may take for this one."""
        plan, self.plan = self.plan, {**self.plan, "seed": self.plan["seed"] + 1}
        assert "json" in self.run("serial")
        self.plan = plan
        (run,) = self.demo.iterdir()
        self._foreign.add(json.loads((run / "metadata.json").read_text())["run"])
        (self.folder / "marks").unlink()

    def executed(self, phase: int) -> Counter[str]:
        """Count the executions of each outcome in a phase."""
        marks = self.folder / "marks"
        lines = marks.read_text().splitlines() if marks.exists() else []
        start = f"{phase} "
        return Counter(line.removeprefix(start) for line in lines if line.startswith(start))

    @property
    def phase(self) -> int:
        """The number of the last job."""
        return self._phase

    def journaled(self) -> dict[str, Outcome]:
        """Return the outcomes that are on disk and did not fail."""
        found: dict[str, Outcome] = {}
        for file in self.demo.glob("*/journal.jsonl") if self.demo.exists() else ():
            reader = JournalReader(file, may_unpickle=True)
            with contextlib.suppress(StoreError):
                entries = list(reader.read())
                if reader.sessions and reader.sessions[0].run not in self._foreign:
                    found |= {
                        f"{each.outcome.condition} {each.replicate}": each.outcome
                        for each in entries
                        if isinstance(each, Entry) and each.outcome.error is None
                    }
        return found

    def check_readable(self) -> None:
        """Whatever has happened, a reader gets a result or is told why not."""
        for run in self.demo.iterdir() if self.demo.exists() else ():
            if run.is_dir():
                with contextlib.suppress(StoreError):
                    load_result(run)

    def resume_and_compare(self, execution: str, undisturbed: End) -> None:
        """Resume without a fault: what is owed runs, nothing else, and the end is that of the undisturbed run."""
        self.check_readable()
        there = self.journaled()
        report = self.run(execution, resume=True)
        assert "json" in report, report or (self.folder / "output").read_text()
        again = self.executed(self.phase).keys() & there.keys()
        assert not again, f"ran again though it was in the journal: {sorted(again)}"
        assert max(self.executed(self.phase).values(), default=0) <= 1
        assert report["json"] == undisturbed.report["json"]
        for told, expected in zip(report["provenance"], undisturbed.report["provenance"], strict=True):
            # The line of a trace that many outcomes have may be damaged: what they measured counts all the same.
            has_lost_it = told[0] in there and not there[told[0]].trace
            assert told == expected or (told[0] == expected[0] and has_lost_it)
        run = Path(report["path"])
        assert tree(run) == undisturbed.tree
        assert settled_metadata(run) == undisturbed.metadata
        assert load_result(run).to_json() == report["json"]
        self.check_tidy(run)

    def check_tidy(self, run: Path) -> None:
        """Nothing lies about that is no run's."""
        assert run.name == "v0"
        assert {path.name for path in self.demo.iterdir()} == {"v0"}
        assert {path.name for path in self.root.iterdir()} == {"demo"}


class End:
    """How a run ends that nobody disturbs."""

    def __init__(self, world: World, execution: str = "serial") -> None:
        self.report = world.run(execution, fault={})
        assert "json" in self.report, (world.folder / "output").read_text()
        assert self.report["failed"] == len(world.plan.get("fails", ())), (
            "the experiment is not what was planned"
        )
        run = Path(self.report["path"])
        self.tree = tree(run)
        self.metadata = settled_metadata(run)
        self.calls: int = self.report["calls"]


def report_of(job: dict[str, Any]) -> dict[str, Any]:
    """Return what a job has told of its end."""
    path = Path(job["report"])
    return dict(json.loads(path.read_text())) if path.exists() else {}


def tree(run: Path) -> dict[str, str | None]:
    """Return all files and folders of a run, but for the two files that tell when it was."""
    return {
        path.relative_to(run).as_posix(): _in_short(path.read_bytes()) if path.is_file() else None
        for path in run.rglob("*")
        if path.name not in ("metadata.json", "journal.jsonl")
    }


def _in_short(content: bytes) -> str:
    """Return a text that tells contents apart and that a report of a failure can show."""
    return f"{content[:200]!r}, {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}"


def settled_metadata(run: Path) -> dict[str, Any]:
    """Return what of a run's metadata does not depend on the moment."""
    metadata = json.loads((run / "metadata.json").read_text())
    return {key: value for key, value in metadata.items() if key not in OF_THE_MOMENT}


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Return what runs jobs."""
    if not hasattr(os, "fork"):
        pytest.skip("needs os.fork")
    server = Server()
    yield server
    server.close()


class Worlds:
    """Makes worlds, and remembers how the experiments end that were asked for."""

    def __init__(self, server: Server, folder: Path) -> None:
        self._server, self._folder = server, folder
        self._ends: dict[str, End] = {}
        self._number = 0

    def new(self, plan: dict[str, Any]) -> World:
        """Return a world where nothing has been run."""
        self._number += 1
        return World(self._server, self._folder / f"{self._number}", plan)

    def end_of(self, plan: dict[str, Any]) -> End:
        """Return how the experiment of a plan ends if nobody disturbs it."""
        key = json.dumps(plan, sort_keys=True)
        if key not in self._ends:
            self._ends[key] = End(self.new(plan))
        return self._ends[key]

    def forget(self, world: World) -> None:
        """Remove a world's files."""
        shutil.rmtree(world.folder)


@pytest.fixture(scope="session")
def worlds(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Worlds:
    """Return what makes worlds."""
    return Worlds(server, tmp_path_factory.mktemp("faults"))
