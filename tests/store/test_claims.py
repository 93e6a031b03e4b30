from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from crystallize.errors import StoreError
from crystallize.store.claims import claim_run
from crystallize.store.finding import find_run
from crystallize.store.folders import apply_folder, versions
from crystallize.store.layout import METADATA, RunLocation
from crystallize.store.metadata import (
    FAILED,
    INTERRUPTED,
    RUNNING,
    read_metadata,
    write_metadata,
)
from crystallize.store.retention import prune
from tests.store.claimed import complete, crashed, cut_off_in_the_swap, die, finish, names


def status(folder: Path) -> str:
    return (read_metadata(folder) or {})["status"]


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
from crystallize.store.claims import claim_run
sys.stdin.readline()
for _ in range(20):
    claim = claim_run(RunLocation(sys.argv[1], "exp", versioned=True))
    print(claim.folder.name)
    (claim.folder / "metadata.json").write_text("{}")  # as every run does: a folder without any is that of no run
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
    claim = claim_run(single)
    (claim.folder / "content").write_text("new")
    finish(claim, "new")
    set_clock_back(die(claim))
    claim_run(single).discard()
    assert (single.folder / "v0" / "content").read_text() == "new"
    assert names(single) == {"v0"}


def set_clock_back(folder: Path) -> None:
    """Make a run end before all others, by a clock that is not to be asked."""
    file = folder / METADATA
    metadata = json.loads(file.read_bytes()) | {"finished": "1970-01-01T00:00:00+00:00"}
    file.write_text(json.dumps(metadata))


def test_a_complete_run_that_was_cut_off_does_not_take_the_place_of_a_newer_one(single: RunLocation) -> None:
    newer = claim_run(single)
    older = claim_run(single)
    finish(older, "older")
    die(older)
    set_clock_back(complete(newer, "newer"))
    claim_run(single).discard()
    assert (single.folder / "v0" / "content").read_text() == "newer"
    assert names(single) == {"v0"}


def test_of_the_runs_that_crashed_only_the_newest_is_kept(single: RunLocation) -> None:
    left = []
    for age in (300, 200, 100):
        left.append(crashed(single))
        os.utime(left[-1], (1e9 - age, 1e9 - age))
    claim_run(single).discard()
    assert names(single) == {left[-1].name}
    assert status(left[-1]) == INTERRUPTED


def test_the_next_start_marks_versions_of_killed_runs_and_removes_their_locks(many: RunLocation) -> None:
    killed, failed = crashed(many), crashed(many, FAILED)
    with_nothing = die(claim_run(many))
    alive = claim_run(many)
    write_metadata(alive.folder, {}, RUNNING)
    claim_run(many).release()
    assert [status(folder) for folder in (killed, failed, alive.folder)] == [INTERRUPTED, FAILED, RUNNING]
    assert (read_metadata(killed) or {}).get("finished") is None
    assert with_nothing == alive.folder  # nothing was in it, and its number was free again
    assert names(many) == {"v0", "v1", "v2", ".v2.lock", "v3"}


def test_the_folder_of_a_living_run_is_never_removed(single: RunLocation) -> None:
    living = [claim_run(single) for _ in range(3)]
    crashed(single)
    for _ in range(2):
        claim_run(single).discard()
    assert all(claim.folder.is_dir() for claim in living)


KEEP = """
import sys
from crystallize.store.layout import RunLocation
from crystallize.store.claims import claim_run
claim = claim_run(RunLocation(sys.argv[1], "exp", versioned=False))
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


# -- links, and what is no folder -------------------------------------------------------------------------------


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["v0", ".v0.1-a-0", ".v0.1-a-0.old"])
def test_without_versions_a_link_is_put_aside_and_the_next_runs_go_on(
    single: RunLocation, outside: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = content(outside)
    single.folder.mkdir(parents=True)
    (single.folder / name).symlink_to(outside)
    assert find_run(single) is None
    for _ in range(2):
        complete(claim_run(single), "new")
    assert content(outside) == before
    assert (single.folder / "v0" / "content").read_text() == "new"
    assert {each.partition(".v0")[0] for each in names(single)} == {"v0", ".damaged"}
    assert len(caplog.records) == 1


@pytest.mark.parametrize("action", [claim_run, find_run, apply_folder, lambda location: prune(location, 1)])
def test_an_experiments_folder_that_is_a_link_is_refused(
    single: RunLocation, outside: Path, action: Any
) -> None:
    before = content(outside)
    Path(single.root).mkdir()
    single.folder.symlink_to(outside)
    with pytest.raises(StoreError, match="is a link"):
        action(single)
    assert content(outside) == before


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    complete(claim_run(RunLocation(str(tmp_path / "data"), "exp", versioned=False)), "here")
    assert (tmp_path / "disk" / "exp" / "v0" / "content").read_text() == "here"
