"""Whatever is wrong with the cache folder or with a step, the run goes on, and one warning says what it is."""

from __future__ import annotations

import json
import os
import pickle
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from numpy.random import default_rng

from crystallize import PipelineStep, pipeline_step
from crystallize.pipelines.cache.entry import FIRST_LINE


@pytest.fixture
def measure() -> Any:
    """Return a step that leaves a byte in a file each time it runs."""

    @pipeline_step(cacheable=True)
    def measure(data: int) -> Any:
        with Path("calls").open("ab") as file:
            file.write(b".")
        return np.full(20_000, data), {"size": data}

    return measure


def calls() -> int:
    """Return how often the step has run in this test."""
    return Path("calls").stat().st_size


# -- entries ---------------------------------------------------------------------------------------------------


def test_an_entry_says_what_it_is_and_lies_where_the_spec_says(run: Any, measure: Any, entries: Any) -> None:
    run(measure)
    (entry,) = entries()
    assert len(entry.parent.name) == len(entry.stem) == 32
    assert entry.parent.parent == Path(".cache")
    assert entry.read_bytes().startswith(FIRST_LINE)


def test_a_folder_of_ones_own(
    run: Any, measure: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYSTALLIZE_CACHE_DIR", str(tmp_path / "own"))
    run(measure)
    run(measure)
    assert calls() == 1
    assert list((tmp_path / "own").rglob("*.pkl"))
    assert not Path(".cache").exists()


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "torn": lambda content: content[: len(content) // 2],
    "a bit of the header": lambda content: content[:40] + bytes([content[40] ^ 1]) + content[41:],
    "a bit of an array": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "longer": lambda content: content + b"x",
    "foreign": lambda content: pickle.dumps({"a": 1}),
    "a later version": lambda content: content.replace(b"cache 1\n", b"cache 2\n", 1),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_entry_is_a_miss_and_is_replaced(
    damage: Callable[[bytes], bytes], run: Any, measure: Any, entries: Any, warnings: Any
) -> None:
    run(measure)
    (entry,) = entries()
    whole = entry.read_bytes()
    entry.write_bytes(damage(whole))
    (why,) = run(measure).explain_cache().reasons("MeasureStep")
    assert why
    (warning,) = warnings()
    assert str(entry) in warning
    assert "made anew" in warning
    run(measure)
    assert warnings() == []
    assert calls() == 2


def test_an_entry_under_another_ones_name_is_a_miss(
    run: Any, measure: Any, entries: Any, warnings: Any
) -> None:
    run(measure)
    (first,) = entries()
    run(measure, data=4)
    (second,) = set(entries()) - {first}
    second.write_bytes(first.read_bytes())
    assert run(measure, data=4).metrics.baseline.metrics["size"] == [4]
    assert "another step or input" in warnings()[0]


def test_a_folder_in_the_place_of_an_entry_is_a_miss(
    run: Any, measure: Any, entries: Any, warnings: Any
) -> None:
    run(measure)
    (entry,) = entries()
    entry.unlink()
    entry.mkdir()
    run(measure)
    assert any("a folder" in warning for warning in warnings())


def test_a_pipe_in_the_place_of_an_entry_is_a_miss_for_which_nobody_waits(
    run: Any, measure: Any, entries: Any, warnings: Any
) -> None:
    run(measure)
    (entry,) = entries()
    entry.unlink()
    os.mkfifo(entry)
    run(measure)
    assert "it is a pipe, not a plain file" in warnings()[0]
    assert entry.read_bytes().startswith(FIRST_LINE)
    assert calls() == 2


@pipeline_step(cacheable=True)
def name_it(data: int) -> Any:
    with Path("calls").open("ab") as file:
        file.write(b".")
    return [str(data)], {"size": data}


@pytest.mark.parametrize("is_short", [True, False], ids=["small", "large"])
@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(b"")], ids=["gone", "damaged"])
def test_what_becomes_of_an_entry_that_a_run_has_taken_many_times_changes_no_outcome(
    harm: Callable[[Path], Any], is_short: bool, run: Any, measure: Any, entries: Any
) -> None:
    step = name_it if is_short else measure
    seen = []

    @pipeline_step()
    def look(data: Any, ctx: Any) -> Any:
        if ctx["replicate"] == 5:
            harm(entries()[0])
        seen.append([type(data), len(data), str(data[0])])
        data[0] = 4  # an output is one's own
        return data

    result = run(step, look, replicates=10)
    assert seen == 10 * [seen[0]]
    assert result.metrics.baseline.metrics["size"] == 10 * [3]
    run(step)
    run(step)
    assert entries()[0].read_bytes().startswith(FIRST_LINE)
    assert calls() == 2


def test_one_run_does_not_keep_what_another_one_made_anew(run: Any, entries: Any) -> None:
    """Each run looks for itself: what is in memory is the run's that read it."""
    Path("hidden").write_text("old", encoding="utf-8")

    @pipeline_step(cacheable=True)
    def hides(data: int) -> Any:
        return data, {"found": Path("hidden").read_text(encoding="utf-8")}

    def found(**options: Any) -> list[str]:
        return sorted(set(run(hides, replicates=5, **options).metrics.baseline.metrics["found"]))

    assert found() == found() == ["old"]
    Path("hidden").write_text("new", encoding="utf-8")
    assert found() == ["old"]
    assert found(cache="refresh") == ["new"]
    assert found() == ["new"]
    assert len(entries()) == 1


def test_more_small_outputs_than_stay_in_memory_are_each_their_own(run: Any, entries: Any) -> None:
    def numbers() -> list[int]:
        result = run(name_it, data=lambda ctx: ctx["replicate"] % 300, replicates=600)
        return list(result.metrics.baseline.metrics["size"])

    expected = [replicate % 300 for replicate in range(600)]
    assert numbers() == numbers() == expected
    assert calls() == len(entries()) == 300


def test_what_a_step_asks_is_learnt_again_if_that_file_is_damaged(
    run: Any, measure: Any, warnings: Any
) -> None:
    run(measure)
    (reads,) = Path(".cache").rglob("reads/*.json")
    reads.write_bytes(b"{")
    run(measure)
    run(measure)
    assert calls() == 2
    assert warnings() == []


# -- the folder ------------------------------------------------------------------------------------------------


def test_a_file_in_the_place_of_the_folder(run: Any, measure: Any, warnings: Any) -> None:
    Path(".cache").write_text("mine", encoding="utf-8")
    for _ in range(2):
        run(measure, replicates=3)
        (warning,) = warnings()
        assert "MeasureStep" in warning
        assert str(Path(".cache").absolute()) in warning
    assert Path(".cache").read_text(encoding="utf-8") == "mine"
    assert calls() == 6


@contextmanager
def read_only(root: Path) -> Iterator[None]:
    """Let nobody write to a folder; where root runs the tests, another user goes on."""
    mine = os.geteuid()
    folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    os.seteuid(mine or 65534)
    try:
        yield
    finally:
        os.seteuid(mine)
        for folder in folders:
            folder.chmod(0o755)


def test_a_read_only_folder_is_read(
    run: Any, measure: Any, warnings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TemporaryDirectory() as folder:  # tmp_path is closed to other users
        Path(folder).chmod(0o755)
        monkeypatch.setenv("CRYSTALLIZE_CACHE_DIR", f"{folder}/cache")
        monkeypatch.chdir(folder)
        for data in (3, 4):
            run(measure, data=data, disable_plugins=["artifact"])
        Path("calls").chmod(0o666)
        next(Path("cache").rglob("*.pkl")).unlink()
        with read_only(Path(folder, "cache")):
            found = [run(measure, data=data, disable_plugins=["artifact"]) for data in (3, 4)]
        monkeypatch.undo()
    assert sorted(each.explain_cache().count("hit") for each in found) == [0, 1]
    (warning,) = warnings()
    assert "Permission denied" in warning


def test_a_full_disk(run: Any, measure: Any, warnings: Any) -> None:
    """The limit on the size of files stands for it: a write fails in the same place, after a part was written."""
    import resource
    import signal

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        run(measure, replicates=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    (warning,) = warnings()
    assert "File too large" in warning
    assert calls() == 2
    assert [path.name for path in Path(".cache").rglob("*") if path.is_file()] == ["step.json"]


# -- steps -----------------------------------------------------------------------------------------------------


class Token:
    """Gives away nothing of itself."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


class Changes:
    """Is not the same when it comes back."""

    def __init__(self, value: int = 0) -> None:
        self.value = value

    def __reduce__(self) -> Any:
        return Changes, (self.value + 1,)


@pipeline_step(cacheable=True)
def gives_a_token(data: Any) -> Any:
    return Token()


@pipeline_step(cacheable=True)
def gives_what_changes(data: Any) -> Any:
    return Changes()


@pipeline_step(cacheable=True)
def changes_its_input(data: Any) -> Any:
    data.append(1)
    return data


@pipeline_step(cacheable=True)
def changes_the_context(data: Any, ctx: Any) -> Any:
    ctx["model"].value += 1
    return data


@pipeline_step(cacheable=True)
def reads_a_token(data: Any, ctx: Any) -> Any:
    return id(ctx["token"])


GENERATOR = random.Random(1)


@pipeline_step(cacheable=True)
def draws_from_a_global(data: Any) -> Any:
    return GENERATOR.random()


@pipeline_step(cacheable=True)
def draws_from_its_own(data: Any, *, generator: Any) -> Any:
    return generator.normal()


@pipeline_step(cacheable=True)
def takes_anything(data: Any, *, parameter: Any = None) -> Any:
    return data


class HasAToken(PipelineStep):
    cacheable = True

    def __init__(self) -> None:
        self.token = Token()

    def __call__(self, data: Any, ctx: Any) -> Any:
        return data


PROBLEMS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "an output that cannot be pickled": (gives_a_token, {}, "lock"),
    "an output that comes back changed": (gives_what_changes, {}, "not the same"),
    "input changed in place": (changes_its_input, {"data": lambda: [0]}, "changes its input in place"),
    "context changed in place": (
        changes_the_context,
        {"initial_ctx": {"model": Changes()}},
        "'model' of the context",
    ),
    "a generator of its module": (draws_from_a_global, {}, "(GENERATOR in test_faults.py)"),
    "a generator of its own": (draws_from_its_own(generator=default_rng(1)), {}, "that it was made with"),
    "a context value that cannot be hashed": (reads_a_token, {"initial_ctx": {"token": Token()}}, "lock"),
    "data that cannot be hashed": (takes_anything, {"data": lambda: Token()}, "lock"),
    "a parameter that cannot be hashed": (takes_anything(parameter=Token()), {}, "lock"),
    "a step that cannot be hashed": (HasAToken(), {}, "lock"),
}


@pytest.mark.parametrize(("step", "options", "cause"), PROBLEMS.values(), ids=PROBLEMS)
def test_what_cannot_be_cached_runs_with_one_warning_that_says_why(
    step: Any, options: dict[str, Any], cause: str, run: Any, warnings: Any, entries: Any
) -> None:
    result = run(step, replicates=3, **options)
    (warning,) = warnings()
    assert "is not cached" in warning
    assert cause in warning
    assert entries() == []
    assert cause in str(result.explain_cache())


def test_a_lambda_as_parameter_counts_by_its_code(run: Any, entries: Any, warnings: Any) -> None:
    for parameter in (lambda x: x + 1, lambda x: x + 1, lambda x: x + 2):
        run(takes_anything(parameter=parameter))
    assert warnings() == []
    assert len(entries()) == 2


def test_a_step_without_source_is_cached_by_what_was_compiled(run: Any) -> None:
    hits = []
    for body in ("data + 1", "data + 1", "data + 2"):
        namespace: dict[str, Any] = {}
        exec(f"def step(data): return {body}", namespace)
        result = run(pipeline_step(cacheable=True)(namespace["step"]))
        hits.append(result.explain_cache().count("hit"))
    assert hits == [0, 1, 0]


def test_a_result_that_cannot_be_rebuilt_in_another_process_is_made_anew(
    tmp_path: Path, warm_interpreter: Any
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import importlib, sys\n"
        "from crystallize import Experiment, pipeline_step\n"
        "@pipeline_step(cacheable=True)\n"
        "def make(data):\n"
        "    print('ran')\n"
        "    return getattr(importlib.import_module('things'), sys.argv[1])()\n"
        "Experiment(lambda: 3, [make], seed=1).run().raise_for_errors()\n",
        encoding="utf-8",
    )
    # Without bytecode: Python takes two sources of one size and one second for the same.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    for name, ran in (("Thing", 1), ("Thing", 0), ("Other", 1)):
        (tmp_path / "things.py").write_text(f"class {name}: pass\n", encoding="utf-8")
        done = warm_interpreter.run(script, name, cwd=tmp_path, environment=environment)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("ran") == ran
    assert "cannot be rebuilt here" in done.stderr


# -- signed entries --------------------------------------------------------------------------------------------


def test_with_a_key_an_unsigned_or_wrongly_signed_entry_is_never_unpickled(
    run: Any, measure: Any, entries: Any, warnings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(measure)
    monkeypatch.setenv("CRYSTALLIZE_CACHE_KEY", "one")
    run(measure)
    assert "not signed" in warnings()[0]
    run(measure)
    assert warnings() == []
    assert calls() == 2
    (entry,) = entries()
    head, check, line, rest = entry.read_bytes().split(b"\n", 3)
    bomb = pickle.dumps(Explodes())
    for place in (0, json.loads(line)["sizes"][0]):  # of the record and of the output
        changed = rest[:place] + bomb + rest[place + len(bomb) :]
        entry.write_bytes(b"\n".join([head, check, line, changed]))
        run(measure)
        assert "its signature is not that of the key" in warnings()[0]
    monkeypatch.setenv("CRYSTALLIZE_CACHE_KEY", "two")
    run(measure)
    assert "signature" in warnings()[0]
    monkeypatch.delenv("CRYSTALLIZE_CACHE_KEY")
    run(measure)
    assert "no key" in warnings()[0]
    assert calls() == 6


class Explodes:
    """Ends the process of whoever unpickles it."""

    def __reduce__(self) -> Any:
        return os._exit, (70,)
