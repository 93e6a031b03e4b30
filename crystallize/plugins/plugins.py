"""What plugin users and plugin authors import.

Nothing here is loaded before it is asked for: ``from crystallize.plugins.plugins import SeedPlugin`` loads
the seed plugin and no other.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crystallize.hookspecs import hookimpl, hookspec
    from crystallize.plugins.artifact import ArtifactPlugin
    from crystallize.plugins.base import BasePlugin
    from crystallize.plugins.logging import LoggingPlugin
    from crystallize.plugins.seed import SeedPlugin

__all__ = ["ArtifactPlugin", "BasePlugin", "LoggingPlugin", "SeedPlugin", "hookimpl", "hookspec"]

_HOME = {
    "ArtifactPlugin": "crystallize.plugins.artifact",
    "BasePlugin": "crystallize.plugins.base",
    "LoggingPlugin": "crystallize.plugins.logging",
    "SeedPlugin": "crystallize.plugins.seed",
    "hookimpl": "crystallize.hookspecs",
    "hookspec": "crystallize.hookspecs",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
