"""What an RO-Crate says of a stored run.

The document is that of a `Process Run Crate <https://w3id.org/ro/wfrun/process>`_: one action, the run, made files with
an experiment. It tells nothing but what the run's own files tell, so that it is the same whenever and wherever it is
made. A run is one action, not one for each condition or replicate: these have no time of their own, and their settings,
seeds and values are in the files, each of which says what it belongs to.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from crystallize.errors import StoreError
from crystallize.store.layout import CRATE
from crystallize.store.metadata import FINISHED, INTERRUPTED, time_in
from crystallize.utils.json_text import to_json
from crystallize.utils.wording import counted

if TYPE_CHECKING:
    from datetime import datetime

    from crystallize.results.result import Result
    from crystallize.store.layout import ArtifactEntry

_RO_CRATE = "https://w3id.org/ro/crate/1.3"
_PROFILE = "https://w3id.org/ro/wfrun/process/0.6"
_CONTEXT = [f"{_RO_CRATE}/context", "https://w3id.org/ro/terms/workflow-run/context"]

_OURS = "crystallize-lab"
_NO_LICENSE = "No license was given: ask whoever made this crate what may be done with it."
_DEFINED_BY = ("datasource", "initial_ctx", "steps", "conditions", "outputs", "hypotheses")
"""The parts of a signature that tell what the experiment is."""

_VALUES = frozenset({"settings", "parameters", "defaults"})
"""What holds the user's settings in each of them; beside these are hashes of code."""

_LARGEST_INTEGER = 2**53
"""Beyond it, readers of JSON may round."""

# Not those of the `mimetypes` module, which differ between machines.
_ENCODINGS = {
    "csv": "text/csv",
    "gz": "application/gzip",
    "html": "text/html",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "json": "application/json",
    "jsonl": "application/jsonl",
    "md": "text/markdown",
    "pdf": "application/pdf",
    "png": "image/png",
    "svg": "image/svg+xml",
    "txt": "text/plain",
    "yaml": "application/yaml",
    "yml": "application/yaml",
    "zip": "application/zip",
}

_Entity = dict[str, Any]


class CrateFile(NamedTuple):
    """A file of the run that the crate has.

    Attributes
    ----------
    path : str
        Where it is in the crate, with forward slashes.
    about : str
        What it is.
    size : int
        Bytes.
    sha256 : str
        The hash of its content, as hexadecimal digits.
    """

    path: str
    about: str
    size: int
    sha256: str


class CrateContent(NamedTuple):
    """All that a crate is to tell of.

    Attributes
    ----------
    title : str
        What the run is called.
    result : Result
        What it measured.
    metadata : mapping
        The run's metadata.
    status : str
        How it ended.
    files : sequence of CrateFile
        The files that the crate has.
    gone : sequence of ArtifactEntry
        The artifacts that the run wrote and that are not stored any more.
    license : str or None
        Under which license the crate may be used: an address or a text.
    """

    title: str
    result: Result
    metadata: Mapping[str, Any]
    status: str
    files: Sequence[CrateFile]
    gone: Sequence[ArtifactEntry]
    license: str | None


def time_of(metadata: Mapping[str, Any]) -> datetime:
    """Return when a run was over; if that is not known, when it began.

    Raises
    ------
    StoreError
        If the metadata tell neither.
    """
    when = time_in(metadata, "finished") or time_in(metadata, "started")
    if when is None:
        raise StoreError("the metadata do not tell when the run was made, and a crate has to")
    return when


def describe_crate(content: CrateContent) -> dict[str, Any]:
    """Return the document of a crate, which is JSON-LD, flattened and compacted."""
    metadata = content.metadata
    environment, packages = (_mapping(metadata.get(key)) for key in ("environment", "packages"))
    required = [
        _python(environment),
        *(_package(name, version) for name, version in packages.items() if name != _OURS),
    ]
    tool = _package(_OURS, packages.get(_OURS)) | {"softwareRequirements": _references(required)}
    user = metadata.get("user")
    agent = [_entity(_local("user", user), "Person", name=user)] if isinstance(user, str) else []
    inputs = [
        _experiment(content),
        *(_value("setting", path, value) for path, value in _settings(content)),
        *(_input(_mapping(each)) for each in _list(metadata.get("inputs"))),
    ]
    variables = [
        _value("environment", (name,), value)
        for name, value in _mapping(environment.get("variables")).items()
    ]
    files = [_file(file) for file in content.files]
    gone = [_absent_file(entry) for entry in content.gone]
    action = _action(
        content,
        agent=_references(agent),
        instrument=_references([tool]),
        object=_references(inputs),
        environment=_references(variables),
        result=_references([*files, *gone]),
    )
    about, summary = _text(metadata.get("description")).rstrip(". "), _summary(content)
    license_value, licenses = _license(content.license)
    root = _entity(
        "./",
        "Dataset",
        conformsTo={"@id": _PROFILE},
        name=content.title,
        description=f"{about}. {summary}" if about else summary,
        datePublished=_as_text(time_of(metadata)),
        author=_references(agent),
        license=license_value,
        mentions=_references([action]),
        hasPart=_references(files),
    )
    graph = [
        _entity(CRATE, "CreativeWork", about={"@id": "./"}, conformsTo={"@id": _RO_CRATE}),
        root,
        _entity(
            _PROFILE,
            ["CreativeWork", "Profile"],
            name="Process Run Crate",
            version=_PROFILE.rpartition("/")[2],
        ),
        action,
        *(tool, *required, *agent, *inputs, *variables, *licenses, *files, *gone),
    ]
    return {"@context": _CONTEXT, "@graph": list({entity["@id"]: entity for entity in graph}.values())}


# -- the run -------------------------------------------------------------------------------------------------


def _action(content: CrateContent, **references: Any) -> _Entity:
    metadata = content.metadata
    token = metadata.get("run")
    sentences = [_summary(content)]
    if content.status == FINISHED and content.result.errors:
        sentences.append(f"The first failure: {content.result.errors[0]}.")
    if command := shlex.join(map(str, _list(metadata.get("command")))):
        sentences.append(f"Started as: {command}")
    status = "Completed" if content.status == FINISHED else "Failed"
    return _entity(
        _local("run", token) if isinstance(token, str) else "#run",
        "CreateAction",
        name=content.title,
        description=" ".join(sentences),
        startTime=_as_text(time_in(metadata, "started")),
        endTime=_as_text(time_in(metadata, "finished")),
        actionStatus=f"http://schema.org/{status}ActionStatus",
        error=_error(content),
        **references,
    )


def _summary(content: CrateContent) -> str:
    """Say in a sentence or two what was run."""
    result = content.result
    failed = f" {counted(len(result.errors), 'outcome')} failed." if result.errors else ""
    return f"{counted(result.arrived, 'replicate')} of {', '.join(result.conditions)}.{failed}"


def _error(content: CrateContent) -> str | None:
    """Say why the run did not come to its end, if it did not."""
    result = content.result
    if content.status == FINISHED:
        return None
    how = "was interrupted" if content.status == INTERRUPTED else "ended with an error"
    first = f". The first failure: {result.errors[0]}" if result.errors else ""
    return (
        f"The run {how} when {result.arrived} of {counted(result.replicates, 'replicate')} were done{first}"
    )


def _package(name: str, version: Any) -> _Entity:
    home = f"https://pypi.org/project/{_uri(name)}/"
    known = f"{_uri(str(version))}/" if version else ""
    return _entity(home + known, "SoftwareApplication", name=name, url=home, version=version)


def _python(environment: Mapping[str, Any]) -> _Entity:
    home = "https://www.python.org/"
    name = " ".join(filter(None, ["Python", _text(environment.get("implementation"))]))
    return _entity(home, "SoftwareApplication", name=name, url=home, version=environment.get("python"))


# -- what went in --------------------------------------------------------------------------------------------


def _experiment(content: CrateContent) -> _Entity:
    """Return the definition of the experiment, with the commit that its code is at; the code itself is not stored."""
    code = _mapping(content.metadata.get("code"))
    steps = [str(_mapping(each).get("step")) for each in _list(content.metadata.get("pipeline"))]
    about = f"An experiment with the steps {', '.join(steps)}. Its code is not in this crate."
    if code.get("git_commit") and code.get("dirty"):
        about += f" It differed from the commit; the hash of the changes is {code.get('diff')}."
    return _entity(
        _local("experiment", content.result.experiment),
        "CreativeWork",
        name=content.result.experiment,
        description=about,
        version=code.get("git_commit"),
    )


def _settings(content: CrateContent) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the settings of the run, each with where it stands, as ``crystallize diff`` calls it."""
    yield ("replicates",), content.result.replicates
    yield ("master_seed",), content.result.master_seed
    execution, signature = (_mapping(content.metadata.get(key)) for key in ("execution", "signature"))
    if execution:
        yield ("execution",), execution.get("name")
    parts = {"execution": execution.get("settings")} | {part: signature.get(part) for part in _DEFINED_BY}
    for part, settings in parts.items():
        yield from _leaves(_mapping(settings), (part,))


def _leaves(part: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the values of nested mappings; hashes of code are left out."""
    if not isinstance(part, Mapping):
        yield path, part
        return
    for key, item in part.items():
        if key != "code" or not _VALUES.isdisjoint(path):
            yield from _leaves(item, (*path, key))


def _value(kind: str, path: tuple[str, ...], value: Any) -> _Entity:
    return _entity(_local(kind, *path), "PropertyValue", name=".".join(path), value=_exact(value))


def _exact(value: Any) -> bool | int | float | str:
    """Return a value so that every reader of JSON gets it as it is; what is no text or number is text."""
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int) and abs(value) < _LARGEST_INTEGER:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return to_json(value)


def _input(entry: Mapping[str, Any]) -> _Entity:
    """Return an artifact of another experiment that was read; it is no part of the crate."""
    name, experiment, version = (
        str(entry.get(key) or "unknown") for key in ("artifact", "experiment", "version")
    )
    started = _as_text(time_in(entry, "started"))
    about = f"An artifact of run {version} of experiment {experiment}"
    if started:
        about += f", which started at {started}"
    return _entity(
        _local("input", experiment, version, name),
        "CreativeWork",
        name=name,
        description=f"{about}. It is not in this crate.",
    )


# -- what came out -------------------------------------------------------------------------------------------


def _file(file: CrateFile) -> _Entity:
    return _entity(
        "/".join(map(_uri, file.path.split("/"))),
        "File",
        name=file.path,
        description=file.about,
        contentSize=str(file.size),
        encodingFormat=_encoding(file.path),
        sha256=file.sha256,
    )


def _absent_file(entry: ArtifactEntry) -> _Entity:
    """Return an artifact that is known and not stored any more, so that the crate does not have it."""
    return _entity(
        _local("removed", *entry.path.split("/")),
        "File",
        name=entry.path,
        description=f"{about_artifact(entry)} It was removed before this crate was made.",
        localPath=entry.path,
        contentSize=str(entry.size),
        encodingFormat=_encoding(entry.path),
        identifier=entry.digest,
    )


def about_artifact(entry: ArtifactEntry) -> str:
    """Say what an artifact is."""
    return (
        f"What step {entry.step!r} wrote in replicate {entry.replicate} under condition {entry.condition!r}."
    )


def _encoding(path: str) -> str:
    return _ENCODINGS.get(path.rpartition(".")[2].lower(), "application/octet-stream")


# -- entities ------------------------------------------------------------------------------------------------


def _entity(identifier: str, kind: str | list[str], /, **properties: Any) -> _Entity:
    """Return an entity, without the properties that have no value."""
    given = {key: value for key, value in properties.items() if value is not None and value != []}
    return {"@id": identifier, "@type": kind, **given}


def _references(entities: Iterable[_Entity]) -> Any:
    """Return what refers to some entities; to a single one without a list, as the compacted form of JSON-LD has it."""
    references = [{"@id": each} for each in dict.fromkeys(entity["@id"] for entity in entities)]
    return references[0] if len(references) == 1 else references


def _license(wanted: str | None) -> tuple[Any, list[_Entity]]:
    """Return the value of the license, and its entity if it has an address."""
    if wanted is None or not re.fullmatch(r"https?://\S+", wanted):
        return wanted or _NO_LICENSE, []
    entity = _entity(wanted, "CreativeWork", name=wanted, description="The license of this crate.")
    return {"@id": wanted}, [entity]


def _local(*parts: str) -> str:
    """Return an identifier that stands for something within the document."""
    return "#" + "/".join(map(_uri, parts))


def _uri(part: str) -> str:
    """Return a part of a path as a URI has it; letters of all alphabets stay."""
    return re.sub(r"[^\w.~\u0080-\U0010ffff-]", lambda found: quote(found[0], safe=""), part, flags=re.ASCII)


# -- metadata, which another tool may have written -----------------------------------------------------------


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _as_text(when: datetime | None) -> str | None:
    return None if when is None else when.isoformat(timespec="milliseconds")
