from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from crystallize.store.locks import FileLock, locked


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
