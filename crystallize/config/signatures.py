"""What the factories beside a config.yaml take, compared with what the file gives them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.errors import CrystallizeError
from crystallize.pipelines.injection import REQUIRED, inspect_step, is_artifact, read_signature
from crystallize.utils.failures import told
from crystallize.utils.suggest import did_you_mean, listed

if TYPE_CHECKING:
    from crystallize.config.document import Document
    from crystallize.config.errors import KeyPath


class Takes(NamedTuple):
    """The parameters that a factory can be given by name.

    Attributes
    ----------
    parameters : dict of str to object
        Default of each; ``REQUIRED`` if it has none.
    artifacts : frozenset of str
        Those annotated with ``Artifact``.
    takes_any : bool
        Whether it takes any other name.
    injects : bool
        Whether what is missing is looked up in the context when the step runs.
    """

    parameters: dict[str, Any]
    artifacts: frozenset[str] = frozenset()
    takes_any: bool = False
    injects: bool = False

    @classmethod
    def step(cls, function: Callable[..., Any], name: str) -> Takes:
        """Read the signature of a step's function; InvalidTypeError if it can be none."""
        signature = inspect_step(function, name)
        return cls(signature.parameters, signature.artifacts, signature.takes_any, injects=True)

    @classmethod
    def callable(cls, thing: Callable[..., Any], leading: int = 0) -> Takes:
        """Read the signature of a class or function, without its first `leading` positional parameters.

        Raises
        ------
        InvalidTypeError
            If it has none that can be read.
        """
        name = getattr(thing, "__name__", type(thing).__name__)
        found = list(read_signature(thing, name).parameters.values())[leading:]
        named = [each for each in found if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
        return cls(
            {each.name: each.default for each in named},
            frozenset(each.name for each in named if is_artifact(each.annotation)),
            any(each.kind is each.VAR_KEYWORD for each in found),
        )

    @classmethod
    def source(cls, function: Callable[..., Any], arguments: Collection[str]) -> Takes:
        """Read the signature of a data source's function: its first parameter may be the context."""
        found = list(inspect.signature(function).parameters.values())
        first = next(
            (each for each in found if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)), None
        )
        is_context = (
            first is not None
            and first.name not in arguments
            and (first.default is first.empty or first.name == "ctx")
        )
        return cls.callable(function, 1 if is_context else 0)


def check_arguments(
    document: Document,
    path: KeyPath,
    what: str,
    takes: Takes,
    arguments: Mapping[str, Any],
    *,
    provided: Collection[str] | None = (),
    spelled: str = "{{{}: value}} below its name",
) -> bool:
    """Note arguments that a factory does not take, and those that it lacks; return whether all is well.

    Parameters
    ----------
    document : Document
        Where the problems go.
    path : tuple
        Where the arguments stand.
    what : str
        The factory, for messages: ``"step 'scale'"``.
    takes : Takes
        What it takes.
    arguments : mapping
        What it is given.
    provided : collection of str, optional
        What it gets from elsewhere; None if that cannot be known.
    spelled : str, optional
        How the file gives an argument, with ``{}`` for its name.
    """
    before = len(document.problems)
    names = list(takes.parameters)
    for name in arguments:
        if name not in takes.parameters and not takes.takes_any:
            known = f"It takes {listed(names)}" if names else "It takes none"
            document.add(
                (*path, name),
                f"{what} has no parameter {name!r}",
                f"{did_you_mean(name, names)} {known}".strip(),
                key=True,
            )
    misspelt = [name for name in arguments if name not in takes.parameters]
    for name, default in takes.parameters.items():
        if default is not REQUIRED or name in arguments or name in takes.artifacts:
            continue
        if provided is None or name in provided or did_you_mean(name, misspelt):
            continue
        hint = f"Write {spelled.format(name)}"
        if takes.injects:
            hint += ", set it in every condition with 'treatments' (one called 'baseline' for the baseline)"
        document.add(
            path,
            f"{what} needs the parameter {name!r}, and nothing provides it",
            f"{hint}, or give it a default",
        )
    return len(document.problems) == before


def blamed_argument(arguments: Mapping[str, Any], reason: str) -> KeyPath:
    """Return the key of the argument that a constructor's message names, if it names one."""
    return next(((name,) for name in arguments if name in reason), ())


def reason_of(error: BaseException) -> tuple[str, str]:
    """Return what an error of a constructor says, and the advice that it gives."""
    if isinstance(error, CrystallizeError):
        return error.what, error.hint
    return told(error), ""


def explained(error: CrystallizeError) -> tuple[str, str]:
    """Return what an error says of a thing that was named, with the place in its code, and the advice."""
    return f"{error.what} ({error.where})" if error.where else error.what, error.hint


def public_names(module: ModuleType | None, fits: Callable[[Any], bool] = callable) -> list[str]:
    """Return what a module of the folder offers: names without underscore that it does not import from afar."""
    if module is None:
        return []
    package = module.__name__.rpartition(".")[0]
    return [
        name
        for name, thing in vars(module).items()
        if not name.startswith("_") and fits(thing) and _is_near(thing, package)
    ]


def _is_near(thing: Any, package: str) -> bool:
    home = getattr(thing, "__module__", None)
    return isinstance(home, str) and (home == package or home.startswith(f"{package}."))


def kind_of(thing: Any) -> str:
    """Say what something in a module is, for messages."""
    if isinstance(thing, type):
        return f"the class {thing.__name__}"
    if isinstance(thing, ModuleType):
        return f"the module {thing.__name__}"
    return f"a {type(thing).__name__}"
