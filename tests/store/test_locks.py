from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crystallize.store.locks import FileLock, ReadLock, locked, unread


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir()
    return made


HOLD = """
import sys
from pathlib import Path
from crystallize.store.locks import FileLock
lock = FileLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_held_lock_cannot_be_taken_a_second_time(folder: Path) -> None:
    first, second = FileLock(folder / "lock"), FileLock(folder / "lock")
    first.acquire()
    assert not second.try_acquire()
    first.release()
    assert second.try_acquire()
    second.release()


def test_a_released_lock_leaves_no_file(folder: Path) -> None:
    with locked(folder / "lock"):
        assert (folder / "lock").exists()
    assert not list(folder.iterdir())


def test_releasing_twice_does_no_harm(folder: Path) -> None:
    lock, other = FileLock(folder / "lock"), FileLock(folder / "lock")
    lock.acquire()
    lock.release()
    other.acquire()
    lock.release()
    assert not FileLock(folder / "lock").try_acquire()
    other.release()


def test_the_lock_of_a_killed_process_is_free(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"held\n"
        assert not FileLock(folder / "lock").try_acquire()
        owner.kill()
        owner.wait()
    lock = FileLock(folder / "lock")
    assert lock.try_acquire()
    lock.release()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="where open files are seen is Linux's own")
def test_who_waited_for_a_lock_that_is_released_holds_it_against_all_others(folder: Path) -> None:
    path = folder / "lock"
    first, second = FileLock(path), FileLock(path)
    first.acquire()
    waiting = threading.Thread(target=second.acquire)
    waiting.start()
    while _times_open(path) < 2:  # from here on the second waits for the file that the first will remove
        time.sleep(0.001)
    first.release()
    waiting.join()
    assert not FileLock(path).try_acquire()
    second.release()
    assert not list(folder.iterdir())


def _times_open(path: Path) -> int:
    count = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # closed since it was listed
            count += descriptor.readlink() == path
    return count


def test_only_one_of_many_threads_is_inside_at_a_time(folder: Path) -> None:
    counted = {"inside": 0, "most": 0, "entries": 0}

    def enter() -> None:
        for _ in range(50):
            with locked(folder / "lock"):
                counted["inside"] += 1
                counted["most"] = max(counted["most"], counted["inside"])
                counted["entries"] += 1
                counted["inside"] -= 1

    threads = [threading.Thread(target=enter) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted == {"inside": 0, "most": 1, "entries": 400}
    assert not list(folder.iterdir())


# -- what stands in the place of a lock file --------------------------------------------------------------------


def make_folder(path: Path) -> None:
    path.mkdir()
    (path / "inner").touch()


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def link_to_outside(path: Path) -> None:
    path.symlink_to(path.parent.parent / "outside")


@pytest.mark.parametrize("damage", [make_folder, os.mkfifo, make_socket, link_to_outside])
def test_what_is_no_lock_file_is_put_aside_and_named_once(
    folder: Path, damage: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    damage(folder / "lock")
    for _ in range(2):
        with locked(folder / "lock"):
            assert (folder / "lock").is_file()
    (aside,) = folder.iterdir()
    assert aside.name.startswith(".damaged.lock.")
    assert aside.name in "".join(record.getMessage() for record in caplog.records)
    assert len(caplog.records) == 1
    assert not (folder.parent / "outside").exists()


# -- several users ----------------------------------------------------------------------------------------------

AS_ANOTHER = """
import os, sys
from pathlib import Path
from crystallize.store.locks import FileLock
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
print(FileLock(Path(sys.argv[1])).try_acquire())
"""


@pytest.fixture
def shared() -> Iterator[Path]:
    """Return a folder that every user may write to, and reach."""
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        Path(made).chmod(0o777)
        yield Path(made)


def taken_by_another(path: Path) -> bool:
    done = subprocess.run(
        [sys.executable, "-c", AS_ANOTHER, str(path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=path.parent,
    )
    return done.stdout == "True\n"


@pytest.mark.parametrize("mode", [0o644, 0o444])
def test_a_lock_file_that_a_user_may_only_read_can_be_taken_all_the_same(shared: Path, mode: int) -> None:
    (shared / "lock").touch()
    (shared / "lock").chmod(mode)
    assert taken_by_another(shared / "lock")


def test_a_lock_file_is_made_for_all_users_whatever_the_umask(shared: Path) -> None:
    before = os.umask(0o077)
    try:
        lock = FileLock(shared / "lock")
        lock.acquire()
    finally:
        os.umask(before)
    assert not taken_by_another(shared / "lock")
    lock.leave()
    assert taken_by_another(shared / "lock")


# -- readers ----------------------------------------------------------------------------------------------------


def test_any_number_of_readers_keep_a_file_from_being_unread(folder: Path) -> None:
    (folder / "file").touch()
    readers = [ReadLock(folder / "file") for _ in range(2)]
    for reader in readers:
        with unread(folder / "file") as is_free:
            assert not is_free
        reader.release()
        reader.release()
    with unread(folder / "file") as is_free:
        assert is_free


READ = """
import sys
from pathlib import Path
from crystallize.store.locks import ReadLock
lock = ReadLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_reader_that_was_killed_reads_no_more(folder: Path) -> None:
    (folder / "file").touch()
    with subprocess.Popen(
        [sys.executable, "-c", READ, str(folder / "file")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with unread(folder / "file") as is_free:
            assert not is_free
        other.kill()
    with unread(folder / "file") as is_free:
        assert is_free


def test_a_reader_notices_that_its_file_was_replaced(folder: Path) -> None:
    (folder / "file").touch()
    reader = ReadLock(folder / "file")
    assert reader.is_in_place()
    (folder / "file").rename(folder / "old")
    assert not reader.is_in_place()
    (folder / "file").touch()
    assert not reader.is_in_place()
    reader.release()


def test_a_reader_waits_while_what_it_wants_to_read_is_removed_and_sees_that_it_is(folder: Path) -> None:
    file = folder / "file"
    file.touch()
    seen = []

    def read() -> None:
        lock = ReadLock(file)
        seen.append(lock.is_in_place())
        lock.release()

    reader = threading.Thread(target=read)
    with unread(file) as is_free:
        assert is_free
        reader.start()
        reader.join(0.2)
        assert seen == []
        file.unlink()
    reader.join()
    assert seen == [False]
