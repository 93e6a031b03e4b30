"""What can be left of a run, and should not be: in the coordinator's process, or of its workers."""

from __future__ import annotations

import gc
import os
import signal
import sys
from pathlib import Path
from typing import Any

from crystallize.plugins.execution.launch import has_ended

_DESCRIPTORS = ("/proc/self/fd", "/dev/fd")


def open_files() -> int:
    """Return how many descriptors this process has open; 0 on systems that do not tell."""
    gc.collect()  # what is closed by being let go of
    return next((len(list(Path(folder).iterdir())) for folder in _DESCRIPTORS if Path(folder).is_dir()), 0)


def surroundings() -> dict[str, Any]:
    """Return what a run has to leave as it is: folder, environment, import path, and who hears of signals."""
    handlers = {
        number.name: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    return {"folder": Path.cwd(), "environment": dict(os.environ), "path": list(sys.path), **handlers}


def is_alive(process: int) -> bool:
    """Tell whether there is a process of this id; one that has ended counts until its parent has taken note."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def is_running(process: int) -> bool:
    """Tell, on Linux, whether a process has not ended yet: an orphan's new parent may never take note."""
    return not has_ended(process)
