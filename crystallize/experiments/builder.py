"""Building an experiment part by part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from crystallize.errors import ValidationError
from crystallize.experiments.treatment import check_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from crystallize.datasources.artifact import Artifact
    from crystallize.experiments.aggregation import ResultAggregator
    from crystallize.experiments.treatment import Treatment
    from crystallize.statistics.hypothesis import Hypothesis
    from crystallize.statistics.stopping.rule import StoppingRule

E = TypeVar("E")


class ExperimentBuilder(Generic[E]):
    """Takes the parts of an experiment one by one; :meth:`build` makes it.

    Methods that take several parts add to those given before. Everything is checked by :meth:`build`, as the
    constructor of Experiment does.

    Parameters
    ----------
    make : callable
        The class to build: ``Experiment``, or one that inherits from it.
    name : str, optional
        Name of the experiment.

    Examples
    --------
    >>> experiment = (
    ...     Experiment.builder("scaling")
    ...     .datasource(lambda: [1, 2, 3])
    ...     .steps(sorted, lambda data: (data, {"largest": data[-1]}))
    ...     .treatments(treatment("longer", datasource=lambda: [1, 2, 3, 4]))
    ...     .replicates(10)
    ...     .build()
    ... )
    """

    def __init__(self, make: Callable[..., E], name: str | None = None) -> None:
        self._make = make
        self._arguments: dict[str, Any] = {} if name is None else {"name": name}

    def name(self, name: str) -> ExperimentBuilder[E]:
        """Name the experiment."""
        return self._set("name", name)

    def description(self, description: str) -> ExperimentBuilder[E]:
        """Describe it, for people."""
        return self._set("description", description)

    def datasource(self, datasource: Any) -> ExperimentBuilder[E]:
        """Set what gives each outcome its first data."""
        return self._set("datasource", datasource)

    def pipeline(self, pipeline: Any) -> ExperimentBuilder[E]:
        """Set the whole pipeline; not together with :meth:`steps`."""
        return self._set("pipeline", pipeline)

    def steps(self, *steps: Any) -> ExperimentBuilder[E]:
        """Add steps to the end of the pipeline."""
        return self._extend("steps", steps)

    def treatments(self, *treatments: Treatment | Iterable[Treatment]) -> ExperimentBuilder[E]:
        """Add treatments, and designs of them."""
        return self._extend("treatments", treatments)

    def hypotheses(self, *hypotheses: Hypothesis) -> ExperimentBuilder[E]:
        """Add hypotheses."""
        return self._extend("hypotheses", hypotheses)

    def outputs(self, *outputs: Artifact) -> ExperimentBuilder[E]:
        """Add artifacts that steps write."""
        return self._extend("outputs", outputs)

    def plugins(self, *plugins: object) -> ExperimentBuilder[E]:
        """Add plugins that join or replace the installed ones."""
        return self._extend("plugins", plugins)

    def disable_plugins(self, *names: str) -> ExperimentBuilder[E]:
        """Leave out installed plugins."""
        return self._extend("disable_plugins", names)

    def execution(self, execution: Any) -> ExperimentBuilder[E]:
        """Choose how replicates are driven."""
        return self._set("execution", execution)

    def initial_ctx(self, entries: Mapping[str, Any] | None = None, /, **more: Any) -> ExperimentBuilder[E]:
        """Add entries to what every context holds from the start."""
        held = self._arguments.get("initial_ctx", {})
        added = {} if entries is None else check_context(entries, "initial_ctx")
        return self._set("initial_ctx", {**held, **added, **more})

    def replicates(self, replicates: int) -> ExperimentBuilder[E]:
        """Set how often to repeat."""
        return self._set("replicates", replicates)

    def seed(self, seed: int) -> ExperimentBuilder[E]:
        """Set the master seed."""
        return self._set("seed", seed)

    def aggregator(self, aggregator: type[ResultAggregator]) -> ExperimentBuilder[E]:
        """Choose what makes the result of the outcomes."""
        return self._set("aggregator", aggregator)

    def on_error(self, on_error: str) -> ExperimentBuilder[E]:
        """Choose whether the run goes on when an outcome has failed: ``"continue"`` or ``"stop"``."""
        return self._set("on_error", on_error)

    def max_failures(self, max_failures: int) -> ExperimentBuilder[E]:
        """Set how many outcomes may fail before the run stops."""
        return self._set("max_failures", max_failures)

    def retries(self, retries: int) -> ExperimentBuilder[E]:
        """Set how often an outcome that failed is tried again."""
        return self._set("retries", retries)

    def timeout(self, timeout: float) -> ExperimentBuilder[E]:
        """Set how many seconds one condition of one replicate may take."""
        return self._set("timeout", timeout)

    def cache(self, cache: bool | str) -> ExperimentBuilder[E]:
        """Set whether steps take their outputs from the step cache."""
        return self._set("cache", cache)

    def order(self, order: str) -> ExperimentBuilder[E]:
        """Choose the order in time of replicates and conditions: ``"interleaved"`` or ``"randomised"``."""
        return self._set("order", order)

    def stop_when(self, rule: StoppingRule) -> ExperimentBuilder[E]:
        """Set the rule that ends a run when it has seen enough."""
        return self._set("stop_when", rule)

    def build(self) -> E:
        """Make the experiment.

        Raises
        ------
        ValidationError
            If there is no data source, no pipeline, or both a pipeline and single steps.
        CrystallizeError
            What the constructor of Experiment raises.
        """
        arguments = dict(self._arguments)
        steps = arguments.pop("steps", None)
        if steps is not None:
            if "pipeline" in arguments:
                raise ValidationError(
                    "the builder was given a pipeline and single steps",
                    hint="Use either pipeline(...) or steps(...)",
                )
            arguments["pipeline"] = steps
        for part, call in (("datasource", "datasource(...)"), ("pipeline", "steps(...)")):
            if part not in arguments:
                raise ValidationError(f"the experiment has no {part}", hint=f"Call .{call} before .build()")
        return self._make(**arguments)

    def _set(self, argument: str, value: Any) -> ExperimentBuilder[E]:
        self._arguments[argument] = value
        return self

    def _extend(self, argument: str, values: tuple[Any, ...]) -> ExperimentBuilder[E]:
        self._arguments[argument] = [*self._arguments.get(argument, ()), *values]
        return self
