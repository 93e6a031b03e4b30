"""Which plugin raised: found in the traceback, since pluggy does not say."""

from __future__ import annotations

import dis
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import CodeType, TracebackType

    import pluggy


def culprit(order: Sequence[pluggy.HookImpl], error: BaseException) -> pluggy.HookImpl | None:
    """Return the implementation that raised an error, or None if the traceback does not show it.

    Parameters
    ----------
    order : sequence of pluggy.HookImpl
        The implementations of the hook that was called.
    error : BaseException
        What came out of the call.

    Notes
    -----
    The innermost frame counts: an error that passes through a wrapper has the wrapper's frame, too.
    """
    index, _ = _locate(order, error)
    return None if index is None else order[index]


def place_in(implementation: pluggy.HookImpl, error: BaseException) -> str:
    """Return ``file:line`` of the implementation's own code that an error came through; empty if not known."""
    places = [
        f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}"
        for frame in _frames(error.__traceback__)
        if frame.tb_frame.f_code is _code(implementation)
    ]
    return places[-1] if places else ""


def finished(order: Sequence[pluggy.HookImpl], error: BaseException) -> Sequence[pluggy.HookImpl]:
    """Return the implementations that had their turn when `error` ended a call, the one that raised included.

    Parameters
    ----------
    order : sequence of pluggy.HookImpl
        The implementations of the hook in call order: wrappers first.
    error : Exception
        What came out of the call.
    """
    raised: BaseException | None = error
    while raised is not None:
        index, frame = _locate(order, raised)
        if index is not None and not (_is_wrapper(order[index]) and _had_yielded(frame, raised)):
            return order[: index + 1]
        raised = raised.__context__  # a wrapper that answers an error from inside with one of its own
    return order


def _locate(
    order: Sequence[pluggy.HookImpl], error: BaseException
) -> tuple[int | None, TracebackType | None]:
    frames = list(_frames(error.__traceback__))
    for frame in reversed(frames):
        code = frame.tb_frame.f_code
        matches = [index for index, each in enumerate(order) if _code(each) is code]
        if matches:
            return _same_instance(order, matches, frame), frame
    text = str(error) if isinstance(error, RuntimeError) else ""
    for index, each in enumerate(order):  # a wrapper that yields never or twice: pluggy names its place
        own = _code(each)
        if own and f"{own.co_filename}:{own.co_firstlineno}" in text:
            return index, None
    return None, None


def _frames(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def _code(implementation: pluggy.HookImpl) -> CodeType | None:
    return getattr(implementation.function, "__code__", None)


def _same_instance(order: Sequence[pluggy.HookImpl], matches: list[int], frame: TracebackType) -> int:
    """Tell two plugins of one class apart: the frame holds the instance as its first local variable."""
    code = frame.tb_frame.f_code
    instance = frame.tb_frame.f_locals.get(code.co_varnames[0]) if code.co_varnames else None
    for index in matches:
        if getattr(order[index].function, "__self__", None) is instance:
            return index
    return matches[0]


def _is_wrapper(implementation: pluggy.HookImpl) -> bool:
    return bool(implementation.wrapper or implementation.hookwrapper)


def _had_yielded(frame: TracebackType | None, error: BaseException) -> bool:
    """Tell whether a wrapper raised after its ``yield``, when everybody inside it had been called."""
    if frame is None:
        return "did not yield" not in str(error)
    instructions = dis.get_instructions(frame.tb_frame.f_code)
    return any(each.opname == "YIELD_VALUE" and each.offset < frame.tb_lasti for each in instructions)
