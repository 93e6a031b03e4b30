"""Which run a reader finds, whatever is being made, replaced or left behind beside it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from crystallize.store.claims import claim_run
from crystallize.store.finding import find_again, find_run
from crystallize.store.layout import METADATA, RunLocation
from crystallize.store.locks import ReadLock
from crystallize.store.metadata import INTERRUPTED, RUNNING, run_token, write_metadata
from tests.store.claimed import complete, crashed, cut_off_in_the_swap, finish, names

# -- versions ---------------------------------------------------------------------------------------------------


def test_readers_get_the_newest_complete_version(many: RunLocation) -> None:
    assert find_run(many) is None
    first = complete(claim_run(many), "first")
    crashed(many, INTERRUPTED)
    running = claim_run(many)
    write_metadata(running.folder, {}, RUNNING)
    assert find_run(many) == first
    assert find_run(many, version=1) == many.folder / "v1"
    assert find_run(many, version=9) is None


def test_folders_without_any_metadata_are_read_the_newest_first(many: RunLocation) -> None:
    for name in ("v0", "v1"):
        (many.folder / name).mkdir(parents=True)
    assert find_run(many) == many.folder / "v1"


def test_a_link_is_no_version(many: RunLocation, outside: Path) -> None:
    run = complete(claim_run(many), "ours")
    (many.folder / "v1").symlink_to(outside)
    (many.folder / "v2").write_text("a file")
    assert find_run(many) == run
    assert find_run(many, 1) is None
    assert complete(claim_run(many), "next").name == "v3"


def test_a_version_with_damaged_metadata_is_passed_over_and_named_once(
    many: RunLocation, caplog: pytest.LogCaptureFixture
) -> None:
    run, damaged = (complete(claim_run(many), name) for name in ("whole", "damaged"))
    (damaged / METADATA).unlink()
    os.mkfifo(damaged / METADATA)
    with caplog.at_level(logging.WARNING):
        assert find_run(many) == find_run(many) == run
    (record,) = caplog.records
    assert str(damaged / METADATA) in record.getMessage()
    assert "a pipe" in record.getMessage()


# -- one folder -------------------------------------------------------------------------------------------------


def test_a_reader_finds_the_complete_run_of_a_swap_that_was_cut_off(single: RunLocation) -> None:
    cut_off_in_the_swap(single)
    for version in (None, 0):
        run = find_run(single, version)
        assert run is not None
        assert (run / "content").read_text() == "new"


def test_during_a_swap_no_run_is_found_that_was_replaced_before(single: RunLocation) -> None:
    run = complete(claim_run(single), "first")
    reader = ReadLock(run / METADATA)
    complete(claim_run(single), "second")
    claim = claim_run(single)
    (claim.folder / "content").write_text("third")
    finish(claim, "third")
    run.rename(claim.folder.with_name(f"{claim.folder.name}.old"))
    found = find_run(single)
    assert found is not None
    assert run_token(found) == "third"
    reader.release()
    claim.publish()


SWAP = """
import sys
from crystallize.store.layout import RunLocation
from crystallize.store.metadata import write_metadata
from crystallize.store.claims import claim_run
for i in range(60):
    claim = claim_run(RunLocation(sys.argv[1], "exp", versioned=False))
    write_metadata(claim.folder, {}, "complete")
    claim.publish()
"""


def test_a_reader_during_reruns_always_finds_a_run(single: RunLocation) -> None:
    complete(claim_run(single), "first")
    with subprocess.Popen([sys.executable, "-c", SWAP, single.root]) as writer:
        while writer.poll() is None:
            assert find_run(single) is not None
    assert writer.returncode == 0
    assert names(single) == {"v0"}


def test_a_run_that_is_read_stays_when_another_takes_its_place_and_goes_afterwards(
    single: RunLocation,
) -> None:
    run = complete(claim_run(single), "old")
    reader = ReadLock(run / METADATA)
    complete(claim_run(single), "new")
    complete(claim_run(single), "newest")
    found = find_again(run, "old")
    assert found is not None
    assert (found / "content").read_text() == "old"
    assert (single.folder / "v0" / "content").read_text() == "newest"
    assert find_again(run, "new") is None
    reader.release()
    claim_run(single).discard()
    assert names(single) == {"v0"}
