from __future__ import annotations

import json
import logging
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from crystallize import (
    Artifact,
    ArtifactPlugin,
    BasePlugin,
    Experiment,
    Hypothesis,
    ParallelExecution,
    Pipeline,
    PipelineStep,
    data_source,
    open_run,
    paired_t_test,
    treatment,
)
from crystallize.errors import ArtifactError, InvalidTypeError, InvalidValueError, PluginError, StoreError
from crystallize.store.journal_writer import FLUSH_SECONDS
from crystallize.store.layout import METADATA
from crystallize.store.retention import pin, unpin


class ModelStep(PipelineStep):
    def __init__(self, out: Artifact) -> None:
        self.out = out

    def __call__(self, data: Any, ctx: Any) -> Any:
        written = self.out.write(f"{ctx['condition']} {ctx['replicate']}")
        ctx.metrics.add("size", written.stat().st_size)
        return data

    @property
    def params(self) -> dict[str, Any]:
        return {}


def experiment(*plugins: object, name: str | None = "exp", step: Any = None, **options: Any) -> Experiment:
    out = Artifact("model.txt")
    return Experiment(
        lambda: None,
        Pipeline([step or ModelStep(out)]),
        name=name,
        plugins=list(plugins),
        outputs=[out],
        treatments=[treatment("high", {})],
        **options,
    )


def tree(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def load(path: Path) -> Any:
    return json.loads(path.read_text())


# -- what is on disk --------------------------------------------------------------------------------------------


def test_a_run_is_stored_in_the_documented_layout() -> None:
    result = experiment(ArtifactPlugin(root_dir="artifacts", versioned=True)).run(replicates=2)
    assert result.path == Path.cwd() / "artifacts" / "exp" / "v0"
    files = {
        f"{condition}/{name}"
        for condition in ("baseline", "high")
        for name in ("results.json", ".crystallize_complete")
    }
    files |= {f"replicate_{i}/{c}/ModelStep/model.txt" for i in range(2) for c in ("baseline", "high")}
    assert tree(Path("artifacts")) == {
        f"exp/v0/{name}" for name in files | {METADATA, "_manifest.json", "journal.jsonl"}
    }
    assert (result.path / "replicate_1/high/ModelStep/model.txt").read_text() == "high 1"


def test_every_entry_of_the_result_leads_to_its_file() -> None:
    result = experiment().run(replicates=2)
    assert result.path is not None
    manifest = load(result.path / "_manifest.json")["model.txt"]
    assert manifest["step"] == "ModelStep"
    for entry in result.artifacts:
        assert (result.path / entry.path).stat().st_size == entry.size
        assert manifest["files"][entry.path] == {"size": entry.size, "digest": entry.digest}
    assert len(result.artifacts) == len(manifest["files"]) == 4


def test_by_default_runs_are_stored_below_data_and_none_takes_the_place_of_another() -> None:
    for version in ("v0", "v1", "v2"):
        assert experiment().run().path == Path.cwd() / "data" / "exp" / version
    assert sorted(path.name for path in Path("data/exp").iterdir()) == ["v0", "v1", "v2"]


def test_without_versions_a_run_takes_the_place_of_the_last_and_no_file_of_that_is_left() -> None:
    def write(data: Any, ctx: Any) -> Any:
        ctx.artifacts.write(f"of {ctx['replicate']}", b"x")
        return data

    first = experiment(ArtifactPlugin(versioned=False)).run(replicates=3)
    second = experiment(ArtifactPlugin(versioned=False), step=write).run(replicates=1)
    assert first.path == second.path == Path.cwd() / "data" / "exp" / "v0"
    assert [path.name for path in Path("data/exp").iterdir()] == ["v0"]
    assert {path.name for path in Path("data").rglob("replicate_*/*/*/*")} == {"of 0"}


def test_an_experiment_without_a_name_is_stored_under_its_id() -> None:
    unnamed = experiment(name=None)
    assert unnamed.run().path == Path.cwd() / "data" / unnamed.id / "v0"


def test_results_hold_the_metrics_with_all_their_digits() -> None:
    def record(data: Any, ctx: Any) -> Any:
        for value in (0.1 + 0.2, math.nan, -math.inf, 3, "text", None, 1j, [1, 2]):
            ctx.metrics.add("m", value)
        return data

    result = experiment(step=record).run()
    assert result.path is not None
    stored = load(result.path / "high" / "results.json")
    assert list(stored) == ["metrics", "replicates"]
    assert stored["replicates"] == {"m": [0] * 8}
    values = stored["metrics"]["m"]
    assert math.isnan(values.pop(1))
    assert values == [0.1 + 0.2, -math.inf, 3, "text", None, "1j", [1, 2]]


def test_metadata_tell_what_ran_and_how_it_ended() -> None:
    result = experiment(ArtifactPlugin("here", artifact_retention=3), description="why", seed=5).run(
        replicates=3
    )
    assert result.path is not None
    metadata = load(result.path / METADATA)
    assert {key: metadata[key] for key in ("name", "description", "replicates", "status", "master_seed")} == {
        "name": "exp",
        "description": "why",
        "replicates": 3,
        "status": "complete",
        "master_seed": 5,
    }
    assert list(metadata["conditions"]) == ["baseline", "high"]
    plugins = {plugin["name"]: plugin for plugin in metadata["plugins"]}
    assert {"logging", "seed", "serial"} < set(plugins)
    (ours,) = (plugin for plugin in plugins.values() if "artifact_retention" in plugin["settings"])
    assert ours["settings"] == ArtifactPlugin("here", True, 3, None).settings
    assert metadata["command"] == sys.orig_argv
    assert metadata["environment"]["python"] == sys.version.split()[0]
    assert metadata["started"] <= metadata["finished"]


def test_metadata_tell_what_the_run_did_about_failures() -> None:
    asked: list[tuple[dict[str, Any], tuple[Any, ...]]] = [
        ({}, (None, 0, None)),
        ({"on_error": "stop", "retries": 2, "timeout": 60}, (0, 2, 60.0)),
        ({"max_failures": 3}, (3, 0, None)),
    ]
    for options, policy in asked:
        path = experiment(**options).run().path
        assert path is not None
        stored = load(path / METADATA)["failure_policy"]
        assert (stored["max_failures"], stored["retries"], stored["timeout"]) == policy


def test_metadata_have_the_hypotheses_of_this_run() -> None:
    own, other = (Hypothesis(paired_t_test, "size", name=name) for name in ("own", "other"))
    study = experiment(hypotheses=[own])
    for hypotheses, names in ((None, ["own"]), ([other], ["other"]), ([], [])):
        path = study.run(replicates=3, hypotheses=hypotheses).path
        assert path is not None
        metadata = load(path / METADATA)
        assert [each["name"] for each in metadata["hypotheses"]] == names
        assert list(metadata["signature"]["hypotheses"]) == names


def test_metadata_of_a_resumed_run_tell_how_many_replicates_it_keeps() -> None:
    study = experiment()
    study.run(replicates=3)
    path = study.run(replicates=2, treatments=[treatment("low", {})], strategy="resume").path
    assert path is not None
    metadata = load(path / METADATA)
    assert (metadata["replicates"], list(metadata["conditions"])) == (3, ["baseline", "low"])


def test_a_condition_with_a_failed_outcome_has_results_and_no_marker() -> None:
    def fail(data: Any, ctx: Any) -> Any:
        ctx.metrics.add("m", ctx["replicate"])
        if ctx["condition"] == "high" and ctx["replicate"] == 1:
            raise ValueError
        return data

    result = experiment(step=fail).run(replicates=3)
    assert result.path is not None
    assert load(result.path / "high" / "results.json") == {
        "metrics": {"m": [0, 2]},
        "replicates": {"m": [0, 2]},
        "failed": [1],
    }
    assert not (result.path / "high" / ".crystallize_complete").exists()
    assert (result.path / "baseline" / ".crystallize_complete").exists()
    assert load(result.path / METADATA)["failed_outcomes"] == 1


@pytest.mark.parametrize("execution", ["serial", "thread", "process", "async"])
def test_the_same_files_are_stored_under_every_strategy(execution: str) -> None:
    result = experiment(execution=execution).run(replicates=3)
    assert result.path is not None
    assert not result.errors
    assert {
        name: (result.path / name).read_bytes() for name in tree(result.path) - {METADATA, "journal.jsonl"}
    } == {
        **{
            f"replicate_{i}/{c}/ModelStep/model.txt": f"{c} {i}".encode()
            for i in range(3)
            for c in ("baseline", "high")
        },
        "baseline/results.json": b'{"metrics": {"size": [10, 10, 10]}}\n',
        "high/results.json": b'{"metrics": {"size": [6, 6, 6]}}\n',
        "baseline/.crystallize_complete": b"",
        "high/.crystallize_complete": b"",
        "_manifest.json": (result.path / "_manifest.json").read_bytes(),
    }
    assert [(entry.replicate, entry.condition) for entry in result.artifacts] == [
        (i, c) for i in range(3) for c in ("baseline", "high")
    ]


def test_workers_write_where_the_run_began_wherever_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def move(data: Any, ctx: Any) -> Any:
        monkeypatch.chdir(tmp_path)
        ctx.artifacts.write("a", b"x")
        return data

    began = Path.cwd()
    result = experiment(step=move).run()
    assert result.path == began / "data" / "exp" / "v0"
    assert (result.path / "replicate_0" / "baseline").is_dir()


@pytest.mark.parametrize("execution", ["serial", "process"])
def test_a_step_that_changes_what_an_unnamed_experiment_is_known_by_does_not_lose_the_run(
    execution: str,
) -> None:
    class Counting(PipelineStep):
        count = 0

        def __call__(self, data: Any, ctx: Any) -> Any:
            self.count += 1
            ctx.artifacts.write("a", b"x")
            return data

        @property
        def params(self) -> dict[str, Any]:
            return {"count": self.count}

    result = experiment(name=None, step=Counting(), execution=execution).run(replicates=4)
    result.raise_for_errors()
    assert result.path is not None
    assert len(list(result.path.glob("replicate_*/*/*/a"))) == 8


def test_one_plugin_serves_two_experiments_of_different_names() -> None:
    plugin = ArtifactPlugin("shared")
    for name in ("a", "b"):
        assert experiment(plugin, name=name).run().path == Path.cwd() / "shared" / name / "v0"


def test_experiments_of_one_name_may_run_at_the_same_time_with_one_plugin() -> None:
    plugin = ArtifactPlugin(versioned=True)
    inner = experiment(plugin)
    paths = []

    def nested(data: Any) -> Any:
        paths.append(inner.run(replicates=1).path)
        return data

    result = experiment(plugin, step=nested).run(replicates=1)
    result.raise_for_errors()
    assert sorted(path.name for path in [result.path, *paths]) == ["v0", "v1", "v2"]


def test_other_plugins_find_the_run_stored_when_it_is_over() -> None:
    found = []

    class Reader(BasePlugin):
        def after_run(self, result: Any) -> None:
            found.append((result.path, load(result.path / METADATA)["status"]))

    result = experiment(Reader(), ArtifactPlugin()).run(replicates=1)
    assert found == [(result.path, "complete")]


def test_an_aggregator_that_cannot_be_made_leaves_no_folder() -> None:
    def refuse(_: Any) -> Any:
        raise ValueError("no aggregator today")

    subject = Experiment(lambda: 1, [lambda data: data], name="exp", aggregator=refuse)
    with pytest.raises(ValueError, match="no aggregator today"):
        subject.run(replicates=1)
    assert [path.name for path in Path("data/exp").iterdir() if not path.name.startswith(".")] == []


# -- reruns, failures, kills ------------------------------------------------------------------------------------


def test_versions_are_kept_and_old_ones_lose_their_artifacts_only() -> None:
    subject = experiment(ArtifactPlugin(versioned=True, artifact_retention=2))
    paths = [subject.run(replicates=1).path for _ in range(4)]
    assert [path.name for path in paths if path] == ["v0", "v1", "v2", "v3"]
    assert [(path / "replicate_0").exists() for path in paths if path] == [False, False, True, True]
    assert all((path / "high" / "results.json").exists() for path in paths if path)


def test_with_a_threshold_old_versions_lose_big_artifacts_only_and_the_environment_may_say_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def write(data: Any, ctx: Any) -> Any:
        ctx.artifacts.write("big", bytes(2000))
        ctx.artifacts.write("small", bytes(1999))
        return data

    monkeypatch.setenv("CRYSTALLIZE_ARTIFACT_RETENTION", "2")
    monkeypatch.setenv("CRYSTALLIZE_BIG_FILE_THRESHOLD_MB", "0.002")
    by_environment = ArtifactPlugin()
    assert by_environment.settings == ArtifactPlugin("data", True, 2, 0.002).settings
    assert ArtifactPlugin(artifact_retention=3).artifact_retention == 3
    subject = experiment(by_environment, step=write)
    paths = [subject.run(replicates=1).path for _ in range(3)]
    kept = [sorted({path.name for path in run.glob("replicate_*/*/*/*")}) for run in paths if run]
    assert kept == [["small"], ["big", "small"], ["big", "small"]]


@pytest.mark.parametrize(
    ("variable", "text", "wanted"),
    [
        ("CRYSTALLIZE_ARTIFACT_RETENTION", "two", "a whole number"),
        ("CRYSTALLIZE_ARTIFACT_RETENTION", "2.5", "a whole number"),
        ("CRYSTALLIZE_ARTIFACT_RETENTION", "0", "a whole number of at least 1"),
        ("CRYSTALLIZE_ARTIFACT_RETENTION", "-3", "a whole number of at least 1"),
        ("CRYSTALLIZE_BIG_FILE_THRESHOLD_MB", "2x", "a number"),
        ("CRYSTALLIZE_BIG_FILE_THRESHOLD_MB", "nan", "a number of at least 0"),
    ],
)
@pytest.mark.parametrize("make", [ArtifactPlugin, experiment])
def test_a_setting_of_the_environment_that_cannot_be_used_is_an_error_and_never_a_run_that_is_not_stored(
    monkeypatch: pytest.MonkeyPatch, make: Any, variable: str, text: str, wanted: str
) -> None:
    monkeypatch.setenv("CRYSTALLIZE_ARTIFACT_RETENTION", "2")
    monkeypatch.setenv(variable, text)
    told = f"{variable} is {wanted}, got '{text}' (the environment). Set it right, or unset {variable}"
    with pytest.raises(InvalidValueError, match=f"^{re.escape(told)}$"):
        make()


def test_a_pinned_run_without_versions_is_not_replaced() -> None:
    one = ArtifactPlugin(versioned=False)
    subject = experiment(one)
    first = subject.run(replicates=2).path
    assert first is not None
    pin(first)
    with pytest.raises(PluginError, match=r"'exp' is pinned.*versioned=True.*runs pin exp --version 0 --off"):
        subject.run()
    unpin(first)

    def pin_meanwhile(data: Any) -> Any:
        pin(first)
        return data

    assert experiment(one, step=pin_meanwhile).run(replicates=1).path == first.with_name("v1")
    assert load(first / METADATA)["replicates"] == 2


def test_a_reader_during_a_rerun_sees_the_complete_old_run() -> None:
    seen = []

    def look(data: Any, ctx: Any) -> Any:
        folder = Path("data/exp/v0")
        seen.append((load(folder / METADATA)["replicates"], len(tree(folder))) if folder.exists() else None)
        ctx.artifacts.write("a", b"x")
        return data

    experiment(ArtifactPlugin(versioned=False), step=look).run(replicates=1)
    experiment(ArtifactPlugin(versioned=False), step=look).run(replicates=2)
    assert seen == [None] * 2 + [(1, 9)] * 4
    assert load(Path("data/exp/v0") / METADATA)["replicates"] == 2


def statuses() -> list[str]:
    return sorted(load(path)["status"] for path in Path("data/exp").glob("*/metadata.json"))


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "interrupted"), (MemoryError, "failed")])
def test_a_run_that_is_cut_short_says_so_and_leaves_the_old_one(
    error: type[BaseException], status: str
) -> None:
    class Strategy(BasePlugin):
        def run_experiment_loop(self, experiment: Any, replicate_fn: Any) -> Any:
            raise error

    experiment().run(replicates=2)
    with pytest.raises((KeyboardInterrupt, PluginError)):
        experiment(Strategy()).run(replicates=1)
    assert statuses() == sorted(["complete", status])
    assert load(Path("data/exp/v0") / METADATA)["replicates"] == 2


def test_without_versions_interrupted_runs_do_not_pile_up() -> None:
    def interrupt(data: Any) -> Any:
        raise KeyboardInterrupt

    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            experiment(ArtifactPlugin(versioned=False), step=interrupt).run()
    assert statuses().count("interrupted") <= 2
    experiment(ArtifactPlugin(versioned=False)).run()
    assert statuses() == ["complete"]  # nobody will resume the older one any more


def test_a_run_that_another_plugin_stops_before_it_begins_leaves_nothing_for_the_next() -> None:
    class Refuses(BasePlugin):
        refuses = True

        def before_run(self, experiment: Any) -> None:
            if self.refuses:
                raise ValueError("not today")

    refusing = Refuses()
    subject = experiment(ArtifactPlugin(), refusing)
    with pytest.raises(PluginError, match="not today"):
        subject.run()
    refusing.refuses = False
    subject.run()
    assert [path.name for path in Path("data/exp").iterdir()] == ["v0"]


def test_giving_up_twice_never_touches_the_folder_that_another_run_has_claimed_since() -> None:
    class Refuses(BasePlugin):
        def before_run(self, experiment: Any) -> None:
            raise ValueError("not today")

    subject = experiment(ArtifactPlugin(versioned=True), Refuses())
    with pytest.raises(PluginError, match="not today"):
        subject.run()
    Path("data").rename("elsewhere")
    Path("data").write_text("a file")
    with pytest.raises(PluginError, match="is a file"):
        subject.run()
    Path("data").unlink()
    other = experiment(ArtifactPlugin(versioned=True)).run()
    with pytest.raises(PluginError, match="not today"):
        subject.run()
    assert other.path == Path.cwd() / "data" / "exp" / "v0"
    assert (other.path / METADATA).exists()


KILLED = """
import os, signal
from crystallize import ArtifactPlugin, Experiment
def step(data, ctx):
    ctx.artifacts.write("a", b"new")
    if ctx["replicate"] == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return data
Experiment(lambda: None, [step], name="exp", plugins=[ArtifactPlugin(versioned=False)]).run(replicates=3)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_after_a_kill_the_old_run_is_whole_and_the_newest_remains_are_kept(warm_interpreter: Any) -> None:
    experiment(ArtifactPlugin(versioned=False)).run(replicates=1)
    before = {name: (Path("data") / name).read_bytes() for name in tree(Path("data"))}
    for _ in range(3):
        killed = warm_interpreter.run("-c", KILLED, cwd=Path.cwd())
        assert killed.returncode == -signal.SIGKILL
        assert {name: (Path("data") / name).read_bytes() for name in before} == before
    assert statuses().count("running") <= 2
    experiment(ArtifactPlugin(versioned=False)).run(replicates=2)
    assert statuses() == ["complete"]
    assert load(Path("data/exp/v0") / METADATA)["replicates"] == 2


AT_ONCE = """
import os, sys
from crystallize import ArtifactPlugin, Experiment
def step(data, ctx):
    ctx.artifacts.write("a", str(os.getpid()).encode())
    return data, {"who": os.getpid()}
subject = Experiment(lambda: None, [step], name="exp", plugins=[ArtifactPlugin(versioned=sys.argv[1] == "versioned")])
wait, start = os.pipe()
for _ in range(10):
    if os.fork() == 0:
        os.close(start)
        os.read(wait, 1)  # until all are there and the last of the writers has closed it
        for _ in range(2):
            os.write(1, f"{subject.run(replicates=5).path.name} ".encode())
        os._exit(0)
os.close(start)
for _ in range(10):
    assert os.wait()[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="starts ten processes at the same moment by fork")
@pytest.mark.parametrize("mode", ["versioned", "single"])
@pytest.mark.usefixtures("warm_processes")
def test_ten_starts_at_the_same_moment_get_ten_versions_complete_and_unmixed(mode: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_ONCE, mode], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    names = done.stdout.split()
    versions = [f"v{i}" for i in range(20)] if mode == "versioned" else ["v0"]
    assert len(names) == 20
    assert sorted(set(names)) == sorted(versions)
    assert sorted(path.name for path in Path("data/exp").iterdir()) == sorted(versions)
    for run in Path("data/exp").iterdir():
        assert load(run / METADATA)["status"] == "complete"
        written = [path.read_text() for path in run.glob("replicate_*/*/*/a")]
        assert len(written) == 5
        assert load(run / "baseline" / "results.json")["metrics"]["who"] == list(map(int, written))
        assert len(set(written)) == 1


def numbers(count: int) -> Any:
    return data_source(lambda *, n: list(range(n)))(n=count)


@pytest.mark.parametrize("versioned", [False, True])
def test_an_experiment_without_a_name_says_so_if_another_one_is_stored_in_its_folder(
    versioned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    plugin = ArtifactPlugin(versioned=versioned)
    for count, name, warnings in ((1, None, 0), (1, None, 0), (2, None, 1), (2, None, 0), (3, "named", 0)):
        caplog.clear()
        Experiment(numbers(count), [len], name=name, plugins=[plugin]).run()
        told = [each.getMessage() for each in caplog.records if each.name == "crystallize.store"]
        assert len(told) == warnings
    assert versioned or not list(Path("data").glob("*/v1"))


def test_a_run_that_cannot_note_how_it_ended_is_marked_by_the_next_start() -> None:
    def step(data: Any) -> Any:
        (Path("data/exp/v0") / METADATA).unlink()
        (Path("data/exp/v0") / METADATA / "in the way").mkdir(parents=True)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        experiment(ArtifactPlugin(versioned=True), step=step).run()
    assert Path("data/exp/.v0.lock").is_file()
    assert experiment(ArtifactPlugin(versioned=True)).run().path == Path.cwd() / "data/exp/v1"
    assert not Path("data/exp/.v0.lock").exists()


AS_ANOTHER = """
import os, sys
from crystallize import ArtifactPlugin, Experiment
def run(root, versioned):
    plugin = ArtifactPlugin(root, versioned=versioned)
    return Experiment(lambda: None, [lambda data: data], name="exp", plugins=[plugin]).run()
run("warm-up", False)  # what a run imports, the other user might not be allowed to
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
print(run(sys.argv[1], sys.argv[2] == "versioned").path.name)
"""


@pytest.mark.parametrize("mode", ["versioned", "single"])
def test_a_root_is_shared_by_several_users(mode: str, warm_interpreter: Any) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        for folder in (Path(made), Path(made, "exp")):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o777)
        locks = [Path(made, "exp", name) for name in (".lock", ".v0.lock", ".v1.lock")]
        for lock in locks:
            lock.touch()
            lock.chmod(0o444)  # which its owner, too, may only read, unless that is root
        done = warm_interpreter.run("-c", AS_ANOTHER, made, mode, cwd=Path.cwd())
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "v0\n"
        assert experiment(ArtifactPlugin(made, versioned=mode == "versioned")).run().path is not None


# -- apply ------------------------------------------------------------------------------------------------------


def test_apply_stores_artifacts_apart_and_leaves_the_runs_alone() -> None:
    subject = experiment()
    subject.run(replicates=2)
    before = {name: (Path("data") / name).read_bytes() for name in tree(Path("data"))}
    for _ in range(2):
        subject.apply("high")
    added = tree(Path("data")) - set(before)
    assert added == {"exp/apply/high/ModelStep/model.txt"}
    assert {name: (Path("data") / name).read_bytes() for name in before} == before


@pytest.mark.parametrize("link", ["exp", "exp/apply", "exp/apply/high"])
def test_apply_writes_through_no_link(link: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    Path("data", link).parent.mkdir(parents=True)
    Path("data", link).symlink_to(outside)
    with pytest.raises((PluginError, StoreError), match=r"link|File exists"):
        experiment().apply("high")
    assert not list(outside.iterdir())


# -- bad input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"root_dir": 3}, InvalidTypeError),
        ({"root_dir": None}, InvalidTypeError),
        ({"versioned": "yes"}, InvalidTypeError),
        ({"artifact_retention": True}, InvalidTypeError),
        ({"artifact_retention": "2"}, InvalidTypeError),
        ({"artifact_retention": 2.0}, InvalidTypeError),
        ({"artifact_retention": 0}, InvalidValueError),
        ({"artifact_retention": -1}, InvalidValueError),
        ({"artifact_retention": 1, "big_file_threshold_mb": "5"}, InvalidTypeError),
        ({"artifact_retention": 1, "big_file_threshold_mb": True}, InvalidTypeError),
        ({"artifact_retention": 1, "big_file_threshold_mb": -1}, InvalidValueError),
        ({"artifact_retention": 1, "big_file_threshold_mb": math.nan}, InvalidValueError),
        ({"big_file_threshold_mb": 5}, InvalidValueError),
    ],
)
def test_wrong_settings_are_refused_at_once(arguments: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind, match=f"^{list(arguments)[-1]} "):
        ArtifactPlugin(**arguments)


def test_a_file_where_the_root_should_be_stops_the_run_before_it_begins() -> None:
    Path("data").write_text("a file")
    ran = []
    with pytest.raises(PluginError, match=r"'data' is a file"):
        experiment(step=lambda data: ran.append(data)).run()
    assert not ran


def test_a_disk_error_in_a_step_is_that_outcomes_error() -> None:
    def obstruct(data: Any, ctx: Any) -> Any:
        if ctx["replicate"] == 1:
            Path("data/exp/v0/replicate_1").write_text("a file in the place of a folder")
        ctx.artifacts.write("a", b"x")
        return data

    result = experiment(step=obstruct).run(replicates=3)
    assert {error.replicate for error in result.errors} == {1}
    assert "'a' cannot be written" in result.errors[0].message
    assert result.path is not None
    assert (result.path / "replicate_2" / "baseline").is_dir()


def test_a_disk_error_at_the_end_leaves_the_old_run(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    experiment().run(replicates=2)

    def obstruct(data: Any) -> Any:
        Path("data/exp/v1/high").write_text("a file in the place of a folder")
        return data

    with pytest.raises(PluginError, match="the run cannot be stored"):
        Experiment(lambda: None, [obstruct], name="exp", treatments=[treatment("high", {})]).run()
    assert load(Path("data/exp/v0") / METADATA)["replicates"] == 2
    assert statuses() == ["complete", "failed"]


class PausesAtTheEnd(BasePlugin):
    """By the end of its pause, what has come until then is in the journal, or the disk has refused it."""

    def after_replicate(self, experiment: Any, result: Any) -> None:
        if result.replicate == 59:
            threading.Event().wait(3 * FLUSH_SECONDS)


def test_a_run_whose_last_outcomes_the_disk_has_refused_is_not_complete() -> None:
    resource = pytest.importorskip("resource")
    made = experiment(PausesAtTheEnd(), step=lambda data: (data, {"value": 1.0}))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))  # less than the journal takes
        with pytest.raises(PluginError, match=r"cannot be stored.*File too large"):
            made.run(replicates=60)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert statuses() == ["failed"]
    made.run(replicates=60, strategy="resume")
    assert statuses() == ["complete"]
    assert open_run("exp").arrived == 60


def test_without_the_plugin_nothing_is_stored_and_writes_give_none() -> None:
    written = []

    def write(data: Any) -> Any:
        written.append(out.write("x"))
        return data

    out = Artifact("a.txt")
    Experiment(lambda: None, [write], name="exp", outputs=[out], disable_plugins=["artifact"]).run()
    assert written == [None]
    assert not list(Path.cwd().iterdir())


def test_a_write_outside_of_a_run_says_what_to_do() -> None:
    with pytest.raises(ArtifactError, match=r"outside of a run.*Write it in a step"):
        Artifact("a.txt").write("x")


def test_parallel_execution_in_processes_by_instance_stores_too() -> None:
    result = experiment(ParallelExecution(max_workers=2, executor_type="process")).run(replicates=2)
    assert result.path is not None
    assert len(list(result.path.glob("replicate_*/*/ModelStep/model.txt"))) == 4
