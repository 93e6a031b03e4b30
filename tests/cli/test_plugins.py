from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KEYS = ["name", "group", "status", "distribution", "version", "hooks", "error"]


@pytest.fixture
def broken(tmp_path) -> Path:
    """Return a folder with an installed distribution whose one plugin cannot be imported."""
    info = tmp_path / "site" / "broken_dist-0.3.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-dist\nVersion: 0.3\n")
    (info / "entry_points.txt").write_text("[crystallize.plugins]\nbroken = broken_module:Plugin\n")
    (info.parent / "broken_module.py").write_text("raise RuntimeError('out of order')\n")
    return info.parent


def crystallize(*arguments, path="", **environment):
    places = [path, os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", "from crystallize.cli.app import main; main()", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, map(str, places))), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_version_is_that_of_the_distribution():
    import importlib_metadata

    done = crystallize("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == f"crystallize {importlib_metadata.version('crystallize-lab')}"


def test_help_names_the_commands():
    done = crystallize("--help")
    assert done.returncode == 0
    assert "Look at the installed plugins." in done.stdout
    done = crystallize("plugins", "list", "--help")
    assert done.returncode == 0
    assert "--json" in done.stdout


def test_the_json_listing_holds_every_entry_point_with_exactly_these_keys(broken):
    done = crystallize("plugins", "list", "--json", path=broken, CRYSTALLIZE_DISABLE_PLUGINS="logging")
    assert (done.returncode, done.stderr) == (0, "")
    listing = json.loads(done.stdout)
    assert all(list(entry) == KEYS for entry in listing)
    groups = [entry["group"] for entry in listing]
    assert groups == sorted(groups)
    kinds = ("execution", "loaders", "plugins", "verifiers")
    assert {f"crystallize.{kind}" for kind in kinds} == set(groups)
    by_name = {entry["name"]: entry for entry in listing if entry["group"] == "crystallize.plugins"}
    assert by_name["broken"] == {
        "name": "broken",
        "group": "crystallize.plugins",
        "status": "failed",
        "distribution": "broken-dist",
        "version": "0.3",
        "hooks": [],
        "error": "entry point 'broken' of broken-dist 0.3 could not be loaded: RuntimeError: out of order",
    }
    assert by_name["logging"]["status"] == "disabled"
    assert by_name["seed"]["status"] == "active"
    assert by_name["seed"]["hooks"] == ["init_hook", "before_replicate"]


@pytest.mark.parametrize("strict", ["0", "1"])
def test_the_table_is_readable_at_80_columns_and_shows_the_failure(broken, strict):
    done = crystallize("plugins", "list", path=broken, COLUMNS="80", CRYSTALLIZE_STRICT_PLUGINS=strict)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["NAME", "GROUP", "STATUS", "DISTRIBUTION", "HOOKS"]
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in done.stdout
    (row,) = [line for line in lines if line.startswith("broken ")]
    assert row.split() == ["broken", "plugins", "failed", "broken-dist", "0.3"]
    assert "RuntimeError: out of order" in " ".join(done.stdout.split())


def test_the_listing_does_not_import_numpy(broken):
    code = (
        "import sys\n"
        "from crystallize.cli.app import app\n"
        "app(['plugins', 'list'], standalone_mode=False)\n"
        "sys.exit('numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("arguments", [["plugins", "lst"], ["plugins", "list", "--jsn"], ["plugin"]])
def test_a_mistake_is_a_message_and_exit_code_2(arguments):
    done = crystallize(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "No such" in done.stderr
