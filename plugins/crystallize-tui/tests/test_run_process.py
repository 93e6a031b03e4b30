"""A command in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from crystallize_tui.run_process import ActiveRuns, CommandProcess

from crystallize.testing.subjects import wait_until

pytestmark = pytest.mark.usefixtures("warm_commands")


def test_what_a_command_prints_is_read_line_by_line_and_its_exit_code_is_told():
    process = CommandProcess("study", ["run", "no-such"], Path.cwd())
    assert wait_until(lambda: process.code is not None)
    lines = process.read()
    assert process.code == 2
    assert lines[0].startswith("Error: no experiment is called 'no-such'")
    assert process.read() == []
    assert list(process.lines) == lines
    process.close()
    assert process.read() == []


def test_its_last_words_are_read_though_no_line_end_follows_them():
    folder = Path("torn")
    folder.mkdir()
    (folder / "config.yaml").write_text("datasource: source\nsteps: [step]\n")
    (folder / "steps.py").write_text("import os\nos.write(1, b'first\\nlast words')\nos._exit(3)\n")
    process = CommandProcess("torn", ["check", "torn/config.yaml"], Path.cwd())
    assert wait_until(lambda: process.code is not None)
    assert process.read() == ["first", "last words"]
    process.close()


def test_of_a_line_that_is_drawn_again_and_again_the_last_state_is_read():
    folder = Path("bars")
    folder.mkdir()
    (folder / "config.yaml").write_text("datasource: source\nsteps: [step]\n")
    drawn = ("first\\r\\nbar 1%", "\\rbar 50%", "\\rbar 100%\\n", "50%\\r", "100%\\r", "\\nlast")
    writes = "".join(f"os.write(1, b'{part}')\n" for part in drawn)
    (folder / "steps.py").write_text(f"import os\n{writes}os._exit(3)\n")
    process = CommandProcess("bars", ["check", "bars/config.yaml"], Path.cwd())
    assert wait_until(lambda: process.code is not None)
    assert process.read() == ["first", "bar 100%", "100%", "last"]
    process.close()


def test_what_it_prints_has_no_name_that_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "cwd"))
    monkeypatch.setattr("tempfile.tempdir", None)
    process = CommandProcess("study", ["--help"], Path.cwd())
    assert list(Path.cwd().glob("crystallize-tui-*")) == []
    assert wait_until(lambda: process.code is not None)
    process.close()


def test_a_command_that_cannot_be_started_says_why():
    with pytest.raises(FileNotFoundError, match="gone"):
        CommandProcess("study", ["--help"], Path("gone"))


def test_the_runs_that_have_ended_are_not_told_when_leaving():
    process = CommandProcess("study", ["--help"], Path.cwd())
    active = ActiveRuns({Path("config.yaml"): process})
    assert "study" in active.farewell()[0]
    assert wait_until(lambda: process.code is not None)
    assert active.farewell() == []
    process.cancel()
    assert not process.is_cancelled
    process.close()
