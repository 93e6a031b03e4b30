"""The plugin that seeds the global random generators of each replicate."""

from __future__ import annotations

import random
from functools import cache
from typing import TYPE_CHECKING, Any

from crystallize.errors import InvalidTypeError, ValidationError
from crystallize.hookspecs import hookimpl
from crystallize.plugins.base import BasePlugin
from crystallize.utils.checks import check_bool
from crystallize.utils.randomness import SEED_RANGE, check_seed
from crystallize.utils.signatures import check_call, is_async

if TYPE_CHECKING:
    from collections.abc import Callable

    from crystallize.hookspecs import RunningExperiment
    from crystallize.utils.context import FrozenContext

STRIDE = 31337
"""Distance between the seeds of two neighbouring replicates."""


class SeedPlugin(BasePlugin):
    """Give every replicate its seed, the same one under every condition.

    Replicate ``r`` gets ``(seed + r * 31337) % 2**32``. It is in the context as ``ctx["seed_used"]``, and
    `seed_fn` is called with it before each condition.

    Parameters
    ----------
    seed : int, optional
        The master seed, not negative; it becomes the experiment's. Without it, the experiment draws one from
        the operating system and records it.
    auto_seed : bool, default True
        False gives every replicate the master seed itself (modulo 2**32).
    seed_fn : callable, optional
        ``seed_fn(seed)`` seeds whatever has a global state. The default seeds ``random`` and NumPy's global
        generator.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If `seed` is not an int or is negative, `auto_seed` is not a bool, or `seed_fn` cannot be called.
    MissingParameterError
        If `seed_fn` needs more than a seed.
    """

    def __init__(
        self,
        seed: int | None = None,
        auto_seed: bool = True,
        seed_fn: Callable[[int], Any] | None = None,
    ) -> None:
        if seed_fn is not None and not callable(seed_fn):
            raise InvalidTypeError(f"seed_fn is a callable that takes a seed, got {seed_fn!r}")
        if seed_fn is not None:
            check_call("seed_fn is called with a seed", seed_fn, 0)
            if is_async(seed_fn):
                raise InvalidTypeError(
                    "seed_fn is an async def, and nobody awaits it: nothing would be seeded"
                )
        self.seed = None if seed is None else check_seed(seed)
        self.auto_seed = check_bool("auto_seed", auto_seed)
        self.seed_fn = seed_fn

    def init_hook(self, experiment: RunningExperiment) -> None:
        """Make the seed that was given the experiment's master seed.

        Raises
        ------
        ValidationError
            If the experiment has a second seed plugin.
        """
        seeding = [
            record.name for record in experiment.plugins.records if isinstance(record.plugin, SeedPlugin)
        ]
        if len(seeding) > 1:
            raise ValidationError(f"an experiment has one seed plugin, got {' and '.join(seeding)}")
        if self.seed is not None:
            experiment.master_seed = self.seed

    @hookimpl(tryfirst=True)
    def before_replicate(self, experiment: RunningExperiment, ctx: FrozenContext) -> None:
        """Compute the seed of this replicate, record it as ``seed_used`` and call ``seed_fn`` with it."""
        seed = experiment.current_run.master_seed
        if self.auto_seed:
            seed += ctx.peek("replicate") * STRIDE
        seed %= SEED_RANGE
        ctx.add("seed_used", seed)
        (self.seed_fn or seed_random_and_numpy)(seed)


def seed_random_and_numpy(seed: int) -> None:
    """Seed Python's ``random`` module and NumPy's global generator."""
    random.seed(seed)
    _numpy_seed()(seed)


@cache  # each outcome asks
def _numpy_seed() -> Callable[[int], None]:
    import numpy as np  # the first replicate pays for it, `import crystallize` does not

    return np.random.seed
