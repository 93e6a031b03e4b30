"""How a step's function wants to be called: which parameters it has, and where their values come from."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

from crystallize.datasources.artifact import Artifact
from crystallize.errors import InvalidTypeError, MissingParameterError
from crystallize.utils.signatures import signature_of
from crystallize.utils.wording import name_hint

REQUIRED: Any = inspect.Parameter.empty
"""Stands for the default of a parameter that has none."""


@dataclass(frozen=True)
class StepSignature:
    """What a step's function takes besides its data.

    Attributes
    ----------
    context : str or None
        Name of the parameter that gets the context.
    context_by_keyword : bool
        Whether the context has to be passed by name.
    parameters : dict of str to object
        Default of each other parameter; :data:`REQUIRED` if it has none.
    artifacts : frozenset of str
        The parameters annotated with ``Artifact``.
    takes_any : bool
        Whether the function takes any keyword (``**kwargs``).
    """

    context: str | None
    context_by_keyword: bool
    parameters: dict[str, Any]
    artifacts: frozenset[str]
    takes_any: bool


def inspect_step(fn: Callable[..., Any], name: str) -> StepSignature:
    """Read the signature of a step's function.

    The first positional parameter gets the data, one called ``ctx`` (or annotated with ``FrozenContext``) the
    context, all others are parameters of the step.

    Raises
    ------
    InvalidTypeError
        If the function takes no data, or has further parameters that cannot be passed by name.
    """
    signature = read_signature(fn, name)
    parameters = list(signature.parameters.values())
    first = parameters[0] if parameters else None
    if first is None or first.kind in (first.KEYWORD_ONLY, first.VAR_KEYWORD):
        raise InvalidTypeError(
            f"step {name!r} does not take data: its signature is {signature}",
            hint="Its first parameter is the data: def step(data, ...)",
        )
    rest = parameters[1:] if first.kind is not first.VAR_POSITIONAL else parameters
    context = next((parameter for parameter in rest if _is_context(parameter)), None)
    others = [
        parameter
        for parameter in rest
        if parameter is not context
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    nameless = [parameter.name for parameter in others if parameter.kind is parameter.POSITIONAL_ONLY]
    if nameless:
        raise InvalidTypeError(
            f"step {name!r} has parameters that cannot be passed by name: {', '.join(nameless)}",
            hint="Remove the '/' from its signature",
        )
    return StepSignature(
        context=context.name if context else None,
        context_by_keyword=context is not None
        and (context is not rest[0] or context.kind is context.KEYWORD_ONLY),
        parameters={parameter.name: parameter.default for parameter in others},
        artifacts=frozenset(parameter.name for parameter in others if is_artifact(parameter.annotation)),
        takes_any=any(parameter.kind is parameter.VAR_KEYWORD for parameter in rest),
    )


def check_arguments(signature: StepSignature, arguments: dict[str, Any], name: str) -> None:
    """Check what a step is given at construction against its signature.

    Raises
    ------
    InvalidTypeError
        If the step has no parameter of that name.
    """
    for argument in arguments:
        if argument not in signature.parameters and not signature.takes_any:
            raise InvalidTypeError(
                f"step {name!r} has no parameter {argument!r}",
                hint=name_hint(argument, "It takes", signature.parameters),
            )


def missing_parameter(step: str, parameter: str, held: Any, where: str = "") -> MissingParameterError:
    """Return the error for a parameter that neither its step's construction nor the context provides."""
    return MissingParameterError(
        f"step {step!r} needs the parameter {parameter!r}, and nothing provides it",
        where,
        f"{name_hint(parameter, 'The context holds', held)}. "
        "Give it at construction, in initial_ctx or in a treatment, or give it a default",
    )


def read_signature(fn: Callable[..., Any], name: str) -> inspect.Signature:
    """Return the signature of what makes or is a step, with its annotations evaluated where that is possible.

    Raises
    ------
    InvalidTypeError
        If it has none that can be read.
    """
    signature = signature_of(fn, with_types=True)
    if signature is None:
        raise InvalidTypeError(
            f"step {name!r} has no signature that can be read",
            hint="Wrap it: def step(data): return fn(data)",
        )
    return signature


def _is_context(parameter: inspect.Parameter) -> bool:
    annotation = parameter.annotation
    return parameter.name == "ctx" or _class_name(annotation) == "FrozenContext"


def is_artifact(annotation: Any) -> bool:
    """Tell whether a parameter's annotation asks for an ``Artifact``; it may be a text, or one of several."""
    if isinstance(annotation, type):
        return issubclass(annotation, Artifact)
    if isinstance(annotation, str):
        return "Artifact" in {part.strip().rpartition(".")[2] for part in annotation.split("|")}
    return any(is_artifact(option) for option in get_args(annotation))


def _class_name(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return text.rpartition(".")[2]
