from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from crystallize.store.layout import COMPLETE, METADATA, RunLocation
from crystallize.store.metadata import FINISHED, INTERRUPTED, RUNNING, write_metadata
from crystallize.store.versions import Claim, claim_run, find_run, prune, versions


@pytest.fixture
def single(tmp_path: Path) -> RunLocation:
    return RunLocation(str(tmp_path / "data"), "exp")


@pytest.fixture
def many(tmp_path: Path) -> RunLocation:
    return RunLocation(str(tmp_path / "data"), "exp", versioned=True)


def complete(claim: Claim, content: str) -> Path:
    (claim.folder / "content").write_text(content)
    write_metadata(claim.folder, {}, FINISHED)
    return claim.publish()


def crashed(location: RunLocation, status: str = RUNNING) -> Path:
    """Leave behind what a killed run does: a folder, and a lock file that nobody holds."""
    claim = claim_run(location)
    write_metadata(claim.folder, {}, status)
    claim.release()
    claim.folder.with_name(f".{claim.folder.name}.lock").touch()
    return claim.folder


def names(location: RunLocation) -> set[str]:
    return {path.name for path in location.folder.iterdir()}


# -- versions ---------------------------------------------------------------------------------------------------


def test_versions_count_from_zero(many: RunLocation) -> None:
    assert [complete(claim_run(many), str(i)).name for i in range(3)] == ["v0", "v1", "v2"]
    assert names(many) == {"v0", "v1", "v2"}


def test_versions_are_sorted_by_number(many: RunLocation) -> None:
    for name in ("v2", "v10", "v9", "vx", "v", "apply"):
        (many.folder / name).mkdir(parents=True)
    assert [path.name for path in versions(many.folder)] == ["v10", "v9", "v2"]


def test_a_run_that_was_cut_off_keeps_its_number(many: RunLocation) -> None:
    crashed(many)
    assert claim_run(many).folder.name == "v1"


CLAIM = """
import sys
from crystallize.store.layout import RunLocation
from crystallize.store.versions import claim_run
sys.stdin.readline()
for _ in range(20):
    claim = claim_run(RunLocation(sys.argv[1], "exp", versioned=True))
    print(claim.folder.name)
    claim.release()
"""


def test_processes_that_claim_at_the_same_time_never_share_a_version(many: RunLocation) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIM, many.root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    claimed = [name for process in processes for name in process.communicate()[0].split()]
    assert sorted(claimed) == sorted(f"v{i}" for i in range(60))


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


# -- one folder -------------------------------------------------------------------------------------------------


def test_without_versions_the_old_run_is_readable_until_the_new_one_is_complete(single: RunLocation) -> None:
    complete(claim_run(single), "old")
    claim = claim_run(single)
    (claim.folder / "content").write_text("half")
    run = find_run(single)
    assert run is not None
    assert (run / "content").read_text() == "old"
    complete(claim, "new")
    assert run == find_run(single)
    assert (run / "content").read_text() == "new"
    assert names(single) == {"v0"}


def test_a_rerun_leaves_nothing_of_the_old_run(single: RunLocation) -> None:
    claim = claim_run(single)
    (claim.folder / "replicate_7").mkdir()
    complete(claim, "old")
    complete(claim_run(single), "new")
    assert {path.name for path in (single.folder / "v0").iterdir()} == {"content", METADATA}


def test_of_two_runs_at_once_the_last_to_end_is_read_whole(single: RunLocation) -> None:
    first, second = claim_run(single), claim_run(single)
    assert first.folder != second.folder
    complete(second, "second")
    complete(first, "first")
    assert (single.folder / "v0" / "content").read_text() == "first"
    assert names(single) == {"v0"}


def cut_off_in_the_swap(location: RunLocation) -> None:
    """Build what a kill between the two renames leaves."""
    complete(claim_run(location), "old")
    folder = crashed(location)
    (folder / "content").write_text("new")
    write_metadata(folder, {}, FINISHED)
    (location.folder / "v0").rename(folder.with_name(f"{folder.name}.old"))


def test_a_reader_finds_the_complete_run_of_a_swap_that_was_cut_off(single: RunLocation) -> None:
    cut_off_in_the_swap(single)
    for version in (None, 0):
        run = find_run(single, version)
        assert run is not None
        assert (run / "content").read_text() == "new"


def test_the_next_run_completes_a_swap_that_was_cut_off(single: RunLocation) -> None:
    cut_off_in_the_swap(single)
    claim = claim_run(single)
    assert (single.folder / "v0" / "content").read_text() == "new"
    claim.discard()
    assert names(single) == {"v0"}


def test_an_old_run_whose_successor_is_gone_comes_back(single: RunLocation) -> None:
    complete(claim_run(single), "old")
    (single.folder / "v0").rename(single.folder / ".v0.1-a-0.old")
    run = find_run(single)
    assert run is not None
    assert (run / "content").read_text() == "old"
    claim_run(single).discard()
    assert names(single) == {"v0"}


def test_a_complete_run_that_was_cut_off_before_its_swap_is_published_by_the_next(
    single: RunLocation,
) -> None:
    complete(claim_run(single), "old")
    folder = crashed(single)
    (folder / "content").write_text("new")
    write_metadata(folder, {}, FINISHED)
    claim_run(single).discard()
    assert (single.folder / "v0" / "content").read_text() == "new"


def test_a_complete_run_that_was_cut_off_does_not_take_the_place_of_a_newer_one(single: RunLocation) -> None:
    newer = claim_run(single)
    older = crashed(single)
    (older / "content").write_text("older")
    write_metadata(older, {}, FINISHED)
    complete(newer, "newer")
    claim_run(single).discard()
    assert (single.folder / "v0" / "content").read_text() == "newer"


def test_of_the_runs_that_crashed_only_the_newest_is_kept(single: RunLocation) -> None:
    left = []
    for age in (300, 200, 100):
        left.append(crashed(single))
        os.utime(left[-1], (1e9 - age, 1e9 - age))
    claim_run(single).discard()
    assert names(single) == {left[-1].name}


def test_the_folder_of_a_living_run_is_never_removed(single: RunLocation) -> None:
    living = [claim_run(single) for _ in range(3)]
    crashed(single)
    for _ in range(2):
        claim_run(single).discard()
    assert all(claim.folder.is_dir() for claim in living)


KEEP = """
import sys
from crystallize.store.layout import RunLocation
from crystallize.store.versions import claim_run
claim = claim_run(RunLocation(sys.argv[1], "exp"))
print(claim.folder, flush=True)
sys.stdin.read()
"""


def test_the_folder_of_another_process_stays_until_that_process_has_ended(single: RunLocation) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KEEP, single.root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        folder = Path(other.stdout.readline().strip())
        os.utime(folder, (0, 0))
        newer = [crashed(single) for _ in range(2)]
        claim_run(single).discard()
        assert folder.is_dir()
        other.kill()
        other.wait()
    claim_run(single).discard()
    assert names(single) == {newer[-1].name}


def test_damaged_metadata_of_the_last_run_do_not_stop_the_next(single: RunLocation) -> None:
    run = complete(claim_run(single), "old")
    (run / METADATA).write_bytes(b"\xff{")
    crashed(single)
    complete(claim_run(single), "new")
    assert (run / "content").read_text() == "new"


SWAP = """
import sys
from crystallize.store.layout import RunLocation
from crystallize.store.metadata import write_metadata
from crystallize.store.versions import claim_run
for i in range(60):
    claim = claim_run(RunLocation(sys.argv[1], "exp"))
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


# -- retention --------------------------------------------------------------------------------------------------


def version_with_artifacts(location: RunLocation, status: str = FINISHED) -> Path:
    claim = claim_run(location)
    for size, replicate in ((10, 0), (1000, 1)):
        folder = claim.folder / f"replicate_{replicate}" / "baseline" / "Step"
        folder.mkdir(parents=True)
        (folder / "a").write_bytes(bytes(size))
    (claim.folder / "baseline").mkdir()
    (claim.folder / "baseline" / "results.json").write_text("{}")
    (claim.folder / "baseline" / COMPLETE).touch()
    write_metadata(claim.folder, {}, status)
    claim.release()
    return claim.folder


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
