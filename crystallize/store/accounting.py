"""Who makes a run, when, by which command, with which code, and on what machine."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

from crystallize.discovery.imported import Imports, imported_distributions, of_workers
from crystallize.store.git import Changes, find_checkout
from crystallize.store.locks import host_name
from crystallize.utils.masking import masked, masked_command

OURS = "CRYSTALLIZE_"
"""How the environment variables begin that Crystallize itself reads."""

_VARIABLES = (
    "PYTHONHASHSEED",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
)

_OF_A_SESSION = (
    *("execution", "user", "host", "command", "folder", "code", "environment"),
    *("numeric_libraries", "packages", "finished", "duration"),
)


class Account:
    """What is known of the circumstances of a run that begins now.

    Parameters
    ----------
    folder : Path
        Where the experiment's code is; its git repository is looked at.
    """

    def __init__(self, folder: Path) -> None:
        self._started = time.monotonic()
        self._told_before = len(of_workers)
        self._checkout = find_checkout(folder)
        self._changes = None if self._checkout is None else Changes.since_commit(self._checkout.top)

    def at_start(self) -> dict[str, Any]:
        """Return the entries of the metadata that are known at once; git may not have answered by then."""
        top = None if self._checkout is None else self._checkout.top
        return {
            "user": _user(),
            "host": host_name(),
            "command": masked_command(sys.orig_argv),
            "folder": _relative(os.getcwd(), top, os.path.expanduser("~")),  # noqa: PTH109, PTH111
            "code": self._code(None),
            "environment": {**_machine(), "variables": _variables(os.environ)},
            "numeric_libraries": [],
            "packages": imported_distributions(),
            "finished": None,
            "duration": None,
        }

    def at_end(self) -> dict[str, Any]:
        """Return the entries that are known, or known better, when the run is over, besides the time."""
        found = {} if self._changes is None else {"code": self._code(self._changes.digest())}
        return {
            **found,
            **Imports.joined([Imports.of_this_process(), *of_workers[self._told_before :]])._asdict(),
            "duration": round(time.monotonic() - self._started, 6),
        }

    def _code(self, changes: str | None) -> dict[str, Any]:
        commit = None if self._checkout is None else self._checkout.commit
        return {
            "git_commit": commit,
            "dirty": None if changes is None else bool(changes),
            "diff": changes or None,
        }


def sessions_of(metadata: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the circumstances of each session of a run by now, the first one first, for when it is resumed."""
    last = {key: metadata[key] for key in _OF_A_SESSION if key in metadata}
    return [*metadata.get("earlier_sessions", ()), *([last] if last else ())]


def now() -> str:
    """Return the time, in UTC, as metadata have it."""
    return datetime.now(UTC).isoformat()


@lru_cache(maxsize=16)
def _relative(folder: str, top: str | None, home: str) -> str:
    """Return `folder` as seen from the top of the working tree it is in, or from the user's own folder."""
    for base, sign in ((top, ""), (home, "~")):
        if base and PurePath(folder).is_relative_to(base):
            return PurePath(sign, PurePath(folder).relative_to(base)).as_posix()
    return folder


def _variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables that results may depend on, and no others."""
    names = sorted(name for name in environment if name.startswith(OURS) or name in _VARIABLES)
    return {name: masked(name, environment[name]) for name in names}


@lru_cache(maxsize=1)
def _user() -> str | None:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user without a name
        return None


@lru_cache(maxsize=1)
def _machine() -> dict[str, Any]:
    import platform

    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": f"{platform.system()}-{platform.release()}-{platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
    }


def _processor() -> str:
    """Return the processor's name; Python's own function knows it on few systems."""
    import platform

    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name"))
    return next(names, "") or platform.machine()
