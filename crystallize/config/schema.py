"""What a config.yaml may hold: models that validate it and describe it to editors.

They hold what the file says, as it is written; :class:`Call` and :class:`Source` say what is meant by it. The
only module that needs pydantic.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator

from crystallize.errors import InvalidValueError
from crystallize.experiments.designs.sampled import KINDS
from crystallize.utils.context import RESERVED_KEYS
from crystallize.utils.names import check_experiment_name

if TYPE_CHECKING:
    from crystallize.config.errors import KeyPath

_REFERENCE = re.compile(r"([^#]+)#([^#]+)")


# -- what is meant -------------------------------------------------------------------------------------------


class Call(NamedTuple):
    """The name of a factory, and its arguments."""

    name: str
    arguments: dict[str, Any]
    path: KeyPath = ()
    """Where it stands, relative to the value that it belongs to."""
    cache: bool | None = None
    """Of a step: whether it is cached; None if that is for the step to say."""

    @classmethod
    def of(cls, written: str | dict[str, dict[str, Any] | None] | StepConfig) -> Call:
        """Return what ``name``, ``{name: {argument: value}}`` or the latter with settings of the step means."""
        if isinstance(written, str):
            return cls(written, {})
        if isinstance(written, StepConfig):
            return cls.of(written.model_extra or {})._replace(cache=written.cache)
        ((name, arguments),) = written.items()
        return cls(name, arguments or {}, (name,))


class Reference(NamedTuple):
    """An output of another experiment: ``experiment#artifact``."""

    experiment: str
    artifact: str


class Source(NamedTuple):
    """One data source: a reference, or what makes it.

    Attributes
    ----------
    alias : str
        The key of the dictionary that the pipeline gets, if it gets one.
    path : tuple
        Where the entry stands in the file.
    reference : Reference or None
        The output that it reads.
    calls : tuple of Call
        What it may stand for otherwise. ``{a: {b: {...}}}`` may be factory ``b`` under the alias ``a``, or factory
        ``a`` with the argument ``b``: both are there, and the factories decide.
    """

    alias: str
    path: KeyPath
    reference: Reference | None = None
    calls: tuple[Call, ...] = ()

    @classmethod
    def of(cls, alias: str, written: str | dict[str, Any] | None, path: KeyPath) -> Source:
        """Return what an entry means: text, ``{factory: {argument: value}}``, arguments, or nothing."""
        if isinstance(written, str):
            found = _REFERENCE.fullmatch(written)
            if found:
                return cls(alias, path, Reference(found[1].strip(), found[2].strip()))
            return cls(alias, path, None, (Call(written, {}),))
        own = Call(alias, written or {})
        if len(own.arguments) == 1 and isinstance(next(iter(own.arguments.values())), dict | None):
            return cls(alias, path, None, (Call.of(own.arguments), own))
        return cls(alias, path, None, (own,))


# -- the types of values -------------------------------------------------------------------------------------


TAGS = frozenset({"<str>", "<dict>", "<list>", "<bool>", "<NoneType>", "<groups>", "<step>", "[key]"})
"""What pydantic adds to the path of an error: which of several types was meant, or that it is about a key."""


def _kind(value: object) -> str:
    return f"<{type(value).__name__}>"


def _kind_of_step(value: object) -> str:
    if not isinstance(value, dict) or len(value) == 1:
        return _kind(value)
    return "<step>" if len(value) == 2 and "cache" in value else ""


def _kind_of_metrics(value: object) -> str:
    is_grouped = isinstance(value, list) and any(isinstance(item, list) for item in value)
    return "<groups>" if is_grouped else _kind(value)


def _one_of(allowed: str, kind: Any = _kind) -> Discriminator:
    """Choose between types by the kind of value, so that errors are those of the one that was meant."""
    return Discriminator(kind, custom_error_type="kind", custom_error_message=f"It is {allowed}")


def _check_reference(text: str) -> str:
    if "#" in text and not _REFERENCE.fullmatch(text):
        hint = "Write experiment#artifact, with the alias of an output"
        raise InvalidValueError(f"{text!r} is no reference", hint=hint)
    return text


def _check_key(key: str) -> str:
    if key in RESERVED_KEYS:
        raise InvalidValueError(f"the key {key!r} is set by the framework itself", hint="Choose another key")
    return key


def _check_distinct(names: list[str]) -> list[str]:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InvalidValueError(f"the metric {twice[0]!r} is named twice", hint="Name it once")
    return names


Text = Annotated[str, Field(pattern=r"\S")]
ExperimentName = Annotated[Text, AfterValidator(check_experiment_name)]
ContextKey = Annotated[
    str, AfterValidator(_check_key), Field(json_schema_extra={"not": {"enum": sorted(RESERVED_KEYS)}})
]
Arguments = Annotated[dict[str, Any] | None, Field(description="Values of its parameters, by name.")]
SourceText = Annotated[Text, AfterValidator(_check_reference)]
SourceEntry = Annotated[
    Annotated[SourceText, Tag("<str>")]
    | Annotated[dict[str, Any], Tag("<dict>")]
    | Annotated[None, Tag("<NoneType>")],
    _one_of("a factory's name, {factory: {argument: value}}, or experiment#artifact"),
]
SourceMapping = Annotated[dict[str, SourceEntry], Field(min_length=1)]
Sources = Annotated[
    Annotated[SourceText, Tag("<str>")]
    | Annotated[SourceMapping, Tag("<dict>")]
    | Annotated[list[SourceMapping], Field(min_length=1), Tag("<list>")],
    _one_of(
        "a factory's name, {factory: {argument: value}}, experiment#artifact, or a mapping or list of these"
    ),
]
MetricNames = Annotated[list[Text], Field(min_length=1), AfterValidator(_check_distinct)]
Metrics = Annotated[
    Annotated[Text, Tag("<str>")]
    | Annotated[MetricNames, Tag("<list>")]
    | Annotated[list[MetricNames], Field(min_length=1), Tag("<groups>")],
    _one_of("a metric's name, a list of names, or a list of lists of names", _kind_of_metrics),
]
PluginSetting = Annotated[
    Annotated[bool, Tag("<bool>")] | Annotated[dict[str, Any], Tag("<dict>")],
    _one_of("true, false, or {argument: value} for its constructor"),
]


# -- the models ----------------------------------------------------------------------------------------------


class _Model(BaseModel):
    # They are built below.
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True, defer_build=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _is_given(cls, value: Any) -> Any:
        if value is None:  # the default of what may be left out, and not what one writes
            raise InvalidValueError("found nothing", hint="Give it a value, or remove the key")
        return value


class StepConfig(_Model):
    """A step with more said of it than its arguments."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"minProperties": 2, "maxProperties": 2})
    __pydantic_extra__: dict[str, Arguments]
    cache: bool
    """Whether its outputs are kept and given again for equal input, whatever steps.py says; the other key is the step's
    name, with its arguments below it."""


Step = Annotated[
    Annotated[Text, Tag("<str>")]
    | Annotated[dict[str, Arguments], Field(min_length=1, max_length=1), Tag("<dict>")]
    | Annotated[StepConfig, Tag("<step>")],
    _one_of(
        "a name, or {name: {argument: value}} with the arguments indented below the name, and cache beside it",
        _kind_of_step,
    ),
    Field(description="A name of steps.py, or {name: {argument: value}}."),
]


class OutputConfig(_Model):
    """An artifact that a step writes and other experiments may read."""

    file_name: Text | None = None
    """Name of the file in the run's folder; by default the output's alias with the suffix of its loader."""
    writer: Text | None = None
    """Turns a value into bytes: a function of outputs.py, or the name or dotted path of a loader."""
    loader: Text | None = None
    """Turns the file into an object: a function of outputs.py, the name or dotted path of a loader, or 'auto' for
    the one that fits the file's suffix."""


class HypothesisConfig(_Model):
    """A comparison of every treatment with the baseline."""

    name: Text | None = None
    """Name of the hypothesis; the verifier's, if not given."""
    verifier: Text
    """A function of verifiers.py, or the name or dotted path of an installed verifier."""
    metrics: Metrics | None = None
    """What the verifier is given; all metrics, if not given."""
    direction: Literal["min", "max"] | None = None
    """Whether smaller values of the metrics are better, or larger ones; without it, no treatment is called best."""
    smallest_effect: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """The smallest difference that matters, in the metrics' unit."""
    equivalence_margin: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Differences below it, in the metrics' unit, count as none."""
    correction: Literal["holm", "hochberg", "benjamini-hochberg", "bonferroni", "none"] | None = None
    """How p-values are corrected for the number of tests; if not given, as Holm does, or the verifier itself."""
    args: dict[str, Any] = {}
    """The verifier's settings, by name."""


Levels = Annotated[list[Any], Field(min_length=1)]
Coordinates = Annotated[dict[ContextKey, Any], Field(min_length=1)]


_NUMBERS = {"items": {"type": "number"}, "minItems": 2, "maxItems": 2}
Ends = Annotated[list[Any], Field(json_schema_extra=_NUMBERS)]


class RangeConfig(_Model):
    """A range that a design chooses levels from, by one of its scales: the lowest level and the highest."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})
    linear: Ends | None = None
    """All numbers, equal differences equally far apart."""
    log: Ends | None = None
    """All numbers, equal ratios equally far apart."""
    integers: Ends | None = None
    """Whole numbers."""


class DesignConfig(_Model):
    """A design of experiments: few cells for many factors."""

    kind: Annotated[Text, Field(json_schema_extra={"enum": list(KINDS)})]
    """Which design it is."""
    factors: Annotated[
        dict[
            ContextKey,
            Annotated[
                Annotated[Levels, Tag("<list>")] | Annotated[RangeConfig, Tag("<dict>")],
                _one_of("a list of levels, or a range such as {log: [0.001, 0.1]}"),
            ],
        ],
        Field(min_length=1),
    ]
    """A range of each factor, {linear: [low, high]}, {log: [low, high]} or {integers: [low, high]}; or its levels."""
    n: Annotated[int, Field(ge=1)] | None = None
    """How many cells it has, if that is to be chosen."""
    seed: Annotated[int, Field(ge=0)] | None = None
    """Of a design that is drawn; 0, if not given. It is not the experiment's."""
    axial: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = None
    """Of a central composite: how far the ends of the axes are from the centre, where the corners are at 1."""


class TreatmentsConfig(_Model):
    """The conditions besides the baseline: what each one sets in the context, by name; and grids of them."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, dict[ContextKey, Any] | None]
    grid: Annotated[dict[ContextKey, Levels], Field(min_length=1)] = {}
    """A treatment for each combination of these levels; with 'zip', of each with each of its cells."""
    zip: Annotated[dict[ContextKey, Levels], Field(min_length=1)] = {}
    """Factors that go together: a treatment of their first levels, one of the second ones, and so on."""
    design: DesignConfig | None = None
    """Few treatments for many factors; with 'grid' or 'zip', of each with each of their cells."""
    cases: Annotated[list[Coordinates], Field(min_length=1)] = []
    """Further treatments, each written out."""
    exclude: Annotated[list[Coordinates], Field(min_length=1)] = []
    """What to leave out of all these: every cell that has these levels."""

    @property
    def named(self) -> dict[str, dict[str, Any] | None]:
        """The treatments that have names of their own."""
        return self.model_extra or {}


class CliConfig(_Model):
    """How the command line shows the experiment."""

    group: Text = "Experiments"
    """The heading that it is listed under."""
    priority: int = 100
    """Its place in the list: small numbers come first."""
    icon: str = ""
    """A symbol in front of its name."""
    color: str = ""
    """The colour of its name, such as 'green' or '#85C1E9'."""
    hidden: bool = False
    """Whether the list leaves it out."""


class StrategyConfig(_Model):
    """An execution strategy with arguments."""

    model_config = ConfigDict(extra="allow")
    strategy: Text
    """Its name; the other keys are its arguments."""


Execution = Annotated[
    Annotated[Text, Tag("<str>")] | Annotated[StrategyConfig, Tag("<dict>")],
    _one_of("the name of a strategy, or {strategy: name, argument: value}"),
]


class ExperimentConfig(_Model):
    """An experiment: the config.yaml of its folder."""

    model_config = ConfigDict(title="Crystallize experiment")
    name: ExperimentName | None = None
    """Name of the experiment and of the folder that its runs are stored in; by default the name of the folder that
    this file is in."""
    description: str = ""
    """For people."""
    replicates: Annotated[int, Field(ge=1)] | None = None
    """How often each condition is repeated; by default as often as there is data, or once."""
    seed: Annotated[int, Field(ge=0)] | None = None
    """Master seed of all random streams; drawn anew, if not given."""
    datasource: Sources
    """Where the data comes from: a factory of datasources.py, {factory: {argument: value}}, experiment#artifact,
    or several of these by alias."""
    steps: Annotated[list[Step], Field(min_length=1)]
    """The pipeline: names of steps.py, with arguments where needed."""
    outputs: dict[str, OutputConfig] = {}
    """The artifacts that steps write, by the alias that steps and other experiments use."""
    treatments: TreatmentsConfig = TreatmentsConfig.model_construct()
    """The conditions besides the baseline: what each one sets in the context, by name; and, as 'grid', 'zip', 'design',
    'cases' and 'exclude', designs of them."""
    hypotheses: list[HypothesisConfig] = []
    """What to ask of the metrics."""
    execution: Execution | None = None
    """How replicates are driven: serial, thread, process, async, another installed strategy, or the dotted path
    package.module:Class of any; {strategy: name, ...} with arguments."""
    stop: Text | None = None
    """The rule that ends a run when it has seen enough, such as decided(rmse, max=200); replicates is then how many
    there are at most."""
    on_error: Literal["continue", "stop"] = "continue"
    """Whether the run goes on when an outcome has failed; stop is short for max_failures: 0."""
    max_failures: Annotated[int, Field(ge=0)] | None = None
    """How many outcomes may fail; with one more the run stops."""
    retries: Annotated[int, Field(ge=0)] = 0
    """How often an outcome that failed is tried again, at once and with the same seeds."""
    timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """How many seconds one condition of one replicate may take."""
    cache: bool = True
    """Whether steps that are cacheable take their outputs from the step cache."""
    order: Literal["interleaved", "randomised"] = "interleaved"
    """The order in time: replicate after replicate with its conditions as they are listed, or replicates and the
    conditions of each as the seed has drawn it; the results are the same."""
    plugins: dict[str, PluginSetting] = {}
    """Installed plugins, by their own name or their distribution's: false switches one off, true insists on it,
    {argument: value} configures it."""
    cli: CliConfig = CliConfig.model_construct()
    """Where and how 'crystallize list' shows it."""

    def sources(self) -> list[Source]:
        """Return what ``datasource`` means."""
        written = self.datasource
        if isinstance(written, str):
            source = Source.of(written, written, ("datasource",))
            return [source._replace(alias=source.reference.artifact) if source.reference else source]
        parts = enumerate(written) if isinstance(written, list) else [(None, written or {})]
        return [
            Source.of(alias, entry, ("datasource", *(() if position is None else (position,)), alias))
            for position, mapping in parts
            for alias, entry in mapping.items()
        ]

    def references(self) -> tuple[Reference, ...]:
        """Return the outputs of other experiments that the data source reads."""
        return tuple(source.reference for source in self.sources() if source.reference)


class PartialConfig(ExperimentConfig):
    """What is left of a configuration without its mistakes: what was wrong in a list is None."""

    datasource: Sources | None = None  # type: ignore[assignment]
    steps: list[Step | None] = []  # type: ignore[assignment]
    hypotheses: list[HypothesisConfig | None] = []  # type: ignore[assignment]


def _build_models() -> None:
    """Make the models' validators without pydantic's plugins.

    To find those, pydantic reads the entry points of everything that is installed, and raises if those of one
    distribution, whoever's it is, cannot be read.
    """
    switch = "PYDANTIC_DISABLE_PLUGINS"
    before = os.environ.get(switch)
    os.environ[switch] = "__all__"
    try:
        ExperimentConfig.model_rebuild()
        PartialConfig.model_rebuild()
    finally:
        if before is None:
            del os.environ[switch]
        else:
            os.environ[switch] = before


_build_models()


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a config.yaml."""
    schema = ExperimentConfig.model_json_schema()
    for model in (schema, *schema["$defs"].values()):
        for entry in model["properties"].values():
            if "description" in entry:
                entry["description"] = " ".join(entry["description"].split())
            if entry.get("default", "") is None:  # stands for "not given" and must not be written
                del entry["default"]
                entry.update(entry.pop("anyOf")[0])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
