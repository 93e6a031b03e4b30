"""What surrounds a replicate: the cores of this machine, and the caller's settings."""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from contextlib import suppress
from pathlib import Path

from crystallize.utils.imports import imported
from crystallize.utils.own_code import script_file


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
