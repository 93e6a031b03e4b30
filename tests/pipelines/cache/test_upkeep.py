"""What is stored in the step cache, and what is removed of it beside running experiments and other people's files."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crystallize import Experiment, pipeline_step
from crystallize.errors import InvalidValueError
from crystallize.pipelines.cache.settings import NO_LIMITS, CacheLimits
from crystallize.pipelines.cache.upkeep import Removed, StoredStep, beyond, read_steps, remove
from crystallize.store.locks import FileLock

ROOT = Path(".cache")
DAY = 86_400


@pipeline_step(cacheable=True)
def square(data: int, *, power: int = 2) -> bytes:
    return bytes(data**power)


@pipeline_step(cacheable=True)
def count(data: bytes) -> int:
    return len(data)


def run(*, replicates: int = 3, power: int = 2, **options: Any) -> int:
    """Run both steps, and return how many outputs came from the cache."""
    experiment = Experiment(lambda ctx: ctx["replicate"], [square(power=power), count], seed=1, **options)
    return experiment.run(replicates=replicates).explain_cache().count("hit")


def stored(name: str = "") -> list[StoredStep]:
    return [step for step in read_steps(ROOT) if name in step.code.name]


def used(step: StoredStep, *days_ago: float) -> None:
    """Say how many days ago each entry of a step was used."""
    for entry, days in zip(step.entries, days_ago, strict=True):
        os.utime(entry.path, (0, time.time() - days * DAY))


def everything(folder: Path = ROOT) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def clear() -> Removed:
    steps = read_steps(ROOT)
    return remove(steps, [entry for step in steps for entry in step.entries])


# -- what is stored ------------------------------------------------------------------------------------------


def test_what_is_stored_is_told_step_by_step():
    run()
    square_step, count_step = stored("square") + stored("count")
    assert (len(square_step.entries), len(count_step.entries)) == (3, 3)
    assert square_step.code == ("test_upkeep.square", __file__)
    assert square_step.size == sum(path.stat().st_size for path in square_step.folder.glob("*.pkl"))
    assert square_step.entries[-1].used == max(
        path.stat().st_mtime for path in square_step.folder.glob("*.pkl")
    )
    assert 0 <= (square_step.seconds() or 0) < 1


def test_a_step_with_other_parameters_is_stored_for_itself():
    run()
    run(power=3)
    assert [len(step.entries) for step in stored("square")] == [3, 3]


def test_where_nothing_is_stored_there_is_nothing():
    assert read_steps(ROOT) == []
    ROOT.write_text("a file")
    assert read_steps(ROOT) == []


# -- clearing ------------------------------------------------------------------------------------------------


def test_clearing_removes_everything_and_counts_it():
    run()
    size = sum(step.size for step in stored())
    assert clear() == Removed(6, size)
    assert everything() == set()
    assert run() == 0


def test_what_is_not_the_caches_own_stays(tmp_path: Path):
    run(replicates=1)
    (step,) = stored("square")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "entry.pkl").write_bytes(step.entries[0].path.read_bytes())
    (elsewhere / "step.json").write_bytes((step.folder / "step.json").read_bytes())
    before = everything(elsewhere)
    foreign = {"notes.txt": b"mine", "mine/step.json": b"{}", "mine/entry.pkl": b"mine"}
    foreign[f"{step.folder.name}/model.pkl"] = b"a pickle of somebody else's"
    foreign[f"{step.folder.name}/notes.txt"] = b"mine"
    for name, content in foreign.items():
        (ROOT / name).parent.mkdir(exist_ok=True)
        (ROOT / name).write_bytes(content)
    (ROOT / "linked").symlink_to(elsewhere)
    (step.folder / "linked.pkl").symlink_to(elsewhere / "entry.pkl")
    (step.folder / "linked.lock").symlink_to(elsewhere / "entry.pkl")
    assert clear().entries == 2
    assert {name: (ROOT / name).read_bytes() for name in foreign} == foreign
    assert everything(elsewhere) == before
    assert (ROOT / "linked").is_symlink()
    assert sorted(path.name for path in step.folder.glob("linked.*")) == ["linked.lock", "linked.pkl"]
    assert run(replicates=1) == 0


def test_a_link_in_place_of_a_steps_parts_is_not_followed(tmp_path: Path):
    run(replicates=1)
    (step,) = stored("square")
    (step.folder / "reads").rename(tmp_path / "reads")
    (step.folder / "reads").symlink_to(tmp_path / "reads")
    before = everything(tmp_path / "reads")
    clear()
    assert everything(tmp_path / "reads") == before != set()


def test_what_is_held_and_written_stays_and_what_crashed_processes_left_goes():
    run(replicates=1)
    (step,) = stored("square")
    held = FileLock(step.folder / "held.lock")
    held.acquire()
    for name in ("dead.lock", ".new.pkl.1-a-0.tmp", ".old.pkl.1-a-1.tmp", "reads/.old.json.1-a-2.tmp"):
        (step.folder / name).write_bytes(b"")
    for name in (".old.pkl.1-a-1.tmp", "reads/.old.json.1-a-2.tmp"):
        os.utime(step.folder / name, (0, time.time() - DAY))
    clear()
    assert everything(step.folder) == {"held.lock", ".new.pkl.1-a-0.tmp", "step.json"}
    held.release()
    (step.folder / ".new.pkl.1-a-0.tmp").unlink()
    clear()
    assert not step.folder.exists()


def test_what_cannot_be_removed_is_told_and_the_rest_goes(monkeypatch: pytest.MonkeyPatch):
    run(replicates=1)
    (kept,) = stored("square")
    refuse = Path.unlink

    def unlink(path: Path, *arguments: Any, **options: Any) -> None:
        if path == kept.entries[0].path:
            raise PermissionError(13, "Permission denied", str(path))
        refuse(path, *arguments, **options)

    monkeypatch.setattr(Path, "unlink", unlink)  # root may remove anything
    removed = clear()
    assert removed.entries == 1
    assert str(removed.problem) == f"[Errno 13] Permission denied: '{kept.entries[0].path}'"
    assert stored("square") == [kept]


def make_and_measure(stop: Any, faults: Any) -> None:
    """Run experiments until told to stop, and hand over every warning and every wrong result."""
    import logging

    class Take(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            faults.put(record.getMessage())

    logging.getLogger("crystallize.cache").addHandler(Take())
    experiment = Experiment(lambda ctx: ctx["replicate"], [square, count], plugins=[], seed=1)
    while not stop.is_set():
        result = experiment.run(replicates=4)
        if result.errors:
            faults.put(str(result.errors[0]))


def test_clearing_beside_running_experiments_is_a_miss_and_nothing_worse():
    context = multiprocessing.get_context("fork")
    stop, faults = context.Event(), context.Queue()
    processes = [context.Process(target=make_and_measure, args=(stop, faults)) for _ in range(2)]
    for process in processes:
        process.start()
    removed = 0
    while removed < 50 and faults.empty():
        removed += clear().entries
    stop.set()
    for process in processes:
        process.join()
    assert faults.empty(), faults.get()
    assert [process.exitcode for process in processes] == [0, 0]
    assert not [path for path in ROOT.rglob("*.pkl") if not (path.parent / "step.json").exists()]


def test_two_may_clear_at_the_same_time():
    run(replicates=50)
    counts: list[Removed] = []
    threads = [threading.Thread(target=lambda: counts.append(clear())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(removed.entries for removed in counts) <= 100
    assert [removed.problem for removed in counts] == [None, None]
    assert list(ROOT.rglob("*.pkl")) == []


# -- limits --------------------------------------------------------------------------------------------------


def test_the_least_recently_used_entries_go_first():
    run(replicates=3)
    (first,), (second,) = stored("square"), stored("count")
    used(first, 5, 3, 1)
    used(second, 6, 4, 2)
    steps = stored()
    sizes = {entry.used: entry.size for step in steps for entry in step.entries}
    newest = sorted(sizes)[-2:]
    going = beyond(steps, CacheLimits(size=sum(sizes[moment] for moment in newest)))
    assert sorted(entry.used for entry in going) == sorted(sizes)[:4]
    assert [entry.used for entry in going] == sorted(entry.used for entry in going)


@pytest.mark.parametrize(
    ("limits", "count"),
    [
        (NO_LIMITS, 0),
        (CacheLimits(size=0), 3),
        (CacheLimits(size=1e9), 0),
        (CacheLimits(age=4 * DAY), 1),
        (CacheLimits(age=0), 3),
        (CacheLimits(size=0, age=4 * DAY), 3),
        (CacheLimits(size=1e9, age=2 * DAY), 2),
    ],
)
def test_entries_go_by_size_and_by_age(limits: CacheLimits, count: int):
    run()
    (step,) = stored("square")
    used(step, 5, 3, 1)
    assert len(beyond(stored("square"), limits)) == count


def test_an_entry_that_is_taken_is_used():
    run()
    for step in stored():
        used(step, 5, 3, 1)
    assert run(replicates=2) == 4
    assert len(beyond(stored(), CacheLimits(age=DAY / 2))) == 2


def test_an_entry_that_was_used_lately_is_left_as_it_is():
    run()
    for step in stored():
        used(step, 5, 5, 30 / DAY)
    before = {entry.path: entry.used for step in stored() for entry in step.entries}
    run()
    after = {entry.path: entry.used for step in stored() for entry in step.entries}
    lately = {path for path in before if before[path] > time.time() - DAY}
    assert {path for path in before if after[path] == before[path]} == lately
    assert len(lately) == 2


def test_the_limits_of_the_environment_are_kept_when_a_run_ends(monkeypatch: pytest.MonkeyPatch):
    run()
    for step in stored():
        used(step, 5, 3, 1)
    monkeypatch.setenv("CRYSTALLIZE_CACHE_MAX_DAYS", "2")
    run(replicates=1, power=3)
    assert [len(step.entries) for step in stored("square")] in ([1, 1], [1, 2], [2, 1])
    monkeypatch.setenv("CRYSTALLIZE_CACHE_MAX_MB", "0.0")
    run()
    assert stored() == []


def test_a_run_without_the_cache_removes_nothing(monkeypatch: pytest.MonkeyPatch):
    run()
    monkeypatch.setenv("CRYSTALLIZE_CACHE_MAX_MB", "0")
    run(cache=False)
    Experiment(lambda: 0, [lambda data: data]).run()
    assert len(stored()) == 2


@pytest.mark.parametrize("text", ["much", "-1", "nan", "inf"])
@pytest.mark.parametrize("variable", ["CRYSTALLIZE_CACHE_MAX_MB", "CRYSTALLIZE_CACHE_MAX_DAYS"])
def test_a_limit_that_is_none_is_told_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str
):
    monkeypatch.setenv(variable, text)
    with pytest.raises(InvalidValueError, match=rf"{variable} is a number.*got '?{text}.*unset {variable}"):
        run()
    assert not ROOT.exists()


def test_what_cannot_be_removed_is_a_warning_and_not_the_end_of_a_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    run()
    monkeypatch.setenv("CRYSTALLIZE_CACHE_MAX_MB", "0")
    refuse: Callable[..., None] = Path.unlink

    def unlink(path: Path, *arguments: Any, **options: Any) -> None:
        if path.suffix == ".pkl":
            raise PermissionError(13, "Permission denied", str(path))
        refuse(path, *arguments, **options)

    monkeypatch.setattr(Path, "unlink", unlink)
    assert run() == 6
    (warning,) = [each.getMessage() for each in caplog.records if each.name == "crystallize.cache"]
    assert "larger than it may be" in warning
    assert "Permission denied" in warning
