"""Pins, and what is removed of old runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from crystallize.errors import StoreError
from crystallize.store.claims import claim_run
from crystallize.store.finding import find_run
from crystallize.store.layout import COMPLETE, METADATA, ArtifactEntry, RunLocation
from crystallize.store.locks import ReadLock, is_being_made
from crystallize.store.manifest import read_manifest, write_manifest
from crystallize.store.metadata import DELETED, FINISHED, INTERRUPTED, read_metadata, write_metadata
from crystallize.store.retention import (
    InUseError,
    Removed,
    delete,
    pin,
    prune,
    pruned_of,
    remove_artifacts,
    unpin,
)
from crystallize.utils.digests import write_hashed
from tests.store.claimed import names


def version_with_artifacts(location: RunLocation, status: str = FINISHED) -> Path:
    claim = claim_run(location)
    entries = []
    for size, replicate in ((10, 0), (1000, 1)):
        path = f"replicate_{replicate}/baseline/Step/a"
        (claim.folder / path).parent.mkdir(parents=True)
        digest = write_hashed(claim.folder / path, bytes(size))
        entries.append(ArtifactEntry("a", "Step", replicate, "baseline", path, size, digest))
    write_manifest(claim.folder, entries)
    (claim.folder / "baseline").mkdir()
    (claim.folder / "baseline" / "results.json").write_text("{}")
    (claim.folder / "baseline" / COMPLETE).touch()
    write_metadata(claim.folder, {}, status)
    return claim.publish()


def test_only_the_newest_versions_keep_their_artifacts_and_all_keep_their_results(many: RunLocation) -> None:
    folders = [version_with_artifacts(many) for _ in range(4)]
    prune(many, 2)
    assert [(folder / "replicate_1").exists() for folder in folders] == [False, False, True, True]
    assert all((folder / "baseline" / "results.json").exists() for folder in folders)
    assert all((folder / METADATA).exists() for folder in folders)
    assert names(many) == {"v0", "v1", "v2", "v3"}


def test_interrupted_versions_do_not_count_among_those_kept(many: RunLocation) -> None:
    folders = [version_with_artifacts(many, status) for status in (FINISHED, FINISHED, INTERRUPTED)]
    prune(many, 1)
    assert [(folder / "replicate_0").exists() for folder in folders] == [False, True, True]


def test_a_version_that_is_being_written_keeps_its_artifacts(many: RunLocation) -> None:
    claim = claim_run(many)
    (claim.folder / "replicate_0").mkdir()
    newer = [version_with_artifacts(many) for _ in range(2)]
    prune(many, 1)
    assert (claim.folder / "replicate_0").exists()
    assert not (newer[0] / "replicate_0").exists()


def test_a_version_that_somebody_reads_keeps_its_artifacts_until_then(many: RunLocation) -> None:
    folders = [version_with_artifacts(many) for _ in range(2)]
    reader = ReadLock(folders[0] / METADATA)
    prune(many, 1)
    assert (folders[0] / "replicate_0").exists()
    reader.release()
    prune(many, 1)
    assert not (folders[0] / "replicate_0").exists()


def test_folders_that_no_run_of_ours_made_keep_everything(many: RunLocation) -> None:
    folders = [version_with_artifacts(many) for _ in range(2)]
    (folders[0] / METADATA).unlink()
    prune(many, 1)
    assert (folders[0] / "replicate_0").exists()


@pytest.mark.parametrize("change", ['{"schema_version": 2}', "{"], ids=["newer", "damaged"])
def test_runs_that_cannot_be_read_keep_everything(
    many: RunLocation, caplog: pytest.LogCaptureFixture, change: str
) -> None:
    folders = [version_with_artifacts(many) for _ in range(3)]
    (folders[0] / METADATA).write_text(change)
    prune(many, 1)
    assert [(folder / "replicate_0").exists() for folder in folders] == [True, False, True]
    assert f"the artifacts of {folders[0]} cannot be removed: the metadata of a run" in caplog.text


def test_the_largest_files_go_first(many: RunLocation, monkeypatch: pytest.MonkeyPatch) -> None:
    old, _ = version_with_artifacts(many), version_with_artifacts(many)
    removed: list[int] = []
    unlink = Path.unlink

    def watch(path: Path, missing_ok: bool = False) -> None:
        if path.name == "a":
            removed.append(path.stat().st_size)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", watch)
    prune(many, 1)
    assert removed == [1000, 10]
    assert not list(old.glob("replicate_*"))


def test_retention_removes_nothing_behind_a_link(many: RunLocation, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("not ours")
    old = version_with_artifacts(many)
    (old / "replicate_7").symlink_to(outside)
    (old / "replicate_0" / "link").symlink_to(outside)
    (many.folder / "v1").symlink_to(outside)
    version_with_artifacts(many)
    prune(many, 1)
    assert (outside / "file").read_text() == "not ours"
    assert not (old / "replicate_0").exists()


def test_a_pinned_version_keeps_its_artifacts_until_it_is_unpinned(many: RunLocation) -> None:
    folders = [version_with_artifacts(many) for _ in range(2)]
    pin(folders[0])
    prune(many, 1)
    for remove in (remove_artifacts, delete):
        with pytest.raises(InUseError, match="is pinned"):
            remove(folders[0])
    assert (folders[0] / "replicate_0").exists()
    unpin(folders[0])
    unpin(folders[0])
    prune(many, 1)
    assert not (folders[0] / "replicate_0").exists()


def test_what_is_no_run_can_be_neither_pinned_nor_deleted(many: RunLocation) -> None:
    (many.folder / "v0").mkdir(parents=True)
    for change in (pin, delete, remove_artifacts):
        with pytest.raises(StoreError, match="no run is stored here"):
            change(many.folder / "v0")
    assert list((many.folder / "v0").iterdir()) == []


def test_what_was_pruned_is_counted_and_the_manifest_keeps_hash_and_size(many: RunLocation) -> None:
    run = version_with_artifacts(many)
    entries = read_manifest(run)
    assert [entry.size for entry in entries] == [10, 1000]
    assert remove_artifacts(run, smallest=11) == Removed(1, 1000)
    assert (run / "replicate_0").exists()
    assert not (run / "replicate_1").exists()
    assert remove_artifacts(run) == Removed(1, 10)
    assert remove_artifacts(run) == Removed(0, 0)
    assert pruned_of(run) == Removed(2, 1010)
    assert read_manifest(run) == entries


def test_a_deleted_run_leaves_size_and_hash_of_its_files_and_its_number_is_not_used_again(
    many: RunLocation,
) -> None:
    first, last = version_with_artifacts(many), version_with_artifacts(many)
    entries = read_manifest(last)
    assert delete(last).files == 4
    assert {path.name for path in last.rglob("*")} == {METADATA, "_manifest.json"}
    assert read_manifest(last) == entries
    metadata = read_metadata(last) or {}
    assert metadata["status"] == "deleted"
    assert metadata["removed"]["baseline/results.json"]["size"] == 2
    assert metadata["removed"]["baseline/results.json"]["digest"].startswith("xxh3_128:")
    assert set(metadata["removed"]) == {"baseline/results.json", f"baseline/{COMPLETE}"}
    assert find_run(many) == first
    assert claim_run(many).folder.name == "v2"


def test_a_run_can_be_deleted_again_after_that_was_cut_off(many: RunLocation) -> None:
    run = version_with_artifacts(many)
    delete(run)
    (run / "left").write_text("over")
    delete(run)
    assert not (run / "left").exists()
    assert {"left", "baseline/results.json"} < set((read_metadata(run) or {})["removed"])


@pytest.mark.parametrize("metadata", ["{", '{"schema_version": 2}'], ids=["damaged", "newer"])
def test_a_run_that_cannot_be_read_can_be_deleted(many: RunLocation, metadata: str) -> None:
    run = version_with_artifacts(many)
    os.mkfifo(run / "pipe")
    (run / "link").symlink_to(run)
    (run / METADATA).write_text(metadata)
    (run / "_manifest.json").write_text("[")
    delete(run)
    record = read_metadata(run) or {}
    assert (record["status"], len(record["removed"])) == (DELETED, 6)


def test_without_versions_a_deleted_run_is_none_and_the_next_one_replaces_it(tmp_path: Path) -> None:
    one = RunLocation(str(tmp_path / "data"), "exp", versioned=False)
    delete(version_with_artifacts(one))
    assert find_run(one) is None
    claim = claim_run(one)
    write_metadata(claim.folder, {"run": "new"}, FINISHED)
    assert claim.publish() == find_run(one)
    assert names(one) == {"v0"}


def test_a_run_that_is_read_is_not_deleted(many: RunLocation) -> None:
    run = version_with_artifacts(many)
    reader = ReadLock(run / METADATA)
    with pytest.raises(InUseError, match="somebody is reading this run"):
        delete(run)
    reader.release()
    delete(run)


MAKES = """
import sys
from crystallize.store.layout import RunLocation
from crystallize.store.metadata import write_metadata
from crystallize.store.claims import claim_run
claim = claim_run(RunLocation(sys.argv[1], "exp"))
write_metadata(claim.folder, {}, "running")
print(flush=True)
sys.stdin.read()
"""


def test_a_run_is_not_deleted_as_long_as_the_process_that_makes_it_lives(many: RunLocation) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", MAKES, many.root], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as maker:
        assert maker.stdout is not None
        maker.stdout.readline()
        run = many.folder / "v0"
        assert is_being_made(run)
        with pytest.raises(InUseError, match="a running process is making this run"):
            delete(run)
        maker.kill()
        maker.wait()
    assert not is_being_made(run)
    assert remove_artifacts(run) == Removed(0, 0)
    claim_run(many).discard()
    assert (read_metadata(run) or {})["status"] == INTERRUPTED, "it was still known to have been killed"
    delete(run)
