from __future__ import annotations

import io
import os
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import xxhash

from crystallize.utils.digests import HashingFile, measure_file, write_hashed

CONTENT = bytes(range(256)) * 5000


def digest(content: bytes) -> str:
    return f"xxh3_128:{xxhash.xxh3_128_hexdigest(content)}"


@pytest.mark.parametrize("content", [b"", b"x", CONTENT])
def test_the_digest_is_that_of_the_content(content: bytes, tmp_path: Path) -> None:
    assert write_hashed(tmp_path / "a", content) == digest(content)
    assert measure_file(tmp_path / "a") == (len(content), digest(content))


def in_parts(file: IO[bytes]) -> None:
    for start in range(0, len(CONTENT), 1000):
        file.write(CONTENT[start : start + 1000])


def of_wide_items(file: IO[bytes]) -> None:
    file.write(memoryview(np.arange(300_000)))


def with_a_header_at_last(file: IO[bytes]) -> None:
    file.write(b"....")
    in_parts(file)
    file.seek(0)
    file.write(b"head")
    file.seek(0, os.SEEK_END)
    file.write(b"tail")


def with_a_hole(file: IO[bytes]) -> None:
    file.seek(10)
    file.write(b"x")


def cut_off(file: IO[bytes]) -> None:
    in_parts(file)
    file.truncate(1000)


def as_numpy_does(file: IO[bytes]) -> None:
    np.save(file, np.arange(1000))  # writes to the descriptor


def through_the_descriptor(file: IO[bytes]) -> None:
    file.write(b"a")
    file.flush()
    os.write(file.fileno(), b"b")


@pytest.mark.parametrize(
    ("write", "is_read_again"),
    [
        (lambda file: None, False),
        (lambda file: file.write(CONTENT), False),
        (in_parts, False),
        (of_wide_items, False),
        (lambda file: (file.write(b"x"), file.tell(), file.write(b"y")), False),
        (with_a_header_at_last, True),
        (with_a_hole, True),
        (cut_off, True),
        (as_numpy_does, True),
        (through_the_descriptor, True),
    ],
)
def test_a_file_is_hashed_while_it_is_written_and_read_again_only_if_that_was_out_of_order(
    write: Any, is_read_again: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crystallize.utils import digests

    read = []
    monkeypatch.setattr(digests, "measure_file", lambda path: read.append(path) or measure_file(path))
    path = tmp_path / "a"
    raw = HashingFile(path)
    with io.BufferedWriter(raw) as file:
        write(file)
    content = path.read_bytes()
    assert raw.measured() == (len(content), digest(content))
    assert bool(read) is is_read_again
