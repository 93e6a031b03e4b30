"""The pool driver, in simulations: whatever befalls the workers, nothing is lost and the end comes."""

from __future__ import annotations

import logging
from random import Random
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from crystallize.errors import ExecutionError
from crystallize.plugins.execution import PoolDriver, ResultCollector
from crystallize.testing import SimulatedTransport
from crystallize.testing.subjects import Owed


class Simulated(SimulatedTransport):
    """Notes how often it was asked to wait, and refuses to be sent what has been counted already."""

    waits = 0

    def __init__(self, workers, counted, **more):
        super().__init__(workers, **more)
        self.counted = counted

    def wait(self, seconds):
        self.waits += 1
        assert self.waits < 100_000, "the end does not come"
        return super().wait(seconds)

    def send(self, worker, batch):
        again = [replicate for replicate in batch.replicates if replicate in self.counted]
        assert not again, f"{again} were counted and are run again"
        super().send(worker, batch)


def drive(workers, owed, *, retries=1, rule=None, **more):
    """Return what was kept for each replicate, and the transport; failures are texts."""
    counted = {}

    def count(result):
        replicate = result if isinstance(result, int) else result[0]
        assert replicate not in counted, "counted twice"
        counted[replicate] = result
        if rule is not None and rule(counted):
            owed.end()
        return result

    replicate_fn = SimpleNamespace(failed=lambda replicate, error: (replicate, str(error)))
    transport = Simulated(workers, counted, **more)
    experiment = SimpleNamespace(owed=owed, replicate_done=count)
    collector = ResultCollector(experiment, progress=False)
    try:
        PoolDriver(transport, collector, replicate_fn, retries=retries).run()
    finally:
        assert transport.is_closed
        assert transport.arrived <= counted.keys(), "what reached the coordinator was lost"
    assert collector.results == [counted[replicate] for replicate in sorted(counted)]
    return counted, transport


# -- without mishaps ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2, 100, 10_000])
def test_every_replicate_runs_once_and_no_worker_is_idle_while_there_is_work(workers):
    counted, transport = drive(workers, Owed(range(3 * workers)))
    assert list(counted) == list(range(3 * workers))
    assert set(transport.begun.values()) == {1}
    assert transport.now == pytest.approx(3.0)


def test_what_is_owed_may_have_gaps():
    counted, _ = drive(3, Owed([5, 6, 90, 1000]))
    assert sorted(counted) == [5, 6, 90, 1000]


def test_where_nothing_is_owed_no_worker_starts():
    _, transport = drive(3, Owed([]))
    assert transport.waits == 0


def test_no_more_workers_are_asked_for_than_there_are_replicates():
    asked = []

    class Asked(SimulatedTransport):
        def provide(self, workers):
            asked.append(workers)
            super().provide(workers)

    collector = ResultCollector(SimpleNamespace(owed=iter(range(4))), progress=False)
    PoolDriver(Asked(1000), collector, lambda replicate: None).run()
    assert asked == [4]


def test_a_straggler_holds_up_nobody_else():
    _, transport = drive(10, Owed(range(1000)), seconds=lambda replicate: 80.0 if replicate == 3 else 1.0)
    assert transport.now < 113  # a tenth of 999 seconds, and what the others have begun


def test_short_replicates_travel_in_batches():
    counted, transport = drive(2, Owed(range(20_000)), seconds=lambda replicate: 1e-4)
    assert len(counted) == 20_000
    assert transport.waits < 200
    assert transport.now == pytest.approx(1.0, rel=0.05)


def test_an_open_ended_run_ends_when_the_rule_says_so_and_what_was_taken_is_finished():
    owed = Owed()
    counted, _ = drive(5, owed, rule=lambda counted: len(counted) == 12)
    assert sorted(counted) == sorted(owed.taken) == list(range(len(counted)))
    assert 12 <= len(counted) <= 12 + 5


def test_a_rule_that_waits_for_a_replicate_that_took_its_worker_down_gets_it():
    """The rule looks at results in replicate order, so 3 must not wait for an end that waits for it."""
    died = []

    def fate(moment, worker, replicate):
        if moment == "running" and replicate == 3 and not died:
            died.append(worker)
            return "dies"
        return "lives"

    counted, _ = drive(4, Owed(), fate=fate, rule=lambda counted: set(range(20)) <= counted.keys())
    assert counted[3] == 3
    assert len(counted) < 40


# -- deaths ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["loading", "running", "finished", "sent", "idle"])
@pytest.mark.parametrize("fate", ["dies", "leaves"])
@pytest.mark.parametrize("seconds", [0.03, 1.0])
def test_a_worker_that_is_lost_at_any_moment_loses_nothing(moment, fate, seconds):
    lost = []

    def befalls(now, worker, replicate):
        if now == moment and len(lost) < 3 and (replicate is None or replicate > 4):
            lost.append(worker)
            return fate
        return "lives"

    counted, transport = drive(3, Owed(range(60)), seconds=lambda replicate: seconds, fate=befalls)
    assert counted == {replicate: replicate for replicate in range(60)}
    assert lost or (moment == "sent" and seconds == 1.0)
    assert sum(transport.begun.values()) <= 60 + sum(1 for _ in lost) * 20


@pytest.mark.parametrize("knows_culprit", [True, False])
@pytest.mark.parametrize("retries", [0, 1, 2])
@pytest.mark.parametrize("end", ["dies", "is late"])
def test_a_replicate_that_kills_its_workers_is_given_up_alone(knows_culprit, retries, end):
    def fate(moment, worker, replicate):
        return end if moment == "running" and replicate == 33 else "lives"

    counted, transport = drive(
        4,
        Owed(range(200)),
        retries=retries,
        fate=fate,
        seconds=lambda replicate: 0.001,
        knows_culprit=knows_culprit,
    )
    _, message = counted.pop(33)
    what = "its worker died" if end == "dies" else "it took more than 60 seconds"
    assert what in message
    assert "(replicate 33)" in message
    assert counted == {replicate: replicate for replicate in range(200) if replicate != 33}
    assert transport.begun[33] >= retries + 1


def test_each_of_many_replicates_may_kill_its_worker_once():
    killed = set()

    def fate(moment, worker, replicate):
        if moment == "running" and replicate % 7 == 0 and replicate not in killed:
            killed.add(replicate)
            return "dies"
        return "lives"

    counted, _ = drive(5, Owed(range(100)), fate=fate)
    assert counted == {replicate: replicate for replicate in range(100)}


def test_ten_thousand_workers_of_which_many_die_and_whose_messages_are_late():
    random = Random(7)

    def fate(moment, worker, replicate):
        return "dies" if moment == "running" and random.random() < 0.01 else "lives"

    counted, transport = drive(10_000, Owed(range(20_000)), fate=fate, latency=lambda: 20 * random.random())
    assert len(counted) == 20_000
    assert sum(result != replicate for replicate, result in counted.items()) < 10
    assert sum(transport.begun.values()) < 20_500


@pytest.mark.parametrize(("moment", "when"), [("loading", "while it loaded"), ("idle", "between replicates")])
def test_workers_that_die_without_a_result_do_not_do_so_for_ever(moment, when, caplog):
    def fate(now, worker, replicate):
        return "dies" if now == moment else "lives"

    if moment == "idle":  # a result arrives before each of these deaths
        assert len(drive(2, Owed(range(50)), fate=fate)[0]) == 50
        return
    with caplog.at_level(logging.WARNING), pytest.raises(ExecutionError, match=f"6 workers died.*{when}"):
        drive(2, Owed(range(50)), fate=fate)
    assert len(caplog.records) == 5


def test_workers_that_keep_dying_fail_what_is_owed_and_what_was_measured_stands(caplog):
    def fate(moment, worker, replicate):
        return "dies" if moment == ("idle" if worker == 0 else "loading") else "lives"

    counted, _ = drive(1, Owed(range(50)), fate=fate)
    assert sorted(counted) == [*range(50)]
    assert counted[0] == 0
    assert all("6 workers died" in counted[replicate][1] for replicate in range(1, 50))
    assert "The 49 replicates that are still owed have failed" in caplog.text


def test_a_replicate_whose_workers_are_always_sent_away_is_given_up():
    def fate(moment, worker, replicate):
        return "leaves" if moment == "running" and replicate == 2 else "lives"

    counted, transport = drive(2, Owed(range(6)), fate=fate)
    assert "20 workers were sent away while they worked on it (replicate 2)" in counted.pop(2)[1]
    assert sorted(counted) == [0, 1, 3, 4, 5]
    assert transport.begun[2] == 20


def test_an_error_of_the_coordinator_ends_the_run_and_closes_the_transport():
    def refuse(result):
        raise LookupError("no room")

    collector = ResultCollector(SimpleNamespace(owed=iter(range(9)), replicate_done=refuse), progress=False)
    transport = SimulatedTransport(2)
    with pytest.raises(LookupError, match="no room"):
        PoolDriver(transport, collector, lambda replicate: None).run()
    assert transport.is_closed


def test_what_is_finished_when_the_run_is_cancelled_is_taken():
    class Cancelled(BaseException):
        pass

    told = []

    def check():
        if len(told) >= 20:
            raise Cancelled

    experiment = SimpleNamespace(owed=iter(range(500)), replicate_done=told.append, check_cancelled=check)
    transport = SimulatedTransport(3, latency=lambda: 2.5)
    with pytest.raises(Cancelled):
        PoolDriver(transport, ResultCollector(experiment, progress=False), lambda replicate: None).run()
    assert len(told) > 20, "what was on its way is lost"
    assert len(told) == len(set(told))


# -- whatever happens --------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    workers=st.sampled_from([1, 2, 3, 7, 50, 400]),
    replicates=st.integers(1, 400),
    gap=st.integers(1, 5),
    longest=st.sampled_from([0.0, 1e-4, 0.01, 1.0, 100.0]),
    slowest_message=st.sampled_from([0.0, 0.05, 30.0]),
    mishaps=st.sampled_from([0.0, 0.01, 0.1, 0.25]),
    doubled=st.sampled_from([0.0, 0.3]),
    knows_culprit=st.booleans(),
    ends_at=st.none() | st.integers(1, 300),
    random=st.integers(0, 2**32).map(Random),  # Hypothesis' own is slow for thousands of draws
)
def test_nothing_is_lost_nothing_counted_runs_again_and_the_end_comes(
    workers,
    replicates,
    gap,
    longest,
    slowest_message,
    mishaps,
    doubled,
    knows_culprit,
    ends_at,
    random,
):
    deaths = []

    def fate(moment, worker, replicate):
        if moment == "loading" or random.random() >= mishaps:
            return "lives"
        deaths.append(replicate)
        fates = ["dies", "leaves", "is late"] if moment == "running" else ["dies", "leaves"]
        return random.choice(fates)

    owed = Owed(range(0, replicates * gap, gap)) if ends_at is None else Owed()
    try:
        counted, transport = drive(
            workers,
            owed,
            seconds=lambda replicate: longest * random.random() ** 4,
            latency=lambda: slowest_message * random.random(),
            doubles=lambda: random.random() < doubled,
            fate=fate,
            knows_culprit=knows_culprit,
            rule=None if ends_at is None else lambda counted: len(counted) >= ends_at,
        )
    except ExecutionError as error:
        event("given up")
        if len(deaths) < 6 or "6 workers died one after the other" not in str(error):
            raise
        return
    assert sorted(counted) == sorted(owed.taken)
    assert len(owed.taken) == replicates if ends_at is None else len(counted) >= ends_at
    failed = {replicate for replicate, result in counted.items() if result != replicate}
    assert not failed or deaths, "a replicate was given up that nothing has befallen"
    for replicate in failed if knows_culprit else ():
        assert transport.begun[replicate] > 1, "a replicate was given up at its first mishap"
