"""The git repository around the code of a run: what is checked out, and whether it was changed since."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import threading
import time
from pathlib import Path
from typing import NamedTuple

from crystallize.utils.files import read_plain

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_MOST_OF_GIT = 1 << 26
_LONGEST_LOOK = 10.0  # seconds
_PAYS_FOR = 20  # a look is good for so many times as long as it took
_MOST_READ = 1_000
_LARGEST_READ = 1 << 24

_SOURCES = (
    "*.py",
    "*.pyi",
    "*.pyx",
    "*.ipynb",
    "*.yaml",
    "*.yml",
    "*.toml",
    "*.cfg",
    "*.ini",
    "*.c",
    "*.cpp",
    "*.cu",
    "*.h",
    "*.rs",
    "*.R",
    "*.jl",
    "*.sh",
)
"""What is a source file, of those that git does not track."""

_NO_SOURCES = ("**/site-packages/**", "**/node_modules/**")


class Checkout(NamedTuple):
    """The working tree of a git repository.

    Attributes
    ----------
    top : str
        Its folder.
    commit : str or None
        What is checked out; None before the first commit.
    """

    top: str
    commit: str | None


def find_checkout(folder: str | Path) -> Checkout | None:
    """Return the working tree that `folder` is in, or None if it is in none; runs no program."""
    parent = str(folder)
    while True:
        head = _text_of(f"{parent}/.git/HEAD")
        git = f"{parent}/.git"
        if head is None and (link := _text_of(git)) is not None:  # a linked working tree
            git = os.path.join(parent, link.removeprefix("gitdir:").strip())  # noqa: PTH118
            head = _text_of(f"{git}/HEAD")
        if head is not None:
            reference = head.removeprefix("ref:").strip()
            is_branch = head.startswith("ref:")
            return Checkout(
                parent, _resolve_reference(Path(git), reference) if is_branch else _commit_in(head)
            )
        above = os.path.dirname(parent)  # noqa: PTH120
        if above == parent:
            return None
        parent = above


class Changes:
    """What a working tree has that its commit does not, found out by git while something else goes on.

    Parameters
    ----------
    top : str
        The folder of the working tree.
    """

    def __init__(self, top: str) -> None:
        self.top = top
        self._digest: str | None = None  # empty: no changes
        self._good_until = float("inf")
        self._thread = threading.Thread(target=self._look, name="crystallize-git", daemon=True)
        self._thread.start()

    @classmethod
    def since_commit(cls, top: str) -> Changes:
        """Return the changes of a working tree as they are now, or were a moment ago.

        A look takes git some milliseconds, in a large repository more. So that many short runs do not spend their
        time with it, they share one as long as it is no older than twenty times of what it took.
        """
        with _entrance:
            known = _last.get("look")
            if known is None or known.top != top or time.monotonic() > known._good_until:
                known = _last["look"] = cls(top)
            return known

    def digest(self) -> str | None:
        """Return a hash of the changes, an empty text if there are none, or None if git did not tell.

        It covers each file that differs from the commit, and the source files that git does not track and does not
        ignore, with their content.
        """
        self._thread.join(_LONGEST_LOOK)
        return self._digest

    def _look(self) -> None:
        started = time.monotonic()
        try:
            tracked = _git(
                self.top,
                "status",
                "--porcelain",
                "-z",
                "--no-renames",
                "--untracked-files=no",
                "--ignore-submodules=dirty",
            )
            exclusions = (f":(exclude,glob){pattern}" for pattern in _NO_SOURCES)
            sources = _git(
                self.top, "ls-files", "-z", "--others", "--exclude-standard", "--", *_SOURCES, *exclusions
            )
        except (OSError, subprocess.SubprocessError):  # there is no git, or it cannot read this
            return
        finally:
            self._good_until = time.monotonic() + _PAYS_FOR * (time.monotonic() - started)
        # Of a tracked file, two letters come first: staged, changed since, or both.
        changed = {*sources, *(entry[3:] for entry in tracked)}
        hasher = hashlib.blake2b(digest_size=16)
        for number, path in enumerate(sorted(changed)):
            content = _content(f"{self.top}/{path}", number < _MOST_READ)
            hasher.update(f"{path}\0{content}\0".encode("utf-8", "surrogateescape"))
        self._digest = hasher.hexdigest() if changed else ""


_entrance = threading.Lock()
_last: dict[str, Changes] = {}  # one entry at most


def _git(top: str, *arguments: str) -> list[str]:
    done = subprocess.run(
        ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", *arguments],
        cwd=top,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=_LONGEST_LOOK,
        check=True,
    )
    return [os.fsdecode(entry) for entry in done.stdout.split(b"\0") if entry]


def _content(path: str, is_read: bool) -> str:
    """Return a hash of a file's content; of a large one, or one of very many, its size."""
    try:
        status = os.lstat(path)
        if is_read and status.st_size <= _LARGEST_READ:
            return hashlib.blake2b(read_plain(path, _LARGEST_READ), digest_size=16).hexdigest()
    except (OSError, ValueError):  # it was removed, or is a link
        return ""
    return str(status.st_size)


def _text_of(path: str | Path) -> str | None:
    """Return the text of a file of git's, or None if there is none to be read."""
    try:
        return read_plain(path, _MOST_OF_GIT).decode().strip()
    except (OSError, ValueError):
        return None


def _commit_in(text: str | None) -> str | None:
    """Return `text` if it is a commit's id: nothing else that a file may hold gets into the metadata."""
    return text if text is not None and _COMMIT.fullmatch(text) else None


def _resolve_reference(git: Path, reference: str) -> str | None:
    if not reference.startswith("refs/") or ".." in reference:
        return None
    common = _text_of(git / "commondir")  # there is such a file in a linked working tree only
    shared = git if common is None else git / common
    commit = _commit_in(_text_of(shared / reference))
    if commit is not None:
        return commit
    for line in (_text_of(shared / "packed-refs") or "").splitlines():
        commit, _, name = line.partition(" ")
        if name == reference:
            return _commit_in(commit)
    return None
