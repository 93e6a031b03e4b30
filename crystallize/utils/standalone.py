"""A context for trying a step by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from crystallize.errors import InvalidTypeError, InvalidValueError
from crystallize.utils.artifact_log import Sink
from crystallize.utils.context import FrozenContext
from crystallize.utils.randomness import check_seed


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
        nothing stays on disk.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If `entries` is no mapping or has ``replicate`` or ``condition``, or the seed cannot be one.

    Examples
    --------
    >>> @pipeline_step
    ... def scale(data, *, factor):
    ...     return [x * factor for x in data]
    >>> scale()([1.0, 2.0], standalone_context({"factor": 2.0}))
    [2.0, 4.0]
    """
    held = {} if entries is None else entries
    if not isinstance(held, Mapping):
        raise InvalidTypeError(f"a context is made from a mapping, got {held!r}")
    for key in ("replicate", "condition"):
        if key in held:
            raise InvalidValueError(
                f"{key!r} is no entry but the place of the context",
                hint=f"Write standalone_context({key}=...)",
            )
    ctx = FrozenContext(dict(held), replicate=replicate, condition=condition, master_seed=check_seed(seed))
    ctx.artifacts.sink = _InMemory()
    return ctx


class _InMemory(Sink):
    __slots__ = ()

    def __call__(self, ctx: FrozenContext, name: str, content: bytes) -> WrittenArtifact:
        return WrittenArtifact(name, bytes(content))
