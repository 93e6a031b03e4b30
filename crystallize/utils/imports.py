"""Looking at a library only if somebody has imported it."""

from __future__ import annotations

import sys
from types import ModuleType

FOLDER_PACKAGE = "crystallize_folder_"
"""How the names of the packages begin that stand for experiments' folders; what follows depends on the place."""


def imported(name: str) -> ModuleType | None:
    """Return the module called `name` if it has been imported completely, else None; nothing is imported for it.

    While another thread imports a module, ``sys.modules`` has it already, without what is yet to be defined in it.
    """
    module = sys.modules.get(name)
    # The import system's own mark of such a module; its public means is to import, which waits for the other thread.
    if module is None or getattr(getattr(module, "__spec__", None), "_initializing", False):
        return None
    return module
