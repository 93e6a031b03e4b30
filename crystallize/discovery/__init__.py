"""Which plugins are installed: the entry points of every distribution, found, loaded and classified.

Three small steps. :func:`find` reads names only and imports nothing, :func:`load` imports one entry point,
:func:`classify` says what kind of thing it gave. Every group of Crystallize goes through this package.
"""

from crystallize.discovery.entry_points import (
    COMMANDS,
    CORE,
    EXECUTION,
    GROUPS,
    HASHERS,
    KINDS,
    LOADERS,
    PLUGINS,
    START,
    VERIFIERS,
    Found,
    normalise,
)
from crystallize.discovery.installed import find, hidden, misspelt
from crystallize.discovery.loading import cannot_load, classify, load, produce
from crystallize.discovery.names import (
    ADD_ONS,
    advice,
    forget_warnings,
    lookup,
    owner,
    resolve,
    unknown,
    warn_once,
)

__all__ = [
    "ADD_ONS",
    "COMMANDS",
    "CORE",
    "EXECUTION",
    "GROUPS",
    "HASHERS",
    "KINDS",
    "LOADERS",
    "PLUGINS",
    "START",
    "VERIFIERS",
    "Found",
    "advice",
    "cannot_load",
    "classify",
    "find",
    "forget_warnings",
    "hidden",
    "load",
    "lookup",
    "misspelt",
    "normalise",
    "owner",
    "produce",
    "resolve",
    "unknown",
    "warn_once",
]
