"""``crystallize runs``: which runs are stored, and what is kept of them."""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import crystallize
from crystallize import Experiment, treatment
from crystallize.errors import UnknownNameError
from crystallize.store.locks import ReadLock
from crystallize.utils.quantities import format_size

KEYS = [
    *("experiment", "version", "path", "status", "started", "finished", "duration"),
    *("replicates", "conditions", "failed_outcomes", "pinned", "size", "problem"),
]


def store(name: str, rmse: float, replicates: int = 2) -> Path:
    """Store a run whose rmse is as given, and half of that under ``ridge``, and which writes 1000 bytes an outcome."""

    def step(data: Any, ctx: Any) -> Any:
        ctx.artifacts.write("model.bin", bytes(1000))
        ctx.metrics.add("rmse", rmse * ctx.get("share", 1.0) - 1)
        ctx.metrics.add("rmse", rmse * ctx.get("share", 1.0) + 1)
        return data

    treatments = [treatment("ridge", {"share": 0.5})]
    path = (
        Experiment(lambda: 0, [step], name=name, treatments=treatments, seed=1)
        .run(replicates=replicates)
        .path
    )
    assert path is not None
    return path


def change(run: Path, **metadata: Any) -> None:
    file = run / "metadata.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | metadata))


@pytest.fixture(scope="module")
def store_of_four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Store three runs of ``centre`` and one of ``other``, once for all tests; return the folder."""
    folder = tmp_path_factory.mktemp("stored")
    with contextlib.chdir(folder):
        for name, rmse, replicates in (
            ("centre", 40, 2),
            ("centre", 80, 5),
            ("centre", 60, 2),
            ("other", 50, 2),
        ):
            store(name, rmse, replicates)
    return folder


@pytest.fixture
def stored(store_of_four: Path) -> list[Path]:
    """Put three runs of ``centre``, the second of which is from last month, and one of ``other`` into the store."""
    shutil.copytree(store_of_four, Path(), dirs_exist_ok=True)
    runs = [Path("data", run).absolute() for run in ("centre/v0", "centre/v1", "centre/v2", "other/v0")]
    change(runs[1], finished=(datetime.now(UTC) - timedelta(days=30)).isoformat())
    return runs


def listed(call: Any, *arguments: str) -> list[str]:
    done = call("runs", "list", *arguments, "--json")
    assert (done.code, done.err) == (0, "")
    return [f"{run['experiment']} v{run['version']}" for run in json.loads(done.out)]


def has_artifacts(run: Path) -> bool:
    return any(run.glob("replicate_*"))


# -- list and show -------------------------------------------------------------------------------------------


def test_an_empty_store_says_so(call, project):
    for arguments in ((), ("make",)):
        done = call("runs", "list", *arguments)
        assert (done.code, done.out) == (0, "No runs are stored: make one with 'crystallize run NAME'.\n")


def test_runs_of_scripts_and_of_folders_are_listed_the_newest_of_each_experiment_last(call, project, stored):
    config = project / "make" / "config.yaml"
    config.write_text(config.read_text() + "plugins: {artifact: {root_dir: kept}}\n")
    assert call("run", "make").code == 0
    assert listed(call) == ["centre v0", "centre v1", "centre v2", "make v0", "other v0"]
    assert listed(call, "make", "other") == ["make v0", "other v0"]


def test_the_table_fits_a_terminal(call, stored):
    store("an experiment with a very long name", 3, 200)
    (stored[0] / ".pinned").touch()
    change(stored[1], failed_outcomes=123)
    lines = call("runs", "list").out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["experiment", "run", "status", "when", "n", "failed", "size"]
    assert next(line for line in lines if line.startswith("centre")).split()[1:4] == [
        "v0",
        "complete,",
        "pinned",
    ]
    assert next(line for line in lines if line.startswith("an ex")).split()[-2:] == ["400", "kB"]
    assert next(line for line in lines if "123" in line).endswith("10.0 kB")


def test_json_has_all_that_is_known_of_a_run(call, stored):
    first, *_ = json.loads(call("runs", "list", "centre", "--json").out)
    assert list(first) == KEYS
    assert first["conditions"] == ["baseline", "ridge"]
    assert (first["status"], first["replicates"], first["size"]) == ("complete", 2, 4000)
    assert first["path"] == str(stored[0])


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--older-than", "2w"], ["centre v1"]),
        (["--newer-than", "2w", "--last", "1"], ["centre v2", "other v0"]),
        (["--larger-than", "4.5kB"], ["centre v1"]),
        (["--larger-than", "4.5 kb"], ["centre v1"]),
        (["--status", "complete", "--last", "1"], ["centre v2", "other v0"]),
        (["--status", "failed", "--status", "interrupted"], []),
        (["--where", "rmse < 31"], ["centre v0", "centre v2", "other v0"]),
        (["--where", "baseline.rmse<=50"], ["centre v0", "other v0"]),
        (["--where", "ridge.rmse >= 25", "--where", "rmse != 80"], ["centre v2", "other v0"]),
        (["--where", "ridge.rmse == 4e1"], ["centre v1"]),
    ],
)
def test_runs_are_found_by_age_size_status_and_what_they_measured(call, stored, arguments, found):
    if "rmse != 80" in arguments:  # any condition: ridge is 40 there
        found = ["centre v1", *found]
    assert listed(call, *arguments) == found


def test_where_nothing_is_found_it_says_among_how_many(call, stored):
    done = call("runs", "list", "--older-than", "5w")
    assert (done.code, done.out) == (0, "None of the 4 runs is what you ask for.\n")


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        ("rmse <> 60", 6, "'<>' is no comparison"),
        ("rmse = 60", 6, "'=' is no comparison"),
        ("rmse", 5, "a comparison is missing"),
        ("< 60", 1, "the metric is missing"),
        ("rmse <", 7, "the number is missing"),
        ("rmse < sixty", 8, "'sixty' is no number"),
        ("rmse < 60 and mae < 3", 15, "'mae"),
        ("rmse < nan", 8, "nothing compares with nan"),
    ],
)
def test_a_filter_that_cannot_be_read_is_told_with_its_place(call, stored, text, place, why):
    done = call("runs", "list", "--where", text)
    assert (done.code, done.out) == (2, "")
    if "and" in text:  # the last comparison counts, and what stands before it is no metric of theirs
        assert "none of the runs has a metric 'rmse < 60 and mae'" in done.err
        return
    first, shown, pointer, allowed = done.err.splitlines()
    assert f"column {place}: {why}" in first
    assert shown == f"  {text}"
    assert pointer == f"  {' ' * (place - 1)}^"
    assert allowed == ("Write METRIC < NUMBER or CONDITION.METRIC < NUMBER, with one of <, <=, >, >=, ==, !=")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["cente"], "Did you mean 'centre'?"),
        (["--status", "compleet"], "Did you mean 'complete'?"),
        (
            ["--where", "rmsee < 3"],
            "none of the runs has a metric 'rmsee'. Did you mean 'rmse'? Their metrics are 'rmse'",
        ),
        (["--where", "rigde.rmse < 3"], "Did you mean 'ridge.rmse'?"),
        (["--older-than", "3"], "'3' cannot be read: an age is a number with one of s, m, h, d, w: 30d"),
        (["--older-than", "6M"], "'6M' cannot be read: an age is a number with one of s, m, h, d, w: 30d"),
        (["--older-than", "9999999999w"], "longer than time has been"),
        (["--larger-than", "3 XB"], "a size is a number with one of B, kB, MB, GB, TB: 10MB"),
        (["--last", "0"], "--last"),
    ],
)
def test_what_is_misspelt_is_told_with_what_is_allowed(call, stored, arguments, told):
    done = call("runs", "list", *arguments)
    assert (done.code, done.out) == (2, "")
    assert told in done.err


def test_conditions_whose_names_hold_signs_and_points_can_be_named(call):
    treatments = [treatment("lr=0.1,depth=2", {"share": 0.5})]

    def step(data: Any, ctx: Any) -> Any:
        return data, {"val.rmse": 60 * ctx.get("share", 1.0)}

    Experiment(lambda: 0, [step], name="grid", treatments=treatments).run(replicates=2)
    assert listed(call, "--where", "lr=0.1,depth=2.val.rmse < 31") == ["grid v0"]
    assert listed(call, "--where", "val.rmse > 59") == ["grid v0"]
    assert listed(call, "--where", "baseline.val.rmse < 31") == []


def test_runs_that_are_killed_damaged_or_of_others_are_told_as_such(call, stored):
    change(stored[0], status="running")
    (stored[1] / "metadata.json").write_text("{")
    (stored[2] / "metadata.json").unlink()
    done = json.loads(call("runs", "list", "centre", "--json").out)
    assert [run["status"] for run in done] == ["interrupted", "damaged", "unknown"]
    assert listed(call, "centre", "--where", "rmse < 100") == []


@pytest.mark.parametrize(
    "command",
    [
        ("runs", "show", "centre", "--version", "1"),
        ("runs", "tail", "centre", "--version", "1"),
        ("show", "centre", "--version", "1"),
        ("verify", "data/centre/v1"),
        ("diff", "data/centre/v1", "data/centre/v2"),
        ("export", "data/centre/v1"),
    ],
    ids=" ".join,
)
def test_metadata_that_another_program_has_changed_are_told_with_file_and_entry(call, stored, command):
    change(stored[1], plugins=7)
    done = call(*command)
    assert done.code == 2
    assert "centre/v1/metadata.json" in done.err
    assert (
        "the metadata of a run are damaged: 'plugins' is not a list of objects, each with a name" in done.err
    )
    change(stored[1], plugins=[], replicates=-3)
    line = next(line for line in call("runs", "list").out.splitlines() if "v1" in line)
    assert line.split() == ["centre", "v1", "damaged", "10.0", "kB"]


def test_two_experiments_of_one_name_are_told_apart_by_their_folders(call, stored):
    shutil.copytree(stored[0], "elsewhere/centre/v0")
    folder = Path("experiments/centre")
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(
        "datasource: {a: start}\nsteps: [work]\nplugins: {artifact: {root_dir: elsewhere}}\n"
    )
    named = {line.split()[0] for line in call("runs", "list").out.splitlines()[2:]}
    assert named == {"elsewhere/centre", "data/centre", "other"}


def test_a_run_of_a_newer_crystallize_is_not_called_damaged(call, stored):
    change(stored[2], schema_version=2)
    done = call("runs", "list", "centre", "--status", "newer")
    assert (done.code, done.out.count("centre")) == (0, 1)
    assert "centre v2 is newer: the metadata of a run have schema version 2" in done.err


def test_a_run_that_was_killed_is_shown_as_interrupted(call, stored):
    change(stored[0], status="running")
    assert ", which is interrupted" in call("show", "centre", "--version", "0").out


def test_show_tells_when_and_how_a_run_was_made(call, stored):
    done = call("runs", "show", "centre", "--version", "1")
    assert done.code == 0
    lines = dict(line.split(":", 1) for line in done.out.splitlines()[1:])
    assert done.out.startswith("centre v1\n")
    command = json.loads((stored[1] / "metadata.json").read_text())["command"]
    assert shlex.split(lines["Command"]) == command
    assert {
        key: lines[key].strip() for key in ("Status", "Replicates", "Conditions", "Artifacts", "Folder")
    } == {
        "Status": "complete",
        "Replicates": "5",
        "Conditions": "baseline, ridge",
        "Artifacts": "10.0 kB",
        "Folder": "data/centre/v1",
    }
    document = json.loads(call("runs", "show", "centre", "--json").out)
    assert list(document) == [*KEYS, "metadata"]
    assert (document["version"], document["metadata"]["master_seed"]) == (2, 1)
    missing = call("runs", "show", "centre", "--version", "7")
    assert missing.code == 2
    assert "There are v0, v1, v2" in missing.err


def test_show_says_that_commit_and_command_are_those_of_the_last_of_several_sessions(call, stored):
    assert "Sessions" not in call("runs", "show", "centre").out
    change(stored[2], earlier_sessions=[{}, {}])
    assert "Sessions:   3; below is the last one, " in call("runs", "show", "centre").out


@pytest.mark.parametrize(("is_dirty", "said"), [(True, "1f2e, with uncommitted changes"), (False, "1f2e")])
def test_show_says_whether_the_code_is_that_of_the_commit(call, stored, is_dirty, said):
    change(stored[2], code={"git_commit": "1f2e", "dirty": is_dirty})
    assert f"Commit:     {said}\n" in call("runs", "show", "centre").out


@pytest.mark.parametrize(
    "command", [("show",), ("runs", "show"), ("runs", "tail"), ("plan", "--effect", "1")]
)
@pytest.mark.parametrize("run", ["data/centre/v1", "centre@v1"])
def test_a_run_where_an_experiment_is_wanted_is_told_how_to_be_named(call, stored, command, run):
    done = call(*command, run)
    assert done.code == 2
    assert f"'{run}' is one run of an experiment. Say 'centre --version 1', or 'centre' for" in done.err


def test_crystallize_show_works_on_any_version(call, stored):
    means = [
        next(
            row["mean"] for row in json.loads(call("show", "centre", "--json", *which).out)["summary"]["rows"]
        )
        for which in ([], ["--version", "0"], ["--version", "1"])
    ]
    assert means == [60, 40, 80]


def test_a_file_that_is_no_root_of_ours_is_in_nobodys_way(call, project):
    for folder in ("make", "use"):
        config = project / folder / "config.yaml"
        config.write_text(config.read_text() + "plugins: {artifact: {root_dir: kept}}\n")
    assert call("run", "make").code == 0
    Path("data").write_text("not runs")
    assert listed(call) == ["make v0"]
    done = call("runs", "list", "mak")
    assert (done.code, "Did you mean 'make'" in done.err, "is a file" in done.err) == (2, True, True)


# -- pin, prune, delete --------------------------------------------------------------------------------------


def test_prune_removes_the_artifacts_of_all_but_the_newest_and_of_no_pinned_run(call, stored):
    assert call("runs", "pin", "centre", "--version", "0").out == "centre v0 is pinned.\n"
    dry = call("runs", "prune", "--dry-run")
    assert (dry.code, dry.err) == (0, "")
    assert dry.out.splitlines()[-1] == "This would remove the artifacts of 1 run, 10.0 kB."
    assert all(map(has_artifacts, stored))
    done = call("runs", "prune", "--yes")
    assert done.out.splitlines()[-1] == "Removed the artifacts of 1 run, 10.0 kB."
    assert [has_artifacts(run) for run in stored] == [True, False, True, True]
    assert "Pruned:     10 files, 10.0 kB" in call("runs", "show", "centre", "--version", "1").out
    assert call("show", "centre", "--version", "1").code == 0
    assert call("runs", "prune", "--yes").out == "There is nothing to remove.\n"
    assert "no longer pinned" in call("runs", "pin", "centre", "--version", "0", "--off").out
    assert call("runs", "prune", "--yes", "--keep", "0", "centre", "--where", "rmse < 45").code == 0
    assert [has_artifacts(run) for run in stored] == [False, False, False, True]


@pytest.mark.parametrize("keep", [0, 1, 2])
@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ({"schema_version": 2}, "have schema version 2, and this Crystallize reads 1"),
        ({"schema_version": "x"}, "this is not the metadata of a run"),
        ({"status": "interrupted"}, "it is interrupted, and can be resumed until a newer run is complete"),
        ({"status": "running"}, "it is interrupted, and can be resumed until a newer run is complete"),
        ({"status": "failed"}, "it is failed, and can be resumed until a newer run is complete"),
    ],
)
def test_prune_spares_what_may_be_needed(call, stored, keep, broken, why):
    change(stored[2], **broken)
    done = call("runs", "prune", "centre", "--keep", str(keep), "--yes")
    assert done.code == 0
    assert "centre v2 is left alone: " in done.err
    assert why in done.err
    assert [has_artifacts(run) for run in stored] == [keep == 2, keep > 0, True, True]


@pytest.mark.parametrize("status", ["failed", "interrupted", "running"])
def test_prune_takes_what_a_newer_run_has_replaced(call, stored, status):
    change(stored[1], status=status)
    assert call("runs", "prune", "centre", "--yes").err == ""
    assert [has_artifacts(run) for run in stored] == [False, False, True, True]


def test_prune_takes_no_run_that_cannot_be_read_however_old(call, stored):
    change(stored[0], schema_version=2)
    (stored[1] / "metadata.json").unlink()
    done = call("runs", "prune", "centre", "--keep", "0", "--yes")
    assert (done.code, "centre v1 is left alone: it is unknown" in done.err) == (0, True)
    assert [has_artifacts(run) for run in stored] == [True, True, False, True]


def test_delete_removes_runs_and_leaves_a_record(call, stored):
    assert call("runs", "delete", "centre", "--version", "0", "--version", "1", "-y").code == 0
    assert listed(call, "centre") == ["centre v2"]
    assert listed(call, "centre", "--status", "deleted") == ["centre v0", "centre v1"]
    manifest = json.loads((stored[0] / "_manifest.json").read_text())
    assert {file["size"] for file in manifest["model.bin"]["files"].values()} == {1000}
    shown = call("show", "centre", "--version", "0")
    assert (shown.code, "is deleted and has no results" in shown.err) == (2, True)
    assert store("centre", 1).name == "v3"


@pytest.mark.parametrize(
    "command",
    [
        ("delete", "centre", "--older-than", "1w"),
        ("delete", "centre", "--status", "complete"),
        ("prune", "other", "--keep", "0"),
    ],
    ids=" ".join,
)
def test_what_would_be_removed_is_what_is_removed(call, stored, command):
    (stored[3] / "replicate_0/baseline").rename("elsewhere")  # the metadata do not know
    sizes = {file: file.stat().st_size for file in Path("data").rglob("*") if file.is_file()}
    would = call("runs", *command, "--dry-run").out.splitlines()[-1]
    assert all(file.exists() for file in sizes)
    removed = call("runs", *command, "--yes").out.splitlines()[-1]
    gone = sum(size for file, size in sizes.items() if not file.exists())
    assert removed.removeprefix("Removed") == would.removeprefix("This would remove")
    assert removed.endswith(f", {format_size(gone)}.")


def test_a_deleted_run_is_no_way_out_and_cannot_be_pinned(call, stored):
    assert call("runs", "delete", "centre", "--version", "0", "--version", "2", "-y").code == 0
    done = call("runs", "pin", "centre", "--version", "0")
    assert (done.code, done.out, "the run is deleted" in done.err) == (2, "", True)
    assert not (stored[0] / ".pinned").exists()
    assert "There is v1" in call("show", "centre", "--version", "7").err
    assert call("runs", "delete", "centre", "--version", "1", "-y").code == 0
    done = call("show", "centre")
    assert (done.code, "no complete run is stored" in done.err) == (2, True)
    assert "v1" not in done.err
    assert "Run 'crystallize run centre'" in done.err
    with pytest.raises(UnknownNameError, match=r"There are runs of 'other'$"):
        crystallize.open_run("centra")


def test_delete_needs_to_know_which_runs(call, stored):
    done = call("runs", "delete", "centre", "--yes")
    assert done.code == 2
    assert "nothing says which runs. Give --version, or one of the filters" in done.err
    done = call("runs", "delete", "centre", "--version", "9", "--yes")
    assert (done.code, "There are v0, v1, v2" in done.err) == (2, True)
    assert len(listed(call, "centre")) == 3


def test_delete_with_a_number_to_keep_spares_the_newest(call, stored):
    assert call("runs", "delete", "centre", "--keep", "1", "--yes").code == 0
    assert listed(call, "centre") == ["centre v2"]


@pytest.mark.parametrize("metadata", ["{", '{"schema_version": 2}'])
def test_a_run_that_cannot_be_read_is_deleted_only_by_name(call, stored, metadata):
    (stored[0] / "metadata.json").write_text(metadata)
    for unnamed in (["--keep", "1"], ["--larger-than", "1B"]):
        done = call("runs", "delete", "centre", *unnamed, "--dry-run")
        assert (done.code, "centre v0 is left alone: the metadata of a run" in done.err) == (0, True)
        assert next(line.split()[1] for line in done.out.splitlines() if line.startswith("centre")) == "v1"
    for named in (["--version", "0"], ["--status", "damaged", "--status", "newer"]):
        done = call("runs", "delete", "centre", *named, "--dry-run")
        assert (done.err, "This would remove 1 run" in done.out) == ("", True)


def test_where_nobody_can_be_asked_nothing_is_removed_without_yes(call, stored):
    for command in (["prune"], ["delete", "centre", "--version", "0"]):
        done = call("runs", *command)
        assert (done.code, "add --yes" in done.err) == (2, True)
    assert all(map(has_artifacts, stored))


def test_a_pinned_run_is_not_deleted(call, stored):
    call("runs", "pin", "centre", "--version", "0")
    done = call("runs", "delete", "centre", "--version", "0", "--version", "1", "-y")
    assert (done.code, "centre v0 is pinned" in done.err) == (2, True)
    done = call("runs", "delete", "centre", "--status", "complete", "-y")
    assert (done.code, done.err) == (0, "centre v0 is pinned and stays.\n")
    assert listed(call, "centre") == ["centre v0"]


def test_a_run_that_somebody_reads_is_not_deleted_and_the_others_are(call, stored):
    reader = ReadLock(stored[1] / "metadata.json")
    done = call("runs", "delete", "centre", "--status", "complete", "-y")
    reader.release()
    assert done.code == 2
    assert "centre v1: somebody is reading this run" in done.err
    assert done.out.splitlines()[-1].startswith("Removed 2 runs, ")
    assert listed(call, "centre") == ["centre v1"]


# -- what may not be read, or written -----------------------------------------------------------------------


@contextlib.contextmanager
def with_rights(mode: int, *folders: Path) -> Iterator[None]:
    for folder in folders:
        folder.chmod(mode)
    try:
        yield
    finally:
        for folder in folders:
            folder.chmod(0o755)


AS_A_USER = """
import ctypes, os
from crystallize.cli.app import main
if os.geteuid() == 0:
    system = ctypes.CDLL(None)
    process, powers = (ctypes.c_uint32 * 2)(0x20080522), (ctypes.c_uint32 * 6)()
    assert system.capget(process, powers) == 0
    powers[0] &= ~0b110  # to pass over rights, when it writes and when it reads
    assert system.capset(process, powers) == 0
main()
"""


@pytest.fixture
def as_a_user(warm_interpreter):
    """Return what runs the command as somebody for whom rights count: as root without two of its powers."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return warm_interpreter.run("-c", AS_A_USER, *arguments, cwd=Path.cwd())

    return run


def test_a_run_that_may_not_be_read_is_listed_as_damaged_with_the_others(stored, as_a_user):
    with with_rights(0, stored[0]):
        done = as_a_user("runs", "list", "centre")
        assert (done.returncode, done.stdout.count("complete"), done.stdout.count("damaged")) == (0, 2, 1)
        assert "centre v0 is damaged: the metadata of a run cannot be read: Permission denied" in done.stderr
        assert "Look at the rights of its folder" in done.stderr
        assert as_a_user("runs", "pin", "centre").stdout == "centre v2 is pinned.\n"
        assert as_a_user("runs", "list", "--where", "rmse < 70").stdout.count("\ncentre ") == 2
        for command in ("pin", "delete"):
            done = as_a_user(
                "runs", command, "centre", "--version", "0", *(["-y"] if command == "delete" else [])
            )
            assert done.returncode == 2
            assert "cannot be changed: Permission denied" in done.stderr


def test_an_experiment_that_may_not_be_looked_into_does_not_hide_the_others(stored, as_a_user):
    with with_rights(0, stored[0].parent):
        done = as_a_user("runs", "list")
    assert done.returncode == 0
    assert "other" in done.stdout
    assert (
        "the runs of 'centre' are passed over: a folder of stored runs cannot be looked into" in done.stderr
    )


@pytest.mark.parametrize(
    ("closed", "command"),
    [
        ("data", ("runs", "list")),
        ("data/centre", ("runs", "list", "centre")),
        ("data/centre", ("runs", "tail", "centre")),
        ("data/centre", ("show", "centre")),
    ],
)
def test_a_folder_that_may_not_be_looked_into_is_told_with_the_way_out(stored, as_a_user, closed, command):
    with with_rights(0, Path(closed)):
        done = as_a_user(*command)
    assert (done.returncode, done.stdout) == (2, "")
    assert "a folder of stored runs cannot be looked into: Permission denied (" in done.stderr
    assert f"{closed}). Look at its rights" in done.stderr


@pytest.mark.parametrize(
    "command", [("list",), ("list", "make"), ("tail", "make"), ("prune", "-y")], ids=" ".join
)
def test_a_root_that_is_a_file_is_told(call, project, command):
    Path("data").write_text("not runs")
    done = call("runs", *command)
    assert (done.code, done.out) == (2, "")
    assert "'data' is a file (" in done.err
    assert "move this away" in done.err


@pytest.mark.parametrize(
    "command",
    [
        ("pin", "centre"),
        ("pin", "centre", "--version", "0", "--off"),
        ("delete", "centre", "--version", "1", "-y"),
        ("prune", "--keep", "0", "-y"),
    ],
    ids=" ".join,
)
def test_in_a_store_that_may_only_be_read_the_way_out_is_named(call, stored, as_a_user, command):
    call("runs", "pin", "centre", "--version", "0")
    with with_rights(0o555, stored[0].parent, *stored):
        done = as_a_user("runs", *command)
    assert done.returncode == 2
    assert "the stored run cannot be changed: Permission denied (" in done.stderr
    assert "Look at the rights of the folder" in done.stderr
