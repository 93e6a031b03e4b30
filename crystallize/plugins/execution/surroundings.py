"""What strategies ask of their surroundings: the cores of this machine, and random state that is shared."""

from __future__ import annotations

import logging
import os
from typing import Any

logger = logging.getLogger("crystallize.execution")


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
