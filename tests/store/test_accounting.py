"""Who made a run, when, by which command, with which code, and on what machine."""

from __future__ import annotations

import getpass
import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from crystallize import Experiment, Pipeline, pipeline_step
from crystallize.discovery.imported import imported_distributions
from crystallize.pipelines.cache.settings import KEY
from crystallize.store.accounting import Account


def test_it_says_who_ran_what_where_and_for_how_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "orig_argv", ["python", "study.py", "--token", "hunter2"])
    account = Account(Path.cwd())
    start, end = account.at_start(), account.at_end()
    assert (start["user"], start["host"]) == (getpass.getuser(), platform.node())
    assert start["command"] == ["python", "study.py", "--token", "***"]
    assert start["folder"] == "~/cwd"
    assert (start["finished"], start["duration"]) == (None, None)
    assert end["duration"] >= 0
    assert start["environment"]["processor"]


def test_of_the_environment_only_what_results_may_depend_on_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "PYTHONHASHSEED",
        "OMP_NUM_THREADS",
        "CRYSTALLIZE_X",
        "CRYSTALLIZE_TOKEN",
        "AWS_SECRET",
        "OTHER",
    ):
        monkeypatch.setenv(name, "7")
    found = Account(Path.cwd()).at_start()["environment"]["variables"]
    assert found["PYTHONHASHSEED"] == found["OMP_NUM_THREADS"] == found["CRYSTALLIZE_X"] == "7"
    assert found["CRYSTALLIZE_TOKEN"] == "***"
    assert not {"AWS_SECRET", "OTHER", "HOME"} & found.keys()


def test_of_the_key_that_signs_the_cache_a_run_has_only_that_it_is_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(KEY, "hunter2")
    path = (
        Experiment(lambda: 1.0, [pipeline_step(cacheable=True)(lambda data: data)], name="study").run().path
    )
    assert path is not None
    assert json.loads((path / "metadata.json").read_text())["environment"]["variables"][KEY] == "***"
    assert not [file for file in path.rglob("*") if file.is_file() and b"hunter2" in file.read_bytes()]


def test_the_working_folder_is_told_from_the_top_of_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "cwd" / "studies"
    inner.mkdir()
    monkeypatch.chdir(inner)
    (tmp_path / "cwd" / ".git").mkdir()
    (tmp_path / "cwd" / ".git" / "HEAD").write_text("0" * 40)
    account = Account(inner)
    assert account.at_start()["folder"] == "studies"
    assert account.at_end()["code"] == {
        "git_commit": "0" * 40,
        "dirty": None,
        "diff": None,
    }  # git cannot read this


def test_a_distribution_is_found_by_what_is_imported_of_it_whatever_it_is_called() -> None:
    import sklearn
    import yaml

    found = imported_distributions()
    assert found["scikit-learn"] == sklearn.__version__
    assert found["PyYAML"] == yaml.__version__
    assert found["pytest"] == pytest.__version__
    assert "crystallize-lab" in found
    assert not {"json", "sys"} & found.keys()


def test_what_a_step_imports_is_among_the_packages_of_its_run() -> None:
    @pipeline_step()
    def late(data: Any, ctx: Any) -> Any:
        import brand_new

        return data, {"one": brand_new.ONE}

    folder = Path("site-packages")
    info = folder / "Differently_Called-1.5.dist-info"
    info.mkdir(parents=True)
    (folder / "brand_new.py").write_text("ONE = 1\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: Differently.Called\nVersion: 1.5\n\nText\n")
    (info / "RECORD").write_text("brand_new.py,,\n")
    sys.path.insert(0, str(folder.absolute()))
    try:
        path = Experiment(lambda: 1.0, Pipeline([late]), name="study").run().path
    finally:
        sys.path.remove(str(folder.absolute()))
        sys.modules.pop("brand_new", None)
    assert path is not None
    assert json.loads((path / "metadata.json").read_text())["packages"]["Differently.Called"] == "1.5"


TWICE = """
from crystallize import Experiment, pipeline_step

@pipeline_step()
def use(data, ctx):
    return data, {"drawn": float(ctx.rng.random())}

for _ in range(2):
    Experiment(lambda: 1.0, [use], name="study").run(replicates=2)
"""


def test_two_runs_of_one_process_have_the_same_packages_whatever_finding_them_out_has_imported() -> None:
    subprocess.run([sys.executable, "-c", TWICE], check=True)
    one, two = (json.loads(Path(f"data/study/v{run}/metadata.json").read_text()) for run in range(2))
    assert one["packages"] == two["packages"]
    assert "numpy" in one["packages"]


def test_the_threads_of_the_numeric_libraries_and_the_workers_are_told() -> None:
    @pipeline_step()
    def use(data: Any, ctx: Any) -> Any:
        import numpy as np

        return float(np.ones(2) @ np.ones(2))

    path = Experiment(lambda: 1.0, Pipeline([use]), name="study", execution="thread").run(replicates=3).path
    assert path is not None
    metadata = json.loads((path / "metadata.json").read_text())
    assert all(each["threads"] >= 1 for each in metadata["numeric_libraries"])
    assert metadata["numeric_libraries"]
    assert metadata["execution"]["name"] == "thread"
    assert metadata["execution"]["settings"]["workers"] == 3
