"""What the tests of the template share: a way to bake a project, and one fresh environment to install it in."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

if TYPE_CHECKING:
    from tests.warm_interpreter import WarmInterpreter

ROOT = Path(__file__).resolve().parents[2]

Bake = Callable[..., Path]
Run = Callable[..., str]


@pytest.fixture(scope="session")
def template() -> Path:
    """Return the folder of the template."""
    return ROOT / "cookiecutter-plugin"


@pytest.fixture(scope="session")
def cookiecutter_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a configuration that leaves the developer's home folder alone."""
    folder = tmp_path_factory.mktemp("cookiecutter")
    config = folder / "config.yaml"
    config.write_text(f"replay_dir: {folder / 'replay'}\ncookiecutters_dir: {folder / 'fetched'}\n")
    return config


@pytest.fixture(scope="session")
def bake(template: Path, cookiecutter_config: Path) -> Bake:
    """Return a function that makes a project: ``bake(folder, kind="loader", ...) -> the project's folder``."""
    from cookiecutter.main import cookiecutter

    def make(folder: Path, **answers: str) -> Path:
        with pytest.MonkeyPatch.context() as patch:
            # It leaves the scripts of its hooks among the temporary files.
            patch.setattr("tempfile.tempdir", str(cookiecutter_config.parent))
            made = cookiecutter(
                str(template),
                no_input=True,
                extra_context=answers,
                output_dir=str(folder),
                config_file=str(cookiecutter_config),
            )
        return Path(made)

    return make


@pytest.fixture(scope="session")
def strangers_environment() -> dict[str, str]:
    """Return the environment of processes, without the developer's settings."""
    private = ("CRYSTALLIZE_", "PYTHON", "PYTEST_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(private)}
    return {**kept, "COLUMNS": "200", "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture(scope="session")
def run(strangers_environment: dict[str, str]) -> Run:
    """Return a function that runs a command, without the developer's settings, and returns what it printed.

    ``run(*command, cwd=folder)``; it fails with all that was printed unless the exit code is 0.
    """

    def call(*command: object, cwd: Path) -> str:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env=strangers_environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return printed(done)

    return call


def printed(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a command printed, if it ended well."""
    assert done.returncode == 0, f"{done.args}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def needed_by(*names: str) -> dict[str, Distribution]:
    """Return the distributions, as they are installed here, that those of these names need, by name."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(name, "") for name in names]
    while waiting:
        name, extra = each = waiting.pop()
        if each not in seen:
            seen.add(each)
            for text in distribution(name).requires or ():
                needed = Requirement(text)
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    found[needed.name] = distribution(needed.name)
                    waiting += [(needed.name, wanted) for wanted in ("", *needed.extras)]
    return found


BUILD = """
import os, sys, tarfile
from hatchling.build import build_sdist, build_wheel

dist, *projects = sys.argv[1:]
for project in projects:
    os.chdir(project)
    archive = build_sdist(dist)
    os.chdir(dist)
    with tarfile.open(archive) as source:
        source.extraction_filter = getattr(tarfile, "data_filter", None)  # which Python 3.11.3 lacks
        source.extractall()
    os.chdir(archive.removesuffix(".tar.gz"))
    build_wheel(dist)
"""


class Environment:
    """A virtual environment for Crystallize and pytest, as a stranger has it.

    It has what they need, and nothing else, as links to what is installed here: to fetch and compile it again
    would take most of a minute. ``pip check`` tells what is missing.

    Attributes
    ----------
    python : Path
        Its interpreter.
    """

    def __init__(
        self,
        folder: Path,
        run: Run,
        start_interpreter: Callable[..., WarmInterpreter],
        environment: dict[str, str],
    ) -> None:
        self.python = folder / "bin" / "python"
        self._folder = folder
        self._run = run
        self._start = start_interpreter
        self._environment = environment
        run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
        needed = {"pytest": distribution("pytest"), **needed_by("crystallize-lab", "pytest")}
        for each in needed.values():
            here = Path(str(each.locate_file("")))
            for top in {
                file.parts[0] for file in each.files or () if file.parts[0] not in ("..", "__pycache__")
            }:
                self.packages.joinpath(top).symlink_to(here / top)

    @property
    def packages(self) -> Path:
        """Where its packages are."""
        (folder,) = self._folder.glob("lib/python*/site-packages")
        return folder

    def pip(self, *arguments: object) -> None:
        """Call pip for this environment, which saves the seconds that a pip of its own would take."""
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", self.python)
        self._run(*pip, *arguments, cwd=self._folder)

    def build_and_install(self, *projects: Path) -> None:
        """Build projects, each wheel from its source distribution, and install the wheels, with our own.

        The first one is built as a stranger does it, by a front end; the others by the back end that it has named,
        which spares them four interpreters each.
        """
        dist = self._folder / "dist"
        front_end = (sys.executable, "-m", "build", "--no-isolation", "--outdir", dist)
        self._run(*front_end, projects[0], cwd=self._folder)
        self._run(sys.executable, "-c", BUILD, dist, *projects[1:], ROOT, cwd=self._folder)
        self.pip("install", "--no-index", *sorted(dist.glob("*.whl")))
        # For the commands to come. The folders of a pytest are not beside those of another.
        environment = {**self._environment, "PYTEST_DEBUG_TEMPROOT": str(self._folder)}
        interpreter = self._start(python=self.python, environment=environment)
        self._warm = partial(interpreter.run, environment=environment)

    def script(self, *arguments: object, cwd: Path) -> str:
        """Call the command ``crystallize`` as it is installed, with warnings as errors."""
        command = self.python.with_name("crystallize")
        return self._run(self.python, "-W", "error", command, *arguments, cwd=cwd)

    def crystallize(self, *arguments: object, cwd: Path) -> str:
        """Do what the command ``crystallize`` does, with warnings as errors."""
        return printed(self._warm(self.python.with_name("crystallize"), *arguments, cwd=cwd))

    def pytest(self, project: Path) -> str:
        """Run the tests of a project, with warnings as errors."""
        return printed(self._warm("-m", "pytest", "-p", "no:cacheprovider", cwd=project))


@pytest.fixture(scope="session")
def environment(
    tmp_path_factory: pytest.TempPathFactory,
    run: Run,
    start_interpreter: Callable[..., WarmInterpreter],
    strangers_environment: dict[str, str],
) -> Environment:
    """Return an environment with nothing but what Crystallize and pytest need."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    return Environment(folder, run, start_interpreter, strangers_environment)
