"""S8: what a journal costs, and what it gives back.

``resume``: a finished run of that many replicates, under three conditions with three metrics, is resumed and owes
nothing. ``open``: it is read as a result. ``append``: a replicate's outcomes are written, in batches. *json* is
``json.load`` of the run's results.json files, *floor* a hand-written journal: a line of JSON with a checksum for each
outcome, read into lists.
"""

from __future__ import annotations

import json
import zlib
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import steps as work
from harness import OURS, Budget, NotComparableError, Reading, Scenario, Variant, repeat, seconds

CONDITIONS = ("baseline", "plus", "minus")
METRICS = ("loss", "accuracy", "time")
_FLUSH = 1000


def floor(size: int, variant: str) -> Reading:
    """Append lines in batches, or read them again."""
    file = Path("journal.jsonl").absolute()
    if variant != "append":
        _append(file, size)
        return _time(lambda: _read(file))
    return repeat(lambda: seconds(lambda: _append(file, size)) / size / len(CONDITIONS) * 1e6)


def _append(file: Path, size: int) -> None:
    with file.open("wb", buffering=0) as stream:
        lines: list[bytes] = []
        for replicate in range(size):
            for condition in CONDITIONS:
                metrics = {name: [replicate * 0.1] for name in METRICS}
                outcome = {
                    "replicate": replicate,
                    "condition": condition,
                    "seed": replicate,
                    "metrics": metrics,
                }
                body = json.dumps(outcome).encode()
                lines.append(b"%08x %s\n" % (zlib.crc32(body), body))
            if len(lines) >= _FLUSH:
                stream.write(b"".join(lines))
                lines.clear()
        stream.write(b"".join(lines))


def _read(file: Path) -> dict[str, dict[str, array[float]]]:
    columns = {condition: {name: array("d") for name in METRICS} for condition in CONDITIONS}
    with file.open("rb") as stream:
        for line in stream:
            body = line[9:-1]
            if int(line[:8], 16) != zlib.crc32(body):
                raise ValueError(line)
            outcome = json.loads(body)
            for name, values in outcome["metrics"].items():
                columns[outcome["condition"]][name].append(values[0])
    return columns


def load_json(size: int, variant: str) -> Reading:
    """Read the values of a run from JSON files, one for each condition."""
    if variant == "append":
        raise NotComparableError("it is written at the end")
    values = {name: [replicate * 0.1 for replicate in range(size)] for name in METRICS}
    files = [Path(f"{condition}.json").absolute() for condition in CONDITIONS]
    for file in files:
        file.write_text(json.dumps({"metrics": values}))
    return _time(lambda: [json.loads(file.read_text()) for file in files])


def crystallize(size: int, variant: str) -> Reading:
    """The journal of a run."""
    if variant == "append":
        return _append_ours(size)
    subject = _experiment(size, Path("data").absolute())
    path = subject.run().path
    if variant == "open":
        from crystallize.results.load import load_result

        return _time(lambda: load_result(path))
    return _time(lambda: subject.run(strategy="resume"))


def _experiment(size: int, root: Path) -> Any:
    from crystallize import ArtifactPlugin, Experiment, Treatment

    treatments = [Treatment("plus", {"delta": 1.0}), Treatment("minus", {"delta": -1.0})]
    return Experiment(
        lambda: 1.0,
        [work.shift, work.record_three],
        name="benchmark",
        seed=1,
        treatments=treatments,
        replicates=size,
        plugins=[ArtifactPlugin(root)],
    )


def _append_ours(size: int) -> Reading:
    from crystallize.store.journal import Session
    from crystallize.store.journal_writer import JournalWriter
    from crystallize.store.outcome import Outcome, ReplicateResult

    session = Session("0" * 16, "benchmark", size, CONDITIONS, (), "")
    trace = ((0, (("delta", 1.0),), (("loss", 1), ("accuracy", 1), ("time", 1))),)

    def made(replicate: int, condition: str) -> Outcome:
        metrics = {name: [replicate * 0.1] for name in METRICS}
        return Outcome(
            condition, replicate, metrics, {}, trace=trace, started=1.8e9 + replicate / 7, seconds=1e-3
        )

    results = [
        ReplicateResult(replicate, tuple(made(replicate, condition) for condition in CONDITIONS))
        for replicate in range(size)
    ]

    def run() -> None:
        file = Path("journal.jsonl")
        file.unlink(missing_ok=True)
        writer = JournalWriter(file, session)
        for result in results:
            writer.add(result)
        writer.close()

    return repeat(lambda: seconds(run) / size / len(CONDITIONS) * 1e6)


def _time(run: Callable[[], object]) -> Reading:
    return repeat(lambda: seconds(run) * 1e3)


SCENARIO = Scenario(
    name="S8",
    title="the journal, 3 conditions x 3 metrics",
    size="replicates",
    sizes=(1_000, 10_000, 30_000),
    stated=(10_000,),
    peers={"json": load_json, "floor": floor, OURS: crystallize},
    variants=(
        Variant("resume", "ms", (Budget(1.2, "floor"),), "a finished run, nothing owed"),
        Variant("open", "ms", (Budget(2, "json"),), "as a result"),
        Variant("append", "us/outcome", (Budget(10),), "in batches"),
    ),
)

if __name__ == "__main__":
    SCENARIO.main()
