"""The experiment: its definition, and the calls that run it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from crystallize.datasources.artifact import Artifact, ArtifactSource
from crystallize.datasources.datasource import DataSource, as_datasource
from crystallize.errors import ExecutionError
from crystallize.experiments.aggregation import ResultAggregator
from crystallize.experiments.checks import (
    as_hypotheses,
    as_outputs,
    check_aggregator,
    check_description,
    check_experiment,
    check_replicates,
    check_strategy,
    resolve_replicates,
    settle_sources,
    with_seed,
)
from crystallize.experiments.description import describe
from crystallize.experiments.replicate import FETCH, Replicate
from crystallize.experiments.run import Run, under_way
from crystallize.experiments.treatment import (
    Treatment,
    as_treatments,
    check_context,
    choose_condition,
    with_baseline,
)
from crystallize.pipelines.pipeline import Pipeline
from crystallize.plugins.artifact import ArtifactPlugin
from crystallize.plugins.execution.resolution import resolve_strategy
from crystallize.plugins.manager import PluginManager
from crystallize.utils.names import check_name
from crystallize.utils.randomness import draw_master_seed

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from os import PathLike
    from pathlib import Path

    from crystallize.experiments.builder import ExperimentBuilder
    from crystallize.experiments.handover import HandedBack
    from crystallize.results.result import Result
    from crystallize.statistics.hypothesis import Hypothesis
    from crystallize.store.layout import RunLocation
    from crystallize.store.outcome import ReplicateResult


class Experiment:
    """A data source, a pipeline, and the conditions to compare.

    Parameters
    ----------
    datasource : DataSource or callable
        Gives each outcome its first data; see :func:`crystallize.datasources.datasource.as_datasource`.
    pipeline : Pipeline or iterable of steps
        What the data goes through.
    name : str, optional
        Names the folder that runs are stored in. Without one, the folder's name is the experiment's id.
    description : str, optional
        For people.
    plugins : sequence, optional
        Plugins that join the installed ones, or replace those of the same class: ``SeedPlugin(seed=1)``,
        ``ParallelExecution(...)``, a module with hooks.
    disable_plugins : collection of str, optional
        Installed plugins to leave out, by name.
    execution : str, mapping or strategy, optional
        How replicates are driven: ``"serial"`` (the default), ``"thread"``, ``"process"``, ``"async"`` or any
        installed strategy; ``{"strategy": "process", "max_workers": 2}``; or an instance.
    initial_ctx : mapping, optional
        What every context holds from the start.
    outputs : sequence or mapping of Artifact, optional
        The artifacts that steps write; a mapping names them for steps that take an ``Artifact`` parameter.
    treatments : sequence of Treatment, optional
        The conditions besides the baseline.
    hypotheses : sequence of Hypothesis, optional
        What to ask of the metrics.
    replicates : int, optional
        How often to repeat; if not given here or to :meth:`run`, as often as the data source has data, or once.
    seed : int, optional
        Short for ``plugins=[SeedPlugin(seed=...)]``.
    aggregator : type of ResultAggregator, optional
        What makes the result of the outcomes.

    Attributes
    ----------
    master_seed : int
        What all random streams derive from. Drawn from the operating system if no seed is given.
    plugins : PluginManager
        The active plugins.
    conditions : tuple of str, active_treatments : dict of str to Treatment
        Those of the run under way, or else of the definition; the baseline is the first condition.
    run_kind : {"run", "apply"} or None
        What is under way, for plugins.
    source : pathlib.Path or None
        The config.yaml that the experiment was built from.

    Raises
    ------
    CrystallizeError
        Of the kind that fits, if an argument has the wrong type or value.
    """

    def __init__(
        self,
        datasource: Any,
        pipeline: Any,
        *,
        name: str | None = None,
        description: str = "",
        plugins: Sequence[object] | None = None,
        disable_plugins: Collection[str] = (),
        execution: Any = None,
        initial_ctx: Mapping[str, Any] | None = None,
        outputs: Sequence[Artifact] | Mapping[str, Artifact] = (),
        treatments: Sequence[Treatment] = (),
        hypotheses: Sequence[Hypothesis] = (),
        replicates: int | None = None,
        seed: int | None = None,
        aggregator: type[ResultAggregator] = ResultAggregator,
    ) -> None:
        self.name = None if name is None else check_name("experiment", name)
        self.description = check_description(description)
        self.datasource = datasource
        self.pipeline = pipeline if isinstance(pipeline, Pipeline) else Pipeline(pipeline)
        self.initial_ctx = check_context({} if initial_ctx is None else initial_ctx, "initial_ctx")
        self.treatments = as_treatments(treatments)
        self.hypotheses = as_hypotheses(hypotheses)
        self.replicates = None if replicates is None else check_replicates(replicates)
        self.aggregator = check_aggregator(aggregator)
        self.run_kind: Literal["run", "apply"] | None = None
        self.source: Path | None = None
        self.active_treatments = {each.name: each for each in self.treatments}
        self.conditions = with_baseline(self.active_treatments)
        self.current_run: Run | None = None
        self.master_seed = draw_master_seed()
        self.run_token = ""  # of the run under way; its results bear it
        self.plugins = PluginManager.build(
            with_seed(seed, plugins),
            disabled=disable_plugins,
            strategy=None if execution is None else resolve_strategy(execution),
        )
        self.outputs = as_outputs(outputs)
        self.pipeline.bind(self.outputs)  # a step that asks for an output that is not there: known now
        for output in self.outputs.values():
            output.bind(self.location())
        self.plugins.call("init_hook", experiment=self)

    @classmethod
    def from_yaml(cls, path: str | PathLike[str], **overrides: Any) -> Experiment:
        """Build the experiment of a folder; see :func:`crystallize.config.build.load_experiment`."""
        from crystallize.config.build import load_experiment

        return load_experiment(path, **overrides)

    @classmethod
    def builder(cls, name: str | None = None) -> ExperimentBuilder:
        """Return a builder, which takes the parts one by one."""
        from crystallize.experiments.builder import ExperimentBuilder

        return ExperimentBuilder(cls, name)

    # -- the definition ------------------------------------------------------------------------------------

    @property
    def datasource(self) -> DataSource:
        """Gives each outcome its first data."""
        return self._datasource

    @datasource.setter
    def datasource(self, source: Any) -> None:
        self._datasource = as_datasource(source)

    @property
    def id(self) -> str:
        """The hash of the pipeline's signature; the same in every process and on every machine."""
        return self.pipeline.signature[:16]

    @property
    def folder_name(self) -> str:
        """Name of the folder that runs are stored in: the experiment's name, or else its id."""
        return self.name or self.id

    def definition(self) -> dict[str, Any]:
        """Return what defines the run under way, for metadata; values that JSON lacks are left as they are."""
        return describe(self)

    def artifact_datasource(
        self, step: str, name: str, *, condition: str | None = None, require_metadata: bool = False
    ) -> ArtifactSource:
        """Return a data source that gives, for each replicate, the path of an artifact of this experiment.

        The experiment need not have run in this process: its name or its id locates the folder.

        Parameters
        ----------
        step : str
            Name of the step that wrote the artifact.
        name : str
            The artifact's file name.
        condition : str, optional
            Whose artifacts to take. By default each condition reads its own, or else the baseline's.
        require_metadata : bool, optional
            Raise now if no run is stored.

        Raises
        ------
        ArtifactNotFoundError
            If `require_metadata` is set and there is no metadata.
        """
        return ArtifactSource(
            self.location(), step=step, name=name, condition=condition, require_metadata=require_metadata
        )

    def validate(self) -> None:
        """Check what can be known before a run.

        Raises
        ------
        ValidationError
            If a hypothesis has nothing to compare, or a step needs a parameter that nothing provides.
        ReplicateMismatchError
            If the data source has another number of replicates than the experiment asks for.
        """
        check_experiment(self, self.hypotheses)
        resolve_replicates(self, self.replicates)

    # -- running -------------------------------------------------------------------------------------------

    def run(
        self,
        *,
        treatments: Sequence[Treatment] | None = None,
        hypotheses: Sequence[Hypothesis] | None = None,
        replicates: int | None = None,
        strategy: str = "rerun",
    ) -> Result:
        """Run every replicate under the baseline and every treatment, and compare.

        Parameters
        ----------
        treatments, hypotheses, replicates : optional
            Take the place of the experiment's own for this run.
        strategy : {"rerun"}
            What to do about an earlier run: run everything anew.

        Returns
        -------
        Result
            Metrics, errors, artifacts and provenance. A step's error is in it and not raised; see
            ``Result.raise_for_errors``.

        Raises
        ------
        ValidationError
            If the experiment cannot run as it is defined.
        PluginError
            If a plugin's hook raised outside of a replicate.
        MissingMetricError
            If a hypothesis asks for a metric that was not recorded; everything is stored by then.
        """
        return self._execute(treatments, hypotheses, replicates, strategy)

    async def arun(
        self,
        *,
        treatments: Sequence[Treatment] | None = None,
        hypotheses: Sequence[Hypothesis] | None = None,
        replicates: int | None = None,
        strategy: str = "rerun",
    ) -> Result:
        """Do what :meth:`run` does without blocking the running event loop.

        With asynchronous execution the steps run on this loop, so that they can share its sessions and
        connections; with any other, the run has a thread of its own. A cancelled task ends the run.
        """
        from crystallize.utils.aio import in_thread, running_loop

        loop = running_loop()
        return await in_thread(
            lambda: self._execute(treatments, hypotheses, replicates, strategy, loop), on_cancel=self.cancel
        )

    def apply(
        self, treatment: Treatment | str | None = None, *, data: Any = FETCH, seed: int | None = None
    ) -> Any:
        """Run the pipeline once, for use rather than for comparison, with all hooks.

        Stored runs stay as they are; artifacts go to ``<root>/<experiment>/apply/<condition>/``.

        Parameters
        ----------
        treatment : Treatment or str, optional
            The condition to apply; the baseline, if not given.
        data : object, optional
            The pipeline's first data; the data source's, if not given.
        seed : int, optional
            Takes the place of the master seed.

        Returns
        -------
        object
            The last step's data.

        Raises
        ------
        Exception
            Whatever a step raises.
        """
        name, chosen = choose_condition(self.treatments, treatment)
        with under_way(self, "apply", treatments=chosen, conditions=(name,), replicates=1, seed=seed):
            check_experiment(self, ())
            settle_sources(self)
            self.plugins.call("before_run", experiment=self)
            self.current_run = Run(self, ())
            applied, result = Replicate(self).apply(name, data)
            self.current_run.take(result)
            self.current_run.finish()
            return applied

    def replicate_done(self, result: ReplicateResult) -> int:
        """Take the result of a replicate as it arrives; for execution strategies, in the coordinator.

        The number that it returns is what to keep in the result's place; the content lives on in the aggregator.
        """
        return self._run_under_way("was given a result").take(result)

    def handed_back(self, plugin: object) -> list[HandedBack]:
        """Return what hooks have given to ``ctx.hand_back(plugin, value)``; for plugins, in ``after_replicate``.

        Values come in the order of the replicates: those of a replicate that arrives early wait until all
        before it have arrived. Each comes once, the last ones with the last replicate. A failed outcome's values
        are among them; of a replicate that was tried again, only those of the attempt that counts.

        Raises
        ------
        PluginError, ExecutionError
            If `plugin`, an instance or its name, does not take part; if this is not ``after_replicate``.
        """
        name = self.plugins.name_of(plugin)
        return self._run_under_way("was asked for what was handed back").handover.due(name)

    def cancel(self) -> None:
        """Have the run under way end soon, as Ctrl-C would; from any thread."""
        if self.current_run is not None:
            self.current_run.cancelled.set()

    def check_cancelled(self) -> None:
        """Raise if the run under way was cancelled; for strategies, now and then while they wait for results."""
        if self.current_run is not None:
            self.current_run.check_cancelled()

    def location(self) -> RunLocation | None:
        """Return where this experiment's runs are stored, or None if nothing stores them."""
        plugin = self.plugins.find(ArtifactPlugin)
        return None if plugin is None else plugin.location(self)

    # -- behind the calls ----------------------------------------------------------------------------------

    def _execute(
        self,
        treatments: Sequence[Treatment] | None,
        hypotheses: Sequence[Hypothesis] | None,
        replicates: int | None,
        strategy: str,
        loop: AbstractEventLoop | None = None,
    ) -> Result:
        check_strategy(strategy)
        chosen = self.treatments if treatments is None else as_treatments(treatments)
        active = {each.name: each for each in chosen}
        asked = self.replicates if replicates is None else check_replicates(replicates)
        questions = self.hypotheses if hypotheses is None else as_hypotheses(hypotheses)
        conditions = with_baseline(active)
        with under_way(self, "run", treatments=active, conditions=conditions, replicates=asked, seed=None):
            check_experiment(self, questions)
            settle_sources(self)
            self.replicates = resolve_replicates(self, asked)
            self.plugins.call("before_run", experiment=self)
            self.current_run = Run(self, questions)
            return self.current_run.drive(Replicate(self, loop))

    def _run_under_way(self, event: str) -> Run:
        if self.current_run is None:
            raise ExecutionError(
                f"experiment {self.folder_name!r} {event} and no run is under way",
                hint="replicate_done is for run_experiment_loop, handed_back for after_replicate",
            )
        return self.current_run

    def __getstate__(self) -> dict[str, Any]:
        # What goes to a worker is the definition. The run stays with the coordinator.
        return {**self.__dict__, "current_run": None}

    def __repr__(self) -> str:
        return f"<Experiment {self.folder_name!r}: {len(self.pipeline)} steps, conditions {', '.join(self.conditions)}>"
