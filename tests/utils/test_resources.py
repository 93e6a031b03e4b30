"""Objects that each worker makes for itself."""

from __future__ import annotations

import pickle
import sqlite3
import threading
from typing import Any

import cloudpickle
import pytest

from crystallize import Experiment, FrozenContext, ParallelExecution, resource_factory
from crystallize.errors import InvalidTypeError


class Connection:
    """Something that must not be pickled."""

    def __reduce__(self) -> Any:
        raise TypeError("cannot pickle a connection")


def connect(ctx: FrozenContext) -> Connection:
    return Connection()


def test_a_step_reads_the_object_itself_made_when_it_is_first_read() -> None:
    made = []

    def make(ctx: FrozenContext) -> str:
        made.append(ctx["replicate"])
        return "object"

    entries = {"db": resource_factory(make)}
    first, second = FrozenContext(entries, replicate=3), FrozenContext(entries, replicate=4)
    assert made == []
    assert first["db"] == second["db"] == first.get("db") == "object"
    assert made == [3]


def test_two_entries_made_from_one_function_are_two_resources() -> None:
    one = resource_factory(connect)
    ctx = FrozenContext({"a": resource_factory(connect), "b": resource_factory(connect), "c": one, "d": one})
    assert len({id(ctx[key]) for key in "abcd"}) == 4
    assert ctx["c"] is ctx["c"]


def test_each_thread_has_its_own() -> None:
    ctx = FrozenContext({"db": resource_factory(connect)})
    seen = [ctx["db"]]
    thread = threading.Thread(target=lambda: seen.extend([ctx["db"], ctx["db"]]))
    thread.start()
    thread.join()
    assert seen[1] is seen[2]
    assert seen[0] is not seen[1]


def test_it_can_be_pickled_after_it_was_used_and_the_object_stays_behind() -> None:
    resource = resource_factory(connect)
    ctx = FrozenContext({"db": resource})
    used = ctx["db"]
    copy = pickle.loads(pickle.dumps(resource))
    assert isinstance(FrozenContext({"db": copy})["db"], Connection)
    assert FrozenContext({"db": copy})["db"] is not used


def test_a_lambda_can_be_one_in_cloudpickle() -> None:
    copy = cloudpickle.loads(cloudpickle.dumps(resource_factory(lambda ctx: sqlite3.connect(":memory:"))))
    connection = FrozenContext({"db": copy})["db"]
    assert connection.execute("select 1").fetchone() == (1,)
    connection.close()


def test_its_repr_names_the_function() -> None:
    assert repr(resource_factory(connect)) == "resource_factory(connect)"


@pytest.mark.parametrize("wrong", [None, 5, "connect", Connection()])
def test_what_is_wrapped_is_a_function(wrong: Any) -> None:
    with pytest.raises(
        InvalidTypeError, match=r"resource_factory takes a function.*Pass the function itself"
    ):
        resource_factory(wrong)


@pytest.mark.parametrize("executor", ["thread", "process"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_makes_one_for_each_worker_at_most(executor: str, workers: int) -> None:
    def use(data: Any, ctx: FrozenContext) -> Any:
        import os

        return data, {"worker": f"{os.getpid()} {threading.get_ident()}", "object": id(ctx["db"])}

    experiment = Experiment(
        lambda: None,
        [use, use],
        initial_ctx={"db": resource_factory(lambda ctx: Connection())},
        plugins=[ParallelExecution(workers, executor)],
        seed=1,
    )
    result = experiment.run(replicates=6)
    result.raise_for_errors()
    metrics = result.metrics.baseline.metrics
    pairs = set(zip(metrics["worker"], metrics["object"], strict=True))
    assert len(pairs) == len(set(metrics["worker"])) <= workers


def test_a_factory_that_raises_is_the_outcomes_error() -> None:
    def broken(ctx: FrozenContext) -> Any:
        raise OSError("no such host")

    def use(data: Any, ctx: FrozenContext) -> Any:
        return ctx["db"]

    result = Experiment(lambda: None, [use], initial_ctx={"db": resource_factory(broken)}).run()
    (error,) = result.errors
    assert (error.kind, error.message, error.step) == ("OSError", "no such host", "UseStep")
