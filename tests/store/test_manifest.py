from __future__ import annotations

import json
from pathlib import Path

import pytest
import xxhash

from crystallize.errors import ArtifactError, InvalidNameError, StoreError
from crystallize.store.layout import MANIFEST, ArtifactEntry
from crystallize.store.manifest import (
    artifact_names,
    check_unchanged,
    find_artifact,
    write_hashed,
    write_manifest,
)
from crystallize.store.sink import ArtifactSink
from crystallize.utils.context import FrozenContext


def entry(step: str, name: str = "a.bin", replicate: int = 0) -> ArtifactEntry:
    path = f"replicate_{replicate}/baseline/{step}/{name}"
    return ArtifactEntry(name, step, replicate, "baseline", path, 1, f"xxh3_128:{step}")


def stored(folder: Path, content: bytes | bytearray) -> ArtifactEntry:
    return entry("Step")._replace(size=len(content), digest=write_hashed(folder / "a", content))


def test_the_digest_is_that_of_the_content(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    assert write_hashed(tmp_path / "a", content) == f"xxh3_128:{xxhash.xxh3_128_hexdigest(content)}"


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


def test_of_several_steps_that_write_one_artifact_the_last_is_read(tmp_path: Path) -> None:
    write_manifest(tmp_path, [entry("First"), entry("Second"), entry("First", replicate=1)])
    for replicate, step in (("replicate_0", "Second"), ("replicate_1", "First")):
        stored = find_artifact(tmp_path, "a.bin", replicate, "baseline")
        assert stored is not None
        assert stored.path == f"{replicate}/baseline/{step}/a.bin"


def test_what_was_never_written_is_not_found(tmp_path: Path) -> None:
    assert find_artifact(tmp_path, "a.bin", "replicate_0", "baseline") is None
    write_manifest(tmp_path, [entry("First")])
    assert find_artifact(tmp_path, "b.bin", "replicate_0", "baseline") is None
    assert artifact_names(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[]", b'{"a": {}}', b'{"a": {"files": {"x": {}}}}'])
def test_a_damaged_manifest_is_an_error_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises(StoreError, match=MANIFEST):
        artifact_names(tmp_path)


@pytest.mark.parametrize("position", [0, 1_500_000, 2_999_999])
def test_a_byte_that_has_changed_is_found(tmp_path: Path, position: int) -> None:
    content = bytearray(3_000_000)
    written = stored(tmp_path, content)
    check_unchanged(tmp_path / "a", written)
    content[position] ^= 1
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ArtifactError, match="not what was written"):
        check_unchanged(tmp_path / "a", written)


def test_a_file_that_was_cut_off_is_found(tmp_path: Path) -> None:
    written = stored(tmp_path, bytes(10))
    (tmp_path / "a").write_bytes(bytes(9))
    with pytest.raises(ArtifactError, match="10 bytes then, 9 bytes now"):
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
