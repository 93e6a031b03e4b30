"""A step whose outputs are kept: it runs, or what it did before is done again."""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from crystallize.errors import CrystallizeError, UnhashableContentError
from crystallize.hashing import content_hash
from crystallize.pipelines.cache.entry import DamagedEntryError, Entry, Pickled, pickled
from crystallize.pipelines.cache.history import History
from crystallize.pipelines.cache.reads import ABSENT, Answers, Question, input_hash
from crystallize.pipelines.cache.settings import KEY, CacheSettings
from crystallize.pipelines.cache.step_folder import StepFolder
from crystallize.pipelines.cache.step_key import (
    StepCode,
    StepModule,
    generators_of,
    shown,
    step_hash,
    step_parts,
)
from crystallize.pipelines.cache.trace import StepTrace, TraceRecorder
from crystallize.pipelines.cache.unread import UnreadOutput
from crystallize.store.outcome import CacheNote
from crystallize.utils.files import unique_suffix
from crystallize.utils.fingerprint import safe_fingerprint
from crystallize.utils.signatures import is_async

if TYPE_CHECKING:
    from crystallize.pipelines.pipeline_step import PipelineStep
    from crystallize.store.locks import FileLock
    from crystallize.utils.context import FrozenContext
    from crystallize.utils.flow import Flow

Run: TypeAlias = "Callable[[Any, FrozenContext], Flow[Any]]"
"""Runs a step, records the metrics that it returned, and returns its output."""

_SMALL = 1 << 14  # bytes: an entry that may stay in memory
_MOST_RECENT = 256  # such entries of one step
_JUST_NOW = 1.0  # seconds for which they do: what others do to an entry is noticed after that
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.005, 0.25  # seconds between two looks at a lock


class CannotKeepError(CrystallizeError):
    """What a step did cannot be done again without it."""


class _Input(NamedTuple):
    """What a step is about to run with; its data may be unread."""

    data: Any
    data_hash: str
    ctx: FrozenContext
    answers: Answers

    def entry_name(self, questions: Iterable[Question]) -> str:
        """Return the name of the entry for it, if the step asks these questions."""
        to = self.answers.to
        return input_hash(self.data_hash, tuple([(each, to(each)) for each in questions]))


class _Found(NamedTuple):
    """What the cache has for an input; the output may be unread."""

    output: Any
    output_hash: str
    trace: StepTrace


class _Opened(NamedTuple):
    """An entry, with what the step did if that is in its record, and when it was opened."""

    entry: Entry
    trace: StepTrace | None
    at: float


class CachedStep:
    """Runs a step, or does what it did when it ran with the same input before.

    One object serves one step of one run in one process, in any thread. It takes the step for what it is when it is
    first needed: an edit of its code during the run is not seen.

    Parameters
    ----------
    step : PipelineStep
        The step.
    name : str
        Its name in the pipeline.
    place : int
        Its place in the pipeline.
    run : callable
        Runs it.
    settings : CacheSettings
        Where the cache is, and whether to take from it.
    is_last_word : bool
        Whether nobody changes its output before the next step gets it.
    is_followed : bool
        Whether a cached step gets its output, so that it may be left unread.
    """

    def __init__(
        self,
        step: PipelineStep,
        name: str,
        place: int,
        run: Run,
        *,
        settings: CacheSettings,
        is_last_word: bool,
        is_followed: bool,
    ) -> None:
        self._step = step
        self._place = place
        self._name = name
        self._hit = CacheNote(name, "hit")
        self._run = run
        self._settings = settings
        self._is_last_word = is_last_word
        self._may_wait = is_last_word and is_followed
        self._ignored = frozenset(step.ignore)
        self._recent: dict[str, _Opened | None] = {}
        self._preparing = threading.Lock()
        self._folder: StepFolder | None = None
        self._module = StepModule.of(step)
        self._history: History | None = None
        self._problem = ""  # why the step is not cached any more
        self._may_store = True

    def flow(self, data: Any, ctx: FrozenContext, *, is_needed: bool = False) -> Flow[Any]:
        """Return the step's output for `data`, with everything done to `ctx` that the step does.

        Parameters
        ----------
        data : object
            The step's input, an :class:`UnreadOutput` perhaps.
        ctx : FrozenContext
            The context.
        is_needed : bool, default False
            Whether somebody besides the next step gets the output, so that it must not be an `UnreadOutput`.
        """
        may_wait = self._may_wait and not is_needed
        asked = None if ctx.is_enclosed or self._problem else self._input(data, ctx)
        found, damage = (None, "") if asked is None else self._find(asked, may_wait)
        if found is None and isinstance(data, UnreadOutput):
            data = yield from data.obtain(ctx)
            return (yield from self.again(data, ctx, is_needed=is_needed))
        if asked is None:
            return (yield from self._run(data, ctx))
        lock = None
        try:
            if found is None:
                lock = yield from self._turn(asked)
                if lock is not None:
                    found, damage = self._find(asked, may_wait)  # others may have been first
            if found is None:
                return (yield from self._run_and_keep(asked, damage))
        finally:
            if lock is not None:
                lock.release()
        output, output_hash, trace = found
        trace.repeat(ctx, self._ignored)
        self._add_note(ctx, self._hit)
        if not isinstance(output, UnreadOutput):
            self.remember(ctx, output, output_hash)
        return output

    def withdraw_hit(self, ctx: FrozenContext) -> None:
        """Take back the note that the output was in the cache."""
        ctx.start_caching().notes.remove(self._hit)

    def again(self, data: Any, ctx: FrozenContext, *, is_needed: bool = True) -> Flow[Any]:
        """Begin the step once more, after `ctx` may have gone back; see :meth:`flow`."""
        ctx.begin_stage(self._place, self._name)
        return (yield from self.flow(data, ctx, is_needed=is_needed))

    @cached_property
    def _generators(self) -> tuple[tuple[str, Any], ...]:
        return generators_of(self._step)

    def _input(self, data: Any, ctx: FrozenContext) -> _Input | None:
        """Return what is known of the input before the step runs; None if it cannot be hashed."""
        caching = ctx.start_caching()
        known, caching.known_content = caching.known_content, None
        try:
            if self._folder is None:
                self._prepare()
            if isinstance(data, UnreadOutput):
                data_hash = data.content_hash
            elif known is not None and known[0] is data and known[2] == self._place - 1:
                data_hash = known[1]
            else:
                data_hash = content_hash(data)
        except UnhashableContentError as error:
            self._give_up(ctx, str(error))
            return None
        except OSError as error:
            self._give_up(ctx, f"{error.filename} cannot be read: {error.strerror}")
            return None
        return _Input(data, data_hash, ctx, Answers(ctx, self._ignored))

    def _prepare(self) -> None:
        with self._preparing:
            if self._folder is None:
                code, parts = StepCode.of(self._step), step_parts(self._step)
                key = os.environ.get(KEY, "").encode() or None
                folder = StepFolder(self._settings.folder, step_hash(code.name, parts), key)
                self._history = History(folder, code, parts, self._settings.since)
                self._folder = folder

    # -- taking from the cache ---------------------------------------------------------------------------------

    def _find(self, asked: _Input, may_wait: bool) -> tuple[_Found | None, str]:
        """Return what is stored for an input, or None, and what is wrong with what is stored."""
        assert self._folder is not None
        damage = ""
        for way in () if self._settings.mode == "refresh" else self._folder.ways():
            try:
                name = asked.entry_name(way)
            except UnhashableContentError:
                continue  # it is told if the step takes this way
            try:
                found = self._found(name, asked, may_wait)
            except DamagedEntryError as error:
                damage = f"the entry {self._folder.entry(name)} is made anew: {error}"
            else:
                if found is not None:
                    return found, ""
        return None, damage

    def _found(self, name: str, asked: _Input, may_wait: bool) -> _Found | None:
        opened = self._open(name)
        if opened is None:
            return None
        entry, trace, _ = opened
        with entry:
            output_hash = entry.about["output"]
            if may_wait and trace is not None and trace.can_be_undone(asked.ctx):
                read = partial(self._read, name, output_hash, asked.data)
                output: Any = UnreadOutput(self, asked.data, output_hash, asked.ctx.mark(), read)
            else:
                output, rest = self._rebuilt(entry, asked.data)
                trace = trace or StepTrace(*rest)
        return _Found(output, output_hash, trace)

    def _open(self, name: str) -> _Opened | None:
        """Open the entry of this name, unless it is a small one that was opened just now; None if there is none."""
        assert self._folder is not None
        now = time.monotonic()
        opened = self._recent.get(name)
        if opened is not None and opened.at > now - _JUST_NOW:
            return opened
        entry = self._folder.open(name)
        if entry is None:
            return None
        try:
            opened = _Opened(entry, _record(entry), now)
        except BaseException:
            entry.close()
            raise
        if entry.size <= _SMALL:
            if len(self._recent) >= _MOST_RECENT:
                self._recent.clear()
            self._recent[name] = opened if name in self._recent else None  # most are asked for once
        return opened

    def _read(self, name: str, output_hash: str, data: Any) -> Any:
        """Read an output that was left unread.

        Raises
        ------
        DamagedEntryError
            If it is not there any more, or cannot be read.
        """
        opened = self._open(name)
        if opened is None:
            raise DamagedEntryError("it is gone")
        with opened.entry as entry:
            if entry.about["output"] != output_hash:
                raise DamagedEntryError("it was replaced")
            return self._rebuilt(entry, data)[0]

    def _rebuilt(self, entry: Entry, data: Any) -> tuple[Any, Any]:
        """Return an output, and what the step did, if that is not in the record."""
        name_here = partial(self._module.name_here, stored_by=entry.about["module"])
        content = entry.output()
        try:
            output, rest = content.load(
                lambda: data.read() if isinstance(data, UnreadOutput) else data, name_here
            )
            return output, rest
        except Exception as error:  # a class that is gone, or whatever a foreign one raises
            raise DamagedEntryError(f"it cannot be rebuilt here: {error!r}") from error

    def _turn(self, asked: _Input) -> Flow[FileLock | None]:
        """Wait while others run the step with this input; return the lock to hold, if there can be one."""
        assert self._folder is not None
        if not self._may_store:
            return None
        try:
            lock = self._folder.lock(self._turn_name(asked))
            if lock is None or lock.try_acquire():
                return lock
            if is_async(getattr(self._step, "fn", self._step)):
                import asyncio

                pause = _SHORTEST_PAUSE
                while not lock.try_acquire():  # whoever holds it may need this thread to go on
                    yield asyncio.sleep(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                lock.acquire()
        except (FileNotFoundError, FileExistsError):
            return None  # others are clearing the cache; if not, storing will tell
        except OSError as error:
            self._stop_storing(asked.ctx, self._cannot_write(error))
            return None
        return lock

    def _turn_name(self, asked: _Input) -> str:
        """Return what is the same for two inputs only if they will have the same entry."""
        assert self._folder is not None
        ways = tuple(self._folder.ways())
        questions = {question for way in ways for question in way}
        if not ways:  # it has never run
            injected = getattr(self._step, "injected", {})
            questions = {Question("value", key) for key in injected if key not in self._ignored}
            if not hasattr(self._step, "signature") or self._step.signature.context is not None:
                questions |= {Question("value", "replicate"), Question("value", "condition")}
        with suppress(UnhashableContentError):
            return asked.entry_name(questions)
        return unique_suffix()

    # -- putting into the cache --------------------------------------------------------------------------------

    def _run_and_keep(self, asked: _Input, damage: str) -> Flow[Any]:
        ctx = asked.ctx
        recorder = TraceRecorder(ctx)
        generators = [(place, each, safe_fingerprint(each)) for place, each in self._generators]
        started = time.perf_counter()
        with recorder, asked.answers.watching():
            output = yield from self._run(asked.data, ctx)
        seconds = time.perf_counter() - started
        try:
            for place, generator, before in generators:
                if safe_fingerprint(generator) != before:
                    raise CannotKeepError(
                        f"it draws from a generator {f'({place})' if place else 'that it was made with'}",
                        hint="Take random numbers from ctx.rng",
                    )
            trace = recorder.trace(asked.answers.drawn_from)
            output_hash = self._keep(asked, output, trace, seconds, damage)
        except CannotKeepError as error:
            self._give_up(ctx, str(error))
        else:
            self.remember(ctx, output, output_hash)
        return output

    def _keep(self, asked: _Input, output: Any, trace: StepTrace, seconds: float, damage: str) -> str:
        """Store what the step did, and return the hash of its output.

        Raises
        ------
        CannotKeepError
            If that cannot be done again.
        """
        assert self._folder is not None
        assert self._history is not None
        try:
            answers = asked.answers.given()
            _check_input_is_unchanged(asked)
            output_hash = content_hash(output)
        except UnhashableContentError as error:
            raise CannotKeepError(error.what, error.where, error.hint) from error
        if self._may_store and (drawn := asked.answers.drawn_meanwhile):
            shared = " and ".join(sorted(drawn))
            self._stop_storing(
                asked.ctx,
                f"others ran in the same process meanwhile, and one of them or it drew from {shared}. "
                "Take random numbers from ctx.rng",
            )
        packed = _packed(output, trace, output_hash, asked.data) if self._may_store else None
        data = asked.data_hash, shown("data", asked.data)
        parts = {
            question: (digest, _shown(question, digest, asked.ctx)) for question, digest in answers.items()
        }
        why = "it is made anew" if self._settings.mode == "refresh" else self._history.why(data, parts)
        self._note(asked.ctx, "miss", why, damage)
        about = {
            "made": time.time(),
            "seconds": seconds,
            "module": self._module.name,
            "data": data,
            "answers": [(*question, *part) for question, part in parts.items()],
            "output": output_hash,
        }
        if packed is not None:
            try:
                self._folder.describe(self._history.describe())
                name = asked.entry_name(answers)
                self._folder.store(name, about, *packed)
                self._recent.pop(name, None)
                # Last: who knows the way finds the entry, and does not run the step beside us.
                self._folder.remember_way(answers)
            except OSError as error:
                self._stop_storing(asked.ctx, self._cannot_write(error))
        return output_hash

    def remember(self, ctx: FrozenContext, output: Any, output_hash: str) -> None:
        """Tell the next step, if it is the next one to get `output`, what that hashes to."""
        if self._is_last_word:
            ctx.start_caching().known_content = output, output_hash, self._place

    # -- what goes wrong ---------------------------------------------------------------------------------------

    def _give_up(self, ctx: FrozenContext, problem: str) -> None:
        """Run the step without the cache from now on."""
        self._problem = problem
        self._note(ctx, "uncached", problem, f"step {self._name!r} is not cached: {problem}")

    def _cannot_write(self, error: OSError) -> str:
        return f"nothing can be stored in {self._settings.folder}: {error.strerror or error}"

    def _stop_storing(self, ctx: FrozenContext, problem: str) -> None:
        """Store nothing from now on."""
        self._may_store = False
        self._note(ctx, "uncached", problem, f"outputs of step {self._name!r} are not kept: {problem}")

    def _note(self, ctx: FrozenContext, what: str, why: str = "", warning: str = "") -> None:
        self._add_note(ctx, CacheNote(self._name, what, why, warning))

    def _add_note(self, ctx: FrozenContext, note: CacheNote) -> None:
        ctx.start_caching().notes.append(note)


def _check_input_is_unchanged(asked: _Input) -> None:
    """Raise if the step has changed what it was given: the next run of it would be given something else."""
    if content_hash(asked.data) != asked.data_hash:
        raise CannotKeepError("it changes its input in place", hint="Have it return a new value")
    changed = asked.answers.changed()
    if changed is not None:
        raise CannotKeepError(
            f"it changes {changed!r} of the context in place", hint="Have it return a new value"
        )


def _shown(question: Question, answer: str, ctx: FrozenContext) -> str:
    kind, name = question
    if kind == "has":
        return "nothing" if answer == ABSENT else "something"
    return shown(name, ctx.peek(name)) if kind == "value" else ""


def _packed(output: Any, trace: StepTrace, output_hash: str, data: Any) -> tuple[bytes, Pickled]:
    """Return record and output of what a step did, pickled, and make sure that the same comes back.

    What the step did is in the record if it can be had without the output, and with the output otherwise.

    Raises
    ------
    CannotKeepError
        If something else comes back.
    """
    record, rest = (tuple(trace), None) if trace.is_apart else (None, tuple(trace))
    try:
        content = pickled((output, rest), data)
        again, _ = content.load(lambda: data)
        is_same = content_hash(again) == output_hash
        packed = pickle.dumps(record, protocol=5), content
    except Exception as error:  # foreign objects raise anything when they are pickled
        raise CannotKeepError(
            f"its output, a {type(output).__qualname__}, cannot be stored: {error}",
            hint="Have it return what can be pickled",
        ) from error
    if not is_same:
        raise CannotKeepError(
            f"its output, a {type(output).__qualname__}, is not the same when it is pickled and made anew",
            hint="Look at the __reduce__ or __getstate__ of its class",
        )
    return packed


def _record(entry: Entry) -> StepTrace | None:
    try:
        record = pickle.loads(entry.record)
        return None if record is None else StepTrace(*record)
    except Exception as error:  # as in _rebuilt()
        raise DamagedEntryError(f"it cannot be rebuilt here: {error!r}") from error
