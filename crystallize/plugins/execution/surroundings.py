"""What surrounds a replicate: the cores of this machine, the caller's settings, and random state that is shared."""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.utils.imports import imported
from crystallize.utils.own_code import script_file

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("crystallize.execution")


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Surroundings:
    """Settings of this process that results may depend on, to be made a worker's own.

    Those are the warning filters, NumPy's handling of floating-point errors, the decimal context, the recursion limit,
    the limit to the digits of integers, the file mode mask, which loggers log what, and how multiprocessing starts the
    processes of a step.
    """

    def __init__(self) -> None:
        import decimal
        import multiprocessing

        self.warning_filters = list(warnings.filters)
        self.recursion_limit = sys.getrecursionlimit()
        self.int_digits = sys.get_int_max_str_digits()
        self.umask = _umask()
        self.decimal = decimal.getcontext().copy()
        self.floating_point = np.geterr() if (np := imported("numpy")) is not None else None
        self.logging = LogLevels()
        self.start_method = multiprocessing.get_start_method(allow_none=True)
        self.script = script_file()

    def restore(self) -> None:
        """Make the settings those of this process, which has nothing else to do."""
        import multiprocessing

        warnings.filters[:] = self.warning_filters  # type: ignore[index]
        warnings._filters_mutated()  # type: ignore[attr-defined]
        sys.setrecursionlimit(self.recursion_limit)
        sys.set_int_max_str_digits(self.int_digits)
        if self.umask is not None:
            os.umask(self.umask)
        if hasattr(time, "tzset"):
            time.tzset()  # the environment has changed
        self.logging.restore()
        # A worker would start them as it was started itself, without the script that their functions are in.
        multiprocessing.set_start_method(self.start_method, force=True)
        if self.script is not None:
            sys.modules["__main__"].__file__ = self.script
        self.restore_in_context()

    def restore_in_context(self) -> None:
        """Make those settings that belong to a thread or context the ones of the present one."""
        import decimal

        decimal.setcontext(self.decimal.copy())
        if self.floating_point is not None:
            import numpy as np

            np.seterr(**self.floating_point)


class LogLevels:
    """Which loggers of this process log what."""

    def __init__(self) -> None:
        loggers = logging.root.manager.loggerDict.items()
        self._levels = {
            name: (each.level, each.disabled) for name, each in loggers if isinstance(each, logging.Logger)
        }
        self._root = logging.root.level
        self._disabled = logging.root.manager.disable

    def restore_at_least(self) -> None:
        """Have the loggers of this process, which others use too, log no less."""
        for name, level in {
            **{name: level for name, (level, _) in self._levels.items()},
            "": self._root,
        }.items():
            log = logging.getLogger(name)
            if 0 < level < log.getEffectiveLevel():
                log.setLevel(level)

    def restore(self) -> None:
        """Have the loggers of this process log the same, and all of it reach the root logger."""
        for name, (level, disabled) in self._levels.items():
            log = logging.getLogger(name)
            log.setLevel(level)
            log.disabled = disabled
            log.propagate = True
        logging.root.setLevel(self._root)
        logging.disable(self._disabled)


def _umask() -> int | None:
    """Return the file mode mask, without changing it for other threads; None where it cannot be read."""
    with suppress(OSError, StopIteration, ValueError), Path("/proc/self/status").open() as status:
        return int(next(line for line in status if line.startswith("Umask:")).split()[1], 8)
    return None


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
    logger.warning(
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
    experiment : Experiment
        The experiment.
    who : str
        What shares the generators: the subject of the warning, in the plural.
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
        self._before = _global_states() if any(getattr(each, "seed_fn", None) for each in seeding) else ()
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
        if any(state not in self._before and state[-1] != _JUST_SEEDED for state in _global_states()):
            self._is_watching = False
            self.has_warned = warn_of_shared_random_state(self._experiment, self._who)


_JUST_SEEDED = 624
"""The place of a Mersenne Twister in its state when it was seeded and nothing was drawn: at the end."""


def _global_states() -> tuple[tuple[Any, ...], ...]:
    """Return which state the generators of random and NumPy are in: something of it, and the place in it."""
    states: list[tuple[Any, ...]] = []
    if (random := imported("random")) is not None:
        words = random.getstate()[1]
        states.append(("random", words[0], words[-1]))
    if (numpy_random := imported("numpy.random")) is not None:
        state: Any = numpy_random.get_state()
        if state[0] == "MT19937":
            states.append(("numpy", int(state[1][0]), state[2]))
    return tuple(states)


def _seed_plugins(experiment: Any) -> list[Any]:
    plugins = getattr(experiment, "plugins", None)
    records = getattr(plugins, "records", None)
    active = [record.plugin for record in records] if records is not None else list(plugins or ())
    return [each for each in active if any(base.__name__ == "SeedPlugin" for base in type(each).__mro__)]
