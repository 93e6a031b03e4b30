"""What runs leave in the store: complete ones, killed ones, and ones that were cut off while they replaced another."""

from __future__ import annotations

from pathlib import Path

from crystallize.store.claims import Claim, claim_run
from crystallize.store.layout import RunLocation
from crystallize.store.metadata import FINISHED, RUNNING, write_metadata


def complete(claim: Claim, content: str) -> Path:
    (claim.folder / "content").write_text(content)
    finish(claim, content)
    return claim.publish()


def finish(claim: Claim, token: str) -> None:
    """Write the metadata that a complete run has just before it is published."""
    write_metadata(claim.folder, {"run": token, "replaces": claim.replaces()}, FINISHED)


def die(claim: Claim) -> Path:
    """Give up a claim as a killed process does: the lock file stays."""
    claim.leave()
    return claim.folder


def crashed(location: RunLocation, status: str = RUNNING) -> Path:
    """Leave behind what a killed run does."""
    claim = claim_run(location)
    write_metadata(claim.folder, {"run": "crashed"}, status)
    return die(claim)


def names(location: RunLocation) -> set[str]:
    return {path.name for path in location.folder.iterdir()}


def cut_off_in_the_swap(location: RunLocation) -> None:
    """Build what a kill between the two renames leaves."""
    complete(claim_run(location), "old")
    claim = claim_run(location)
    finish(claim, "new")
    folder = die(claim)
    (folder / "content").write_text("new")
    (location.folder / "v0").rename(folder.with_name(f"{folder.name}.old"))
