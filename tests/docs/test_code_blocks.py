"""Run every code block of the README and of the documentation.

The language of a fence decides:

``python``
    All blocks of a page together are one script, in an empty folder, with warnings as errors. A line of a
    traceback is the line of the page.
``text title="output"``
    What the ``python`` block above it prints; ``...`` stands for anything.
``console``
    Lines that start with ``$`` are run after the page's script, in the same folder. What is shown below a
    command must be what it prints; ``...`` stands for anything.
``python title="name.py"``, and any other language with a title that is a path
    A file that is written into that folder first. A ``pyproject.toml`` counts as installed: its metadata and
    entry points are found as if pip had put them there.
``sh``
    For the reader's own shell, not run here: installing, cloning, and ``make`` with a target that exists.
``text``, ``yaml``, ``json``
    Not code.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.warm_interpreter import WarmInterpreter

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NOT_CODE = {"text", "yaml", "json"}
FOR_THE_READER = {"make", "pip", "python", "git", "cd", "source", "export"}
PRINTED = "\N{RECORD SEPARATOR}"
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*)(?P<options>.*)$")
TIMEOUT = 240


@dataclass(frozen=True)
class Block:
    """One fenced block of a page; `line` is that of its first line of content, counted from 1."""

    language: str
    title: str | None
    line: int
    lines: tuple[str, ...]

    @property
    def is_file(self) -> bool:
        return self.title is not None and self.title != "output"

    @property
    def text(self) -> str:
        return "\n".join(self.lines) + "\n"


def blocks_of(page: Path) -> list[Block]:
    blocks = []
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), start=1))
    for number, line in lines:
        if opened := FENCE.match(line):
            content = list(_until_closed(lines, len(opened["indent"])))
            title = re.search(r'title="([^"]+)"', opened["options"])
            blocks.append(
                Block(opened["language"], title and title[1], number + 1, tuple(content))  # type: ignore[arg-type]
            )
    return blocks


def _until_closed(lines: Iterator[tuple[int, str]], indent: int) -> Iterator[str]:
    for _, line in lines:
        if line.strip() == "```":
            return
        yield line[indent:]
    raise AssertionError("a fence is never closed")


def script_of(blocks: list[Block]) -> str:
    """Put the python blocks of a page into one script, each line at its own line number."""
    lines: list[str] = []
    for block in blocks:
        if block.language == "python" and not block.is_file:
            lines += [""] * (block.line - 1 - len(lines))
            lines += [*block.lines, f"if __name__ == '__main__': print({PRINTED!r}, flush=True)"]
    return "\n".join(lines) + "\n"


def expected_outputs(blocks: list[Block]) -> list[Block | None]:
    """Return for each python block of the script the output that the page shows, if it shows one."""
    outputs: list[Block | None] = []
    for block in blocks:
        if block.language == "python" and not block.is_file:
            outputs.append(None)
        elif block.title == "output":
            assert outputs, f"line {block.line}: output of no block"
            outputs[-1] = block
    return outputs


def commands_of(block: Block) -> list[tuple[int, str, str]]:
    """Return line, command and shown output of each command of a console block."""
    commands: list[tuple[int, str, str]] = []
    for number, line in enumerate(block.lines, start=block.line):
        if line.startswith("$ "):
            commands.append((number, line[2:], ""))
        else:
            assert commands, f"line {number}: a console block starts with '$ '"
            at, command, shown = commands[-1]
            commands[-1] = (at, command, f"{shown}{line}\n")
    return commands


def assert_printed(shown: str, printed: str, place: str) -> None:
    """Compare what a page shows with what was printed, apart from spaces at the ends of lines."""
    wanted = "\n".join(line.rstrip() for line in shown.strip().splitlines())
    got = "\n".join(line.rstrip() for line in printed.strip().splitlines())
    pattern = ".*".join(re.escape(part) for part in wanted.split("..."))
    assert re.fullmatch(pattern, got, re.DOTALL), f"{place} shows\n{wanted}\nbut this was printed:\n{got}"


def write_file(folder: Path, block: Block) -> None:
    assert block.title is not None
    path = folder / block.title
    assert path.resolve().is_relative_to(folder), (
        f"line {block.line}: {block.title} is outside of the page's folder"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.text, encoding="utf-8")
    if path.name == "pyproject.toml":
        _make_installed(folder, tomllib.loads(block.text)["project"])


def _make_installed(folder: Path, project: dict) -> None:
    """Write what pip would: the metadata of the distribution, beside its modules."""
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    info.joinpath("METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    groups = project.get("entry-points", {})
    info.joinpath("entry_points.txt").write_text(
        "\n".join(
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
            for group, entries in groups.items()
        )
    )


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a page: ours, without colours, and its folder as if installed."""
    ours = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")])),
        "PYTHONWARNINGS": "error",
        "PYTHONDONTWRITEBYTECODE": "1",
        "COLUMNS": "100",
        "TERM": "dumb",
        "NO_COLOR": "1",
    }
    return {**os.environ, **ours}


def run(python: WarmInterpreter, words: list[str], folder: Path, place: str) -> str:
    """Run a command; if it is Python or ``crystallize``, without a new interpreter."""
    if words[0] == "python":
        done = python.run(*words[1:], cwd=folder, environment=environment(folder))
    elif words[0] == "crystallize":
        done = python.crystallize(*words[1:], cwd=folder, environment=environment(folder))
    else:
        done = subprocess.run(
            words,
            cwd=folder,
            env=environment(folder),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    output = f"{done.stdout}\n{done.stderr}"
    assert done.returncode == 0, f"{place} ended with exit code {done.returncode}\n{output}"
    return done.stdout


def words_of(line: str) -> list[str]:
    """Split a line of a console block into words; a shell does so if it is more than one plain command."""
    return ["bash", "-c", line] if re.search(r"[|&;<>$`*?~]| #", line) else shlex.split(line)


def page_name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def has_code(page: Path) -> bool:
    return any(block.language in {"python", "console"} for block in blocks_of(page))


@pytest.mark.parametrize("page", [*filter(has_code, PAGES)], ids=page_name)
def test_the_code_of_a_page_runs_and_prints_what_the_page_shows(
    page: Path, tmp_path: Path, warm_interpreter: WarmInterpreter
) -> None:
    blocks = blocks_of(page)
    folder = tmp_path / "page"
    folder.mkdir()
    for block in blocks:
        if block.is_file:
            write_file(folder, block)

    script = folder / f"{page.stem.replace('-', '_').lower()}_page.py"
    script.write_text(script_of(blocks), encoding="utf-8")
    printed = run(warm_interpreter, ["python", str(script)], folder, page_name(page)).split(f"{PRINTED}\n")
    for output, text in zip(expected_outputs(blocks), printed, strict=False):
        if output is not None:
            assert_printed(output.text, text, f"{page_name(page)}:{output.line}")

    for block in blocks:
        if block.language == "console":
            for line, command, shown in commands_of(block):
                place = f"{page_name(page)}:{line}: {command}"
                text = run(warm_interpreter, words_of(command), folder, place)
                if shown.strip():
                    assert_printed(shown, text, place)


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_block_of_a_page_says_how_it_is_checked(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for block in blocks_of(page):
        place = f"{page_name(page)}:{block.line}"
        if block.language == "sh":
            for line in block.lines:
                command, *arguments = line.partition("#")[0].split() or [""]
                assert command in {"", *FOR_THE_READER}, (
                    f"{place}: {command!r} can be run: mark it as console"
                )
                assert command != "make" or set(arguments) <= targets, f"{place}: no such target: {line}"
        else:
            known = {"python", "console"} | NOT_CODE
            assert block.language in known or block.is_file, f"{place}: what is {block.language!r}?"


def test_the_first_experiment_of_the_readme_has_at_most_25_lines() -> None:
    first = next(block for block in blocks_of(ROOT / "README.md") if block.language == "python")
    assert len(first.lines) <= 25
