"""What a config.yaml names: looked up beside it, and compared with the arguments that the file gives."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

from crystallize.discovery import advice, find
from crystallize.errors import CrystallizeError
from crystallize.pipelines.injection import REQUIRED, inspect_step, is_artifact, read_signature
from crystallize.utils.failures import error_text
from crystallize.utils.wording import did_you_mean, listed, name_hint

if TYPE_CHECKING:
    from crystallize.config.errors import KeyPath
    from crystallize.config.modules import FolderModules
    from crystallize.config.reader import Draft

T = TypeVar("T")
MISSING: Any = object()
"""What a look-up gives that found nothing, or something that cannot be used."""


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


class Noted(Exception):
    """What is wrong has been noted, and the part that it is about is left out."""


class Lookup:
    """A configuration with the modules beside it; what is wrong with a name is noted in the file's document.

    Parameters
    ----------
    draft : Draft
        The configuration.
    modules : FolderModules
        The folder's modules.
    """

    def __init__(self, draft: Draft, modules: FolderModules) -> None:
        self.draft = draft
        self.config = draft.config
        self.modules = modules
        self.note = draft.document.add

    def own(self, file: str, name: str) -> Any:
        """Return what `name` is in a module of the folder, or MISSING; what it imports as a module is not its own."""
        module = self.modules.load(file)
        found = MISSING if module is None or name.startswith("__") else vars(module).get(name, MISSING)
        return MISSING if isinstance(found, ModuleType) else found

    def line_of(self, *path: str | int) -> int:
        """Return the line of a value in the file."""
        return self.draft.document.at(path)[0]

    def attempt(self, path: KeyPath, make: Callable[..., T], *arguments: Any, key: bool = False) -> T | None:
        """Return what `make` gives; None if it fails, which is noted at `path` if it has not been yet."""
        try:
            return make(*arguments)
        except CrystallizeError as error:
            where = f" ({error.where})" if error.where else ""
            self.note(path, f"{error.what}{where}", error.hint, key=key)
        except Noted:
            pass
        return None

    def refuse(self, path: KeyPath, message: str, hint: str = "", *, key: bool = False) -> NoReturn:
        """Note a mistake, and raise Noted."""
        self.note(path, message, hint, key=key)
        raise Noted

    def refuse_call(self, path: KeyPath, arguments: Mapping[str, Any], error: BaseException) -> NoReturn:
        """Note what a constructor raised, at the argument that its message names, if it names one; raise Noted."""
        reason, hint = reason_of(error)
        blamed = next((name for name in arguments if re.search(rf"\b{re.escape(name)}\b", reason)), None)
        self.refuse(path if blamed is None else (*path, blamed), reason, hint)

    def refuse_unknown(
        self,
        file: str,
        name: str,
        path: KeyPath,
        what: str,
        *,
        fits: Callable[[Any], bool] = callable,
        group: str | None = None,
    ) -> NoReturn:
        """Note that nothing is called `name`, unless its module could not be loaded, which says enough; raise Noted.

        `what` it should be (``"step"``) is looked for among the things of a module that it `fits`, and, with a `group`,
        among the entry points of that group.
        """
        module = self.modules.load(file)
        if self.modules.failed(file):
            raise Noted
        names = public_names(module, fits)
        places = [f"in {file}.py"] if module is not None else []
        there = f"{file}.py has {listed(names)}" if module is not None else f"There is no {file}.py beside it"
        hint = did_you_mean(name, names)
        if group is not None:
            places.append("among the installed ones")
            there += f"; installed are {listed({found.name for found in find(group)})}"
            hint = advice(group, name, names)
        message = f"no {what} is called {name!r} {' or '.join(places)}".rstrip()
        self.refuse(path, message, f"{hint} {there}".strip())

    def check_arguments(
        self,
        path: KeyPath,
        what: str,
        takes: Takes,
        arguments: Mapping[str, Any],
        *,
        provided: Collection[str] | None = (),
        spelled: str = "{{{}: value}} below its name",
    ) -> None:
        """Note arguments that a factory does not take, and those that it lacks; raise Noted if there are any.

        `what` is the factory, for messages: ``"step 'scale'"``. `provided` is what it gets from elsewhere, None if that
        cannot be known. `spelled` is how the file gives an argument, with ``{}`` for its name.
        """
        names = list(takes.parameters)
        unknown = [name for name in arguments if name not in takes.parameters]
        lacking = [
            name
            for name, default in takes.parameters.items()
            if default is REQUIRED and name not in arguments and name not in takes.artifacts
            if provided is not None and name not in provided and not did_you_mean(name, unknown)
        ]
        if takes.takes_any:
            unknown = []
        for name in unknown:
            hint = name_hint(name, "It takes", names)
            if takes.injects and name == "cache":
                hint += ". Whether a step is cached stands beside its name, not below it"
            self.note((*path, name), f"{what} has no parameter {name!r}", hint, key=True)
        for name in lacking:
            hint = f"Write {spelled.format(name)}"
            if takes.injects:
                hint += (
                    ", set it in every condition with 'treatments' (one called 'baseline' for the baseline)"
                )
            message = f"{what} needs the parameter {name!r}, and nothing provides it"
            self.note(path, message, f"{hint}, or give it a default")
        if unknown or lacking:
            raise Noted


def reason_of(error: BaseException) -> tuple[str, str]:
    """Return what an error says, and its hint; of a stranger's, kind and text, and no hint."""
    return (error.what, error.hint) if isinstance(error, CrystallizeError) else (error_text(error), "")


def public_names(module: ModuleType | None, fits: Callable[[Any], bool] = callable) -> list[str]:
    """Return what a module of the folder offers: names without underscore that it does not import from afar."""
    if module is None:
        return []
    package = module.__name__.rpartition(".")[0]

    def is_near(thing: Any) -> bool:
        home = getattr(thing, "__module__", None)
        return isinstance(home, str) and f"{home}.".startswith(f"{package}.")

    return [name for name, thing in vars(module).items() if name[0] != "_" and fits(thing) and is_near(thing)]


def kind_of(thing: Any) -> str:
    """Say what something in a module is, for messages."""
    if isinstance(thing, type):
        return f"the class {thing.__name__}"
    return f"a {type(thing).__name__}"
