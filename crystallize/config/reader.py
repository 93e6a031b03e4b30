"""From a config.yaml to a checked configuration; nothing of the user's is imported."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from crystallize.config.document import Document, describe, read_document
from crystallize.config.errors import ConfigError, KeyPath, in_order
from crystallize.config.folders import config_file
from crystallize.config.schema import (
    TAGS,
    CliConfig,
    DesignConfig,
    ExperimentConfig,
    HypothesisConfig,
    OutputConfig,
    PartialConfig,
    RangeConfig,
    TreatmentsConfig,
)
from crystallize.config.treatments import read_treatments
from crystallize.errors import CrystallizeError
from crystallize.experiments.designs.sampled import KINDS
from crystallize.utils.names import check_experiment_name
from crystallize.utils.wording import listed, name_hint, nearest

if TYPE_CHECKING:
    from os import PathLike

    from crystallize.experiments.treatment import Treatment

_MODELS: dict[str | int, Any] = {
    "outputs": OutputConfig,
    "hypotheses": HypothesisConfig,
    "treatments": TreatmentsConfig,
    "cli": CliConfig,
}
_HINTS = {
    "string_type": "It is text; put it in quotes",
    "string_pattern_mismatch": "It is text",
    "bool_type": "It is true or false",
    "int_type": "It is a whole number",
    "float_type": "It is a number",
    "finite_number": "It is a finite number",
    "dict_type": "It is a mapping: {key: value}",
    "list_type": "It is a list",
    "model_type": "It is a mapping",
    "too_short": "It has at least one entry",
}
_NEEDED = {
    "datasource": "It says where the data comes from",
    "steps": "It lists the steps of the pipeline",
    "kind": f"It says which design it is: one of {listed(KINDS)}",
    "factors": "It has a range of each factor, such as {log: [0.001, 0.1]}, or a list of its levels",
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
    treatments : list of Treatment
        What is right of them, the cells of grids included.
    """

    document: Document
    config: ExperimentConfig
    broken: set[KeyPath] = field(default_factory=set)
    treatments: list[Treatment] = field(init=False)

    def __post_init__(self) -> None:
        self._above = {path[:length] for path in self.broken for length in range(len(path))}
        before = len(self.document.problems)
        self.treatments = read_treatments(self.config.treatments, self._note_of_treatments)
        if len(self.document.problems) > before:
            self.broken.add(("treatments",))

    @property
    def file(self) -> Path:
        """The config.yaml."""
        return self.document.file

    @property
    def name(self) -> str:
        """The experiment's name: what the file says, or its folder's."""
        return self.config.name or self.file.parent.name

    def _note_of_treatments(self, path: KeyPath, message: str, hint: str = "", *, key: bool = False) -> None:
        if "exclude" in path and self.is_broken("treatments"):
            return  # it may be about what was left out
        self.document.add(path, message, hint, key=key)

    def is_broken(self, *path: str | int) -> bool:
        """Tell whether something at `path`, below it or around it was left out."""
        return path in self._above or any(path[:length] in self.broken for length in range(len(path) + 1))


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
    document = read_document(file)
    if document.value is None:
        return Draft(document, PartialConfig(), {()})
    try:
        draft = Draft(document, ExperimentConfig.model_validate(document.value))
    except ValidationError as error:
        broken = {_note(document, details) for details in error.errors(include_url=False)}
        draft = Draft(document, PartialConfig.model_validate(_without(document.value, broken)), broken)
    _check_names(draft)
    return draft


def _without(values: Mapping[str, Any], broken: Collection[KeyPath]) -> dict[str, Any]:
    """Return `values` without what is broken: entries of mappings are gone, those of lists are None."""
    kept = dict(values)
    entries: dict[str | int, set[str | int]] = {}
    for path in broken:
        section = kept.get(str(path[0]))
        has_entries = isinstance(section, list if path[0] in ("steps", "hypotheses") else dict)
        if len(path) > 1 and has_entries and path[0] not in ("cli", "execution"):
            entries.setdefault(path[0], set()).add(path[1])
        else:
            kept.pop(str(path[0]), None)
    for top in entries.keys() & kept.keys():
        section, gone = kept[str(top)], entries[top]
        if isinstance(section, list):
            kept[str(top)] = [None if number in gone else item for number, item in enumerate(section)]
        else:
            kept[str(top)] = {key: value for key, value in section.items() if key not in gone}
    if not kept.get("datasource", True):
        del kept["datasource"]
    return kept


def _check_names(draft: Draft) -> None:
    """Note names that are right by themselves and do not go together."""
    document, config = draft.document, draft.config
    if config.name is None and not draft.is_broken("name"):
        try:
            check_experiment_name(draft.name)
        except CrystallizeError as error:
            document.add((), error.what, "Give the experiment a 'name'")
    aliases: set[str] = set()
    for source in config.sources():
        if source.alias in aliases:
            message = f"two data sources have the alias {source.alias!r}"
            document.add(source.path, message, "Rename one", key=True)
        aliases.add(source.alias)


# -- pydantic's errors in our words --------------------------------------------------------------------------


def _note(document: Document, details: Mapping[str, Any]) -> KeyPath:
    """Note an error of pydantic's as a problem, and return the key path that is spoilt by it."""
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    is_key = details["loc"][-1] == "[key]"
    path: KeyPath = tuple(part for part in details["loc"] if part not in TAGS)
    if kind == "missing":
        _note_missing(document, path, value)
    elif kind == "extra_forbidden":
        keys = _keys_at(path[:-1])
        hint = name_hint(path[-1], "The keys are", keys)
        document.add(path, f"unknown key {path[-1]!r}", hint, key=True)
    elif kind == "value_error":
        error = context["error"]
        document.add(path, error.what, error.hint, key=is_key)
    else:
        message = f"found {describe(value)}"
        hint = _HINTS.get(kind, details["msg"])
        if kind == "too_short":
            message = f"the {'list' if isinstance(value, list) else 'mapping'} is empty"
        elif kind == "kind" and isinstance(value, dict) and value:
            message = f"found a mapping with the keys {listed(value)}"
            misspelt = nearest("cache", value) if path[0] == "steps" and "cache" not in value else ""
            hint = f"Is {misspelt!r} 'cache'? {hint}" if misspelt else hint
        elif kind == "list_type" and path[0] == "treatments" and len(path) > 2:
            is_end = path[1] == "design"
            hint = "It is the two ends: [low, high]" if is_end else "It is a list of levels, such as [1, 2]"
        elif kind == "string_pattern_mismatch":
            message = "the text is empty"
        elif kind == "literal_error":
            hint = f"It is {context['expected']}"
        elif kind == "greater_than":
            hint = f"It is a number greater than {context['gt']:g}"
        elif kind == "greater_than_equal":
            number = "whole number" if isinstance(context["ge"], int) else "number"
            hint = f"It is a {number} of at least {context['ge']:g}"
        elif kind == "int_type" and isinstance(value, str) and value.strip().isdigit():
            hint += "; write it without quotes"
        elif kind == "bool_type" and isinstance(value, str):
            hint += f"; {value!r} is text"
        document.add(path, message, hint)
    return path


def _note_missing(document: Document, path: KeyPath, mapping: Mapping[str, Any]) -> None:
    hint = _NEEDED.get(str(path[-1]), "It has no default")
    if path[0] == "execution":
        misspelt = nearest(path[-1], mapping)
        hint = f"Is it {misspelt!r}?" if misspelt else "It is {strategy: name, argument: value}"
    else:
        keys = _keys_at(path[:-1])
        if nearest(path[-1], [key for key in mapping if key not in keys]):
            return  # the unknown key's problem says it
    document.add(path[:-1], f"the key {path[-1]!r} is missing", hint)


def _keys_at(path: KeyPath) -> list[str]:
    """Return the keys that the schema knows for the mapping at `path`."""
    if path[:2] == ("treatments", "design"):
        return list((DesignConfig if len(path) == 2 else RangeConfig).model_fields)
    return list((_MODELS[path[0]] if path else ExperimentConfig).model_fields)
