"""What a cached step has learnt from its context: the questions that it asked, and the answers that it got.

A step is taken to be a function of its data and of the answers that its context gives: given the same, it asks the same
and does the same. So what it asked when it ran is what a look-up asks before it need not run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import xxhash

from crystallize.errors import UnhashableContentError
from crystallize.hashing import content_hash
from crystallize.utils import exact_json
from crystallize.utils.global_random import GLOBAL_GENERATORS, global_states
from crystallize.utils.stage import missing_in, reads_in

if TYPE_CHECKING:
    from crystallize.utils.context import FrozenContext

ABSENT = "absent"
_PRESENT = "present"


class Question(NamedTuple):
    """Something that a step can ask.

    Attributes
    ----------
    kind : str
        ``"value"`` of a key, whether it ``"has"`` a key, all ``"keys"``, a ``"stream"`` of random numbers by its name
        or the step's own (``"rng"``), the ``"metrics"`` recorded or the ``"artifacts"`` written so far, or the state of
        a ``"global"`` generator.
    name : str
        Which one; empty if there is but one.
    """

    kind: str
    name: str = ""


class Answers:
    """The answers that a context gives to one step, each as a hash, as they were when the step began.

    Parameters
    ----------
    ctx : FrozenContext
        The context, with the step's stage open and nothing asked yet.
    ignored : frozenset of str
        Keys whose values do not matter.

    Attributes
    ----------
    drawn_from : dict of str to object
        The state afterwards of each generator of the whole process that the step has drawn from while it was watched,
        as far as it was alone.
    drawn_meanwhile : set of str
        The generators that were drawn from while it was not alone, so that nobody knows by whom.
    """

    def __init__(self, ctx: FrozenContext, ignored: frozenset[str]) -> None:
        self._ctx = ctx
        self._ignored = ignored
        self.drawn_from: dict[str, Any] = {}
        self.drawn_meanwhile: set[str] = set()
        self._global_states: dict[str, Any] = {}
        self._known: dict[Question, str] = {}
        self._seen: dict[str, Any] = {}
        self._problem: UnhashableContentError | None = None

    @cached_property
    def _keys(self) -> tuple[str, ...]:
        return self._ctx.keys_held()

    @cached_property
    def _metrics(self) -> dict[str, int]:
        return self._ctx.metrics.counts()

    @cached_property
    def _artifacts(self) -> tuple[Any, ...]:
        return tuple(self._ctx.artifact_entries.values())

    def to(self, question: Question) -> str:
        """Return the answer to a question.

        Raises
        ------
        UnhashableContentError
            If it is a value that cannot be hashed.
        """
        known = self._known.get(question)
        if known is None:
            known = self._known[question] = self._answer(question)
        return known

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch what the step asks while it runs in the block."""
        _ = self._keys, self._metrics, self._artifacts  # which the step may add to
        self._ctx.start_caching().watch = self._see
        self._ctx.start_caching().saw_artifacts = False
        self._ctx.metrics.was_read = False
        self._global_states = self._last_states = global_states()
        try:
            with self._ctx.watching(self._look_at_generators):
                yield
                self._look_at_generators()
                changed = self._changed_generators()
                if self._ctx.is_alone:  # asked last: another one may have begun meanwhile
                    self.drawn_from, self.drawn_meanwhile = changed, set()
        finally:
            self._ctx.start_caching().watch = None

    def _see(self, key: str, value: Any) -> None:
        """Take note of a value just before the step gets it, and could change it."""
        if key in self._keys and key not in self._ignored and key not in self._seen:
            self._seen[key] = value
            try:
                self.to(Question("value", key))
            except UnhashableContentError as error:  # no matter of the step's, which only reads it
                self._problem = error

    def changed(self) -> str | None:
        """Return the key of a value that the step has changed in place, if there is one."""
        for key, value in self._seen.items():
            if content_hash(value) != self._known[Question("value", key)]:
                return key
        return None

    def given(self) -> dict[Question, str]:
        """Return what the step has asked, with the answers; what it asked of its own making is left out.

        Raises
        ------
        UnhashableContentError
            If an answer cannot be hashed.
        """
        if self._problem is not None:
            raise self._problem
        looks, rare, asked = self._ctx.looks_of_stage(), self._ctx.rest, set[Question]()
        own = rare.added.keys() if rare is not None else ()
        asked |= {Question("value", key) for key, _ in reads_in(looks) if key not in own}
        asked |= {Question("has", key) for key in missing_in(looks)}
        if rare is not None:
            asked |= {Question("has", key) for key in rare.present if key not in own}
            if rare.keys is not None:
                asked.add(Question("keys"))
            for stream, position in rare.streams.items():
                question = Question("rng") if stream.name is None else Question("stream", stream.name)
                self._known[question] = content_hash(self._ctx.stream_place(stream.name, position))
                asked.add(question)
        if self._ctx.metrics.was_read:
            asked.add(Question("metrics"))
        if self._ctx.start_caching().saw_artifacts:
            asked.add(Question("artifacts"))
        asked |= {Question("global", name) for name in self.drawn_from}
        return {
            each: self.to(each)
            for each in sorted(asked)
            if not (each.kind in ("value", "has") and each.name in self._ignored)
        }

    def _changed_generators(self) -> dict[str, Any]:
        after = {name: GLOBAL_GENERATORS[name].state() for name in self._global_states}
        return {name: state for name, state in after.items() if state != self._global_states[name]}

    def _look_at_generators(self) -> None:
        """See what was drawn from, but for what another outcome that begins has seeded anew."""
        for name, before in self._last_states.items():
            generator = GLOBAL_GENERATORS[name]
            self._last_states = {**self._last_states, name: (state := generator.state())}
            if state != before and not generator.is_fresh(state):
                self.drawn_meanwhile.add(name)

    def _answer(self, question: Question) -> str:
        ctx, (kind, name) = self._ctx, question
        if kind == "value":
            return content_hash(ctx.peek(name)) if ctx.holds(name) else ABSENT
        if kind == "has":
            return _PRESENT if name in self._keys else ABSENT
        if kind == "keys":
            return content_hash(self._keys)
        if kind == "metrics":
            return content_hash(self._metrics_before())
        if kind == "artifacts":
            return content_hash(self._artifacts)
        if kind == "global":
            return content_hash(self._global_states.get(name) or GLOBAL_GENERATORS[name].state())
        return content_hash(ctx.stream_place(name if kind == "stream" else None))

    def _metrics_before(self) -> dict[str, Any]:
        log = self._ctx.metrics
        return {
            name: (log.values_by_name[name][:count], log.tags.get(name, [])[:count])
            for name, count in self._metrics.items()
        }


@lru_cache(maxsize=1 << 10)
def input_hash(data: str, answers: tuple[tuple[Question, str], ...]) -> str:
    """Return the name of the entry for data of this hash and these answers, in any order."""
    asked = sorted((*question, answer) for question, answer in answers)
    return xxhash.xxh3_128_hexdigest(exact_json.dump([data, asked]))
