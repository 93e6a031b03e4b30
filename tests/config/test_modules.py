"""The modules beside a config.yaml: fresh, under names of their own, and in every process."""

from __future__ import annotations

import inspect
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from crystallize.config.build import load_experiment
from crystallize.config.modules import FolderModules, package_name
from crystallize.utils.imports import FOLDER_PACKAGE

MakeFolder = Callable[..., Path]


def total(folder: Path, **arguments: object) -> list[float]:
    experiment = load_experiment(folder, **arguments)  # type: ignore[arg-type]
    result = experiment.run()
    result.raise_for_errors()
    values: list[float] = result.metrics.baseline.metrics["total"]
    return values


STEPS = "def total(data): return data, {'total': %s}\n"
CONFIG = "datasource: numbers\nsteps: [total]\n"


def test_two_experiments_each_have_their_own_steps(make_folder: MakeFolder) -> None:
    a = load_experiment(make_folder("a", CONFIG, steps=STEPS % 1))
    b = load_experiment(make_folder("b", CONFIG, steps=STEPS % 2))
    assert a.run().metrics.baseline.metrics == {"total": [1]}
    assert b.run().metrics.baseline.metrics == {"total": [2]}


def test_folders_of_one_name_in_two_places_do_not_meet(tmp_path: Path) -> None:
    names = set()
    for place in ("x", "y"):
        folder = tmp_path / place / "study"
        folder.mkdir(parents=True)
        names.add(package_name(folder))
    assert len(names) == 2
    assert package_name(tmp_path / "x" / "study") in names  # and each keeps its name


def test_a_module_of_the_users_is_neither_used_nor_replaced(
    make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "site"
    installed.mkdir()
    (installed / "steps.py").write_text("def total(data): return data, {'total': -1}\nMINE = True\n")
    monkeypatch.syspath_prepend(installed)
    import steps  # type: ignore[import-not-found]

    try:
        folder = make_folder("study", CONFIG, steps=STEPS % 1)
        assert total(folder) == [1]
        assert sys.modules["steps"] is steps
        (folder / "steps.py").unlink()
        from crystallize.config.errors import ConfigError

        with pytest.raises(ConfigError, match="no step is called 'total'"):
            load_experiment(folder)
    finally:
        del sys.modules["steps"]


def test_an_edited_module_counts_on_the_next_load(make_folder: MakeFolder) -> None:
    folder = make_folder(
        "study", CONFIG, steps="from .util import VALUE\n" + STEPS % "VALUE", util="VALUE = 1\n"
    )
    old = load_experiment(folder)
    assert total(folder) == [1]
    stamp = (folder / "util.py").stat()
    (folder / "util.py").write_text("VALUE = 2\n")
    os.utime(folder / "util.py", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # same size, same time
    assert total(folder) == [2]
    assert old.run().metrics.baseline.metrics == {"total": [1]}  # the earlier one keeps what it was made of
    assert not list(folder.glob("__pycache__"))


def test_an_edited_module_counts_in_worker_processes_too(make_folder: MakeFolder) -> None:
    folder = make_folder(
        "study", CONFIG, steps="from .util import VALUE\n" + STEPS % "VALUE", util="VALUE = 1\n"
    )
    assert total(folder, execution="process") == [1]
    (folder / "util.py").write_text("VALUE = 2\n")
    assert total(folder, execution="process") == [2]


@pytest.mark.parametrize("execution", ["serial", "process"])
def test_relative_imports_reach_everything_below_the_folder(make_folder: MakeFolder, execution: str) -> None:
    folder = make_folder(
        "study",
        "replicates: 2\n" + CONFIG,
        steps="""
        from . import util
        from .deep.inner import three
        from .util import one as uno

        def total(data):
            from .late import two
            from .deep import four
            return data, {"total": uno() + two() + three() + four.value() + util.one()}
        """,
        util="import functools\n@functools.lru_cache\ndef one(): return 1\n",
        late="from .util import one\ndef two(): return one() + 1\n",
    )
    deep = folder / "deep"
    deep.mkdir()
    (deep / "__init__.py").write_text("BASE = 3\n")
    (deep / "inner.py").write_text(
        "from . import BASE\nfrom ..util import one\ndef three(): return BASE * one()\n"
    )
    (deep / "four.py").write_text("def value(): return 4\n")
    assert total(folder, execution=execution) == [11, 11]


def test_a_package_may_take_the_place_of_a_module(make_folder: MakeFolder) -> None:
    folder = make_folder("study", CONFIG)
    (folder / "steps.py").unlink()
    (folder / "steps").mkdir()
    (folder / "steps" / "__init__.py").write_text("from .sums import total\n")
    (folder / "steps" / "sums.py").write_text(STEPS % 5)
    assert total(folder) == [5]


def test_source_and_tracebacks_show_the_users_file(make_folder: MakeFolder) -> None:
    folder = make_folder("study", CONFIG, steps="X = 1\n\ndef total(data):\n    return data / 0\n")
    step = load_experiment(folder).pipeline.steps[0]
    assert inspect.getsourcefile(step.fn) == str(folder / "steps.py")  # type: ignore[attr-defined]
    assert inspect.getsource(step.fn) == "def total(data):\n    return data / 0\n"  # type: ignore[attr-defined]
    with pytest.raises(TypeError) as caught:
        step.fn([])  # type: ignore[attr-defined]
    frame = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (frame.filename, frame.lineno, frame.line) == (str(folder / "steps.py"), 4, "return data / 0")
    (folder / "steps.py").write_text("def total(data):\n    return -1\n")
    reloaded = load_experiment(folder).pipeline.steps[0]
    assert "return -1" in inspect.getsource(reloaded.fn)  # type: ignore[attr-defined]


def test_loading_again_and_again_leaves_no_more_modules_behind(make_folder: MakeFolder) -> None:
    folder = make_folder()
    load_experiment(folder)
    before = {name for name in sys.modules if name.startswith(FOLDER_PACKAGE)}
    finders = list(sys.meta_path)
    for _ in range(5):
        load_experiment(folder)
    assert {name for name in sys.modules if name.startswith(FOLDER_PACKAGE)} == before
    assert sys.meta_path == finders


def test_a_module_that_fails_leaves_nothing_half_loaded(make_folder: MakeFolder) -> None:
    folder = make_folder("study", CONFIG, steps="1 / 0\n")
    modules = FolderModules(folder)
    assert modules.load("steps") is None
    assert modules.failed("steps")
    assert f"{modules.package}.steps" not in sys.modules
    assert len(modules.problems) == 1
    assert modules.load("verifiers") is None
    assert not modules.failed("verifiers")


def test_modules_nobody_needs_are_not_run(make_folder: MakeFolder) -> None:
    folder = make_folder("study", CONFIG, verifiers="1 / 0\n", outputs="1 / 0\n", other="1 / 0\n")
    load_experiment(folder)


def test_classes_of_the_folder_come_back_from_workers(make_folder: MakeFolder) -> None:
    steps = """
    from dataclasses import dataclass

    @dataclass
    class Score:
        value: int

    def total(data):
        return data, {"total": Score(len(data))}
    """
    scores = total(make_folder("study", "replicates: 2\n" + CONFIG, steps=steps), execution="process")
    assert [score.value for score in scores] == [3, 3]  # type: ignore[attr-defined]


def test_a_pipe_in_the_place_of_a_module_is_no_module_and_not_waited_on(make_folder: MakeFolder) -> None:
    folder = make_folder("study", CONFIG)
    (folder / "steps.py").unlink(missing_ok=True)
    os.mkfifo(folder / "steps.py")
    modules = FolderModules(folder)
    assert modules.load("steps") is None
    assert not modules.failed("steps")


def test_a_module_is_not_read_if_it_is_too_large_to_be_one(make_folder: MakeFolder) -> None:
    folder = make_folder("study", CONFIG)
    with (folder / "helper.py").open("wb") as file:
        file.truncate((1 << 20) + 1)
    (folder / "steps.py").write_text("from . import helper\n")
    modules = FolderModules(folder)
    assert modules.load("helper") is modules.load("steps") is None
    assert all("at most 1048576 are read" in problem.message for problem in modules.problems)
    assert len(modules.problems) == 2
