from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from crystallize.errors import ArtifactError, ArtifactNotFoundError, InvalidNameError, StoreError
from crystallize.store import manifest
from crystallize.store.layout import MANIFEST, ArtifactEntry
from crystallize.store.manifest import ManifestIndex, check_unchanged, write_manifest
from crystallize.store.sink import ArtifactSink
from crystallize.utils import files
from crystallize.utils.context import FrozenContext
from crystallize.utils.digests import measure_file, write_hashed


def entry(step: str, name: str = "a.bin", replicate: int = 0) -> ArtifactEntry:
    path = f"replicate_{replicate}/baseline/{step}/{name}"
    return ArtifactEntry(name, step, replicate, "baseline", path, 1, f"xxh3_128:{step}")


def stored(folder: Path, content: bytes | bytearray) -> ArtifactEntry:
    return entry("Step")._replace(size=len(content), digest=write_hashed(folder / "a", content))


def test_the_manifest_names_the_step_and_each_file(tmp_path: Path) -> None:
    write_manifest(tmp_path, [entry("First"), entry("First", replicate=1)])
    assert json.loads((tmp_path / MANIFEST).read_text()) == {
        "a.bin": {
            "step": "First",
            "files": {
                "replicate_0/baseline/First/a.bin": {"size": 1, "digest": "xxh3_128:First"},
                "replicate_1/baseline/First/a.bin": {"size": 1, "digest": "xxh3_128:First"},
            },
        }
    }


def test_an_artifact_that_another_step_writes_in_another_outcome_is_found_there(tmp_path: Path) -> None:
    write_manifest(tmp_path, [entry("Second"), entry("First", replicate=1)])
    for replicate, step in (("replicate_0", "Second"), ("replicate_1", "First")):
        stored = ManifestIndex().find(tmp_path, "a.bin", replicate, "baseline")
        assert stored is not None
        assert stored.path == f"{replicate}/baseline/{step}/a.bin"


def test_what_was_never_written_is_not_found(tmp_path: Path) -> None:
    assert ManifestIndex().find(tmp_path, "a.bin", "replicate_0", "baseline") is None
    write_manifest(tmp_path, [entry("First")])
    assert ManifestIndex().find(tmp_path, "b.bin", "replicate_0", "baseline") is None
    assert ManifestIndex().names(tmp_path) == ["a.bin"]


def test_a_manifest_is_parsed_once_however_many_others_are_read_in_between(tmp_path: Path) -> None:
    runs = [tmp_path / str(number) for number in range(20)]
    indexes = [ManifestIndex() for _ in runs]
    for run, index in zip(runs, indexes, strict=True):
        run.mkdir()
        write_manifest(run, [entry("First")])
        assert index.find(run, "a.bin", "replicate_0", "baseline") == entry("First")
    for run in runs:  # nobody can tell it from the file of before, who does not read it
        manifest = run / MANIFEST
        before = manifest.stat()
        manifest.write_bytes(b"x" * before.st_size)
        os.utime(manifest, ns=(before.st_atime_ns, before.st_mtime_ns))
    for run, index in zip(runs, indexes, strict=True):
        assert index.find(run, "a.bin", "replicate_0", "baseline") == entry("First")


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[]", b'{"a": {}}', b'{"a": {"files": {"x": {}}}}'])
def test_a_damaged_manifest_is_an_error_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises(StoreError, match=MANIFEST):
        ManifestIndex().names(tmp_path)


@pytest.mark.parametrize("position", [0, 1_500_000, 2_999_999])
def test_a_byte_that_has_changed_is_found(tmp_path: Path, position: int) -> None:
    content = bytearray(3_000_000)
    written = stored(tmp_path, content)
    check_unchanged(tmp_path / "a", written)
    content[position] ^= 1
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ArtifactError, match=f"not what was written.*{written.digest}"):
        check_unchanged(tmp_path / "a", written)


def test_a_file_that_lies_there_unchanged_is_read_once_in_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytearray(10)
    written = stored(tmp_path, content)
    file = tmp_path / "a"
    read = []
    monkeypatch.setattr(manifest, "measure_file", lambda path: read.append(path) or measure_file(path))
    for _ in range(3):
        check_unchanged(file, written)
    assert len(read) == 3  # it is so new that a change might not show in its times
    monkeypatch.setattr(files, "_COARSEST_CLOCK", -(10**12))
    for _ in range(3):
        check_unchanged(file, written)
    assert len(read) == 4
    before = file.stat()
    file.write_bytes(b"X" + content[1:])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns - 1))
    with pytest.raises(ArtifactError, match="not what was written"):
        check_unchanged(file, written)


def test_a_file_that_is_gone_is_told_with_what_it_was(tmp_path: Path) -> None:
    written = stored(tmp_path, bytes(10))
    (tmp_path / "a").unlink()
    with pytest.raises(
        ArtifactNotFoundError, match=r"with 10 bytes, and is gone.*Run the producing"
    ) as caught:
        check_unchanged(tmp_path / "a", written)
    assert str(tmp_path / "a") in str(caught.value)


def test_a_file_that_was_cut_off_is_found(tmp_path: Path) -> None:
    written = stored(tmp_path, bytes(10))
    (tmp_path / "a").write_bytes(bytes(9))
    with pytest.raises(ArtifactError, match="10 bytes then, 9 bytes now"):
        check_unchanged(tmp_path / "a", written)


@pytest.mark.parametrize(
    "path",
    [
        "../outside/baseline/Step/a.bin",
        "replicate_0/../../outside/a.bin",
        "replicate_0/baseline/Step/../a.bin",
        "/replicate_0/baseline/a.bin",
        "/etc/baseline/Step/a.bin",
        "replicate_0/baseline/Step/b.bin",
        "replicate_00/baseline/Step/a.bin",
    ],
)
def test_a_manifest_that_leads_elsewhere_is_an_error(tmp_path: Path, path: str) -> None:
    content = {"a.bin": {"step": "Step", "files": {path: {"size": 1, "digest": "xxh3_128:0"}}}}
    (tmp_path / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(StoreError, match=MANIFEST):
        ManifestIndex().names(tmp_path)


@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_an_artifact_that_is_no_plain_file_is_an_error_that_says_so(tmp_path: Path, kind: str) -> None:
    written = stored(tmp_path, b"x")
    (tmp_path / "a").rename(tmp_path / "outside")
    if kind == "pipe":
        os.mkfifo(tmp_path / "a")
    elif kind == "link":
        (tmp_path / "a").symlink_to(tmp_path / "outside")
    else:
        (tmp_path / "a").mkdir()
    with pytest.raises(ArtifactError, match=f"it is a {kind}, not a plain file"):
        check_unchanged(tmp_path / "a", written)


# -- the sink ---------------------------------------------------------------------------------------------------


def context(base: Path, step: str | None = "Step") -> FrozenContext:
    ctx = FrozenContext({} if step is None else {"step_name": step}, replicate=3, condition="high")
    ctx.artifacts.sink = ArtifactSink(str(base))
    return ctx


def test_an_artifact_goes_to_the_folder_of_its_replicate_condition_and_step(tmp_path: Path) -> None:
    ctx = context(tmp_path / "run")
    for content in (b"one", b"other"):
        stored = ctx.artifacts.write("a.bin", content)
        assert (tmp_path / "run" / "replicate_3" / "high" / "Step" / "a.bin").read_bytes() == content
        assert stored[:6] == ("a.bin", "Step", 3, "high", "replicate_3/high/Step/a.bin", len(content))


def test_a_name_that_leads_elsewhere_is_refused_by_the_sink_too(tmp_path: Path) -> None:
    with pytest.raises(InvalidNameError):
        context(tmp_path / "run").artifacts.write("../../a.bin", b"x")


def test_outside_of_a_step_there_is_no_place_for_an_artifact(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="outside of a step"):
        context(tmp_path / "run", step=None).artifacts.write("a.bin", b"x")


def test_a_folder_that_cannot_be_made_is_an_error_that_names_artifact_and_place(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file in the place of a folder")
    with pytest.raises(StoreError, match=r"'a\.bin'.*condition 'high', replicate 3"):
        context(tmp_path / "run").artifacts.write("a.bin", b"x")


@pytest.mark.parametrize("link", ["replicate_3", "replicate_3/high", "replicate_3/high/Step"])
def test_nothing_is_written_through_a_link(tmp_path: Path, link: str) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "run" / link).parent.mkdir(parents=True)
    (tmp_path / "run" / link).symlink_to(tmp_path / "outside")
    with pytest.raises(StoreError, match=r"'a\.bin' cannot be written"):
        context(tmp_path / "run").artifacts.write("a.bin", b"x")
    assert not list((tmp_path / "outside").iterdir())


def test_a_link_in_the_place_of_an_artifact_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("precious")
    file = tmp_path / "run" / "replicate_3" / "high" / "Step" / "a.bin"
    file.parent.mkdir(parents=True)
    file.symlink_to(tmp_path / "outside")
    context(tmp_path / "run").artifacts.write("a.bin", b"x")
    assert (tmp_path / "outside").read_text() == "precious"
    assert file.read_bytes() == b"x"


def test_an_artifact_that_is_written_again_is_listed_once_as_it_is(tmp_path: Path) -> None:
    ctx = context(tmp_path / "run")
    for content in (b"one", b"other", b"last!"):
        ctx.artifacts.write("a.bin", content)
    ctx.artifacts.write("b.bin", b"x")
    assert [(entry.name, entry.size) for entry in ctx.artifacts.entries] == [("a.bin", 5), ("b.bin", 1)]


@pytest.mark.parametrize(("first", "second"), [("model.txt", "Model.txt"), ("é", "e\u0301")])
def test_an_artifact_does_not_take_the_place_of_one_with_nearly_its_name(
    tmp_path: Path, first: str, second: str
) -> None:
    ctx = context(tmp_path / "run")
    ctx.artifacts.write(first, b"one")
    with pytest.raises(ArtifactError, match="would take the place of"):
        ctx.artifacts.write(second, b"two")


def test_an_artifact_that_two_steps_write_is_an_error_that_names_both(tmp_path: Path) -> None:
    ctx = context(tmp_path / "run", step=None)
    ctx.set_step_name("Fit")
    ctx.artifacts.write("a.bin", b"one")
    ctx.set_step_name("Score")
    for write in (
        lambda: ctx.artifacts.write("a.bin", b"two"),
        lambda: ctx.artifacts.open("a.bin").__enter__(),
        lambda: ctx.artifacts.path("a.bin").__enter__(),
    ):
        with pytest.raises(
            ArtifactError, match=r"'a\.bin' is written by two steps: 'Fit' .*'Score'.*replicate 3"
        ):
            write()
    assert [(entry.step, entry.size) for entry in ctx.artifacts.entries] == [("Fit", 3)]
