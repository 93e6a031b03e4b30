"""Experiments on disk: which folders there are, and which one a name means."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from crystallize.config.document import LARGEST, read_document
from crystallize.config.errors import ConfigError, Problem
from crystallize.errors import UnknownNameError
from crystallize.utils.files import read_plain
from crystallize.utils.wording import name_hint, shown

CONFIG = "config.yaml"
ROOT = "experiments"
_NEVER = frozenset({"__pycache__", "node_modules"})


class ExperimentFolder(NamedTuple):
    """A folder with a config.yaml.

    Attributes
    ----------
    name : str
        The experiment's name: the file's ``name``, or the folder's.
    path : pathlib.Path
        The folder, absolute.
    config : pathlib.Path
        Its config.yaml.
    """

    name: str
    path: Path
    config: Path


def experiments_root(start: Path | None = None) -> Path:
    """Return the folder that experiments are looked for in.

    It is ``root`` in the table ``[tool.crystallize]`` of the nearest pyproject.toml, or else ``experiments``.

    Parameters
    ----------
    start : pathlib.Path, optional
        Where to look for pyproject.toml, upwards; the current folder, if not given.

    Raises
    ------
    ConfigError
        If that pyproject.toml cannot be read, or its ``root`` is no text.
    """
    here = Path.cwd() if start is None else start.absolute()
    for folder in (here, *here.parents):
        project = folder / "pyproject.toml"
        if project.is_file():
            configured = _configured_root(project)
            if configured is not None:
                return (folder / configured).absolute()
            break
    return here / ROOT


def _configured_root(project: Path) -> str | None:
    import tomllib

    def refuse(message: str, hint: str, key: str = "") -> ConfigError:
        return ConfigError([Problem(project, 0, 0, key, message, hint)])

    try:
        text = read_plain(project, LARGEST).decode("utf-8-sig")
        table = tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:  # a TOMLDecodeError names line and column itself
        reason = getattr(error, "strerror", None) or error
        raise refuse(f"the file cannot be read: {reason}", "Repair it") from error
    tool = table.get("tool", {})
    settings = tool.get("crystallize", {}) if isinstance(tool, dict) else {}
    if not isinstance(settings, dict):
        hint = 'It is a table: [tool.crystallize] with root = "..."'
        raise refuse(f"found {settings!r}", hint, "tool.crystallize")
    for key in settings:
        if key != "root":
            hint = name_hint(key, "The only key is", ["root"])
            raise refuse(f"unknown key {key!r}", hint, f"tool.crystallize.{key}")
    root = settings.get("root")
    if root is not None and (not isinstance(root, str) or not root.strip() or "\0" in root):
        hint = "It is the path of a folder, as text"
        raise refuse(f"found {root!r}", hint, "tool.crystallize.root")
    return root


def find_folders(root: Path | None = None) -> list[ExperimentFolder]:
    """Return every folder with a config.yaml below `root`, sorted by path.

    Hidden folders, and those that cannot be read, are left out. A file that cannot be read counts with its
    folder's name.

    Parameters
    ----------
    root : pathlib.Path, optional
        Where to look; :func:`experiments_root`, if not given.

    Raises
    ------
    OSError
        If `root` itself cannot be read.
    """
    top = experiments_root() if root is None else root.absolute()
    found: list[ExperimentFolder] = []

    def refuse(error: OSError) -> None:
        if error.filename == os.fspath(top) and not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise error

    for place, folders, files in os.walk(top, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _NEVER]
        if CONFIG in files:
            found.append(folder_of(Path(place, CONFIG)))
    return sorted(found, key=lambda folder: folder.path.parts)


def folder_of(config: Path) -> ExperimentFolder:
    """Return the folder of a config.yaml, which need not be readable."""
    document = read_document(config)
    name = document.value.get("name") if isinstance(document.value, dict) else None
    if not isinstance(name, str) or not name.strip():
        name = config.parent.name
    return ExperimentFolder(name, config.parent, config)


def named(name: str, folders: list[ExperimentFolder]) -> list[ExperimentFolder]:
    """Return the folders that `name` may mean: experiments of that name, or else folders of that name."""
    return [each for each in folders if each.name == name] or [
        each for each in folders if each.path.name == name
    ]


def config_file(path: str | os.PathLike[str]) -> Path:
    """Return the config.yaml that is meant by the path of one or of its folder; it need not exist."""
    given = Path(path).absolute()
    if given.suffix.lower() in (".yaml", ".yml") and not given.is_dir():
        return given
    return given / CONFIG


def resolve(name_or_path: str, root: Path | None = None) -> ExperimentFolder:
    """Return the experiment that is meant by a folder, a config.yaml, or a name.

    Parameters
    ----------
    name_or_path : str
        What is meant.
    root : pathlib.Path, optional
        Where to look for a name; :func:`experiments_root`, if not given.

    Raises
    ------
    UnknownNameError
        If there is no such experiment; with the nearest names.
    ConfigError
        If two experiments have the name.
    """
    config = config_file(name_or_path)
    if os.path.isfile(config):  # noqa: PTH113 - a name may be what is no path
        return folder_of(config)
    top = experiments_root() if root is None else root
    folders = find_folders(top)
    matches = named(name_or_path, folders)
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise ConfigError(ambiguous(name_or_path, matches))
    if os.path.isdir(name_or_path):  # noqa: PTH112
        hint = "Make an experiment with 'crystallize new NAME'"
        raise UnknownNameError(f"the folder {name_or_path!r} has no {CONFIG}", hint=hint)
    names = {folder.name for folder in folders}
    there_are = f"The experiments in {shown(top)} are"
    raise UnknownNameError(
        f"no experiment is called {name_or_path!r}, and it is no folder with a {CONFIG}",
        hint=name_hint(name_or_path, there_are, names) if names else f"There are none in {shown(top)}",
    )


def command_name(name: str, folder: Path) -> str:
    """Return what the command line calls an experiment: its name, or its folder where the name would not be found."""
    try:
        root = os.path.realpath(experiments_root())
    except ConfigError:  # of a pyproject.toml that does not matter to whoever gives a path
        return shown(folder)
    is_below = Path(os.path.realpath(folder)).is_relative_to(root)
    return name if is_below else shown(folder)


def ambiguous(name: str, matches: list[ExperimentFolder]) -> list[Problem]:
    """Return the problems of several experiments that have one name."""
    places = " and ".join(shown(each.path) for each in matches)
    message = f"{len(matches)} experiments are called {name!r}: in {places}"
    hint = "Give each a name of its own, or say which by its path"
    return [read_document(each.config).problem(("name",), message, hint) for each in matches]
