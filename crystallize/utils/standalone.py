"""A context for trying a step by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from crystallize.utils.context import FrozenContext


class WrittenArtifact(NamedTuple):
    """An artifact that a step wrote in a standalone context; it is on no disk."""

    name: str
    content: bytes


def standalone_context(
    entries: Mapping[str, Any] | None = None,
    *,
    replicate: int = 0,
    condition: str = "baseline",
    seed: int = 0,
) -> FrozenContext:
    """Make a context for trying a step, or a pipeline, outside of an experiment.

    Parameters
    ----------
    entries : mapping, optional
        What the context holds.
    replicate, condition : optional
        Where it claims to belong.
    seed : int, optional
        The master seed of ``ctx.rng`` and ``ctx.stream``; the same seed gives the same numbers.

    Returns
    -------
    FrozenContext
        Metrics are in ``ctx.metrics``; artifacts are in ``ctx.artifacts.entries``, with their content, and
        nothing is written to disk.

    Examples
    --------
    >>> ctx = standalone_context({"factor": 2.0})
    >>> scale()([1.0, 2.0], ctx)
    [2.0, 4.0]
    """
    ctx = FrozenContext(dict(entries or {}), replicate=replicate, condition=condition, master_seed=seed)
    ctx.artifacts.sink = lambda _, name, content: WrittenArtifact(name, bytes(content))
    return ctx
