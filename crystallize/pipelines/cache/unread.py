"""Outputs in the cache that nobody has needed so far.

If a step and the next one are both answered from the cache, the second asks only for the hash of what the first gave,
which the entry has. So the output is not read before somebody needs the object: a step that has to run, or whoever gets
the last output of several.

An entry may turn out to be damaged, or be gone, only then, when later steps have been answered already. They have done
nothing but what can be undone, and no other step has run since: the context goes back to where it stood before the
first output that was left unread, and the steps are asked again, each with the output of the one before in hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from crystallize.pipelines.cache.entry import DamagedEntryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from crystallize.utils.context import FrozenContext, Mark
    from crystallize.utils.flow import Flow


class AnsweredStep(Protocol):
    """A step that was answered from the cache, as far as its unread output needs it."""

    def remember(self, ctx: FrozenContext, output: Any, output_hash: str) -> None:
        """Tell the next step, if it is the next one to get `output`, what that hashes to."""

    def withdraw_hit(self, ctx: FrozenContext) -> None:
        """Take back the note that the output was in the cache."""

    def again(self, data: Any, ctx: FrozenContext) -> Flow[Any]:
        """Return the step's output for `data` itself, and do to `ctx` what the step does."""


class UnreadOutput:
    """The output of a step that was found in the cache and has not been read.

    Parameters
    ----------
    step : AnsweredStep
        The step.
    given : object
        The step's input, which may be unread as well.
    content_hash : str
        The hash of the output.
    mark : Mark
        Where the context stood before the step.
    read : callable
        Reads the output, and raises :class:`DamagedEntryError` if that cannot be done.
    """

    __slots__ = ("_given", "_mark", "_step", "content_hash", "read")

    def __init__(
        self, step: AnsweredStep, given: Any, content_hash: str, mark: Mark, read: Callable[[], Any]
    ) -> None:
        self._step = step
        self._given = given
        self._mark = mark
        self.content_hash = content_hash
        self.read = read

    def obtain(self, ctx: FrozenContext) -> Flow[Any]:
        """Return the output; if it cannot be read, go back in `ctx` and have the steps give theirs once more."""
        try:
            output = self.read()
        except DamagedEntryError:  # which the step will tell of
            return (yield from self._again(ctx))
        self._step.remember(ctx, output, self.content_hash)
        return output

    def _again(self, ctx: FrozenContext) -> Flow[Any]:
        given = self._given
        if isinstance(given, UnreadOutput):
            given = yield from given._again(ctx)
        else:
            ctx.rewind(self._mark)
        self._step.withdraw_hit(ctx)
        return (yield from self._step.again(given, ctx))
