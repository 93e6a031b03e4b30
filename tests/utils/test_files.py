from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from crystallize.utils.files import atomic_write_bytes, is_folder, open_plain, read_plain


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir()
    return made


def test_a_file_is_written_whole_and_nothing_is_left_beside_it(folder: Path) -> None:
    atomic_write_bytes(folder / "a.bin", b"content")
    assert (folder / "a.bin").read_bytes() == b"content"
    assert [path.name for path in folder.iterdir()] == ["a.bin"]


def test_missing_folders_are_made(folder: Path) -> None:
    atomic_write_bytes(folder / "x" / "y" / "a.bin", b"content")
    assert (folder / "x" / "y" / "a.bin").read_bytes() == b"content"


def test_a_file_without_a_folder_goes_to_the_working_directory() -> None:
    atomic_write_bytes("a.bin", b"content")
    assert Path("a.bin").read_bytes() == b"content"


def test_the_longest_name_that_the_store_allows_can_be_written(folder: Path) -> None:
    atomic_write_bytes(folder / ("é" * 100), b"content")
    assert (folder / ("é" * 100)).read_bytes() == b"content"


@pytest.mark.parametrize("size", [0, 1, 2**18 - 1, 2**18, 2**18 + 1, 3_000_000])
def test_content_of_any_size_is_observed_in_order_and_written(folder: Path, size: int) -> None:
    content = bytes(i % 251 for i in range(size))
    seen = bytearray()
    atomic_write_bytes(folder / "a", content, observe=seen.extend)
    assert (folder / "a").read_bytes() == content == seen


def test_anything_with_a_flat_buffer_is_content(folder: Path) -> None:
    import numpy as np

    array = np.arange(6.0).reshape(2, 3)
    atomic_write_bytes(folder / "a", array.data)
    assert (folder / "a").read_bytes() == array.tobytes()


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(folder: Path) -> None:
    atomic_write_bytes(folder / "a", b"old")

    def disk_error(part: memoryview) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        atomic_write_bytes(folder / "a", b"new", observe=disk_error)
    assert (folder / "a").read_bytes() == b"old"
    assert [path.name for path in folder.iterdir()] == ["a"]


def test_a_folder_in_the_place_of_the_file_is_an_error_and_leaves_nothing_beside_it(folder: Path) -> None:
    (folder / "a" / "inner").mkdir(parents=True)
    with pytest.raises(OSError):  # noqa: PT011 - the kind depends on the system
        atomic_write_bytes(folder / "a", b"new")
    assert [path.name for path in folder.iterdir()] == ["a"]


def test_a_reader_never_sees_half_a_file(folder: Path) -> None:
    path, contents = folder / "a", [b"a" * 1_000_000, b"b" * 700_000]
    atomic_write_bytes(path, contents[0])
    stop = threading.Event()

    def write() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            atomic_write_bytes(path, contents[turn % 2])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert all(path.read_bytes() in contents for _ in range(200))
    finally:
        stop.set()
        writer.join()


# -- reading -------------------------------------------------------------------------------------------------


def test_a_plain_file_is_read_up_to_the_size_that_is_allowed(folder: Path) -> None:
    (folder / "a").write_bytes(bytes(10))
    assert read_plain(folder / "a", 10) == bytes(10)
    with pytest.raises(OSError, match="it has 10 bytes, and at most 9 are read"):
        read_plain(folder / "a", 9)


def test_a_link_is_followed_only_where_that_is_wanted(folder: Path) -> None:
    (folder / "a").write_bytes(b"x")
    (folder / "link").symlink_to("a")
    assert read_plain(folder / "link", 10) == b"x"
    with pytest.raises(OSError, match="it is a link, not a plain file"):
        read_plain(folder / "link", 10, follow_links=False)


@pytest.mark.parametrize("path", ["pipe", "/dev/zero", "folder"])
def test_what_is_no_plain_file_is_not_opened(folder: Path, path: str) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "folder").mkdir()
    with pytest.raises(OSError, match="not a plain file"):
        open_plain(folder / path)


def test_a_link_to_a_folder_is_no_folder(folder: Path) -> None:
    (folder / "link").symlink_to(folder)
    assert is_folder(folder)
    assert not is_folder(folder / "link")
    assert not is_folder(folder / "missing")
