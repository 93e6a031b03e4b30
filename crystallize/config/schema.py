"""What a config.yaml may hold: one set of models that validates it and describes it to editors.

The only module that needs pydantic.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
    WithJsonSchema,
)

from crystallize.config import entries
from crystallize.config.entries import Call, Fault, Reference, Source
from crystallize.utils.context import RESERVED_KEYS


class FaultsError(ValueError):
    """How a validator of ours hands its faults through pydantic."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__(faults)
        self.faults = faults


def _checked(make: Callable[[Any, list[Fault]], Any]) -> PlainValidator:
    """Make a validator of a function that notes faults."""

    def validate(value: Any) -> Any:
        faults: list[Fault] = []
        made = make(value, faults)
        if faults:
            raise FaultsError(faults)
        return made

    return PlainValidator(validate)


# -- schemas that the validators stand for -------------------------------------------------------------------

_ARGUMENTS: dict[str, Any] = {"type": ["object", "null"], "description": "Values of its parameters, by name."}
_CALL: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        {"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": _ARGUMENTS},
    ],
}
_SOURCE: dict[str, Any] = {"type": ["string", "object", "null"], "minLength": 1}
_SOURCE_MAPPING: dict[str, Any] = {"type": "object", "minProperties": 1, "additionalProperties": _SOURCE}

Step = Annotated[
    Call,
    _checked(entries.call),
    WithJsonSchema({**_CALL, "description": "A name of steps.py, or {name: {argument: value}}."}),
]
Sources = Annotated[
    tuple[Source, ...],
    _checked(entries.sources_of),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                _SOURCE_MAPPING,
                {"type": "array", "minItems": 1, "items": _SOURCE_MAPPING},
            ]
        }
    ),
]
Treatments = Annotated[
    dict[str, dict[str, Any]],
    _checked(entries.treatments),
    WithJsonSchema(
        {
            "type": "object",
            "additionalProperties": {
                "type": ["object", "null"],
                "propertyNames": {"not": {"enum": sorted(RESERVED_KEYS)}},
            },
        }
    ),
]
Plugins = Annotated[
    dict[str, bool | dict[str, Any]],
    _checked(entries.plugins),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": ["boolean", "object"]}}),
]
Execution = Annotated[
    str | dict[str, Any] | None,
    _checked(entries.execution),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {
                    "type": "object",
                    "properties": {"strategy": {"type": "string", "minLength": 1}},
                    "required": ["strategy"],
                },
            ]
        }
    ),
]
Metrics = Annotated[
    str | list[str] | list[list[str]] | None,
    _checked(entries.metrics),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "array", "minItems": 1, "items": {"type": "string"}},
                {
                    "type": "array",
                    "minItems": 1,
                    "items": {"type": "array", "minItems": 1, "items": {"type": "string"}},
                },
            ]
        }
    ),
]
Name = Annotated[
    str | None,
    _checked(entries.experiment_name),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 200}),
]
Text = Annotated[str, _checked(entries.text), WithJsonSchema({"type": "string", "minLength": 1})]
OptionalText = Annotated[
    str | None, _checked(entries.text), WithJsonSchema({"type": "string", "minLength": 1})
]


# -- the models ----------------------------------------------------------------------------------------------


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OutputConfig(_Model):
    """An artifact that a step writes and other experiments may read."""

    file_name: Annotated[Text, Field(description="Name of the file in the run's folder.")]
    writer: Annotated[
        OptionalText,
        Field(
            description="Turns a value into bytes: a function of outputs.py, or the name or dotted path of a "
            "loader."
        ),
    ] = None
    loader: Annotated[
        OptionalText,
        Field(
            description="Turns the file into an object: a function of outputs.py, the name or dotted path of a "
            "loader, or 'auto' for the one that fits the file's suffix."
        ),
    ] = None


class HypothesisConfig(_Model):
    """A comparison of every treatment with the baseline."""

    name: Annotated[
        OptionalText, Field(description="Name of the hypothesis; the verifier's, if not given.")
    ] = None
    verifier: Annotated[
        Text,
        Field(description="A function of verifiers.py, or the name or dotted path of an installed verifier."),
    ]
    metrics: Annotated[
        Metrics, Field(description="What the verifier is given; all metrics, if not given.")
    ] = None
    args: Annotated[dict[str, Any], Field(description="The verifier's settings, by name.")] = {}


class CliConfig(_Model):
    """How the command line shows the experiment."""

    group: Annotated[Text, Field(description="The heading that it is listed under.")] = "Experiments"
    priority: Annotated[StrictInt, Field(description="Its place in the list: small numbers come first.")] = (
        100
    )
    icon: Annotated[StrictStr, Field(description="A symbol in front of its name.")] = ""
    color: Annotated[
        StrictStr, Field(description="The colour of its name, such as 'green' or '#85C1E9'.")
    ] = ""
    hidden: Annotated[StrictBool, Field(description="Whether the list leaves it out.")] = False


class ExperimentConfig(_Model):
    """An experiment: the config.yaml of its folder."""

    model_config = ConfigDict(title="Crystallize experiment")
    name: Annotated[
        Name,
        Field(
            description="Name of the experiment and of the folder that its runs are stored in; by default the "
            "name of the folder that this file is in."
        ),
    ] = None
    description: Annotated[StrictStr, Field(description="For people.")] = ""
    replicates: Annotated[
        int | None,
        _checked(partial(entries.whole_number, least=1)),
        Field(
            description="How often each condition is repeated; by default as often as there is data, or once."
        ),
        WithJsonSchema({"type": "integer", "minimum": 1}),
    ] = None
    seed: Annotated[
        int | None,
        _checked(partial(entries.whole_number, least=0)),
        Field(description="Master seed of all random streams; drawn anew, if not given."),
        WithJsonSchema({"type": "integer", "minimum": 0}),
    ] = None
    datasource: Annotated[
        Sources,
        Field(
            description="Where the data comes from: a factory of datasources.py, {factory: {argument: value}}, "
            "experiment#artifact, or several of these by alias."
        ),
    ]
    steps: Annotated[
        list[Step],
        Field(min_length=1, description="The pipeline: names of steps.py, with arguments where needed."),
    ]
    outputs: Annotated[
        dict[str, OutputConfig],
        Field(
            description="The artifacts that steps write, by the alias that steps and other experiments use."
        ),
    ] = {}
    treatments: Annotated[
        Treatments,
        Field(description="The conditions besides the baseline: what each one sets in the context."),
    ] = {}
    hypotheses: Annotated[list[HypothesisConfig], Field(description="What to ask of the metrics.")] = []
    execution: Annotated[
        Execution,
        Field(
            description="How replicates are driven: serial, thread, process, async, another installed strategy, "
            "or the dotted path package.module:Class of any; {strategy: name, ...} with arguments."
        ),
    ] = None
    plugins: Annotated[
        Plugins,
        Field(
            description="Installed plugins, by their own name or their distribution's: false switches one off, "
            "true insists on it, {argument: value} configures it."
        ),
    ] = {}
    cli: Annotated[CliConfig, Field(description="Where and how 'crystallize list' shows it.")] = CliConfig()

    def references(self) -> tuple[Reference, ...]:
        """Return the outputs of other experiments that the data source reads."""
        return tuple(source.meant for source in self.datasource if isinstance(source.meant, Reference))


class PartialConfig(ExperimentConfig):
    """What is left of a configuration without its mistakes."""

    datasource: Sources = ()
    steps: list[Step | None] = []  # type: ignore[assignment]
    hypotheses: list[HypothesisConfig | None] = []  # type: ignore[assignment]


def errors_of(config: dict[str, Any]) -> list[Any]:
    """Return what pydantic says against a configuration: nothing, if it is right."""
    try:
        ExperimentConfig.model_validate(config)
    except ValidationError as error:
        return error.errors(include_url=False)
    return []


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a config.yaml."""
    schema = ExperimentConfig.model_json_schema()
    for model in (schema, *schema["$defs"].values()):
        for entry in model["properties"].values():
            if entry.get("default", "") is None:  # stands for "not given" and must not be written
                del entry["default"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
