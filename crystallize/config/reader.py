"""From a config.yaml to a checked configuration; nothing of the user's is imported."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from crystallize.config.document import Document, read_document
from crystallize.config.errors import ConfigError, KeyPath, in_order
from crystallize.config.folders import config_file
from crystallize.config.scalars import describe
from crystallize.utils.names import check_name
from crystallize.utils.suggest import did_you_mean, listed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike
    from pathlib import Path

    from crystallize.config.schema import ExperimentConfig

_LISTS = ("steps", "hypotheses")
_MAPPINGS = ("outputs", "treatments", "plugins", "datasource")
_ALLOWED = {
    "string_type": "It is text; put it in quotes",
    "bool_type": "It is true or false",
    "int_type": "It is a whole number",
    "dict_type": "It is a mapping",
    "list_type": "It is a list",
    "model_type": "It is a mapping",
}


@dataclass
class Draft:
    """A config.yaml with whatever is wrong in it.

    Attributes
    ----------
    document : Document
        The file; its `problems` grow as checks go on.
    config : ExperimentConfig
        What is left without the mistakes: entries of lists that have one are None.
    broken : set of tuple
        The key paths of what was left out.
    """

    document: Document
    config: ExperimentConfig
    broken: set[KeyPath] = field(default_factory=set)

    @property
    def file(self) -> Path:
        """The config.yaml."""
        return self.document.file

    @property
    def name(self) -> str:
        """The experiment's name: what the file says, or its folder's."""
        return self.config.name or self.file.parent.name

    def is_broken(self, *path: str | int) -> bool:
        """Tell whether something at or below `path` was left out."""
        return any(each[: len(path)] == path for each in self.broken)


def read_config(path: str | PathLike[str]) -> ExperimentConfig:
    """Read a config.yaml and check it against the schema; no module beside it is imported.

    Parameters
    ----------
    path : str or path
        The file, or its folder.

    Raises
    ------
    ConfigError
        With all mistakes.
    """
    draft = read_draft(config_file(path))
    if draft.document.problems:
        raise ConfigError(in_order(draft.document.problems))
    return draft.config


def read_draft(file: Path) -> Draft:
    """Read a config.yaml as far as it can be read; the mistakes are in the draft's document."""
    from crystallize.config.schema import ExperimentConfig, PartialConfig, errors_of

    document = read_document(file)
    if document.root is None:
        return Draft(document, PartialConfig(), {()})
    values: dict[str, Any] = dict(document.value)
    broken: set[KeyPath] = set()
    for details in errors_of(values):
        broken |= _translate(document, details)
    model = PartialConfig if broken else ExperimentConfig
    config = model.model_validate(_without(values, broken))
    draft = Draft(document, config, broken)
    if config.name is None and ("name",) not in broken:
        _check_folder_name(draft)
    return draft


def _check_folder_name(draft: Draft) -> None:
    from crystallize.errors import CrystallizeError

    try:
        check_name("experiment", draft.name)
    except CrystallizeError as error:
        draft.document.add((), error.what, "Give the experiment a 'name'")


# -- pydantic's errors in our words --------------------------------------------------------------------------


def _translate(document: Document, details: Mapping[str, Any]) -> set[KeyPath]:
    """Note an error of pydantic's as problems, and return the key paths that are spoilt by it."""
    path: KeyPath = details["loc"]
    kind = details["type"]
    if kind == "value_error":
        faults = details["ctx"]["error"].faults
        for fault in faults:
            document.add((*path, *fault.path), fault.message, fault.hint, key=fault.key)
        return {(*path, *fault.path) for fault in faults}
    if kind == "missing":
        keys = _keys_at(path[:-1])
        misspelt = [key for key in _value_at(document, path[:-1]) if key not in keys]
        if not did_you_mean(path[-1], misspelt):  # else the unknown key's problem says it
            document.add(path[:-1], f"the key {path[-1]!r} is missing", _needed(path))
    elif kind == "extra_forbidden":
        keys = _keys_at(path[:-1])
        document.add(
            path,
            f"unknown key {path[-1]!r}",
            f"{did_you_mean(path[-1], keys)} The keys are {listed(keys)}".strip(),
            key=True,
        )
    elif kind == "too_short":
        document.add(path, "the list is empty", "It has at least one entry")
    else:
        hint = _ALLOWED.get(kind, details["msg"])
        if kind == "bool_type" and isinstance(details["input"], str):
            hint += f"; {details['input']!r} is text"
        document.add(path, f"found {describe(details['input'])}", hint)
    return {path}


def _needed(path: KeyPath) -> str:
    where = {"datasource": "It says where the data comes from", "steps": "It lists the steps of the pipeline"}
    return where.get(str(path[-1]), "It has no default")


def _value_at(document: Document, path: KeyPath) -> Any:
    value = document.value
    for part in path:
        value = value[part]
    return value


def _keys_at(path: KeyPath) -> list[str]:
    """Return the keys that the schema knows for the mapping at `path`."""
    from crystallize.config.schema import CliConfig, ExperimentConfig, HypothesisConfig, OutputConfig

    inner: dict[str, Any] = {"outputs": OutputConfig, "hypotheses": HypothesisConfig, "cli": CliConfig}
    return list((inner[str(path[0])] if path else ExperimentConfig).model_fields)


def _without(values: dict[str, Any], broken: set[KeyPath]) -> dict[str, Any]:
    """Return `values` without what is broken: entries of mappings are gone, those of lists are None."""
    kept = dict(values)
    for path in broken:
        top = path[0]
        section = kept.get(str(top))
        if len(path) > 1 and top in _LISTS and isinstance(section, list):
            kept[str(top)] = [None if number == path[1] else item for number, item in enumerate(section)]
        elif len(path) > 1 and top in _MAPPINGS and isinstance(section, dict):
            kept[str(top)] = {key: value for key, value in section.items() if key != path[1]}
        else:
            kept.pop(str(top), None)
    if kept.get("datasource") in ({}, []):
        del kept["datasource"]
    return kept
