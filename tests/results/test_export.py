"""A stored run as an RO-Crate, read back with the package `rocrate` and compared with the run."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from rocrate.rocrate import ROCrate

import crystallize.results.export
from crystallize import ArtifactPlugin, Experiment, Result, pipeline_step, runs, treatment
from crystallize.errors import ArtifactError, CrystallizeError, InvalidValueError, StoreError
from crystallize.results.export import Exported, _in_the_place_of, export_run
from crystallize.results.load import load_result
from crystallize.store.retention import remove_artifacts

ODD = "50% é #1"


@pipeline_step()
def fit(data: Any, ctx: Any, *, strength: float = 0.0, token: str = "") -> Any:
    ctx.get("api_key")
    ctx.artifacts.write("model.json", b"[%d]" % ctx["replicate"])
    if strength > 10 and ctx["replicate"] == 1:
        raise ValueError("no fit")
    return data, {"rmse": 60 - strength}


def run(replicates: int = 2, **options: Any) -> Result:
    options = {"name": "penalty", "seed": 2**60 + 1, "on_error": "continue"} | options
    return Experiment(
        lambda: None,
        [fit(token="hunter2")],
        initial_ctx={"api_key": "hunter2"},
        treatments=[treatment(ODD, {"strength": 5.0})],
        disable_plugins=["logging"],
        **options,
    ).run(replicates=replicates)


def export(result: Result, output: str = "crate", **options: Any) -> Exported:
    assert result.path is not None
    return export_run(result.path, output, **options)


def document(crate: str | Path = "crate") -> dict[str, dict[str, Any]]:
    """Return the entities of a crate by their identifiers."""
    graph = json.loads(Path(crate, "ro-crate-metadata.json").read_text("utf-8"))["@graph"]
    assert len({entity["@id"] for entity in graph}) == len(graph)
    return {entity["@id"]: entity for entity in graph}


def action_of(crate: str | Path = "crate") -> dict[str, Any]:
    (action,) = (entity for entity in document(crate).values() if entity["@type"] == "CreateAction")
    return action


def settings(crate: str | Path = "crate") -> dict[str, Any]:
    return {each["name"]: each["value"] for each in document(crate).values() if "value" in each}


def contents(folder: str | Path) -> dict[str, bytes]:
    """Return what each file below a folder holds."""
    paths = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def names() -> list[str]:
    """Return what is in the working directory."""
    return sorted(path.name for path in Path().iterdir())


# -- what other tools find -----------------------------------------------------------------------------------


@pytest.fixture(params=["crate", "crate.zip"])
def crate(request: Any) -> ROCrate:
    export(run(), request.param)
    return ROCrate(request.param)


def test_the_crate_says_what_it_is(crate: ROCrate) -> None:
    assert crate.version == "1.3"
    (profile,) = [crate.root_dataset["conformsTo"]]
    assert profile.id == "https://w3id.org/ro/wfrun/process/0.6"
    assert crate.name == "Run penalty v0"
    assert crate.description == f"2 replicates of baseline, {ODD}."


def test_it_has_the_runs_files_each_with_size_and_hash(crate: ROCrate) -> None:
    stored = contents("data/penalty/v0")
    described = {unquote(entity.id): entity for entity in crate.data_entities}
    assert set(described) == {path for path in stored if not path.endswith(".crystallize_complete")}
    assert f"replicate_1/{ODD}/FitStep/model.json" in described
    for path, entity in described.items():
        assert entity.type == "File"
        assert entity["contentSize"] == str(len(stored[path]))
        assert entity["sha256"] == hashlib.sha256(stored[path]).hexdigest()
        assert Path(entity.source).read_bytes() == stored[path]
        assert entity["encodingFormat"] in {"application/json", "application/jsonl"}
        assert entity["name"]
        assert entity["description"]


def test_the_run_is_one_action_with_agent_instrument_objects_and_results(crate: ROCrate) -> None:
    metadata = json.loads(Path("data/penalty/v0/metadata.json").read_text())
    (action,) = [crate.root_dataset["mentions"]]
    assert action.id == f"#run/{metadata['run']}"
    assert (action.type, action["name"]) == ("CreateAction", "Run penalty v0")
    assert action["actionStatus"] == "http://schema.org/CompletedActionStatus"
    assert action.get("error") is None
    assert (action["agent"].type, action["agent"]["name"]) == ("Person", metadata["user"])
    assert action["startTime"][:23] == metadata["started"][:23]
    assert action["endTime"][:23] == metadata["finished"][:23]
    assert crate.root_dataset["datePublished"] == action["endTime"]
    assert set(action["result"]) == set(crate.data_entities)
    assert "python" in action["description"]

    tool = action["instrument"]
    assert (tool.type, tool["name"]) == ("SoftwareApplication", "crystallize-lab")
    required = {each["name"]: each["version"] for each in [tool, *tool["softwareRequirements"]]}
    assert required.pop("Python CPython") == metadata["environment"]["python"]
    assert required == metadata["packages"]

    (experiment,) = [each for each in action["object"] if each.type == "CreativeWork"]
    assert experiment["description"].startswith("An experiment with the steps FitStep.")


def test_what_is_referenced_is_described_and_what_is_described_is_referenced() -> None:
    export(run(), license="https://spdx.org/licenses/MIT")
    entities = document()

    def references(value: Any) -> set[str]:
        if isinstance(value, list):
            return set().union(*map(references, value))
        return {value["@id"]} if isinstance(value, dict) else set()

    referenced = set().union(*(references(value) for each in entities.values() for value in each.values()))
    assert referenced - {"https://w3id.org/ro/crate/1.3"} == set(entities) - {"ro-crate-metadata.json"}


def test_settings_are_values_that_every_reader_gets_exactly() -> None:
    export(run())
    assert settings() == {
        "replicates": 2,
        "datasource.callable": "test_export.run.<locals>.<lambda>",
        "steps.FitStep.callable": "test_export.fit",
        "master_seed": str(2**60 + 1),
        "execution": "serial",
        "execution.progress": False,
        "initial_ctx.settings.api_key": "***",
        "steps.FitStep.parameters.token": "***",
        "steps.FitStep.defaults.strength": 0.0,
        f"conditions.{ODD}.settings.strength": 5.0,
    }


def test_no_secret_and_no_other_variable_of_the_environment_is_exported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("SOMETHING_ELSE", "of nobody's business")
    export(run())
    assert settings()["OMP_NUM_THREADS"] == "1"
    assert [document()[action_of()["environment"]["@id"]]["name"]] == ["OMP_NUM_THREADS"]
    for path, content in contents("crate").items():
        assert b"hunter2" not in content, path
        assert b"nobody's business" not in content, path


def test_an_artifact_of_another_experiment_that_was_read_is_an_object() -> None:
    producer = Experiment(lambda: None, [fit()], name="producer", seed=1)
    producer.run(replicates=2)
    source = producer.artifact_datasource(step="FitStep", name="model.json")
    export(Experiment(source, [lambda data: (data, {"n": 1})], name="consumer", seed=1).run(replicates=2))
    given = [document()[each["@id"]] for each in action_of()["object"]]
    (model,) = [each for each in given if each["name"] == "model.json"]
    assert model["description"].startswith("An artifact of run v0 of experiment producer, which started at 2")
    assert not list(Path("crate").rglob("model.json"))


@pytest.mark.parametrize(
    ("wanted", "value"),
    [
        ("https://spdx.org/licenses/CC-BY-4.0", {"@id": "https://spdx.org/licenses/CC-BY-4.0"}),
        ("Ask me first.", "Ask me first."),
        ("https://example.org/terms, for teaching only", "https://example.org/terms, for teaching only"),
        (None, "No license was given: ask whoever made this crate what may be done with it."),
    ],
)
def test_the_license_is_an_address_or_a_text(wanted: str | None, value: Any) -> None:
    export(run(), license=wanted)
    assert document()["./"]["license"] == value


def test_a_crate_is_a_run_that_can_be_read() -> None:
    result = run()
    export(result)
    assert load_result("crate").to_json() == result.to_json()
    assert load_result("crate").provenance.tree() == result.provenance.tree()
    assert export_run("crate", "again").files == len(contents("crate")) - 1
    assert document("again")["./"]["name"] == "Run penalty"


# -- how the run ended ---------------------------------------------------------------------------------------


def test_failed_outcomes_of_a_complete_run_are_told_and_are_no_error() -> None:
    export(
        Experiment(lambda: 1, [fit()], treatments=[treatment("bad", {"strength": 20.0})], name="p").run(
            replicates=2
        )
    )
    action = action_of()
    assert action["actionStatus"].endswith("/CompletedActionStatus")
    assert "error" not in action
    assert (
        "1 outcome failed. The first failure: ValueError: no fit (condition 'bad', replicate 1"
        in (action["description"])
    )


def test_a_run_that_was_stopped_by_a_failure_has_the_error() -> None:
    bad = Experiment(lambda: 1, [fit(strength=20.0)], name="p", on_error="stop", seed=1)
    with pytest.raises(CrystallizeError):
        bad.run(replicates=3)
    (stored,) = runs("p")
    export_run(stored.path, "crate")
    action = action_of()
    assert action["actionStatus"].endswith("/FailedActionStatus")
    assert action["error"].startswith(
        "The run ended with an error when 2 of 3 replicates were done. The first"
    )
    assert "ValueError: no fit" in action["error"]


KILLED = """
import os, pathlib, signal
from crystallize import Experiment

journal = pathlib.Path("data/cut/v0/journal.jsonl")

def step(data, ctx):
    if ctx["replicate"] == 2:
        while b'"replicate":1' not in journal.read_bytes():
            pass
        os.kill(os.getpid(), signal.SIGKILL)
    ctx.artifacts.write("a.txt", b"a")
    return data, {"n": 1}

Experiment(lambda: 1, [step], name="cut", seed=1).run(replicates=5)
"""


def test_a_run_whose_process_was_killed_was_interrupted(run_python: Any) -> None:
    assert run_python(KILLED, cwd=Path.cwd(), check=False).returncode == -signal.SIGKILL
    export_run("data/cut/v0", "crate")
    action = action_of()
    assert action["actionStatus"].endswith("/FailedActionStatus")
    assert action["error"] == "The run was interrupted when 2 of 5 replicates were done"
    assert "endTime" not in action
    assert document()["./"]["datePublished"] == action["startTime"]
    assert Path("crate/replicate_1/baseline/StepStep/a.txt").read_text() == "a"


def test_a_run_that_is_being_made_is_not_exported() -> None:
    def step(data: Any) -> Any:
        with pytest.raises(StoreError, match=r"still being made.*Export it when it is over"):
            export_run("data/now/v0", "crate")
        return data

    Experiment(lambda: 1, [step], name="now", seed=1).run().raise_for_errors()
    assert not Path("crate").exists()


# -- artifacts -----------------------------------------------------------------------------------------------


def test_an_artifact_that_was_removed_is_described_and_not_in_the_crate() -> None:
    result = run()
    assert result.path is not None
    remove_artifacts(result.path)
    assert export(result).gone == 4
    assert not [path for path in contents("crate") if path.startswith("replicate_")]
    entry = result.artifacts[0]
    removed = document()[f"#removed/{entry.path}"]
    assert removed["localPath"] == entry.path
    assert removed["contentSize"] == str(entry.size)
    assert removed["identifier"] == entry.digest
    assert {"@id": removed["@id"]} in action_of()["result"]
    assert {"@id": removed["@id"]} not in document()["./"]["hasPart"]
    assert {entity.id for entity in ROCrate("crate").data_entities} <= {
        "metadata.json",
        "journal.jsonl",
        "_manifest.json",
        "pruned.json",
        "baseline/results.json",
        "50%25%20é%20%231/results.json",
    }


def test_an_artifact_that_was_changed_is_told_and_nothing_is_left() -> None:
    result = run()
    assert result.path is not None
    (result.path / "replicate_0/baseline/FitStep/model.json").write_bytes(b"[7]")
    with pytest.raises(ArtifactError, match=r"is not what was written"):
        export(result, "new/deep/crate")
    assert names() == ["data"]


def test_files_that_are_not_the_runs_stay_where_they_are() -> None:
    result = run()
    assert result.path is not None
    (result.path / "notes.txt").write_text("of somebody")
    (result.path / "baseline" / "more").mkdir()
    (result.path / ".pinned").touch()
    export(result)
    assert not {"notes.txt", ".pinned", "baseline/.crystallize_complete"} & set(contents("crate"))


def test_nothing_is_read_through_a_link() -> None:
    result = run()
    assert result.path is not None
    shutil.move(result.path / "baseline", "elsewhere")
    (result.path / "baseline").symlink_to(Path("elsewhere").absolute())
    with pytest.raises(StoreError, match="link"):
        export(result)


# -- the same bytes ------------------------------------------------------------------------------------------


def test_exported_again_anywhere_and_at_any_time_it_has_the_same_bytes(run_python: Any) -> None:
    path = run().path
    assert path is not None
    export_run(path, "one")
    export_run(path, "one.zip")
    code = """
import sys
from crystallize.results.export import export_run
export_run(sys.argv[1], "two")
export_run(sys.argv[1], "two.zip")
"""
    Path("other").mkdir()
    variables = {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    run_python(code, str(path), cwd=Path("other").absolute(), env=variables)
    assert contents("one") == contents("other/two")
    assert Path("one.zip").read_bytes() == Path("other/two.zip").read_bytes()


def test_a_zip_file_has_the_files_of_the_folder_and_the_time_of_the_run() -> None:
    result = run()
    export(result)
    export(result, "crate.ZIP")
    finished = json.loads(Path("crate/metadata.json").read_text())["finished"]
    with zipfile.ZipFile("crate.ZIP") as archive:
        assert archive.testzip() is None
        assert {entry.filename: archive.read(entry) for entry in archive.infolist()} == contents("crate")
        for entry in archive.infolist():
            assert "{:04}-{:02}-{:02}T{:02}:{:02}".format(*entry.date_time[:5]) == finished[:16]


# -- where it goes -------------------------------------------------------------------------------------------


def test_without_a_place_it_is_a_zip_file_that_is_called_after_the_run() -> None:
    path = run().path
    assert path is not None
    done = export_run(path)
    assert done.path == Path("penalty-v0-ro-crate.zip").absolute()
    assert (done.files, done.gone) == (len(ROCrate(done.path).data_entities), 0)


@pytest.mark.parametrize("output", ["crate", "crate.zip"])
def test_an_older_crate_is_left_as_it_is_unless_it_is_to_be_replaced(output: str) -> None:
    result = run()
    export(result, output)
    export(result, output="as-it-was")
    with pytest.raises(InvalidValueError, match=r"exists already.*--force.*force=True"):
        export(result, output, license="MIT")
    export(result, output, license="MIT", force=True)
    assert ROCrate(output).root_dataset["license"] == "MIT"
    assert names() == sorted(["as-it-was", output, "data"])


def test_an_empty_folder_is_a_place_for_a_crate() -> None:
    Path("crate").mkdir()
    export(run())
    assert document()


@pytest.mark.parametrize("output", ["data", "file", "file.zip", "folder.zip", "link", "other.zip"])
def test_what_is_no_crate_is_never_replaced(output: str) -> None:
    result = run()
    export(result, "crate")
    Path("file").touch()
    Path("file.zip").write_text("my notes")
    Path("folder.zip").mkdir()
    with zipfile.ZipFile("other.zip", "w") as archive:
        archive.writestr("notes.txt", "my notes")
    Path("link").symlink_to("crate")
    before = contents(".")
    with pytest.raises(InvalidValueError, match=r"exists already and is no crate"):
        export(result, output, force=True)
    assert contents(".") == before


def test_the_working_directory_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run()
    Path("empty").mkdir()
    monkeypatch.chdir("empty")
    with pytest.raises(InvalidValueError, match=r"working directory.*Name a folder in it"):
        export(result, ".")


@pytest.mark.parametrize("output", ["new/crate", "new/crate.zip", "old", "old.zip"])
def test_a_full_disk_is_told_and_leaves_what_was_there(output: str) -> None:
    import resource

    result = run(replicates=40)
    export(result, "old")
    export(result, "old.zip")
    before = contents(".")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))
    try:
        with pytest.raises(
            StoreError, match=rf"{re.escape(output)}' cannot be written: File too large.*space on"
        ):
            export(result, output, force=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert contents(".") == before
    assert not Path("new").exists()


def test_an_older_crate_comes_back_if_the_new_one_cannot_take_its_place() -> None:
    export(run())
    before = contents(".")
    with (
        pytest.raises(StoreError, match="cannot be written: No such file"),
        _in_the_place_of(Path("crate").absolute(), force=True) as beside,
    ):
        assert not beside.exists()  # nor is anything made there
    assert contents(".") == before


def test_what_somebody_puts_into_an_empty_folder_meanwhile_is_not_replaced() -> None:
    Path("crate").mkdir()

    def export_late() -> None:
        with _in_the_place_of(Path("crate").absolute(), force=False) as beside:
            beside.mkdir()
            Path("crate/notes.txt").write_text("of somebody")

    with pytest.raises(StoreError, match="cannot be written: Directory not empty"):
        export_late()
    assert contents(".") == {"crate/notes.txt": b"of somebody"}


def test_a_place_where_nobody_may_write_is_told() -> None:
    result = run()
    Path("file").touch()
    with pytest.raises(StoreError, match=r"the crate '.*file/crate' cannot be written: "):
        export(result, "file/crate")


# -- what is no run ------------------------------------------------------------------------------------------


def test_what_is_no_run_cannot_be_exported() -> None:
    with pytest.raises(StoreError, match="no run is stored here"):
        export_run("nowhere/v0", "crate")


def test_a_run_of_another_tool_is_described_as_far_as_its_metadata_go() -> None:
    path = run().path
    assert path is not None
    kept = {
        key: json.loads((path / "metadata.json").read_text())[key] for key in ("name", "replicates", "status")
    }
    foreign = {"schema_version": 1, "conditions": {"baseline": {}}, "master_seed": 1, **kept}
    (path / "journal.jsonl").unlink()
    (path / "metadata.json").write_text(json.dumps(foreign))
    with pytest.raises(StoreError, match="do not tell when the run was made"):
        export_run(path, "crate")
    (path / "metadata.json").write_text(json.dumps({**foreign, "started": "2026-01-01T00:00:00"}))
    export_run(path, "crate")
    assert document()["./"]["datePublished"] == "2026-01-01T00:00:00.000+00:00"
    assert action_of()["@id"] == "#run"


@pytest.mark.parametrize(("commit", "said"), [("1f2e", True), (None, False)])
def test_code_differs_from_a_commit_only_where_there_is_one(commit: str | None, said: bool) -> None:
    path = run().path
    assert path is not None
    metadata = json.loads((path / "metadata.json").read_text())
    metadata["code"] = {"git_commit": commit, "dirty": True, "diff": "ab"}
    (path / "metadata.json").write_text(json.dumps(metadata))
    export_run(path, "crate")
    experiment = document()["#experiment/penalty"]
    assert experiment.get("version") == commit
    assert ("It differed from the commit" in experiment["description"]) is said


def test_a_run_with_versioned_false_is_exported_as_a_whole_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run_again() -> Result:
        return run(plugins=[ArtifactPlugin(versioned=False)])

    def while_another_one_runs(*arguments: Any) -> Any:
        copied = copy_all(*arguments)
        run_again()
        return copied

    result = run_again()
    export(result)
    assert load_result("crate").to_json() == result.to_json()
    copy_all = crystallize.results.export._copy_all
    monkeypatch.setattr(crystallize.results.export, "_copy_all", while_another_one_runs)
    with pytest.raises(StoreError, match=r"another run took the place of this one.*Try again"):
        export(result, "other")
    assert names() == ["crate", "data"]
