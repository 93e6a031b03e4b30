"""The floor: a serial experiment by hand, with the documented semantics and nothing else.

What it does for each condition of each replicate: a new immutable context that hands out copies of
containers and read-only views of arrays; the seed ``(seed + replicate * 31337) % 2**32`` given to ``random``
and to NumPy's global generator; one provenance record for each step (what it read, which metrics it wrote);
``(data, metrics)`` returns taken apart; an error that ends this condition only; metrics collated into one
flat list for each condition. What it does not do: plugins, parameter injection, artifacts, anything on disk.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np

SCALARS = frozenset({int, float, bool, str, type(None)})
CONTAINERS = (list, dict, set, bytearray)


class FloorMetrics:
    """Metric values by name, and which names were written since the last step began."""

    __slots__ = ("values", "written")

    def __init__(self) -> None:
        self.values: dict[str, list[Any]] = {}
        self.written: list[str] = []

    def add(self, name: str, value: Any) -> None:
        """Record a value."""
        self.values.setdefault(name, []).append(value)
        self.written.append(name)


class FloorContext(Mapping[str, Any]):
    """Immutable mapping that remembers what was read."""

    __slots__ = ("_initial", "_own", "_settings", "metrics", "reads")

    def __init__(self, initial: Mapping[str, Any], settings: Mapping[str, Any], own: dict[str, Any]) -> None:
        self._initial = initial
        self._settings = settings
        self._own = own
        self.metrics = FloorMetrics()
        self.reads: dict[str, Any] = {}

    def _layer(self, key: Any) -> Mapping[str, Any] | None:
        for layer in (self._own, self._settings, self._initial):
            if key in layer:
                return layer
        return None

    def __getitem__(self, key: str) -> Any:
        layer = self._layer(key)
        if layer is None:
            raise KeyError(key)
        return self._hand_out(key, layer[key])

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of `key`, or `default`."""
        layer = self._layer(key)
        return default if layer is None else self._hand_out(key, layer[key])

    def _hand_out(self, key: str, value: Any) -> Any:
        if type(value) in SCALARS:
            self.reads[key] = value
            return value
        self.reads[key] = type(value).__name__
        if isinstance(value, np.ndarray):
            view = value.view()
            view.flags.writeable = False
            return view
        return deepcopy(value) if isinstance(value, CONTAINERS) else value

    def __contains__(self, key: object) -> bool:
        return self._layer(key) is not None

    def __iter__(self) -> Iterator[str]:
        return iter({**self._initial, **self._settings, **self._own})

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def add(self, key: str, value: Any) -> None:
        """Add a new key."""
        if key in self:
            raise TypeError(f"{key!r} is set already")
        self._own[key] = value


StepRecord = tuple[str, tuple[tuple[str, Any], ...], tuple[str, ...]]
"""A step, what it read and which metrics it wrote; tuples, which the garbage collector soon leaves alone."""


class FloorResult(NamedTuple):
    """Metrics, provenance and errors, each by condition."""

    metrics: dict[str, dict[str, list[Any]]]
    provenance: dict[str, list[tuple[int, int, tuple[StepRecord, ...]]]]
    errors: list[tuple[int, str, BaseException]]


def run_floor(
    steps: Sequence[Callable[[Any, Any], Any]],
    source: Callable[[Any], Any],
    replicates: int,
    *,
    treatments: Mapping[str, Mapping[str, Any]] | None = None,
    initial: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> FloorResult:
    """Run `steps` on what `source` gives, under the baseline and every treatment."""
    conditions = {"baseline": {}, **(treatments or {})}
    named = [(step.__name__, step) for step in steps]
    result = FloorResult({name: {} for name in conditions}, {name: [] for name in conditions}, [])
    for replicate in range(replicates):
        replicate_seed = (seed + replicate * 31337) % 2**32
        for condition, settings in conditions.items():
            own = {"replicate": replicate, "condition": condition, "seed_used": replicate_seed}
            ctx = FloorContext(initial or {}, settings, own)
            trace: list[StepRecord] = []
            try:
                random.seed(replicate_seed)
                np.random.seed(replicate_seed)
                data = source(ctx)
                for name, step in named:
                    ctx.reads = {}
                    ctx.metrics.written = []
                    data = step(data, ctx)
                    if type(data) is tuple and len(data) == 2 and isinstance(data[1], Mapping):
                        data, returned = data
                        for metric, value in returned.items():
                            ctx.metrics.add(metric, value)
                    trace.append((name, tuple(ctx.reads.items()), tuple(ctx.metrics.written)))
            except Exception as exc:
                result.errors.append((replicate, condition, exc))
                continue
            collated = result.metrics[condition]
            for metric, values in ctx.metrics.values.items():
                collated.setdefault(metric, []).extend(values)
            result.provenance[condition].append((replicate, replicate_seed, tuple(trace)))
    return result
