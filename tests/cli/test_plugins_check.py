"""``crystallize plugins check``: every failure with the traceback of the plugin's own code."""

from __future__ import annotations

import pytest


def check(call, code):
    done = call("plugins", "check")
    assert done.code == code, done.out + done.err
    return done.out


def test_nothing_wrong_is_one_line_and_exit_code_0(command):
    done = command("plugins", "check")
    assert done.stderr == ""
    count, _, rest = done.stdout.removeprefix("Entry points: ").partition(" ")
    assert int(count) >= 18
    assert rest == "loaded, all is well.\n"


def test_what_is_switched_off_is_counted_and_not_imported(command, tmp_plugin):
    tmp_plugin("acme-off", {"acme_off.py": "raise SystemExit(7)"}, {"off": "acme_off:Plugin"})
    done = command("plugins", "check", CRYSTALLIZE_DISABLE_PLUGINS="off,logging")
    assert done.stdout.endswith(" loaded, 2 switched off and not looked at, all is well.\n")


BROKEN = """
from acme_helper import divide


class Plugin:
    def __init__(self):
        try:
            divide(1, 0)
        except ZeroDivisionError as error:
            raise ValueError("no licence") from error
"""


def test_a_failure_has_the_traceback_of_the_plugins_own_code_and_of_nothing_else(call, tmp_plugin):
    files = {"acme_broken.py": BROKEN, "acme_helper.py": "def divide(a, b):\n    return a / b\n"}
    folder = tmp_plugin("acme-broken", files, {"broken": "acme_broken:Plugin"}, version="0.3")
    done = call("plugins", "check")
    assert done.code == 1
    headline, _, rest = done.out.partition("\n  Traceback (most recent call last):\n")
    told = " ".join(headline.split())
    assert told.startswith("failed: entry point 'broken' of acme-broken 0.3 could not be loaded: the class ")
    assert "ValueError: no licence" in told
    assert "group crystallize.plugins, value 'acme_broken:Plugin'" in told
    frames = [
        line.split(", in ")[0].strip() for line in rest.splitlines() if line.strip().startswith("File ")
    ]
    assert frames == [
        f'File "{folder / "acme_broken.py"}", line 8',
        f'File "{folder / "acme_helper.py"}", line 2',
        f'File "{folder / "acme_broken.py"}", line 10',
    ]
    assert "ZeroDivisionError: division by zero" in rest
    assert "The above exception was the direct cause" in rest
    assert done.out.splitlines()[-1].endswith(" loaded, 1 failed.")


def test_a_failure_at_import_starts_with_the_plugins_module(call, tmp_plugin):
    files = {"acme_outer.py": "import acme_inner\n", "acme_inner.py": "raise RuntimeError('out of order')\n"}
    folder = tmp_plugin("acme-broken", files, {"broken": "acme_outer"})
    told = check(call, 1)
    frames = [line.strip() for line in told.splitlines() if line.strip().startswith("File ")]
    assert frames == [
        f'File "{folder / "acme_outer.py"}", line 1, in <module>',
        f'File "{folder / "acme_inner.py"}", line 1, in <module>',
    ]
    assert "  RuntimeError: out of order\n" in told


def test_a_syntax_error_shows_the_line(call, tmp_plugin):
    folder = tmp_plugin("acme-syntax", {"acme_syntax.py": "x = 1\ndef (:\n"}, {"syntax": "acme_syntax"})
    told = check(call, 1)
    assert f'File "{folder / "acme_syntax.py"}", line 2\n' in told
    assert "def (:" in told
    assert "importlib" not in told


def test_a_refusal_of_ours_has_no_traceback(call, tmp_plugin):
    source = (
        "from crystallize import BasePlugin\nclass Plugin(BasePlugin):\n    def before_runs(self): pass\n"
    )
    groups = {
        "crystallize.plugins": {"misspelt": "acme_wrong:Plugin", "missing": "acme_wrong:Nothing"},
        "crystallize.verifiers": {"short": "acme_wrong:Plugin"},
    }
    tmp_plugin("acme-wrong", {"acme_wrong.py": source}, groups=groups)
    told = check(call, 1)
    assert "the method before_runs looks like the hook before_run misspelt" in told
    assert "module 'acme_wrong' has no attribute 'Nothing'" in told
    assert "a verifier is an instance, got the class Plugin" in told
    assert "Traceback" not in told
    assert "3 failed." in told


def test_names_claimed_twice_and_names_that_the_core_keeps_are_failures(call, tmp_plugin):
    for name in ("acme-one", "acme-two"):
        module = name.replace("-", "_")
        tmp_plugin(name, {f"{module}.py": ""}, {"twin": module, "seed": module})
    told = " ".join(check(call, 1).split())
    assert told.count("the name 'twin' is claimed by acme-one 1.0 and acme-two 1.0") == 2
    assert told.count("shadowed: entry point 'seed' of acme-") == 2
    assert "4 failed." in told


@pytest.mark.parametrize(
    ("group", "meant"),
    [
        ("crystallize.plugin", "crystallize.plugins"),
        ("crystallize.Plugins", "crystallize.plugins"),
        ("crystallize.strategy", "crystallize.execution"),
        ("crystallize.executions", "crystallize.execution"),
        ("crystallize.verifier", "crystallize.verifiers"),
        ("crystalize.loaders", "crystallize.loaders"),
        ("crystallise.commands", "crystallize.commands"),
    ],
)
def test_a_misspelt_group_is_a_failure_that_names_the_group_that_was_meant(call, tmp_plugin, group, meant):
    folder = tmp_plugin("acme-stray", {}, groups={group: {"one": "nowhere", "two": "nowhere"}}, version="2.1")
    told = " ".join(check(call, 1).split())
    for name in ("one", "two"):
        assert f"entry point {name!r} of acme-stray 2.1 could not be loaded: nobody reads this group" in told
    assert f"(group {group}, " in told
    assert str(folder) in told
    assert f"Did you mean {meant!r}?" in told
    assert told.endswith("loaded, 2 failed.")


@pytest.mark.parametrize(
    "group", ["crystallize.exporters", "crystallize.reports", "console_scripts", "crystal.ball"]
)
def test_a_group_of_somebody_else_is_left_alone(call, tmp_plugin, group):
    tmp_plugin("acme-other", {}, groups={group: {"one": "nowhere"}})
    assert check(call, 0).endswith(" loaded, all is well.\n")


def test_metadata_with_a_mistake_is_a_failure(call, tmp_plugin):
    folder = tmp_plugin("acme-meta", {}, {"one": "nowhere"})
    entries = next(folder.glob("*.dist-info/entry_points.txt"))
    entries.write_text("[crystallize.plugins]\nno equals sign\n")
    told = " ".join(check(call, 1).split())
    assert "acme-meta 1.0 could not be loaded: line 2 of its entry_points.txt, 'no equals sign'," in told


def test_a_command_that_typer_cannot_use_is_a_failure(call, tmp_plugin):
    source = """
        from typing import Annotated
        import typer

        def strange(argument: Annotated[str, typer.Argument(), typer.Option()]): pass
        """
    groups = {"crystallize.commands": {"strange": "acme_strange_command:strange"}}
    tmp_plugin("acme-command", {"acme_strange_command.py": source}, groups=groups)
    assert "Typer cannot use it" in " ".join(check(call, 1).split())
