"""Experiments written against the public API that Crystallize and crystallize-ml 0.27 document alike.

The two have the same import name, so this module runs unchanged in the environment of either. Steps stand at
module level because the documentation of both asks for it where processes are used; crystallize-ml needs the
decorated function itself there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import steps as work

from crystallize import Experiment, Pipeline, Treatment, data_source, pipeline_step

shift = pipeline_step()(work.shift)
double = pipeline_step()(work.double)
record = pipeline_step()(work.record)
record_three = pipeline_step()(work.record_three)
pass_on = pipeline_step()(work.pass_on)
read_array = pipeline_step()(work.read_array)
read_payload = pipeline_step()(work.read_payload)
nap = pipeline_step()(work.nap)
nap_async = pipeline_step()(work.nap_async)


@pipeline_step()
def burn(data: Any, ctx: Any) -> Any:
    """Use 5 ms of processor time."""
    return work.work(data, ctx)


@pipeline_step()
def no_work(data: Any, ctx: Any) -> Any:
    """Do nothing."""
    return work.no_work(data, ctx)


@pipeline_step()
def touch_payload(data: Any, ctx: Any) -> Any:
    """Look at the large object in the context."""
    return work.touch_payload(data, ctx)


@data_source
def one(ctx: Any) -> float:
    """Give the number one."""
    return 1.0


class Held:
    """A data source that always gives the same object."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def fetch(self, ctx: Any) -> Any:
        """Return the object."""
        return self.value


def experiment(*steps: Callable[[], Any], source: Any = None, **options: Any) -> Experiment:
    """Build an experiment of these steps; the default plugins are all active."""
    return Experiment(datasource=source or one(), pipeline=Pipeline([step() for step in steps]), **options)


def run(subject: Experiment, replicates: int, treatments: dict[str, dict[str, Any]] | None = None) -> Any:
    """Run the experiment and return its result; an outcome with an error is an error of the benchmark."""
    made = [Treatment(name, settings) for name, settings in (treatments or {}).items()]
    result = subject.run(treatments=made, replicates=replicates)
    if result.errors:
        raise RuntimeError(f"{len(result.errors)} outcomes failed, first {next(iter(result.errors))!r}")
    return result
