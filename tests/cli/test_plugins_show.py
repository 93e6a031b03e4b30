"""``crystallize plugins show`` and ``crystallize plugins hooks``."""

from __future__ import annotations

import inspect
import json
from textwrap import dedent

import pytest

from crystallize import hookspecs
from crystallize.plugins.base import HOOK_NAMES

KEYS = [
    *("name", "kind", "group", "status", "distribution", "version", "hooks", "summary", "error"),
    *("value", "documentation", "settings", "environment", "calls", "switch_off", "disabled_by", "source"),
    *("distribution_summary", "homepage"),
]
SOURCE = '''
    from typing import ClassVar

    from crystallize import BasePlugin, SeedPlugin, hookimpl
    from crystallize.plugins.plugins import ArtifactPlugin


    class Watch(BasePlugin):
        """Watch the memory of a graphics card.

        It asks ``nvidia-smi``, which :class:`subprocess.Popen` starts.

        Parameters
        ----------
        device : int, default 0
            Which card.

            Or which other card.
        every, some : float
            Seconds: between two looks, and at the end.

        Notes
        -----
        This is no prose of the page.
        """

        environment: ClassVar = {"GPU_DEVICE": "the card, where `device` is not given"}

        def __init__(self, device=0, every: float = 1.0, *, some: "float | None" = None, bare=()):
            pass

        @hookimpl(tryfirst=True)
        def before_replicate(self, ctx):
            pass

        @hookimpl(wrapper=True)
        def after_run(self, result):
            yield

        @hookimpl(trylast=True)
        def before_run(self, experiment):
            pass


    class Far(BasePlugin):
        """Run replicates far away."""

        def __init__(self, address: str):
            self.address = address

        def run_experiment_loop(self, experiment, replicate_fn):
            return []


    class Near(BasePlugin):
        def run_experiment_loop(self, experiment, replicate_fn):
            return []


    class WATCH:
        """A loader of the same name."""

        suffixes = ()

        def load(self, path): ...
        def dump(self, value): ...


    def greet():
        """Greet somebody."""
'''
GROUPS = {
    "crystallize.plugins": {"gpu-watch": "acme_watch:Watch"},
    "crystallize.execution": {"far": "acme_watch:Far", "near": "acme_watch:Near"},
    "crystallize.loaders": {"GPU_Watch": "acme_watch:WATCH"},
    "crystallize.commands": {"greet": "acme_watch:greet"},
}
METADATA = {
    "Summary": "Watches graphics cards",
    "Project-URL": ["Documentation, https://docs.example.org", "Homepage, https://example.org/watch"],
}


@pytest.fixture
def watch(tmp_plugin):
    """Install a distribution with a plugin, two strategies, a loader and a command."""
    return tmp_plugin(
        "acme-watch", {"acme_watch.py": SOURCE}, groups=GROUPS, version="1.2", metadata=METADATA
    )


def pages(call, *arguments):
    done = call("plugins", "show", *arguments, "--json")
    assert (done.code, done.err) == (0, "")
    return json.loads(done.out)


# -- show ----------------------------------------------------------------------------------------------------


def test_the_json_page_of_a_plugin_has_exactly_these_keys(call, watch):
    (page,) = pages(call, "gpu-watch", "--group", "plugins")
    assert list(page) == KEYS
    documentation = page.pop("documentation")
    assert documentation.startswith("Watch the memory")
    assert documentation.endswith("no prose of the page.")
    line = dedent(SOURCE).splitlines().index("class Watch(BasePlugin):") + 1
    assert page == {
        "name": "gpu-watch",
        "kind": "plugin",
        "group": "crystallize.plugins",
        "status": "active",
        "distribution": "acme-watch",
        "version": "1.2",
        "hooks": ["before_run", "before_replicate", "after_run"],
        "summary": "Watch the memory of a graphics card.",
        "error": "",
        "value": "acme_watch:Watch",
        "settings": [
            {"name": "device", "type": "", "default": "0"},
            {"name": "every", "type": "float", "default": "1.0"},
            {"name": "some", "type": "float | None", "default": "None"},
            {"name": "bare", "type": "", "default": "()"},
        ],
        "environment": {"GPU_DEVICE": "the card, where `device` is not given"},
        "calls": [
            {"hook": "before_run", "runs_in": "coordinator", "position": 3, "of": 3, "options": ["trylast"]},
            {
                "hook": "before_replicate",
                "runs_in": "worker",
                "position": 1,
                "of": 2,
                "options": ["tryfirst"],
            },
            {"hook": "after_run", "runs_in": "coordinator", "position": 1, "of": 3, "options": ["wrapper"]},
        ],
        "switch_off": [
            'Experiment(disable_plugins=["gpu-watch"])',
            "plugins: {gpu-watch: false} in config.yaml",
            "crystallize run -p no:gpu-watch",
            "CRYSTALLIZE_DISABLE_PLUGINS=gpu-watch",
            "CRYSTALLIZE_DISABLE_PLUGIN_AUTOLOAD=1, with all others that are not Crystallize's own",
        ],
        "disabled_by": "",
        "source": {"file": str(watch / "acme_watch.py"), "line": line},
        "distribution_summary": "Watches graphics cards",
        "homepage": "https://example.org/watch",
    }


def test_the_page_reads_well_at_80_columns(command, watch):
    done = command("plugins", "show", "gpu-watch", "--group", "plugin", COLUMNS="80")
    source = watch / "acme_watch.py"
    assert done.stderr == ""
    assert done.stdout.replace(str(source), "FILE") == dedent("""\
        gpu-watch: plugin of acme-watch 1.2, active

        Watch the memory of a graphics card.

        It asks `nvidia-smi`, which `subprocess.Popen` starts.

        entry point  gpu-watch = acme_watch:Watch
        group        crystallize.plugins
        source       FILE:8
        homepage     https://example.org/watch

        Settings
          device = 0
          every: float = 1.0
          some: float | None = None
          bare = ()

          device : int, default 0
              Which card.

              Or which other card.
          every, some : float
              Seconds: between two looks, and at the end.

        Environment variables
          GPU_DEVICE  the card, where `device` is not given

        Hooks, in the order of a run
          before_run        coordinator  3 of 3, trylast
          before_replicate  worker       1 of 2, tryfirst
          after_run         coordinator  1 of 3, wrapper

        To switch it off
          Experiment(disable_plugins=["gpu-watch"])
          plugins: {gpu-watch: false} in config.yaml
          crystallize run -p no:gpu-watch
          CRYSTALLIZE_DISABLE_PLUGINS=gpu-watch
          CRYSTALLIZE_DISABLE_PLUGIN_AUTOLOAD=1, with all others that are not Crystallize's own
        """)


@pytest.mark.parametrize("name", ["gpu-watch", "GPU_watch", "Gpu.Watch"])
def test_a_name_is_folded_and_shown_of_every_group_that_has_it(call, watch, name):
    assert [(page["kind"], page["name"]) for page in pages(call, name)] == [
        ("loader", "GPU_Watch"),
        ("plugin", "gpu-watch"),
    ]
    assert [page["kind"] for page in pages(call, name, "--group", "loader")] == ["loader"]
    done = call("plugins", "show", name)
    assert "GPU_Watch: loader of acme-watch 1.2, active" in done.out
    assert "\n\ngpu-watch: plugin of acme-watch 1.2, active" in done.out


def test_each_kind_has_a_page(call, watch):
    (strategy,) = pages(call, "near")
    (call_of_it,) = strategy["calls"]
    assert (call_of_it["position"], call_of_it["of"]) == (1, 1)  # in the place of serial
    assert strategy["switch_off"] == []
    (verifier,) = pages(call, "welch-t-test")
    assert [setting["name"] for setting in verifier["settings"]] == ["alpha"]
    assert verifier["source"]["file"].endswith("verifiers.py")
    (loader,) = pages(call, "json")
    assert (loader["calls"], loader["settings"]) == ([], [])
    (theirs,) = pages(call, "greet")
    assert theirs["documentation"] == "Greet somebody."
    assert "Its options: crystallize greet --help" in call("plugins", "show", "greet").out


def test_a_strategy_that_needs_arguments_is_shown_without_being_made(call, watch):
    (page,) = pages(call, "far")
    assert page["status"] == "active"
    assert page["settings"] == [{"name": "address", "type": "str", "default": None}]
    assert page["calls"] == [
        {
            "hook": "run_experiment_loop",
            "runs_in": "coordinator",
            "position": None,
            "of": None,
            "options": [],
        }
    ]
    assert "address: str (must be given)" in call("plugins", "show", "far").out


SHAPES = """\
from functools import partial

import typer

from crystallize import BasePlugin, hookimpl, verifier


class Plugin(BasePlugin):
    def before_run(self): pass


@verifier
def larger(baseline, treatment): return {}


@hookimpl
def after_run(): pass


def make(): return Plugin()


instance, short, app = Plugin(), partial(make), typer.Typer(callback=make)
"""


@pytest.mark.parametrize(
    ("group", "value", "line"),
    [
        ("plugins", ":Plugin", 8),
        ("plugins", ":instance", 8),
        ("plugins", ":make", 20),
        ("plugins", ":short", 1),  # a class of the standard library: the module is what can be told
        ("plugins", "", 1),
        ("verifiers", ":larger", 12),
        ("commands", ":app", 1),
        ("commands", ":make", 20),
    ],
)
def test_the_source_is_where_the_plugins_own_code_is(call, tmp_plugin, group, value, line):
    groups = {f"crystallize.{group}": {"shape": f"acme_shapes{value}"}}
    folder = tmp_plugin("acme-shapes", {"acme_shapes.py": SHAPES}, groups=groups)
    (page,) = pages(call, "shape")
    assert (page["status"], page["error"]) == ("active", "")
    assert page["source"] == {"file": str(folder / "acme_shapes.py"), "line": line}


def test_a_disabled_plugin_is_shown_by_what_its_metadata_tells(call, watch, monkeypatch):
    monkeypatch.setenv("CRYSTALLIZE_DISABLE_PLUGINS", "acme_watch")
    (watch / "acme_watch.py").write_text("raise SystemExit('imported')")
    (page,) = pages(call, "gpu-watch", "--group", "plugins")
    assert (page["status"], page["disabled_by"]) == ("disabled", "CRYSTALLIZE_DISABLE_PLUGINS")
    assert (page["documentation"], page["settings"], page["calls"]) == ("", [], [])
    assert (page["source"], page["homepage"]) == (None, "https://example.org/watch")
    told = call("plugins", "show", "gpu-watch", "--group", "plugins").out
    assert "It is switched off by CRYSTALLIZE_DISABLE_PLUGINS, so it was not imported." in told
    assert "Its distribution says: Watches graphics cards" in told
    assert "To switch it off" not in told
    monkeypatch.delenv("CRYSTALLIZE_DISABLE_PLUGINS")
    monkeypatch.setenv("CRYSTALLIZE_DISABLE_PLUGIN_AUTOLOAD", "1")
    (page,) = pages(call, "gpu-watch", "--group", "plugins")
    assert page["disabled_by"] == "CRYSTALLIZE_DISABLE_PLUGIN_AUTOLOAD"


def test_a_failed_plugin_is_shown_with_the_reason(call, tmp_plugin):
    files = {"acme_broken.py": "raise RuntimeError('out of order')"}
    tmp_plugin("acme-broken", files, {"broken": "acme_broken"}, metadata={"Home-page": "https://example.org"})
    done = call("plugins", "show", "broken")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("broken: plugin of acme-broken 1.0, failed\n\nentry point 'broken'")
    assert "RuntimeError: out of order" in done.out
    assert "https://example.org" in done.out
    assert "disable_plugins" in done.out


def test_strange_settings_environment_and_metadata_do_not_take_the_page_down(call, tmp_plugin):
    source = """
        from crystallize import BasePlugin

        class Unprintable:
            def __repr__(self):
                raise OSError("no repr today")

        class Strange(BasePlugin):
            environment = 7
            def __init__(self, thing=Unprintable()): pass
            def before_run(self): pass
        """
    folder = tmp_plugin("acme-strange", {"acme_strange.py": source}, {"strange": "acme_strange:Strange"})
    (page,) = pages(call, "strange")
    assert (page["environment"], page["documentation"]) == ({}, "")
    (setting,) = page["settings"]
    assert "OSError: no repr today" in setting["default"]
    next(folder.glob("*.dist-info/METADATA")).unlink()
    (page,) = pages(call, "strange")
    assert (page["status"], page["homepage"]) == ("active", "")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("gpu-wach", "nothing that is installed is called 'gpu-wach'. Did you mean 'gpu-watch'"),
        ("prcess", "Did you mean 'process'?"),
        ("acme-watch", "It is a distribution, which brings GPU_Watch, far, gpu-watch, greet, near."),
        (
            "zzz",
            "Installed are command: greet",
        ),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest_and_all_that_there_are(call, watch, name, told):
    done = call("plugins", "show", name)
    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert "Traceback" not in done.err


# -- hooks ---------------------------------------------------------------------------------------------------


def hooks(call):
    done = call("plugins", "hooks", "--json")
    assert (done.code, done.err) == (0, "")
    return json.loads(done.out)


def test_hooks_are_told_in_the_order_of_a_run_as_they_are_specified(call):
    every = hooks(call)
    assert [list(hook) for hook in every] == [
        ["name", "arguments", "runs_in", "firstresult", "summary", "implementers"]
    ] * len(HOOK_NAMES)
    assert [hook["name"] for hook in every] == list(HOOK_NAMES)
    for hook in every:
        specification = getattr(hookspecs, hook["name"])
        assert hook["arguments"] == list(inspect.signature(specification).parameters)
        assert hook["runs_in"] == hookspecs.RUNS_IN[hook["name"]]
        assert hook["summary"] == specification.__doc__.splitlines()[0]
    assert [hook["name"] for hook in every if hook["firstresult"]] == ["run_experiment_loop"]


ORDER = """
    from crystallize import BasePlugin, hookimpl

    def remember(name, experiment, mark=""):
        with open("calls", "a") as calls:
            calls.write(f"{name} {mark}\\n")

    class First(BasePlugin):
        @hookimpl(tryfirst=True)
        def before_run(self, experiment): remember("z-first", experiment)

    class Last(BasePlugin):
        @hookimpl(trylast=True)
        def before_run(self, experiment): remember("a-last", experiment)

    class Around(BasePlugin):
        @hookimpl(wrapper=True, trylast=True)
        def before_run(self, experiment):
            remember("m-around", experiment, "enters")
            yield
            remember("m-around", experiment, "leaves")

    class Plain(BasePlugin):
        def before_run(self, experiment): remember("b-plain", experiment)
    """


def test_the_order_is_the_one_in_which_a_run_calls_them(call, tmp_plugin, run_python):
    plugins = {"z-first": "First", "a-last": "Last", "m-around": "Around", "b-plain": "Plain"}
    entries = {name: f"acme_order:{value}" for name, value in plugins.items()}
    tmp_plugin("acme-order", {"acme_order.py": ORDER}, entries)
    before_run = next(hook for hook in hooks(call) if hook["name"] == "before_run")
    theirs = [each for each in before_run["implementers"] if each["distribution"] == "acme-order"]
    assert theirs == [
        {"plugin": name, "distribution": "acme-order", "version": "1.0", "options": options}
        for name, options in (
            ("m-around", ["wrapper", "trylast"]),
            ("z-first", ["tryfirst"]),
            ("b-plain", []),
            ("a-last", ["trylast"]),
        )
    ]
    code = "from crystallize import Experiment, Pipeline, pipeline_step\n"
    code += "step = pipeline_step()(lambda data: data)\n"
    code += "experiment = Experiment(lambda: 1, Pipeline([step()]))\n"
    code += "print({name: names for name, names in experiment.plugins.order().items()})\n"
    code += "experiment.run(replicates=1)\n"
    order = eval(run_python(code).stdout)
    assert order == {
        hook["name"]: [each["plugin"] for each in hook["implementers"]]
        for hook in hooks(call)
        if hook["implementers"]
    }


def test_hooks_reads_well_and_says_who_was_left_out(command, tmp_plugin):
    tmp_plugin(
        "acme-order", {"acme_order.py": ORDER}, {"m-around": "acme_order:Around", "bad": "acme_order:No"}
    )
    done = command("plugins", "hooks", COLUMNS="80", CRYSTALLIZE_DISABLE_PLUGINS="logging")
    assert done.stderr == ""
    assert done.stdout.startswith(
        "init_hook(experiment)\n"
        "    In the coordinator: Look at, or complete, an experiment that was just built.\n"
        "     1. seed      crystallize-lab "
    )
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "     1. m-around  acme-order 1.0         wrapper trylast\n     2. artifact" in done.stdout
    assert "before_step(experiment, step, ctx)\n    In the worker: " in done.stdout
    assert "\n    Nobody implements it.\n" in done.stdout
    assert done.stdout.endswith("\nLeft out, since disabled or failed: bad, logging\n")


def test_a_broken_plugin_does_not_stop_the_hooks_even_in_strict_mode(command, tmp_plugin):
    tmp_plugin("acme-order", {"acme_order.py": "1 / 0"}, {"bad": "acme_order:No"})
    done = command("plugins", "hooks", CRYSTALLIZE_STRICT_PLUGINS="1")
    assert "Left out, since disabled or failed: bad" in done.stdout


def test_a_plugin_with_the_name_of_a_strategy_is_told_from_it(call, tmp_plugin):
    tmp_plugin("acme-order", {"acme_order.py": ORDER}, {"serial": "acme_order:Plain"})
    loop = next(hook for hook in hooks(call) if hook["name"] == "run_experiment_loop")
    assert loop["implementers"][-1] == {
        "plugin": "serial-2",
        "distribution": "crystallize-lab",
        "version": loop["implementers"][0]["version"],
        "options": [],
    }
    (strategy, plugin) = pages(call, "serial")
    assert [each["hook"] for each in strategy["calls"]] == ["run_experiment_loop"]
    assert [each["hook"] for each in plugin["calls"]] == ["before_run"]
