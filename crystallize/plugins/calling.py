"""Hook implementations that know whose they are, so that an error of one is an error of its plugin.

pluggy does not say which implementation raised. So each is registered as a thin function that knows its plugin and
writes the plugin's record into an exception that passes through it. In the hooks that are called to the end, the
exception is kept until the other plugins have had their turn; then the first one is raised, inside of all wrappers.
"""

from __future__ import annotations

import functools
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from crystallize.errors import PluginError, StoreError
from crystallize.plugins.inspection import LOOP
from crystallize.utils.failures import ADDRESSED_TO_THE_RUN, error_text, place_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    from crystallize.plugins.collection import PluginRecord
    from crystallize.plugins.inspection import Implementation

TO_THE_END = frozenset({"after_step", "after_replicate", "after_run"})
"""The hooks in which one plugin's error does not keep the others from being called."""

_RAISED_BY = "_crystallize_raised_by"

kept_errors: ContextVar[list[PluginError]] = ContextVar("crystallize_kept_errors")
"""The errors of the implementations that have had their turn, while one of the hooks `TO_THE_END` is called."""

drove: ContextVar[PluginRecord] = ContextVar("crystallize_drove")
"""The plugin that has driven the replicates last: not every one that is asked does."""


def attributed(record: PluginRecord, implementation: Implementation) -> Callable[..., Any]:
    """Return the function to register with pluggy for an implementation of a plugin's hook."""
    function, hook = implementation.function, implementation.hook

    @functools.wraps(function)
    def plain(*arguments: Any) -> Any:
        try:
            returned = function(*arguments)
        except ADDRESSED_TO_THE_RUN:
            raise
        except BaseException as error:
            _pass_on(record, hook, error)
            return None
        if hook == LOOP and returned is not None:
            drove.set(record)
        return returned

    @functools.wraps(function)
    def wrapper(*arguments: Any) -> Generator[None, Any, Any]:
        surrounding = function(*arguments)
        had_yielded = False
        try:
            for _ in surrounding:
                break
            else:
                raise RuntimeError("it did not yield")
            had_yielded = True
            try:
                received = yield
            except BaseException as error:
                surrounding.throw(error)
            else:
                surrounding.send(received)
            raise RuntimeError("it yielded twice")
        except StopIteration as end:
            return end.value
        except ADDRESSED_TO_THE_RUN:
            raise
        except BaseException as error:
            if had_yielded:
                _sign(error, record, hook)
                raise
            _pass_on(record, hook, error)
            return (yield)

    return wrapper if implementation.is_wrapper else plain


def in_a_row(
    hook: str,
    names: Sequence[str],
    implementations: Sequence[tuple[PluginRecord, Callable[..., Any], Sequence[str]]],
) -> Callable[..., None]:
    """Return a function that calls implementations one after another, as pluggy would, with positional arguments.

    Parameters
    ----------
    hook : str
        The hook.
    names : sequence of str
        The arguments of its specification, in whose order the function takes them.
    implementations : sequence of (PluginRecord, callable, sequence of str)
        Each with its plugin and the arguments that it takes, in the order of the calls; no wrappers.
    """
    calls = [(record, _by_position(function, taken, names)) for record, function, taken in implementations]

    def to_the_first_error(*arguments: Any) -> None:
        for record, function in calls:
            try:
                function(*arguments)
            except ADDRESSED_TO_THE_RUN:
                raise
            except BaseException as error:
                raise error_of(record, hook, error) from error

    def to_the_end(*arguments: Any) -> None:
        errors = []
        for record, function in calls:
            try:
                function(*arguments)
            except ADDRESSED_TO_THE_RUN:
                raise
            except BaseException as error:
                errors.append(error_of(record, hook, error))
        if errors:
            raise together(errors[0], errors)

    return to_the_end if hook in TO_THE_END else to_the_first_error


def raised_by(error: BaseException, hook: str) -> PluginRecord | None:
    """Return the plugin that raised an error which came out of a hook's call; None if it is pluggy's own."""
    # An error that another experiment's hook let through, inside of this one, is no longer that hook's.
    signed_in, record = getattr(error, _RAISED_BY, ("", None))
    return record if signed_in == hook else None


def error_of(record: PluginRecord | None, hook: str, error: BaseException) -> PluginError:
    """Make the error that names the plugin whose hook raised `error`, which becomes its cause.

    What the file system refused is not the plugin's fault: the store's own words are all there is to say.
    """
    hint = "Repair it, or run without it"
    if record is not None and record.source == "entry point":
        hint = (
            f"Repair it, or switch it off with disable_plugins=[{record.name!r}] or "
            f"CRYSTALLIZE_DISABLE_PLUGINS={record.name}"
        )
    raised_in = f"{'a plugin' if record is None else record} raised in {hook}"
    made = PluginError(f"{raised_in}: {error_text(error)}", place_of(error), hint)
    if isinstance(error, StoreError):
        made = PluginError(error.what, error.where, error.hint)
    made.raised_in = raised_in
    made.__cause__ = error
    return made


def together(error: PluginError, others: Iterable[PluginError]) -> PluginError:
    """Return an error with the others of the same call."""
    error.others = tuple(other for other in others if other.__cause__ is not error.__cause__)
    for other in error.others:
        error.add_note(f"Also: {other}")
    return error


def raise_first_kept() -> None:
    """Raise what the first implementation raised that has kept an error, if one has."""
    for error in kept_errors.get(()):
        raise error.__cause__ or error


def _pass_on(record: PluginRecord, hook: str, error: BaseException) -> None:
    """Keep an error, if the hook is called to the end, or raise it again."""
    _sign(error, record, hook)
    errors = kept_errors.get(None) if hook in TO_THE_END else None
    if errors is None:
        raise error
    errors.append(error_of(record, hook, error))


def _sign(error: BaseException, record: PluginRecord, hook: str) -> None:
    """Write into an error whose it is; one that comes from inside of a wrapper stays that plugin's."""
    if raised_by(error, hook) is None:
        vars(error)[_RAISED_BY] = hook, record  # a frozen dataclass refuses setattr


def _by_position(
    function: Callable[..., Any], taken: Sequence[str], names: Sequence[str]
) -> Callable[..., Any]:
    """Return a function of all arguments of a hook that gives `function` those that it takes."""
    if list(taken) == list(names):
        return function
    positions = [names.index(name) for name in taken]
    return lambda *arguments: function(*[arguments[position] for position in positions])
