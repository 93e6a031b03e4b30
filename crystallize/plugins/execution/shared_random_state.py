"""Random state that the replicates of one process share, and the warning about it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from crystallize.utils.global_random import GLOBAL_GENERATORS, global_states

if TYPE_CHECKING:
    from collections.abc import Callable

_SEEDED = frozenset({"random", "numpy.random"})  # by SeedPlugin
_logger = logging.getLogger("crystallize.execution")


def warn_of_shared_random_state(experiment: Any, who: str) -> bool:
    """Warn if global generators are seeded while several replicates use them; return whether it did.

    Parameters
    ----------
    experiment : Experiment
        The experiment.
    who : str
        What shares the generators: the subject of the warning, in the plural.
    """
    if not _seed_plugins(experiment):
        return False
    _logger.warning(
        "%s share the global random state of random and NumPy, so what SeedPlugin seeds in one replicate, "
        "another one may draw from. Take random numbers from ctx.rng, which is each replicate's own, or use "
        'execution="process" for strict reproducibility of global generators',
        who,
    )
    return True


class SharedRandomState:
    """Warns, once it is seen, of replicates that draw from global generators which others share with them.

    Parameters
    ----------
    experiment, who
        See :func:`warn_of_shared_random_state`.
    deliver : callable
        ``deliver(replicate, result)`` takes a result.
    """

    def __init__(self, experiment: Any, who: str, deliver: Callable[[int, Any], None]) -> None:
        self.has_warned = False
        self._experiment = experiment
        self._who = who
        self._deliver = deliver
        seeding = _seed_plugins(experiment)
        self._is_watching = bool(seeding)
        # A seed_fn of the user's may leave a generator as it is, drawn from or not.
        self._before = global_states() if any(getattr(each, "seed_fn", None) for each in seeding) else {}
        self._count = 0

    def deliver(self, replicate: int, result: Any) -> None:
        """Pass a result on; after the first, second, fourth, eighth ... one, look at the generators."""
        self._deliver(replicate, result)
        self._count += 1
        if self._is_watching and not self._count & (self._count - 1):
            self.look()

    def look(self) -> None:
        """Warn if the generators have been drawn from since they were seeded."""
        if not self._is_watching:
            return
        for name, state in global_states().items():
            is_drawn_from = state != self._before.get(name) and not GLOBAL_GENERATORS[name].is_fresh(state)
            if is_drawn_from and name in _SEEDED:
                self._is_watching = False
                self.has_warned = warn_of_shared_random_state(self._experiment, self._who)
                return


def _seed_plugins(experiment: Any) -> list[Any]:
    plugins = getattr(experiment, "plugins", None)
    records = getattr(plugins, "records", None)
    active = [record.plugin for record in records] if records is not None else list(plugins or ())
    return [each for each in active if any(base.__name__ == "SeedPlugin" for base in type(each).__mro__)]
