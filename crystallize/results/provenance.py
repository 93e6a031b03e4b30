"""How each number came about: seeds, what each step read, what it recorded."""

from __future__ import annotations

from array import array
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from crystallize.errors import InvalidValueError
from crystallize.utils.context import RESERVED_KEYS
from crystallize.utils.growing import put
from crystallize.utils.randomness import StreamUse
from crystallize.utils.stage import DATA_SOURCE, TREATMENT, StageRecord, trace_key

if TYPE_CHECKING:
    from crystallize.utils.stage import Trace

_NOTHING = StageRecord(0)
STAGE_NAMES = {DATA_SOURCE: "data source", TREATMENT: "treatment"}
"""What the stages before the first step are called."""


class TraceStore:
    """The traces of one condition, kept once each.

    Replicates mostly read the same keys with the same values, so their traces are equal and each is four
    bytes more.
    """

    __slots__ = ("_codes", "_last", "_last_code", "_numbers", "_traces")

    def __init__(self) -> None:
        self._codes: dict[bytes, int] = {}
        self._traces: list[Trace] = []
        self._last: Trace | None = None
        self._last_code = -1
        self._numbers = array("i")

    def put(self, replicate: int, trace: Trace) -> None:
        """Keep the trace of one outcome."""
        if trace is self._last:  # equal ones mostly are one object
            put(self._numbers, replicate, self._last_code, -1)
            return
        key = trace_key(trace)
        code = self._codes.get(key)
        if code is None:
            code = self._codes[key] = len(self._traces)
            self._traces.append(trace)
        self._last, self._last_code = trace, code
        put(self._numbers, replicate, code, -1)

    def extend(self, first: int, traces: Sequence[Trace]) -> None:
        """Keep the traces of `first` and the replicates after it."""
        self.put(first, traces[0])
        if first + 1 == len(self._numbers) and set(map(id, traces)) == {id(self._last)}:
            self._numbers.extend(array("i", [self._last_code]) * (len(traces) - 1))
            return
        for replicate, trace in enumerate(traces[1:], first + 1):
            self.put(replicate, trace)

    def get(self, replicate: int) -> Trace | None:
        """Return the trace of one outcome; None if it never arrived."""
        code = self._numbers[replicate] if replicate < len(self._numbers) else -1
        return self._traces[code] if code >= 0 else None


class Provenance(Sequence[dict[str, Any]]):
    """One record for each outcome, in replicate order and, within one, in the order of the conditions.

    A record is made when it is asked for: ``{"replicate", "condition", "seed_used", "error", "steps"}``. For each
    step that ran, the one that failed included, and before them for a treatment's function and the data source if they
    left a trace, ``"steps"`` has ``"step"`` and ``"params"`` and what it did with the context:

    * ``"reads"``, key to value, of a large value its kind and size;
    * ``"missing"``, the keys that it asked for and that were not there; ``"present"``, those of which it only asked
      whether they were; ``"keys"``, all keys, if it iterated over them or counted them, or else None;
    * ``"streams"``, for each random stream how many numbers of 64 bits had been drawn before and after;
    * ``"added"``, key to value; ``"metrics"``, name to number of values recorded; ``"artifacts"``, their names.

    Parameters
    ----------
    steps : sequence of (str, dict)
        Name and parameters of each step of the pipeline.
    conditions : dict
        For each condition its traces, its seeds and its errors by replicate.
    replicates : int
        How many replicates the run has.
    """

    def __init__(
        self,
        steps: Sequence[tuple[str, dict[str, Any]]],
        conditions: dict[str, tuple[TraceStore, Sequence[int | None], dict[int, Any]]],
        replicates: int,
    ) -> None:
        self._steps = steps
        self._conditions = conditions
        self._replicates = replicates

    def of(self, condition: str, replicate: int) -> dict[str, Any]:
        """Return the record of one outcome."""
        traces, seeds, errors = self._conditions[condition]
        trace, error = traces.get(replicate), errors.get(replicate)
        traced = {raw[0]: StageRecord(*raw) for raw in trace or ()}
        steps = () if trace is None else self._steps if error is None else self._until(error.step)
        seed = seeds[replicate] if replicate < len(seeds) else None
        own = {"replicate": replicate, "condition": condition, "seed_used": seed}
        return {
            "replicate": replicate,
            "condition": condition,
            "seed_used": seed,
            "error": None if error is None else str(error),
            "steps": [
                {
                    "step": name,
                    "params": params,
                    **describe_stage(traced.get(stage), {**own, "step_name": name}),
                }
                for stage, name, params in _stages(traced, steps)
            ],
        }

    def _until(self, failed: str | None) -> Sequence[tuple[str, dict[str, Any]]]:
        """Return the steps up to the one that failed; none if that was no step."""
        names = [name for name, _ in self._steps]
        return self._steps[: names.index(failed) + 1] if failed in names else ()

    def __len__(self) -> int:
        return self._replicates * len(self._conditions)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        position = range(len(self))[index]
        replicate, place = divmod(position, len(self._conditions))
        return self.of(tuple(self._conditions)[place], replicate)

    def tree(self, fmt: str = "condition > replicate > step") -> str:
        """Return the provenance as an indented text.

        Parameters
        ----------
        fmt : str
            The levels from the outside in: ``condition`` and ``replicate`` in either order, then ``step`` if
            the steps are wanted.

        Raises
        ------
        InvalidValueError
            If `fmt` does not name levels in that way.
        """
        levels = [level.strip() for level in fmt.split(">")] if isinstance(fmt, str) else []
        outer = levels[:2]
        if sorted(outer) != ["condition", "replicate"] or levels[2:] not in ([], ["step"]):
            raise InvalidValueError(
                f"{fmt!r} is no format of a provenance tree",
                hint="Name levels from the outside in: 'condition > replicate > step'",
            )
        lines: list[str] = []
        self._grow(lines, outer, "step" in levels, {})
        return "\n".join(lines)

    def _grow(self, lines: list[str], levels: list[str], with_steps: bool, chosen: dict[str, Any]) -> None:
        level, *deeper = levels
        indent = "  " * len(chosen)
        for value in self._conditions if level == "condition" else range(self._replicates):
            here = {**chosen, level: value}
            lines.append(f"{indent}{value if level == 'condition' else f'replicate {value}'}")
            if deeper:
                self._grow(lines, deeper, with_steps, here)
            else:
                lines += [f"{indent}  {line}" for line in self._leaf(here, with_steps)]

    def _leaf(self, chosen: dict[str, Any], with_steps: bool) -> Iterator[str]:
        """Describe one outcome."""
        condition, replicate = chosen["condition"], chosen["replicate"]
        if self._conditions[condition][0].get(replicate) is None:
            yield "not measured"
            return
        record = self.of(condition, replicate)
        yield f"seed_used = {record['seed_used']}"
        if record["error"]:
            yield f"failed: {record['error']}"
        if with_steps:
            for step in record["steps"]:
                yield _line(step)


def _stages(
    traced: Container[int], steps: Iterable[tuple[str, dict[str, Any]]]
) -> Iterator[tuple[int, str, dict[str, Any]]]:
    for stage in (TREATMENT, DATA_SOURCE):
        if stage in traced:
            yield stage, STAGE_NAMES[stage], {}
    for stage, (name, params) in enumerate(steps):
        yield stage, name, params


def describe_stage(record: StageRecord | None, own: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a stage did; `own` has the values of the framework's keys, which records leave out."""
    record = record or _NOTHING
    return {
        "reads": {key: own.get(key, value) for key, value in record.reads},
        "missing": list(record.missing),
        "present": list(record.present),
        "keys": None if record.keys is None else list(record.keys),
        "streams": {
            "rng" if use.name is None else f"stream({use.name!r})": [use.start, use.stop]
            for use in map(StreamUse._make, record.streams)
        },
        "added": dict(record.added),
        "metrics": dict(record.metrics),
        "artifacts": list(record.artifacts),
    }


def _line(step: dict[str, Any]) -> str:
    reads = {key: value for key, value in step["reads"].items() if key not in RESERVED_KEYS}
    told = {
        "reads": _pairs(reads),
        "draws from": ", ".join(step["streams"]),
        "adds": _pairs(step["added"]),
        "records": ", ".join(step["metrics"]),
        "writes": ", ".join(step["artifacts"]),
    }
    parts = [step["step"], *filter(None, [_pairs(step["params"], "; ")])]
    return "; ".join([*parts, *(f"{verb} {what}" for verb, what in told.items() if what)])


def _pairs(values: dict[str, Any], separator: str = ", ") -> str:
    return separator.join(f"{name}={value!r}" for name, value in values.items())
