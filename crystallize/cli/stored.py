"""Where experiments store their runs, from their config.yaml alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crystallize.config.schema import ExperimentConfig
    from crystallize.store.layout import RunLocation

ROOT = "data"
"""Where ArtifactPlugin stores, if nothing else is said."""


def location_of(name: str, config: ExperimentConfig) -> RunLocation | None:
    """Return where an experiment stores its runs; None if the plugin that stores is switched off."""
    from crystallize.store.layout import RunLocation

    settings = config.plugins.get("artifact", {})
    if settings is False:
        return None
    arguments = settings if isinstance(settings, dict) else {}
    return RunLocation(str(arguments.get("root_dir", ROOT)), name, bool(arguments.get("versioned", True)))


def last_run(location: RunLocation) -> dict[str, Any] | None:
    """Return what is to be known of the newest complete run: where it is, when it was, how much of it failed.

    None if there is none; a run whose metadata cannot be read has nothing but a path.
    """
    from crystallize.errors import StoreError
    from crystallize.store.metadata import read_metadata
    from crystallize.store.versions import find_run

    try:
        folder = find_run(location)
        if folder is None:
            return None
        metadata = read_metadata(folder) or {}
    except (StoreError, OSError):
        folder, metadata = location.folder, {}
    keys = ("started", "finished", "failed_outcomes")
    return {"path": str(folder)} | {key: metadata.get(key) for key in keys}
