from __future__ import annotations

import json
import logging
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from crystallize import Artifact, ArtifactPlugin, BasePlugin, Experiment, ParallelExecution, treatment
from crystallize.errors import (
    ArtifactError,
    ArtifactNotFoundError,
    InvalidNameError,
    InvalidTypeError,
    StoreError,
    UnknownNameError,
)
from crystallize.utils.context import FrozenContext


def producer(
    out: Artifact, *conditions: str, plugin: ArtifactPlugin | None = None, value: Any = None
) -> Experiment:
    def produce(data: Any, ctx: Any) -> Any:
        out.write(f"{ctx['condition']} {ctx['replicate']}" if value is None else value)
        return data

    return Experiment(
        lambda: None,
        [produce],
        name="producer",
        outputs=[out],
        plugins=[plugin] if plugin else [],
        treatments=[treatment(name, {}) for name in conditions],
    )


def at(replicate: int, condition: str = "baseline") -> FrozenContext:
    return FrozenContext(replicate=replicate, condition=condition)


# -- names and arguments ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "alias"),
    [
        ("summary.json", "summary"),
        ("model.tar.gz", "model_tar"),
        ("my model-2.bin", "my_model_2"),
        ("2nd.txt", "_2nd"),
        ("class.txt", "_class"),
        (".hidden", "_hidden"),
    ],
)
def test_the_alias_is_the_stem_as_an_identifier(name: str, alias: str) -> None:
    assert Artifact(name).alias == alias
    assert alias.isidentifier()


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\\b", "/etc/passwd", "c:x", "a\x00b", "x" * 201, "nul"]
)
def test_a_name_that_would_leave_its_folder_is_refused(name: str) -> None:
    with pytest.raises(InvalidNameError):
        Artifact(name)


@pytest.mark.parametrize(
    "arguments",
    [{"name": 3}, {"name": "a", "loader": 3}, {"name": "a", "writer": 3}, {"name": "a", "alias": 3}],
)
def test_wrong_types_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidTypeError):
        Artifact(**arguments)


@pytest.mark.parametrize("role", ["loader", "writer"])
@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("jsno", UnknownNameError),
        ("no_such_module:Name", UnknownNameError),
        ("crystallize.errors:StoreError", InvalidTypeError),
    ],
)
def test_an_error_about_a_loader_names_the_artifact(role: str, name: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"\(artifact 'a\.x'"):
        Artifact("a.x", **{role: name})
    with pytest.raises(UnknownNameError, match=r"\(artifact 'a\.x'"):
        Artifact("a.x", loader="auto")


def test_unknown_loaders_and_aliases_that_are_no_identifiers_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'json'"):
        Artifact("a", loader="jsno")
    with pytest.raises(UnknownNameError, match="Did you mean 'yaml'"):
        Artifact("a", writer="yml")
    with pytest.raises(UnknownNameError, match="no loader fits"):
        Artifact("a.xyz", loader="auto")
    for alias in ("a b", "", "class"):
        with pytest.raises(InvalidNameError):
            Artifact("a", alias=alias)


# -- writing and reading ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "value", "content", "read"),
    [
        ({}, b"\x00\xff", b"\x00\xff", b"\x00\xff"),
        ({}, "\u00e9", "\u00e9".encode(), "\u00e9".encode()),
        ({"loader": "json"}, {"a": 1}, b'{"a": 1}', {"a": 1}),
        ({"loader": "auto"}, {"a": 1}, b'{"a": 1}', {"a": 1}),
        ({"loader": "text", "writer": lambda value: str(value)}, 3, b"3", "3"),
        ({"loader": lambda path: path.name}, b"x", b"x", "a.json"),
        ({"loader": "text", "writer": "json"}, [1], b"[1]", "[1]"),
    ],
)
def test_values_go_through_writer_and_loader(options: Any, value: Any, content: bytes, read: Any) -> None:
    out = Artifact("a.json", **options)
    result = producer(out, value=value).run()
    result.raise_for_errors()
    assert result.path is not None
    assert (result.path / result.artifacts[0].path).read_bytes() == content
    assert out.fetch(at(0)) == read


@pytest.mark.parametrize("value", [3, {"a": 1}, None])
def test_a_value_that_nothing_turns_into_bytes_is_an_error_that_names_type_and_hint(value: Any) -> None:
    def write(data: Any) -> Any:
        out.write(value)
        return data

    out = Artifact("a.bin")
    error = Experiment(lambda: None, [write], name="producer", outputs=[out]).run().errors[0]
    assert error.kind.endswith("ArtifactError")
    assert type(value).__name__ in error.message
    assert "'a.bin'" in error.message
    assert "loader='json'" in error.message


def test_write_returns_the_path_of_the_file() -> None:
    seen = []

    def write(data: Any) -> Any:
        path = out.write(b"content")
        seen.append(path is not None and path.is_absolute() and path.read_bytes())
        return data

    out = Artifact("a.bin")
    Experiment(lambda: None, [write], name="producer", outputs=[out]).run().raise_for_errors()
    assert seen == [b"content"]


# -- writing part by part ---------------------------------------------------------------------------------------


def run_step(step: Any, *outputs: Artifact, **options: Any) -> Any:
    return Experiment(lambda: None, [step], name="producer", outputs=outputs, **options).run()


def files_below(folder: str) -> list[str]:
    found = (path for path in Path(folder).rglob("*") if path.is_file() and "replicate_0" in path.parts)
    return sorted(path.name for path in found)


def write_bytes(out: Artifact) -> None:
    with out.open() as file:
        file.write(b"a,b\n")
        file.write(b"\xc3\xa9")


def write_text(out: Artifact) -> None:
    with out.open("w") as file:
        file.write("a,b\n")
        file.write("\u00e9")


def write_to_the_path(out: Artifact) -> None:
    with out.path() as path:
        assert path.name == out.name
        path.write_bytes("a,b\n\u00e9".encode())


STREAMED = pytest.mark.parametrize("write", [write_bytes, write_text, write_to_the_path])


@STREAMED
def test_what_is_written_part_by_part_is_stored_with_its_size_and_hash(write: Any) -> None:
    seen = []

    def step(data: Any, ctx: Any) -> Any:
        write(out)
        seen.append(files_below("data"))
        return data

    out = Artifact("a.csv", loader="text", writer=lambda value: 1 / 0)
    result = run_step(step, out)
    result.raise_for_errors()
    assert seen == [["a.csv"]]
    assert out.fetch(at(0)) == "a,b\n\u00e9"
    assert [entry[:6] for entry in result.artifacts] == [
        ("a.csv", "StepStep", 0, "baseline", "replicate_0/baseline/StepStep/a.csv", 6)
    ]
    by_write = Artifact("a.csv")
    assert run_step(lambda data: by_write.write("a,b\n\u00e9"), by_write).artifacts[0].digest == (
        result.artifacts[0].digest
    )


@STREAMED
def test_an_error_while_it_is_written_leaves_nothing(write: Any) -> None:
    def step(data: Any) -> Any:
        manager = out.path() if write is write_to_the_path else out.open()
        with manager as target:
            (target.write_bytes if isinstance(target, Path) else target.write)(b"half")
            raise ValueError("broken")

    out = Artifact("a.csv")
    result = run_step(step, out)
    assert [error.kind for error in result.errors] == ["ValueError"]
    assert list(result.artifacts) == []
    assert files_below("data") == []


def test_an_error_leaves_what_the_step_had_written_before() -> None:
    def step(data: Any) -> Any:
        out.write("whole")
        try:
            with out.open() as file:
                file.write(b"half")
                raise ValueError("broken")
        except ValueError:
            return data

    out = Artifact("a.txt", loader="text")
    run_step(step, out).raise_for_errors()
    assert out.fetch(at(0)) == "whole"


def leave_it_out(path: Path) -> None:
    pass


def add_a_suffix(path: Path) -> None:
    path.with_name("a.csv.npy").write_bytes(b"x")


def write_two(path: Path) -> None:
    path.write_bytes(b"x")
    path.with_name("weights.bin").write_bytes(b"x")


def make_a_folder(path: Path) -> None:
    path.mkdir()
    (path / "part").write_bytes(b"x")


def make_a_link(path: Path) -> None:
    path.symlink_to(__file__)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (leave_it_out, r"nothing was written to the path of artifact 'a\.csv' \("),
        (add_a_suffix, r"nothing was written to the path of artifact 'a\.csv': 'a\.csv\.npy'"),
        (write_two, r"'a\.csv' is one file, and more were written beside it: 'weights\.bin'"),
        (make_a_folder, r"'a\.csv' is one plain file, and a folder or link was written"),
        (make_a_link, r"'a\.csv' is one plain file, and a folder or link was written"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"disable_plugins": ["artifact"]}])
def test_a_path_that_is_not_one_file_afterwards_is_an_error(write: Any, message: str, options: Any) -> None:
    def step(data: Any) -> Any:
        with out.path() as path:
            write(path)

    out = Artifact("a.csv")
    result = run_step(step, out, **options)
    assert [error.kind for error in result.errors] == ["crystallize.errors.ArtifactError"]
    assert re.search(message, result.errors[0].message)
    assert "condition 'baseline', replicate 0, step 'StepStep'" in result.errors[0].message
    assert "a.csv" not in files_below("data")


@STREAMED
def test_without_a_plugin_that_stores_it_is_discarded_like_any_other(
    write: Any, caplog: pytest.LogCaptureFixture
) -> None:
    out = Artifact(f"discarded-by-{write.__name__}.csv")
    result = run_step(lambda data: write(out), out, disable_plugins=["artifact"])
    result.raise_for_errors()
    assert list(result.artifacts) == []
    assert f"'{out.name}' is discarded" in caplog.text
    assert not Path("data").exists()


@pytest.mark.parametrize("mode", ["wb", "w"])
def test_a_full_disk_is_told_with_the_file_and_leaves_nothing(mode: Any) -> None:
    import resource

    def step(data: Any) -> Any:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 19, before[1]))
        try:
            with out.open(mode) as file:
                for _ in range(20):
                    file.write(100_000 * ("x" if mode == "w" else b"x"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    out = Artifact("a.bin")
    (error,) = run_step(step, out).errors
    assert error.kind == "crystallize.errors.StoreError"
    assert re.search(r"'a\.bin' cannot be written: File too large.*a\.bin.*space on its disk", error.message)
    assert files_below("data") == []


def test_a_block_that_outlives_its_step_is_an_error_and_stores_nothing() -> None:
    held: list[Any] = []

    def begin(data: Any) -> Any:
        held.append(out.open())
        held[-1].__enter__().write(b"x")
        return data

    def end(data: Any) -> Any:
        held.pop().__exit__(None, None, None)
        return data

    out = Artifact("a.txt")
    result = Experiment(lambda: None, [begin, end], name="producer", outputs=[out]).run()
    assert "still being written when step 'BeginStep' had ended" in result.errors[0].message
    assert list(result.artifacts) == []

    run_step(begin, out).raise_for_errors()
    with pytest.raises(ArtifactError, match="had ended"):
        held.pop().__exit__(None, None, None)


@pytest.mark.parametrize("mode", ["rb", "a", "r+", "", None, 3])
def test_it_is_opened_for_writing_only(mode: Any) -> None:
    out = Artifact("a.txt")
    result = run_step(lambda data: out.open(mode), out)
    assert re.search(
        rf"opened with 'wb', or 'w' for text, got {re.escape(repr(mode))}", result.errors[0].message
    )


@pytest.mark.parametrize("call", [lambda out: out.open(), lambda out: out.path()])
def test_outside_of_a_run_there_is_nothing_to_open(call: Any) -> None:
    with pytest.raises(ArtifactError, match=r"outside of a run.*Write it in a step"):
        call(Artifact("a.txt"))


def test_memory_stays_flat_while_a_large_artifact_is_written_and_read() -> None:
    import tracemalloc

    def step(data: Any) -> Any:
        with big.open() as file:
            for _ in range(64):
                file.write(part)
        with copied.path() as path, path.open("wb") as file:
            for _ in range(64):
                file.write(part)
        return data

    part = bytes(1 << 20)
    big, copied = Artifact("big.bin", loader=lambda path: path.stat().st_size), Artifact("copied.bin")
    tracemalloc.start()
    try:
        result = run_step(step, big, copied)
        assert big.fetch(at(0)) == 64 << 20
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    result.raise_for_errors()
    assert peak < 8 << 20
    first, second = result.artifacts
    assert first.digest == second.digest


# -- reading ----------------------------------------------------------------------------------------------------


def test_more_replicates_than_the_producer_has_start_again_from_the_first() -> None:
    out = Artifact("a.txt", loader="text")
    producer(out).run(replicates=3)
    assert [out.fetch(at(i)) for i in range(7)] == [f"baseline {i % 3}" for i in range(7)]


def test_a_condition_that_the_producer_lacks_reads_its_baseline_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    out = Artifact("a.txt", loader="text")
    producer(out, "high").run(replicates=2)
    caplog.set_level(logging.INFO, "crystallize")
    caplog.clear()
    assert [out.fetch(at(i, "low")) for i in range(2)] == ["baseline 0", "baseline 1"]
    assert out.fetch(at(1, "high")) == "high 1"
    (message,) = (record.getMessage() for record in caplog.records if "'low'" in record.getMessage())
    assert "producer" in message


def test_a_downstream_experiment_reads_what_the_loader_makes_of_the_file() -> None:
    out = Artifact("a.json", loader="json")
    producer(out, "high", value={"n": 2}).run(replicates=2)

    def use(data: Any) -> Any:
        return data, {"n": data["n"]}

    result = Experiment(
        out, [use], name="consumer", treatments=[treatment("high", {})], execution="process"
    ).run(replicates=5)
    result.raise_for_errors()
    assert result.metrics.treatments["high"].metrics["n"] == [2] * 5


def test_an_artifact_without_a_producer_and_one_whose_producer_never_ran_say_what_to_do() -> None:
    out = Artifact("a.txt")
    with pytest.raises(ArtifactError, match=r"no producer.*outputs="):
        out.fetch(at(0))
    producer(out)
    with pytest.raises(ArtifactNotFoundError, match=r"'producer'.*Run it first"):
        out.fetch(at(0))


def test_an_artifact_that_the_run_did_not_write_is_named_with_those_that_it_wrote() -> None:
    out, other = Artifact("summary.txt"), Artifact("sumary.txt")
    subject = producer(out)
    subject.run()
    other.bind(subject.plugins.find(ArtifactPlugin).location(subject))
    with pytest.raises(ArtifactNotFoundError, match=r"'sumary\.txt'.*Did you mean 'summary\.txt'") as caught:
        other.fetch(at(0))
    assert isinstance(caught.value, FileNotFoundError)


@pytest.mark.parametrize("change", [lambda content: b"X" + content[1:], lambda content: content[:-1]])
def test_a_file_that_was_changed_is_refused(change: Any) -> None:
    out = Artifact("a.txt")
    result = producer(out).run()
    assert result.path is not None
    file = result.path / result.artifacts[0].path
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(ArtifactError, match="not what was written") as caught:
        out.fetch(at(0))
    assert str(file) in str(caught.value)


def test_a_file_that_is_gone_and_a_damaged_manifest_are_named() -> None:
    out = Artifact("a.txt")
    result = producer(out).run()
    assert result.path is not None
    (result.path / result.artifacts[0].path).unlink()
    with pytest.raises(ArtifactNotFoundError, match=r"artifact_retention") as caught:
        out.fetch(at(0))
    assert caught.value.__cause__ is None, "a traceback of ours tells a user nothing"
    (result.path / "_manifest.json").write_bytes(b"{")
    with pytest.raises(StoreError, match=r"_manifest\.json"):
        out.fetch(at(0))


def test_content_that_the_loader_cannot_read_is_named() -> None:
    out = Artifact("a.json", loader="json", writer=lambda value: value)
    producer(out, value=b"{").run()
    with pytest.raises(ArtifactError, match=r"JsonLoader cannot read artifact 'a\.json'"):
        out.fetch(at(0))


def test_a_consumers_run_keeps_to_the_version_that_it_began_with() -> None:
    out = Artifact("a.txt", loader="text")
    plugin = ArtifactPlugin(versioned=True)
    producer(out, plugin=plugin, value="old").run()
    out.choose_run()
    assert out.fetch(at(0)) == "old"
    new = producer(out, plugin=plugin, value="new")
    pinned = pickle.loads(pickle.dumps(out))
    pinned.choose_run()
    new.run()
    assert pinned.fetch(at(0)) == "old"
    pinned.release_run()
    pinned.choose_run()
    assert pinned.fetch(at(0)) == "new"


def test_consumers_that_run_at_the_same_time_keep_to_one_version_until_the_last_has_ended() -> None:
    out = Artifact("a.txt", loader="text")
    plugin = ArtifactPlugin(versioned=True)
    producer(out, plugin=plugin, value="old").run()
    shared = pickle.loads(pickle.dumps(out))
    shared.choose_run()
    shared.choose_run()
    producer(out, plugin=plugin, value="new").run()
    shared.release_run()
    assert shared.fetch(at(0)) == "old"
    shared.release_run()
    assert shared.fetch(at(0)) == "new"


def test_the_metadata_of_a_chosen_run_are_those_of_then_and_workers_are_not_sent_them() -> None:
    out = Artifact("a.txt", loader="text")
    made = producer(out, plugin=ArtifactPlugin(versioned=False), value="old").run(replicates=2)
    assert made.path is not None
    out.choose_run()
    file = made.path / "metadata.json"
    file.write_text(file.read_text().replace('"replicates": 2', '"replicates": 7'))
    assert out.default_replicates == 2
    assert pickle.loads(pickle.dumps(out)).default_replicates == 7
    out.release_run()
    assert out.default_replicates == 7


# -- pickling ---------------------------------------------------------------------------------------------------


class RunsAgain(BasePlugin):
    """Runs the producer again, with other content, before a replicate of the consumer."""

    def __init__(self, producer: Experiment, at: int = 1) -> None:
        self.producer = producer
        self.at = at

    def after_replicate(self, experiment: Any, result: Any) -> None:
        if result.replicate == self.at - 1:
            self.producer.run(replicates=4)


@pytest.mark.parametrize("execution", ["serial", "thread", "process"])
def test_a_consumers_run_reads_one_run_also_if_another_takes_its_place_meanwhile(execution: str) -> None:
    out = Artifact("data.txt", loader="text")
    one = ArtifactPlugin(versioned=False)
    producer(out, plugin=one, value="old").run(replicates=4)
    plugins: list[Any] = [RunsAgain(producer(Artifact("data.txt"), plugin=one, value="new"))]
    if execution != "serial":
        plugins.append(ParallelExecution(max_workers=1, executor_type=execution))
    consumer = Experiment(out, [lambda data: (data, {"text": data})], name="consumer", plugins=plugins)
    result = consumer.run()
    result.raise_for_errors()
    assert result.metrics.baseline.metrics["text"] == ["old"] * 4
    (read,) = json.loads((result.path or Path()).joinpath("metadata.json").read_bytes())["inputs"]
    now = json.loads(Path("data/producer/v0/metadata.json").read_bytes())["run"]
    assert read["run"] != now
    producer(Artifact("data.txt"), plugin=one, value="newest").run(replicates=4)
    assert [path.name for path in Path("data/producer").iterdir()] == ["v0"]


def test_retention_waits_for_a_consumer_that_reads_an_old_version() -> None:
    plugin = ArtifactPlugin(versioned=True, artifact_retention=1)
    out = Artifact("data.txt", loader="text")
    producer(out, plugin=plugin, value="old").run(replicates=4)
    again = RunsAgain(producer(Artifact("data.txt"), plugin=plugin, value="new"))
    result = Experiment(out, [lambda data: (data, {"text": data})], plugins=[again]).run()
    result.raise_for_errors()
    assert result.metrics.baseline.metrics["text"] == ["old"] * 4
    again.producer.run()
    assert [len(list(Path("data/producer", name).glob("replicate_*"))) for name in ("v0", "v1")] == [0, 0]


def test_a_run_that_is_gone_while_it_is_read_is_told_as_such() -> None:
    out = Artifact("data.txt", loader="text")
    producer(out, value="old").run(replicates=3)

    class Removes(BasePlugin):
        def after_replicate(self, experiment: Any, result: Any) -> None:
            if result.replicate == 0:
                shutil.rmtree("data/producer/v0")
                producer(Artifact("data.txt"), value="new").run(replicates=3)

    result = Experiment(out, [lambda data: (data, {"text": data})], plugins=[Removes()]).run()
    assert result.metrics.baseline.metrics["text"] == ["old"]
    assert [error.replicate for error in result.errors] == [1, 2]
    assert "'producer' that is being read is gone" in result.errors[0].message


@pytest.mark.parametrize(
    "folder", ["replicate_0", "replicate_0/baseline", "replicate_0/baseline/ProduceStep"]
)
def test_an_artifact_behind_a_link_is_not_read(folder: str, tmp_path: Path) -> None:
    out = Artifact("data.txt", loader="text")
    producer(out).run()
    place = Path("data/producer/v0", folder)
    place.rename(tmp_path / "outside")
    place.symlink_to(tmp_path / "outside")
    with pytest.raises(StoreError, match="nothing is read from behind it"):
        out.fetch(at(0))


def test_lambdas_and_closures_survive_plain_pickle(tmp_path: Path) -> None:
    suffix = "!"
    out = Artifact(
        "a.txt", loader=lambda path: path.read_text() + suffix, writer=lambda value: value + suffix
    )
    producer(out, value="x").run()
    assert pickle.loads(pickle.dumps(out)).fetch(at(0)) == "x!!"


def test_a_pickled_artifact_leads_to_the_same_folder_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Artifact("a.txt", loader="text")
    producer(out).run()
    sent = pickle.dumps(out)
    monkeypatch.chdir(tmp_path)
    assert pickle.loads(sent).fetch(at(0)) == "baseline 0"


def test_lambdas_write_and_read_in_processes() -> None:
    out = Artifact("a.txt", loader=lambda path: path.read_text(), writer=lambda value: f"<{value}>")

    def produce(data: Any, ctx: Any) -> Any:
        out.write(ctx["replicate"])
        return data

    Experiment(lambda: None, [produce], name="producer", outputs=[out], execution="process").run(
        replicates=2
    ).raise_for_errors()
    result = Experiment(out, [lambda data: (data, {"text": data})], name="consumer", execution="process").run(
        replicates=2
    )
    result.raise_for_errors()
    assert result.metrics.baseline.metrics["text"] == ["<0>", "<1>"]


def test_the_identity_of_an_experiment_does_not_depend_on_where_it_stores() -> None:
    ids = set()
    for root in ("one", "two"):
        out = Artifact("a.txt", loader="text")
        subject = Experiment(lambda: None, [lambda data: data], plugins=[ArtifactPlugin(root)], outputs=[out])
        ids.add((subject.id, str(out.__crystallize_fingerprint__()[0])))
    assert len(ids) == 1
