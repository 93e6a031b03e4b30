"""``crystallize plugins list``: what is installed, and whether it can be used."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

KEYS = ["name", "kind", "group", "status", "distribution", "version", "hooks", "summary", "error"]
OURS = {
    "crystallize.execution": ("strategy", {"async", "process", "serial", "thread"}),
    "crystallize.hashers": ("hasher", {"numpy", "pandas", "polars", "pyarrow", "scipy.sparse", "torch"}),
    "crystallize.loaders": ("loader", {"bytes", "csv", "json", "npy", "npz", "pickle", "text", "yaml"}),
    "crystallize.plugins": ("plugin", {"artifact", "logging", "seed"}),
    "crystallize.verifiers": ("verifier", {"paired_t_test", "sign_flip_test", "welch_t_test"}),
}
GOOD = '''
    """Announcements."""

    from crystallize import BasePlugin, hookimpl


    class Announce(BasePlugin):
        """Announce each run with ``care``.

        And more.
        """

        def after_run(self, result):
            pass

        def before_run(self, experiment):
            pass


    class Far(BasePlugin):
        """Run replicates far away."""

        def __init__(self, address):
            self.address = address

        def run_experiment_loop(self, experiment, replicate_fn):
            return []


    class Toml:
        """Tables as TOML."""

        suffixes = (".toml",)

        def load(self, path):
            return {}

        def dump(self, value):
            return b""


    def content_of_mesh(mesh):
        """Points and triangles."""


    def larger(baseline, treatment):
        """Compare."""


    def greet(name: str = "you"):
        """Greet somebody."""


    @hookimpl
    def init_hook(experiment):
        pass
'''
GROUPS = {
    "crystallize.plugins": {"announce": "acme_good:Announce", "whole": "acme_good"},
    "crystallize.execution": {"far": "acme_good:Far"},
    "crystallize.hashers": {"acme_good.Mesh": "acme_good:content_of_mesh"},
    "crystallize.loaders": {"toml": "acme_good:Toml"},
    "crystallize.verifiers": {"larger": "acme_good:larger"},
    "crystallize.commands": {"greet": "acme_good:greet"},
}


@pytest.fixture
def good(tmp_plugin):
    """Install a distribution that has something of every kind."""
    return tmp_plugin("acme-good", {"acme_good.py": GOOD}, groups=GROUPS, version="1.2")


@pytest.fixture
def broken(tmp_plugin):
    """Install a distribution whose one plugin cannot be imported."""
    files = {"acme_broken.py": "raise RuntimeError('out of order')\n"}
    return tmp_plugin("acme-broken", files, {"broken": "acme_broken:Plugin"}, version="0.3")


def listing(call, *options):
    done = call("plugins", "list", "--json", *options)
    assert done.code == 0
    return json.loads(done.out)


def by_name(installed):
    return {each["name"]: each for each in installed}


# -- json ----------------------------------------------------------------------------------------------------


def test_the_json_listing_holds_every_entry_point_with_exactly_these_keys(call):
    installed = listing(call)
    assert all(list(each) == KEYS for each in installed)
    assert [(each["group"], each["name"]) for each in installed] == sorted(
        (each["group"], each["name"]) for each in installed
    )
    for group, (kind, names) in OURS.items():
        ours = [each for each in installed if each["group"] == group]
        assert names <= {each["name"] for each in ours}
        assert {each["kind"] for each in ours} == {kind}
        assert all(each["summary"] for each in ours)


def test_each_kind_of_a_stranger_is_listed_with_hooks_and_the_first_line_of_its_docstring(call, good):
    theirs = by_name(each for each in listing(call) if each["distribution"] == "acme-good")
    assert theirs["announce"] == {
        "name": "announce",
        "kind": "plugin",
        "group": "crystallize.plugins",
        "status": "active",
        "distribution": "acme-good",
        "version": "1.2",
        "hooks": ["before_run", "after_run"],
        "summary": "Announce each run with ``care``.",
        "error": "",
    }
    told = {name: (each["kind"], each["summary"], each["hooks"]) for name, each in theirs.items()}
    assert told == {
        "announce": ("plugin", "Announce each run with ``care``.", ["before_run", "after_run"]),
        "whole": ("plugin", "Announcements.", ["init_hook"]),
        "far": ("strategy", "Run replicates far away.", ["run_experiment_loop"]),
        "acme_good.Mesh": ("hasher", "Points and triangles.", []),
        "toml": ("loader", "Tables as TOML.", []),
        "larger": ("verifier", "Compare.", []),
        "greet": ("command", "Greet somebody.", []),
    }
    assert {each["status"] for each in theirs.values()} == {"active"}


def test_a_plugin_that_cannot_be_imported_is_failed_with_the_reason_and_stops_nothing(call, broken, good):
    installed = by_name(listing(call))
    assert installed["broken"] == {
        "name": "broken",
        "kind": "plugin",
        "group": "crystallize.plugins",
        "status": "failed",
        "distribution": "acme-broken",
        "version": "0.3",
        "hooks": [],
        "summary": "",
        "error": "entry point 'broken' of acme-broken 0.3 could not be loaded: RuntimeError: out of order",
    }
    assert installed["announce"]["status"] == installed["seed"]["status"] == "active"


@pytest.mark.parametrize(
    ("group", "value", "reason"),
    [
        ("plugins", "NoHook", "has no hook"),
        ("plugins", "Async", "before_run is an async def"),
        ("plugins", "Misspelt", "looks like the hook before_run misspelt"),
        ("plugins", "Missing", "has no attribute 'Missing'"),
        ("execution", "NoHook", "has no method run_experiment_loop"),
        ("execution", "Wrapping", "its run_experiment_loop is a wrapper, which drives nothing"),
        ("execution", "Odd", "run_experiment_loop has an argument 'count'; it may have 'experiment', 'repl"),
        ("execution", "number", "it is no execution strategy: 7 has no run_experiment_loop"),
        ("execution", "AsyncStrategy", "run_experiment_loop is an async def"),
        ("loaders", "NoHook", "a loader has load(path), dump(value) and suffixes"),
        ("loaders", "Raises", "ValueError: no licence"),
        ("hashers", "number", "a hasher is a plain function of one value"),
        ("hashers", "NoHook", "a hasher is a plain function of one value"),
        ("verifiers", "number", "a verifier is a callable"),
        ("verifiers", "one_sample", "called with two samples"),
        ("commands", "number", "neither a Typer app nor a function"),
        ("commands", "Untypable", "neither a Typer app nor a function"),
    ],
)
def test_what_a_use_would_refuse_is_failed(call, tmp_plugin, group, value, reason):
    source = """
        from crystallize import BasePlugin, hookimpl

        class NoHook: pass
        class Untypable: pass
        class Async(BasePlugin):
            async def before_run(self, experiment): pass
        class Misspelt(BasePlugin):
            def before_runs(self, experiment): pass
        class Wrapping:
            @hookimpl(wrapper=True)
            def run_experiment_loop(self): return (yield)
        class Odd:
            def run_experiment_loop(self, experiment, replicate_fn, count): pass
        class AsyncStrategy(BasePlugin):
            async def run_experiment_loop(self, experiment, replicate_fn): pass
        class Raises:
            def __init__(self): raise ValueError("no licence")
        def one_sample(baseline): pass
        number = 7
        """
    name = f"wrong-{value}"
    entries = {f"crystallize.{group}": {name: f"acme_wrong:{value}"}}
    tmp_plugin("acme-wrong", {"acme_wrong.py": source}, groups=entries)
    wrong = by_name(listing(call))[name]
    assert wrong["status"] == "failed"
    assert reason in wrong["error"]


STRANGE = '''
    from crystallize import BasePlugin


    class NoText(Exception):
        def __str__(self):
            raise OSError("no text today")


    class Unprintable:
        def __repr__(self):
            raise OSError("no repr today")


    class Hooks(BasePlugin):
        def active_hooks(self):
            raise OSError("no hooks today")


    class Text(BasePlugin):
        """One line \\x1b[31min red
        and another."""
        def before_run(self): pass


    class Inherits(BasePlugin):
        def before_run(self): pass


    def factory():
        raise NoText
'''


def test_nothing_that_a_plugin_does_when_it_is_looked_at_takes_the_listing_down(call, tmp_plugin):
    names = ["Unprintable", "Hooks", "factory"]
    plugins = {name.lower(): f"acme_strange:{name}" for name in [*names, "Text", "Inherits"]}
    plugins["mute"] = "acme_mute"
    mute = "from crystallize import hookimpl\n@hookimpl\ndef before_run(): pass\ndef read(path): pass\n"
    files = {"acme_strange.py": STRANGE, "acme_mute.py": mute}
    tmp_plugin("acme-strange", files, plugins, groups={"crystallize.loaders": {"reader": "acme_mute:read"}})
    installed = by_name(listing(call))
    assert set(plugins) <= set(installed)
    for name in names:
        assert installed[name.lower()]["status"] == "failed"
    assert "no repr today" in installed["unprintable"]["error"]
    assert "OSError: no hooks today" in installed["hooks"]["error"]
    assert installed["text"]["summary"] == "One line  [31min red"  # no escape reaches the terminal
    assert installed["inherits"]["summary"] == ""  # and not what BasePlugin says of itself
    for name in ("mute", "reader"):
        assert installed[name]["summary"] == ""  # nor what Python says of modules and functions
    for command in (["list", "--all"], ["hooks"], *(["show", name] for name in plugins)):
        done = call("plugins", *command)
        assert done.code == 0
        assert "Traceback" not in done.out + done.err
    assert call("plugins", "check").code == 1


def test_what_plugins_print_when_they_are_imported_does_not_spoil_the_json(call, tmp_plugin):
    source = "import os\nfrom crystallize import BasePlugin\nprint('noise')\nos.write(1, b'louder noise')\n"
    source += "class Plugin(BasePlugin):\n    def before_run(self): pass\n"
    tmp_plugin("acme-noisy", {"acme_noisy.py": source}, {"noisy": "acme_noisy:Plugin"})
    done = call("plugins", "list", "--json")
    assert by_name(json.loads(done.out))["noisy"]["status"] == "active"
    assert "noise" in done.err
    assert "louder noise" in done.err


# -- status --------------------------------------------------------------------------------------------------

TELLTALE = """
    import pathlib
    from crystallize import BasePlugin

    pathlib.Path("imported").touch()

    class Plugin(BasePlugin):
        def before_run(self): pass
"""


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CRYSTALLIZE_DISABLE_PLUGINS", "seed, tell_TALE"),
        ("CRYSTALLIZE_DISABLE_PLUGINS", "Acme.Telltale"),
        ("CRYSTALLIZE_DISABLE_PLUGIN_AUTOLOAD", "1"),
    ],
)
def test_a_disabled_plugin_is_listed_and_not_imported(call, tmp_plugin, monkeypatch, variable, value):
    plugins = {"tell-tale": "acme_telltale:Plugin"}
    tmp_plugin("acme-telltale", {"acme_telltale.py": TELLTALE}, plugins, version="2.0")
    monkeypatch.setenv(variable, value)
    told = by_name(listing(call))["tell-tale"]
    assert told == {
        "name": "tell-tale",
        "kind": "plugin",
        "group": "crystallize.plugins",
        "status": "disabled",
        "distribution": "acme-telltale",
        "version": "2.0",
        "hooks": [],
        "summary": "",
        "error": "",
    }
    for command in ("list", "hooks", "check", "show tell-tale", "show tell-tale --json"):
        assert call("plugins", *command.split()).code == 0
    assert not Path("imported").exists()
    monkeypatch.delenv(variable)
    assert by_name(listing(call))["tell-tale"]["status"] == "active"
    assert Path("imported").exists()


def test_a_name_that_the_core_keeps_is_shadowed_and_not_imported(call, tmp_plugin):
    groups = {
        "crystallize.plugins": {"seed": "acme_shadow:Plugin"},
        "crystallize.commands": {"run": "acme_shadow:Plugin"},
    }
    tmp_plugin("acme-shadow", {"acme_shadow.py": TELLTALE}, groups=groups)
    installed = listing(call)
    status = {(each["name"], each["distribution"]): each["status"] for each in installed}
    assert status["seed", "crystallize-lab"] == "active"
    assert status["seed", "acme-shadow"] == status["run", "acme-shadow"] == "shadowed"
    errors = by_name(each for each in installed if each["status"] == "shadowed")
    assert "stays with crystallize-lab" in errors["seed"]["error"]
    assert "'run' is a command of Crystallize's own" in errors["run"]["error"]
    assert not Path("imported").exists()


def test_a_name_of_two_distributions_is_failed_for_both(call, tmp_plugin):
    for name in ("acme-one", "acme-two"):
        tmp_plugin(name, {f"{name[-3:]}_mod.py": TELLTALE}, {"twin": f"{name[-3:]}_mod:Plugin"})
    twins = [each for each in listing(call) if each["name"] == "twin"]
    assert [each["status"] for each in twins] == ["failed", "failed"]
    assert all("claimed by acme-one 1.0 and acme-two 1.0" in each["error"] for each in twins)
    assert not Path("imported").exists()


def test_all_lists_too_what_another_copy_of_the_distribution_hides(call, tmp_plugin):
    for version in ("1.0", "2.0"):
        tmp_plugin("acme-copy", {"acme_copy.py": TELLTALE}, {"copy": "acme_copy:Plugin"}, version=version)

    def copies(*options):
        return {each["version"]: each for each in listing(call, *options) if each["name"] == "copy"}

    (only,) = copies()
    every = copies("--all")
    (hidden,) = set(every) - {only}
    assert (every[only]["status"], every[hidden]["status"]) == ("active", "shadowed")
    assert f"acme-copy {only}" in every[hidden]["error"]
    assert copies("-a") == every


# -- options -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", OURS)
def test_group_takes_the_full_name_the_short_one_and_the_kind(call, good, group):
    kind, _ = OURS[group]
    expected = [each for each in listing(call) if each["group"] == group]
    for name in (group, group.removeprefix("crystallize."), kind, kind.upper()):
        assert listing(call, "--group", name) == expected


def test_a_group_that_is_not_asked_for_is_not_imported(call, tmp_plugin):
    tmp_plugin("acme-telltale", {"acme_telltale.py": TELLTALE}, {"telltale": "acme_telltale:Plugin"})
    listing(call, "--group", "loaders")
    assert not Path("imported").exists()


def test_hook_lists_who_implements_it(call, good):
    assert [each["name"] for each in listing(call, "--hook", "after_run", "--group", "plugins")] == [
        *("announce", "artifact", "logging")
    ]
    strategies = {
        each["name"] for each in listing(call, "--hook", "run_experiment_loop", "--group", "strategy")
    }
    assert strategies >= {"far", "serial", "thread", "process", "async"}


def test_an_empty_listing_is_one_sentence_and_an_empty_list(call, monkeypatch):
    assert listing(call)  # what that imports is there from now on
    with monkeypatch.context() as where_nothing_is_installed:
        where_nothing_is_installed.setattr(sys, "path", [str(Path(__file__).parents[2])])
        assert listing(call, "--group", "commands") == []
        done = call("plugins", "list", "--group", "command")
    assert (done.code, done.err) == (0, "")
    assert done.out == "Nothing is installed in the group crystallize.commands.\n"
    assert listing(call, "--hook", "before_step") == []
    done = call("plugins", "list", "--hook", "before_step")
    assert done.out == "Nothing that is installed and active implements before_step.\n"
    done = call("plugins", "list", "--hook", "before_step", "--group", "plugins")
    assert done.out == (
        "Nothing that is installed and active in the group crystallize.plugins implements before_step.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["list", "--group", "plugns"], "there is no entry point group 'plugns'. Did you mean 'plugins'?"),
        (["list", "--group", "crystallize.loader"], "Did you mean 'crystallize.loaders'?"),
        (["show", "seed", "--group", "xyz"], "there is no entry point group 'xyz'. Choose from commands, "),
        (["list", "--hook", "after_steps"], "there is no hook 'after_steps'. Did you mean 'after_step'?"),
        (["list", "--json", "--hook", "x"], "there is no hook 'x'. Choose from init_hook, before_run, "),
        (["lst"], "No such command"),
        (["list", "--jsn"], "No such option"),
        (["list", "seed"], "unexpected extra argument"),
        (["show"], "Missing argument"),
    ],
)
def test_a_mistake_is_a_message_and_exit_code_2(call, arguments, told):
    done = call("plugins", *arguments)
    assert (done.code, done.out) == (2, "")
    assert told in " ".join(done.err.replace("│", " ").split())
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("crystallize plugins show pro", {"process"}),
        ("crystallize plugins list --group lo", {"loader", "loaders"}),
        ("crystallize plugins list --hook before_r", {"before_replicate", "before_run"}),
    ],
)
def test_the_shell_completes_names_groups_and_hooks(run_python, words, expected):
    done = run_python(
        "from crystallize.cli.app import app; app(prog_name='crystallize')",
        env={"_CRYSTALLIZE_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": words},
    )
    assert set(re.findall(r'"([\w-]+)"', done.stdout)) == expected


# -- the table -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strict", ["0", "1"])
def test_at_80_columns_hooks_and_summary_stand_below_the_entry(command, broken, good, strict):
    done = command("plugins", "list", COLUMNS="80", CRYSTALLIZE_STRICT_PLUGINS=strict)
    lines = done.stdout.splitlines()
    assert done.stderr == ""
    assert lines[0].split() == ["NAME", "KIND", "STATUS", "DISTRIBUTION", "VERSION"]
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in done.stdout
    assert all(line == line.rstrip() for line in lines)
    at = next(number for number, line in enumerate(lines) if line.startswith("announce "))
    assert lines[at].split() == ["announce", "plugin", "active", "acme-good", "1.2"]
    assert lines[at + 1] == "    Announce each run with `care`."
    assert lines[at + 2] == "    hooks: before_run, after_run"
    (row,) = [line for line in lines if line.startswith("broken ")]
    assert row.split() == ["broken", "plugin", "failed", "acme-broken", "0.3"]
    assert (
        "failed: entry point 'broken' of acme-broken 0.3 could not be loaded:\n  RuntimeError" in done.stdout
    )


def test_at_200_columns_each_entry_is_a_line(command, broken, good):
    lines = command("plugins", "list", COLUMNS="200").stdout.splitlines()
    assert lines[0].split()[-2:] == ["HOOKS", "SUMMARY"]
    assert max(map(len, lines)) <= 200
    (row,) = [line for line in lines if line.startswith("announce ")]
    assert row.split(maxsplit=7)[5:] == ["before_run", "after_run", "Announce each run with `care`."]
    assert row.index("before_run") == lines[0].index("HOOKS")
    assert row.index("Announce each") == lines[0].index("SUMMARY")


def test_long_names_do_not_push_the_table_over_the_edge(command, tmp_plugin):
    name = "acme-distribution-with-a-name-that-goes-on-and-on"
    tmp_plugin(name, {"acme_long.py": TELLTALE}, {"a-plugin-with-a-long-name": "acme_long:Plugin"})
    lines = command("plugins", "list", COLUMNS="80").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    at = next(number for number, line in enumerate(lines) if line.startswith("a-plugin-with"))
    assert lines[at + 1] == f"    {name} 1.0"


@pytest.mark.usefixtures("warm_processes")
def test_a_terminal_gets_colours_unless_no_color_is_set(broken):
    def shown(**environment):
        main, side = pty.openpty()
        code = "from crystallize.cli.app import main; main()"
        with subprocess.Popen(
            [sys.executable, "-c", code, "plugins", "list"],
            env={**os.environ, "COLUMNS": "80", "TERM": "xterm", **environment},
            stdout=side,
            stdin=subprocess.DEVNULL,
        ) as process:
            os.close(side)
            text = b""
            while True:
                try:
                    part = os.read(main, 65536)
                except OSError:  # how Linux tells that nobody writes any more
                    break
                if not part:
                    break
                text += part
        os.close(main)
        assert process.returncode == 0
        return text.decode()

    assert "\x1b[31mfailed" in shown()
    assert "\x1b" not in shown(NO_COLOR="1")


def test_listing_and_showing_import_no_numpy(good, run_python):
    run_python(
        """
import sys
from crystallize.cli.app import app
for arguments in (["list"], ["list", "--json"], ["show", "seed"], ["hooks"], ["check"]):
    app(["plugins", *arguments], standalone_mode=False)
    assert not {"numpy", "rich", "yaml", "scipy"} & set(sys.modules), arguments
""",
        fresh=True,
    )


# -- the program ---------------------------------------------------------------------------------------------


def test_the_version_is_that_of_the_distribution(command):
    import importlib_metadata

    assert (
        command("--version").stdout.strip() == f"crystallize {importlib_metadata.version('crystallize-lab')}"
    )


def test_help_names_the_commands(command):
    assert "Look at the installed plugins." in command("--help").stdout
    told = command("plugins", "--help").stdout
    for name, summary in {
        "list": "List the installed plugins",
        "show": "Show what one plugin is",
        "hooks": "Show every hook",
        "check": "Load everything that is installed",
    }.items():
        assert re.search(rf"\b{name}\b.*{summary}", told)
