"""The journal: what one process writes, others read exactly, whatever happens to the file."""

from __future__ import annotations

import importlib
import io
import json
import math
import os
import signal
import sys
import threading
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crystallize.errors import StoreError
from crystallize.store import journal
from crystallize.store.journal import Again, Entry, Session, seed_of, session_line, with_sum
from crystallize.store.journal_reader import JournalReader, StoredOutcomes
from crystallize.store.journal_writer import FLUSH_SECONDS, JournalWriter
from crystallize.store.layout import ArtifactEntry
from crystallize.store.outcome import Outcome, OutcomeError, ReplicateResult
from crystallize.utils.exact_json import KIND

CONDITIONS = ("baseline", "high")
SESSION = Session("0123456789abcdef", "centre", 3, CONDITIONS, (("FitStep", {"lr": 0.1}),), "2026-01-01")
TRACE = ((0, (("lr", 0.1),), (("loss", 1),)),)


def outcome(condition: str, value: Any = 0.5, **fields: Any) -> Outcome:
    return Outcome(condition, 7, {"loss": [value]}, {}, trace=TRACE, started=12.5, **fields)


def result(replicate: int, value: Any = 0.5, **fields: Any) -> ReplicateResult:
    return ReplicateResult(replicate, tuple(outcome(name, value) for name in CONDITIONS), **fields)


def failed(replicate: int, condition: str) -> Outcome:
    error = OutcomeError(replicate, condition, "FitStep", "ValueError", "no", "Traceback ...\n")
    return outcome(condition)._replace(metrics={}, error=error)


def write(file: Path, *results: ReplicateResult, session: Session = SESSION, **options: Any) -> None:
    writer = JournalWriter(file, session, **options)
    for each in results:
        writer.add(each)
    writer.close()


def continue_with(file: Path, *results: ReplicateResult, **changes: Any) -> None:
    reader = JournalReader(file)
    list(reader.read())
    write(file, *results, session=SESSION._replace(**changes), read=reader)


def entries(file: Path, **options: Any) -> list[Entry]:
    return [each for each in JournalReader(file, **options).read() if isinstance(each, Entry)]


def stored(file: Path) -> dict[int, list[Outcome]]:
    return {replicate: list(outcomes) for replicate, outcomes in StoredOutcomes(JournalReader(file))}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


# -- what is written is read -----------------------------------------------------------------------------------


def test_outcomes_are_read_as_they_were_written(file: Path) -> None:
    artifact = ArtifactEntry("m.bin", "FitStep", 1, "high", "replicate_1/high/FitStep/m.bin", 3, "xxh3_128:0")
    full = outcome("high")._replace(
        tags={"loss": [{"fold": 1}]},
        artifacts=[artifact],
        handed_back=(("counter", b"\x80\x04K\x01."),),
        seconds=0.25,
        attempt=2,
        consumed=("xxh3_128:1",),
    )
    results = [result(0), ReplicateResult(1, (failed(1, "baseline"), full))]
    write(file, *results)
    assert entries(file) == [Entry(each.replicate, made) for each in results for made in each.outcomes]
    reader = JournalReader(file)
    assert next(reader.read()) == SESSION == reader.sessions[0]


exact = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.complex_numbers()
    | st.decimals(allow_nan=False)
    | st.fractions()
    | st.datetimes(timezones=st.none() | st.timezones(), allow_imaginary=True)
    | st.dates()
)
values = st.recursive(
    exact,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
        | st.frozensets(exact.filter(lambda value: value == value), max_size=3)
    ),
    max_leaves=6,
)


def spelled(value: Any) -> Any:
    """Return what tells a value from all that are equal to it; a set shows its items in any order."""
    match value:
        case frozenset():
            return "set", sorted(map(repr, map(spelled, value)))
        case list() | tuple():
            return type(value), [spelled(item) for item in value]
        case dict():
            return [(repr(key), spelled(item)) for key, item in value.items()]
    return repr(value)


@given(values)
def test_every_value_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    file = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    write(file, result(0, value))
    for each in entries(file):
        read = each.outcome.metrics["loss"][0]
        assert type(read) is type(value)
        assert spelled(read) == spelled(value)


@pytest.mark.parametrize("values", [[1.5], [math.inf], [(1, 2)]])
def test_a_metric_may_have_the_name_that_marks_packed_values(file: Path, values: list[Any]) -> None:
    metrics = {KIND: values, f"a{KIND}b": [2.0]}
    outcomes = tuple(outcome(name)._replace(metrics=metrics) for name in CONDITIONS)
    write(file, ReplicateResult(0, outcomes))
    assert [each.outcome.metrics for each in entries(file)] == [metrics, metrics]


EDGES = [
    math.nan,
    math.inf,
    -math.inf,
    -0.0,
    5e-324,
    2**63,
    -(2**63) - 1,
    10**5000,
    Decimal("NaN"),
    Fraction(1, 3),
]


def test_numbers_at_the_edge_come_back_with_all_their_bits(file: Path) -> None:
    write(file, result(0, EDGES))
    for read, written in zip(entries(file)[0].outcome.metrics["loss"][0], EDGES, strict=True):
        assert type(read) is type(written)
        assert read == written or read != read
        assert read != 0 or str(read) == str(written)


def test_each_line_is_json_that_any_reader_understands(file: Path) -> None:
    write(file, result(0, math.nan), result(1, 2**70))

    def refuse(constant: str) -> Any:
        raise AssertionError(constant)

    for line in file.read_text(encoding="utf-8").splitlines():
        json.loads(line, parse_constant=refuse)


def test_an_array_comes_back_with_its_type_and_shape(file: Path) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    write(file, result(0, array))
    read = entries(file)[0].outcome.metrics["loss"][0]
    assert read.dtype == array.dtype
    assert np.array_equal(read, array)


class Odd:
    def __init__(self) -> None:
        self.content = [1]

    def __repr__(self) -> str:
        return "<odd>"


def test_an_object_is_unpickled_only_by_those_who_may(file: Path) -> None:
    write(file, result(0, Odd()))
    assert entries(file)[0].outcome.metrics["loss"] == ["<odd>"]
    assert entries(file, may_unpickle=True)[0].outcome.metrics["loss"][0].content == [1]


def test_what_cannot_be_pickled_is_its_text(file: Path) -> None:
    write(file, result(0, threading.Lock()))
    assert entries(file, may_unpickle=True)[0].outcome.metrics["loss"][0].startswith("<unlocked")


def test_a_mapping_that_cannot_be_read_any_more_is_its_text(file: Path) -> None:
    archive = io.BytesIO()
    np.savez(archive, a=[1])
    archive.seek(0)
    with np.load(archive) as arrays:
        pass
    write(file, result(0, {1: arrays}), result(1, [arrays]), result(2))
    assert [each.replicate for each in entries(file)] == [0, 0, 1, 1, 2, 2]
    assert entries(file)[2].outcome.metrics["loss"][0][0].startswith("NpzFile")


def test_half_of_a_surrogate_pair_comes_back(file: Path) -> None:
    write(file, result(0, "a\udc80"))
    assert entries(file)[0].outcome.metrics["loss"] == ["a\udc80"]


def test_the_first_line_may_have_any_length(file: Path) -> None:
    for length in [*range(1, 1000, 11), 10_000, 100_000]:
        write(file, result(0), session=SESSION._replace(experiment="x" * length))
        assert len(entries(file)) == 2
        file.unlink()


def test_equal_traces_are_written_once(file: Path) -> None:
    write(file, *map(result, range(5)))
    lines = file.read_text().splitlines()
    assert sum('"stages"' in line for line in lines) == 1
    assert {each.outcome.trace for each in entries(file)} == {TRACE}


def test_outcomes_that_were_there_already_are_not_written_again(file: Path) -> None:
    write(file, result(0, reused=frozenset({"baseline"})))
    assert [each.outcome.condition for each in entries(file)] == ["high"]


# -- when it is on disk ----------------------------------------------------------------------------------------


def test_a_replicate_that_took_long_is_on_disk_before_the_next(file: Path) -> None:
    writer = JournalWriter(file, SESSION)
    slow = ReplicateResult(0, tuple(outcome(name, seconds=FLUSH_SECONDS) for name in CONDITIONS))
    writer.add(slow)
    assert len(entries(file)) == 2
    writer.close()


def test_short_replicates_are_on_disk_soon_without_anybody_asking(file: Path) -> None:
    writer = JournalWriter(file, SESSION)
    writer.add(result(0))
    while len(entries(file)) < 2:  # another thread writes them
        pass
    writer.close()


def test_a_disk_that_is_full_leaves_whole_lines_and_says_so(file: Path) -> None:
    resource = pytest.importorskip("resource")
    write(file, result(0))
    size = file.stat().st_size
    reader = JournalReader(file)
    list(reader.read())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 300, limits[1]))
        writer = JournalWriter(file, SESSION, read=reader)
        writer.add(result(1, "x" * 1000))
        with pytest.raises(OSError, match="too large"):
            writer.flush()
        with pytest.raises(OSError, match="too large"):
            writer.add(result(2))
        with pytest.raises(OSError, match="too large"):
            writer.add(result(3))
        with pytest.raises(OSError, match="too large"):
            writer.close()  # or a run whose last outcomes are lost would be called complete
        writer.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert file.read_bytes().endswith(b"\n")
    assert [each.replicate for each in entries(file)] == [0, 0]


class InterruptsOnce:
    """Pressing Ctrl-C while this is stored, which can be done the second time."""

    is_pressed = False

    def __reduce__(self) -> Any:
        if not self.is_pressed:
            self.is_pressed = True
            raise KeyboardInterrupt
        return str, ("stored",)


def test_ctrl_c_while_lines_are_made_costs_none_of_them(file: Path) -> None:
    writer = JournalWriter(file, SESSION)
    writer.add(result(0))
    other = ((0, (("rate", 0.5),), ()),)
    value = InterruptsOnce()
    with pytest.raises(KeyboardInterrupt):
        writer.add(
            ReplicateResult(
                1,
                tuple(
                    outcome(name, value, seconds=FLUSH_SECONDS)._replace(trace=other) for name in CONDITIONS
                ),
            )
        )
    writer.close()
    found = [(each.replicate, each.outcome.condition, each.outcome.trace) for each in entries(file)]
    assert found == [(i, name, trace) for i, trace in enumerate((TRACE, other)) for name in CONDITIONS]


def test_ctrl_c_while_the_disk_is_waited_for_costs_no_line(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = JournalWriter(file, SESSION, fsync=True)
    writer.add(result(0))
    fsync = os.fsync

    def interrupted(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", fsync)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        writer.flush()
    writer.close()
    assert [(each.replicate, each.outcome.condition) for each in entries(file)] == [
        (0, name) for name in CONDITIONS
    ]


# -- a file that grows -----------------------------------------------------------------------------------------


def test_a_reader_of_a_growing_journal_reads_each_line_once(file: Path) -> None:
    writer = JournalWriter(file, SESSION)
    reader = JournalReader(file)
    assert list(reader.read()) == [SESSION]
    for replicate in range(3):
        writer.add(result(replicate))
        writer.flush()
        assert [each.replicate for each in reader.read() if isinstance(each, Entry)] == [replicate] * 2
    assert list(reader.read()) == []
    writer.close()


def test_a_line_that_is_being_written_is_read_when_it_is_whole(file: Path) -> None:
    write(file, result(0))
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    reader = JournalReader(file)
    assert len(list(reader.read())) == 2  # the session, and one outcome
    file.write_bytes(whole)
    assert len(list(reader.read())) == 1
    assert not reader.damaged


def test_a_line_whose_rest_is_written_while_it_is_read_is_one_line(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(file, *map(result, range(3)))
    whole = file.read_bytes()
    cut = whole.index(b"\n", 500) + 50  # in the middle of a line
    file.write_bytes(whole[:cut])

    class GrowsAtItsEnd(io.FileIO):
        def readinto(self, buffer: Any) -> int:
            count = super().readinto(buffer)
            if not count and file.stat().st_size == cut:
                with file.open("ab") as stream:
                    stream.write(whole[cut:])
            return count

    monkeypatch.setattr(os, "fdopen", lambda number, mode: io.BufferedReader(GrowsAtItsEnd(number, "rb")))
    reader = JournalReader(file)
    found = [*reader.read(), *reader.read()]
    assert [each.replicate for each in found if isinstance(each, Entry)] == [0, 0, 1, 1, 2, 2]
    assert (reader.damaged, reader.line) == ([], whole.count(b"\n"))


# -- damage ----------------------------------------------------------------------------------------------------


def test_a_line_of_brackets_is_damaged_and_costs_no_other(file: Path) -> None:
    write(file, result(0))
    with file.open("ab") as stream:
        stream.write(b"[" * 100_000 + b"\n")
    continue_with(file, result(1))
    reader = JournalReader(file)
    assert [each.replicate for each in reader.read() if isinstance(each, Entry)] == [0, 0, 1, 1]
    assert reader.damaged == [5]


def test_a_journal_that_was_cut_at_any_byte_gives_what_was_whole_and_can_be_continued(file: Path) -> None:
    write(file, result(0), result(1))
    whole = file.read_bytes()
    first = whole.index(b"\n") + 1
    for end in range(first, len(whole)):
        file.write_bytes(whole[:end])
        expected = whole[:end].count(b'"condition":', 0, whole.rfind(b"\n", 0, end) + 1)
        assert len(entries(file)) == expected
        continue_with(file, result(2))
        assert [each.replicate for each in entries(file)][expected:] == [2, 2]


def test_a_journal_without_a_whole_first_line_says_what_it_is(file: Path) -> None:
    write(file)
    whole = file.read_bytes()
    for content in (b"", whole[:-1], b"x\n", b"{}\n", b"\n", whole.replace(b"centre", b"center")):
        file.write_bytes(content)
        with pytest.raises(StoreError, match=r"journal.*journal\.jsonl"):
            StoredOutcomes(JournalReader(file))


def test_a_damaged_line_costs_its_own_outcome_and_no_other(file: Path) -> None:
    write(file, *map(result, range(3)))
    lines = file.read_bytes().splitlines(keepends=True)
    lines[4] = lines[4].replace(b"0.5", b"0.6")
    file.write_bytes(b"".join(lines))
    reader = JournalReader(file)
    assert [len(outcomes) for _, outcomes in StoredOutcomes(reader)] == [2, 2, 1]
    assert reader.damaged == [5]


def test_a_damaged_line_with_a_trace_costs_the_trace_and_no_outcome(file: Path) -> None:
    write(file, *map(result, range(3)))
    lines = file.read_bytes().splitlines(keepends=True)
    number = next(place for place, line in enumerate(lines) if b'"stages"' in line)
    lines[number] = lines[number].replace(b"stages", b"stagez")
    file.write_bytes(b"".join(lines))
    reader = JournalReader(file)
    found = [each for _, outcomes in StoredOutcomes(reader) for each in outcomes]
    assert [each.metrics for each in found] == [each.metrics for n in range(3) for each in result(n).outcomes]
    assert {each.trace for each in found} == {()}
    assert reader.damaged == [number + 1]


DAMAGE = (
    *(b"\n", b"x\n", b"{}\n", b"null\n", b"1\n", b"1,2\n", b"[1\n", b"2]\n", b'"\n', b"],[\n"),
    *(
        b'{"sum":"0"}\n',
        b'{"sum":"0"},{"sum":"1"}\n',
        b'{"sum":[\n',
        b"]}\n",
        b'{"sum":"0","replicate":0}\r\n',
    ),
)


@given(damage=st.lists(st.tuples(st.integers(1, 600), st.sampled_from(DAMAGE)), max_size=8))
@example(damage=[(9, b"[1\n"), (9, b"2]\n"), (9, b"1,2\n")])  # three lines, three values
def test_damaged_lines_cost_no_other_wherever_they_are(
    tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, bytes]]
) -> None:
    file = tmp_path_factory.mktemp("damaged") / "journal.jsonl"
    write(file, *map(result, range(300)))
    lines = [(line, True) for line in file.read_bytes().splitlines(keepends=True)]
    for place, line in damage:
        lines.insert(place, (line, False))
    file.write_bytes(b"".join(line for line, _ in lines))
    reader = JournalReader(file)
    assert [each.replicate for each in reader.read() if isinstance(each, Entry)] == [
        number for number in range(300) for _ in "ab"
    ]
    assert reader.damaged == [number for number, (_, is_whole) in enumerate(lines, 1) if not is_whole]
    assert reader.size == file.stat().st_size


def test_lines_that_hold_two_halves_and_two_whole_ones_cost_no_other(file: Path) -> None:
    write(file, *map(result, range(9)))
    lines = file.read_bytes().splitlines(keepends=True)
    start, end = lines[4].split(b',"condition"')
    lines[4] = start + b"\n" + b'"condition"' + end  # with commas between lines, nothing has changed
    lines[8:10] = [lines[8].replace(b"\n", b",") + lines[9]]
    file.write_bytes(b"".join(lines))
    reader = JournalReader(file)
    assert [each.replicate for each in reader.read() if isinstance(each, Entry)] == [
        *(0, 0, 1, 2, 2, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8)
    ]
    assert reader.damaged == [5, 6, 10]


@pytest.mark.parametrize(
    "change",
    [
        *({"journal": "1"}, {"journal": None}, {"run": 5}, {"conditions": 5}, {"again": [5]}),
        {"steps": [["a", {"~": "datetime", "text": 5}]]},
    ],
)
def test_a_first_line_that_is_no_sessions_says_what_it_is(file: Path, change: dict[str, Any]) -> None:
    fields = json.loads(session_line(SESSION, 0)) | change
    file.write_bytes(with_sum(json.dumps(fields, separators=(",", ":")).encode(), 0))
    with pytest.raises(StoreError, match=r"no journal of a run.*journal\.jsonl:1"):
        list(JournalReader(file).read())
    with pytest.raises(StoreError, match=r"no journal of a run.*journal\.jsonl:1"):
        StoredOutcomes(JournalReader(file))


def test_a_value_whose_code_is_gone_is_told_with_its_line(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "library_that_goes.py").write_text("class Odd: ...")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("library_that_goes")
    write(file, result(0, module.Odd()))
    monkeypatch.delitem(sys.modules, "library_that_goes")
    (tmp_path / "library_that_goes.py").unlink()
    importlib.invalidate_caches()
    assert len(entries(file)) == 2
    with pytest.raises(
        StoreError,
        match=r"cannot be made again: ModuleNotFoundError.*library_that_goes.*journal\.jsonl:3.*Install",
    ):
        entries(file, may_unpickle=True)


def test_each_session_is_found_however_long_the_journal_is(file: Path) -> None:
    write(file)
    seed = seed_of(SESSION.run)
    sessions = [SESSION._replace(replicates=number) for number in range(1, 9000)]
    with file.open("ab") as stream:
        for number, each in enumerate(sessions, 1):
            stream.write(with_sum(session_line(each, number), seed))
        stream.write(with_sum(session_line(SESSION, 9000), seed)[:-1])  # it is being written
    assert file.stat().st_size > 1 << 20  # more than is searched at once
    reader = JournalReader(file)
    found = reader.find_sessions()
    assert [session for _, session in found] == [SESSION, *sessions]
    assert [place for place, _ in found] == [reader.size for _ in reader.read()]


def test_lines_of_another_run_are_left_out(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    write(other, result(0, 99.0), session=SESSION._replace(run="f" * 16))
    write(file, result(0))
    with file.open("ab") as stream:
        stream.write(b"".join(other.read_bytes().splitlines(keepends=True)[1:]))
    assert {each.metrics["loss"][0] for outcomes in stored(file).values() for each in outcomes} == {0.5}


def test_lines_that_were_swapped_or_repeated_give_the_same_outcomes(file: Path) -> None:
    write(file, *[result(replicate, replicate + 0.5) for replicate in range(3)])
    lines = file.read_bytes().splitlines(keepends=True)
    expected = stored(file)
    file.write_bytes(b"".join([*lines[:2], *reversed(lines[2:]), *lines[3:5]]))
    assert stored(file) == expected


def test_a_journal_of_a_later_version_says_so(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "VERSION", 99)
    write(file)
    monkeypatch.undo()
    with pytest.raises(StoreError, match=r"format 99.*Update"):
        list(JournalReader(file).read())


def test_a_pipe_in_the_place_of_the_journal_is_not_opened(file: Path) -> None:
    os.mkfifo(file)
    with pytest.raises(StoreError, match="pipe"):
        list(JournalReader(file).read())


def test_an_artifact_that_leads_out_of_the_run_is_damage(file: Path) -> None:
    entry = ArtifactEntry("m", "S", 0, "high", "../../outside", 1, "xxh3_128:0")
    write(file, ReplicateResult(0, (outcome("high")._replace(artifacts=[entry]),)))
    reader = JournalReader(file)
    assert list(reader.read()) == [SESSION]
    assert reader.damaged == [3]


# -- what still counts -----------------------------------------------------------------------------------------


def test_of_an_outcome_that_was_tried_again_the_last_one_counts(file: Path) -> None:
    write(file, ReplicateResult(0, (outcome("baseline"), failed(0, "high"))), result(1))
    retried = ReplicateResult(0, (outcome("baseline"), outcome("high", 9.0)), reused=frozenset({"baseline"}))
    continue_with(file, retried)
    assert stored(file)[0] == [outcome("baseline"), outcome("high", 9.0)]
    assert list(stored(file)) == [1, 0]


def test_what_a_later_session_declares_void_does_not_count(file: Path) -> None:
    write(file, *map(result, range(3)))
    continue_with(
        file, again=(Again("high", None, "lr was 1, is 2"), Again("baseline", (2,), "a file is gone"))
    )
    assert {replicate: [each.condition for each in found] for replicate, found in stored(file).items()} == {
        0: ["baseline"],
        1: ["baseline"],
    }
    again = ReplicateResult(0, (outcome("baseline"), outcome("high", 2.0)), reused=frozenset({"baseline"}))
    continue_with(file, again)
    assert stored(file)[0] == [outcome("baseline"), outcome("high", 2.0)]


def test_conditions_that_the_run_no_longer_has_are_left_out(file: Path) -> None:
    write(file, result(0))
    continue_with(file, conditions=("baseline",))
    assert stored(file) == {0: [outcome("baseline")]}


def test_attempts_of_earlier_sessions_are_counted(file: Path) -> None:
    write(file, ReplicateResult(0, (failed(0, "baseline"), outcome("high"))))
    reader = JournalReader(file)
    list(reader.read())
    again = ReplicateResult(0, (outcome("baseline"), outcome("high")), reused=frozenset({"high"}))
    write(file, again, read=reader, attempts={(0, "baseline"): 1})
    assert stored(file)[0][0].attempt == 1
