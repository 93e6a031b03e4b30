"""For strategies that send replicates to other processes: what travels there and back, and in which form.

On the way there :func:`pack_replicate_fn` packs the experiment, once for a run; :func:`unpack` opens it, once in each
worker. On the way back a worker wraps each result with :func:`finish`, and an exception that ends the run
with :func:`dump_error`; the coordinator opens them with :func:`result_of` and :func:`load_error`. A replicate that
cannot be brought to an end, because its worker dies, its result cannot be sent or it takes too long, ends with
:func:`give_up`.
"""

from __future__ import annotations

import pickle
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.discovery.imported import Imports, note_of_worker
from crystallize.errors import ExecutionError, SerializationError
from crystallize.utils.pickling import dump_result, pack, unpack, why_not_picklable

if TYPE_CHECKING:
    from collections.abc import Callable

    from crystallize.errors import CrystallizeError
    from crystallize.utils.pickling import Packed

__all__ = [
    "Finished",
    "cause_of_death",
    "dump_error",
    "finish",
    "give_up",
    "load_error",
    "pack_replicate_fn",
    "result_of",
    "unpack",
]


class Finished(NamedTuple):
    """A replicate that is through: its pickled result, or why that cannot be pickled."""

    replicate: int
    payload: bytes | None
    refusal: str
    imports: Imports | None = None
    """What the worker has imported, if that may be more than it has told in this run."""


def pack_replicate_fn(replicate_fn: Callable[[int], Any]) -> Packed:
    """Pickle what a worker needs to run replicates: functions by value where it could not import them.

    Parameters
    ----------
    replicate_fn : callable
        What `run_experiment_loop` was given. ``recipe()``, if it has that, returns a function and its arguments
        that make it anew.

    Raises
    ------
    SerializationError
        If that cannot be done; the message names the part of the experiment that is to blame.
    """
    recipe = getattr(replicate_fn, "recipe", None)
    try:
        return pack(replicate_fn if recipe is None else _Recipe(*recipe()))
    except Exception as error:
        describe = getattr(replicate_fn, "describe_parts", None)
        parts: dict[str, Any] = describe() if describe is not None else {}
        culprits = filter(None, (why_not_picklable(part, label) for label, part in parts.items()))
        reasons = "; ".join(culprits) or why_not_picklable(replicate_fn, "the replicate function")
        raise SerializationError(
            "the experiment cannot be sent to worker processes",
            reasons or str(error),
            "Have each worker make the object: put it into initial_ctx with resource_factory; "
            "or run in threads",
        ) from error


class _Recipe:
    """Pickles to the call that makes a replicate function anew, whose arguments keep their buffers apart."""

    def __init__(self, make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self._call = make, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._call


_told: tuple[Any, int] = None, 0
"""The run of the result that was wrapped last, and how many modules were imported then."""


def finish(replicate: int, result: Any) -> Finished:
    """Wrap what `replicate_fn` returned, in the worker; a result that cannot be pickled is no exception."""
    try:
        payload, refusal = dump_result(result), ""
    except Exception as error:
        payload, refusal = (
            None,
            why_not_picklable(result, f"the result of replicate {replicate}") or str(error),
        )
    run = getattr(result, "run", None)
    return Finished(
        replicate, payload, refusal, None if _told == (run, len(sys.modules)) else _imports_to_tell(run)
    )


def _imports_to_tell(run: Any) -> Imports:
    global _told  # noqa: PLW0603 - what is imported belongs to the process, too
    imports = Imports.of_this_process()
    _told = run, len(sys.modules)
    return imports


def result_of(finished: Finished) -> Any:
    """Return the result that a worker wrapped, and note what that worker has imported.

    Raises
    ------
    SerializationError
        If the worker could not pickle it, or it cannot be loaded here. That is an error of this replicate
        alone: :func:`give_up`.
    """
    if finished.imports is not None:
        note_of_worker(finished.imports)
    if finished.payload is None:
        raise _unsendable(finished.replicate, finished.refusal)
    try:
        return pickle.loads(finished.payload)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise _unsendable(finished.replicate, reason) from error


def give_up(replicate_fn: Callable[[int], Any], replicate: int, error: CrystallizeError) -> Any:
    """Return the result of a replicate that could not be brought to an end: an error for each condition.

    Raises
    ------
    CrystallizeError
        `error`, if `replicate_fn` has no method ``failed`` that makes such a result.
    """
    failed = getattr(replicate_fn, "failed", None)
    if failed is None:
        raise error
    return failed(replicate, error)


def dump_error(error: BaseException) -> bytes:
    """Pickle an exception such that it can be loaded again, whatever its constructor asks for.

    One that cannot be pickled or loaded becomes an `ExecutionError` with its type and message.
    """
    try:
        payload = dump_result(error)
        if type(pickle.loads(payload)) is type(error):
            return payload
    except Exception:  # whatever a constructor, or __reduce__, of somebody else raises
        pass
    kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    try:
        message = str(error)
    except Exception:
        message = "its message cannot be shown"
    return dump_result(ExecutionError(f"{kind}: {message}", "in a worker process"))


def load_error(payload: bytes, traceback: str, *, loading: bool) -> BaseException:
    """Return the exception that a worker raised, for the coordinator to raise.

    Parameters
    ----------
    payload : bytes
        What :func:`dump_error` made of it.
    traceback : str
        Its traceback in the worker, which becomes a note of the exception.
    loading : bool
        Whether it was raised while the worker opened the experiment: then it becomes the cause of a
        `SerializationError`.
    """
    try:
        error: BaseException = pickle.loads(payload)
    except Exception:
        error = ExecutionError(traceback.strip().splitlines()[-1], "in a worker process")
    if loading:
        outer = SerializationError(
            f"the experiment cannot be loaded in a worker process: {type(error).__name__}: {error}",
            hint="Look at the traceback in the worker, which follows",
        )
        outer.__cause__ = error
        error = outer
    error.add_note(f"In a worker process:\n{traceback}")
    return error


def cause_of_death(code: int | None) -> str:
    """Say in words how a process ended; `code` is its exit code, or minus the signal that killed it."""
    if code is None or code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        name = signal.Signals(-code).name
        hint = " (was memory short?)" if name == "SIGKILL" else ""
        return f"killed by {name}{hint}"
    return f"killed by signal {-code}"


def _unsendable(replicate: int, reason: str) -> SerializationError:
    return SerializationError(
        "a result cannot be sent back from a worker process",
        reason or f"replicate {replicate}",
        "Record plain numbers or text, or write an artifact",
    )
