"""Outcomes are collated in any order and number at once; nobody can tell from what comes out."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from crystallize.results.collecting import Collection
from crystallize.store.outcome import Outcome

VALUES = st.lists(
    st.sampled_from([0.5, 1.5, -0.0, float("inf"), 2, True, None, "text", 2**63, -(2**63)]), max_size=2
)
NUMBER = st.sampled_from([[0.5], [2.0]])
COUNTS = st.sampled_from([[1], [2], [-(2**63)], [-(2**63) - 1]])
METRICS = st.one_of(
    st.fixed_dictionaries({"loss": NUMBER, "count": COUNTS}),
    st.fixed_dictionaries({"count": COUNTS, "loss": NUMBER}),
    st.fixed_dictionaries({"loss": NUMBER, "other": VALUES}),
    st.dictionaries(st.sampled_from(["loss", "count", "other"]), VALUES),
)
SEEDS = st.sampled_from([0, 7, 2**63 - 1, 2**63, -1, None])
TRACES = st.sampled_from(
    [(), ((0, (), (("loss", 1),)),), ((0, (("lr", 1),), ()),), ((0, (("lr", 1.0),), ()),)]
)


def spelled(values: Any) -> str:
    """Tell 1, 1.0 and True apart."""
    return repr(list(values))


RECORDED = st.tuples(METRICS, SEEDS, TRACES)
REPLICATES = st.integers(0, 79)


@given(
    usual=RECORDED,
    others=st.dictionaries(REPLICATES, RECORDED, max_size=5),
    missing=st.sets(REPLICATES, max_size=3),
    data=st.data(),
)
def test_what_was_recorded_comes_out_whatever_the_order_of_arrival(
    usual: Any, others: dict[int, Any], missing: set[int], data: st.DataObject
) -> None:
    numbers = [number for number in range(80) if number not in missing]
    recorded = [others.get(number, usual) for number in numbers]
    outcomes = {
        number: Outcome("baseline", seed, metrics, {}, trace=trace)
        for number, (metrics, seed, trace) in zip(numbers, recorded, strict=True)
    }
    collection = Collection(["baseline"], {})
    late = data.draw(st.sets(REPLICATES, max_size=3))
    for number in data.draw(
        st.sampled_from([numbers, numbers[32:] + numbers[:32], sorted(numbers, key=late.__contains__)])
    ):
        collection.add(number, [outcomes[number]])
    collected = collection.finish()["baseline"]
    finished = collected.finish()

    for name in ("loss", "count", "other"):
        expected = [
            (number, spelled(each.metrics[name]))
            for number, each in outcomes.items()
            if each.metrics.get(name)
        ]
        column = finished.columns.get(name)
        found = (
            [] if column is None else [(number, spelled(values)) for number, values in column.by_replicate()]
        )
        assert found == expected
    seeds = {number: each.seed for number, each in outcomes.items()}
    assert finished.seeds == [seeds.get(number) for number in range(len(finished.seeds))]
    assert len(finished.seeds) > max(
        (number for number, seed in seeds.items() if seed is not None), default=-1
    )
    assert [spelled(collected.traces.get(number)) for number in numbers] == [
        spelled(each.trace) for each in outcomes.values()
    ]
    assert all(collected.traces.get(number) is None for number in [*missing, 80])
    first_to_record = {
        name: next(number for number, each in outcomes.items() if each.metrics.get(name))
        for name, column in finished.columns.items()
        if len(column)
    }
    assert [name for name in finished.columns if name in first_to_record] == sorted(
        first_to_record,
        key=lambda name: (
            first_to_record[name],
            list(outcomes[first_to_record[name]].metrics).index(name),
            name,
        ),
    )
