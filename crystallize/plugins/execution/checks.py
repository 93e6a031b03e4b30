"""What strategies check and warn of: their arguments, the cores of this machine, random state that is shared."""

from __future__ import annotations

import logging
import os
from typing import Any

from crystallize.errors import InvalidTypeError, InvalidValueError

logger = logging.getLogger("crystallize.execution")


def check_bool(name: str, value: object) -> bool:
    """Return `value`, the argument `name` of a strategy, if it is True or False."""
    if not isinstance(value, bool):
        raise InvalidTypeError(f"{name} is True or False, got {value!r}")
    return value


def check_count(name: str, value: object) -> int:
    """Return `value`, the argument `name` of a strategy, if it is an int of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidTypeError(f"{name} is an int of at least 1, or None, got {value!r}")
    if value < 1:
        raise InvalidValueError(
            f"{name} is at least 1, got {value}", hint="Leave it out to have it chosen for you"
        )
    return value


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def warn_of_shared_random_state(experiment: Any, who: str) -> bool:
    """Warn if global generators are seeded while several replicates use them; return whether it did.

    Parameters
    ----------
    experiment : Experiment
        The experiment.
    who : str
        What shares the generators: the subject of the warning, in the plural.
    """
    plugins = getattr(experiment, "plugins", None)
    records = getattr(plugins, "records", None)
    active = [record.plugin for record in records] if records is not None else list(plugins or ())
    if not any(base.__name__ == "SeedPlugin" for plugin in active for base in type(plugin).__mro__):
        return False
    logger.warning(
        "%s share the global random state of random and NumPy, so what SeedPlugin seeds in one replicate, "
        "another one may draw from. Take random numbers from ctx.rng, which is each replicate's own, or use "
        'execution="process" for strict reproducibility of global generators',
        who,
    )
    return True
