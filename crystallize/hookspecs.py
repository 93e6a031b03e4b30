"""The lifecycle hooks of Crystallize, in the order in which a run calls them.

A plugin implements any of them: as a method of a :class:`crystallize.plugins.base.BasePlugin` subclass, or as
a function or method marked with :data:`hookimpl`. An implementation may take fewer arguments than its
specification; it names the ones that it wants.

*Coordinator* is the process that called ``Experiment.run``, *worker* is whatever executes a replicate. They
may be the same. In a worker, a plugin is a copy of the coordinator's: what a hook changes in itself there
stays there. What the coordinator's instance has to know, a worker's hook gives to ``ctx.hand_back(self, value)``,
and ``after_replicate`` gets it from ``experiment.handed_back(self)``, in the order of the replicates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

import pluggy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from crystallize.datasources.artifact import Artifact
    from crystallize.datasources.datasource import DataSource
    from crystallize.pipelines.pipeline import Pipeline
    from crystallize.pipelines.pipeline_step import PipelineStep
    from crystallize.results.result import Result
    from crystallize.store.outcome import ReplicateResult
    from crystallize.utils.context import FrozenContext

PROJECT = "crystallize"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

RUNS_IN: Mapping[str, Literal["coordinator", "worker"]] = {
    "init_hook": "coordinator",
    "before_run": "coordinator",
    "run_experiment_loop": "coordinator",
    "before_replicate": "worker",
    "before_step": "worker",
    "after_step": "worker",
    "after_replicate": "coordinator",
    "after_run": "coordinator",
}
"""Where each hook is called, in the order of a run."""


class RunningExperiment(Protocol):
    """What hooks are given as `experiment`: an ``Experiment``, and this is what plugins need of it.

    While a run is under way, what can differ between runs is that of the run.

    Attributes
    ----------
    outputs : dict of str to Artifact
        The artifacts that steps write.
    initial_ctx : dict of str to object
        What every context holds from the start.
    master_seed : int
        What all random streams derive from.
    is_seed_drawn : bool
        Whether nobody has given a seed.
    stop_when : StoppingRule or None
        Its rule that ends a run when it has seen enough; that of the run under way is ``current_run.stop_when``.
    failure_policy : FailurePolicy
        What it does about outcomes that fail; that of the run under way is ``current_run.failure_policy``.
    plugins : PluginManager
        The active plugins.
    source : pathlib.Path or None
        The config.yaml that it was built from.
    command_name : str or None
        What the command line calls it, if it was built from one: its name, or its folder.
    """

    outputs: dict[str, Artifact]
    initial_ctx: dict[str, Any]
    master_seed: int
    is_seed_drawn: bool
    stop_when: Any
    failure_policy: Any
    plugins: Any
    source: Path | None
    command_name: str | None

    @property
    def name(self) -> str | None:
        """The experiment's name."""

    @property
    def id(self) -> str:
        """The hash of its pipeline's signature."""

    @property
    def folder_name(self) -> str:
        """Its name, or else its id."""

    @property
    def datasource(self) -> DataSource:
        """What gives each outcome its first data."""

    @property
    def pipeline(self) -> Pipeline:
        """What the data goes through."""

    @property
    def replicates(self) -> int | None:
        """How many replicates there are; the most there can be, as long as a stopping rule has not decided."""

    @property
    def conditions(self) -> tuple[str, ...]:
        """The baseline and the active treatments."""

    @property
    def treatments(self) -> Sequence[Any]:
        """The treatments of its definition, of which a run may leave some out."""

    @property
    def active_treatments(self) -> Mapping[str, Any]:
        """The treatments, by name."""

    @property
    def owed(self) -> Iterator[int]:
        """The replicates that are still to do, for an execution strategy to take from as it has room."""

    @property
    def run_kind(self) -> Literal["run", "apply"] | None:
        """What is under way."""

    @property
    def current_run(self) -> Any:
        """The run under way; ``experiment.current_run.state(self)`` is what a plugin keeps for it."""

    def replicate_done(self, result: ReplicateResult) -> int:
        """Take the result of a replicate as it arrives; return what an execution strategy keeps in its place."""

    def handed_back(self, plugin: object) -> list[Any]:
        """Return what hooks have given to ``ctx.hand_back(plugin, value)``; in ``after_replicate``."""

    def check_cancelled(self) -> None:
        """Raise if the run under way was cancelled."""

    def definition(self) -> dict[str, Any]:
        """Return what defines the run under way, for metadata."""


@hookspec
def init_hook(experiment: RunningExperiment) -> None:
    """Look at, or complete, an experiment that was just built.

    Parameters
    ----------
    experiment : Experiment
        The new experiment. Its plugins are registered; nothing has run.

    Notes
    -----
    *Runs in:* the coordinator, once, at the end of ``Experiment(...)``.

    *If it raises:* the experiment is not built; ``PluginError`` names the plugin and this hook.
    """


@hookspec
def before_run(experiment: RunningExperiment) -> None:
    """Prepare for a run.

    Parameters
    ----------
    experiment : Experiment
        The experiment that is about to run; ``experiment.replicates`` and ``experiment.conditions`` are
        those of this run.

    Notes
    -----
    *Runs in:* the coordinator, before any replicate and before anything is sent to a worker: what a plugin
    stores in itself here, its copies in the workers have too.

    *If it raises:* the run stops before any replicate; ``PluginError`` names the plugin and this hook.
    """


@hookspec(firstresult=True)
def run_experiment_loop(
    experiment: RunningExperiment, replicate_fn: Callable[[int], Any]
) -> list[Any] | None:
    """Drive all replicates. The first implementation that does not return None decides.

    Parameters
    ----------
    experiment : Experiment
        Take replicates from ``experiment.owed`` as there is room; it may end at any time, when a stopping rule has
        seen enough. Call ``experiment.replicate_done(result)`` as
        each result arrives and keep what it returns: progress and ``after_replicate`` are live then, and memory
        stays flat.
    replicate_fn : callable
        ``replicate_fn(i)`` runs replicate ``i`` under every condition. It never raises for a step's error,
        and it can be pickled.

    Returns
    -------
    list or None
        One entry for each replicate that was taken, in the order of their numbers: the result, or what
        ``replicate_done`` returned for it. None leaves the run to the next plugin.

    Notes
    -----
    *Runs in:* the coordinator, once a run.

    *If it raises:* the run ends with that error as it is, or as a ``PluginError`` if it is not one of ours.
    """


@hookspec
def before_replicate(experiment: RunningExperiment, ctx: FrozenContext) -> None:
    """Prepare the context of one condition of one replicate.

    Parameters
    ----------
    experiment : Experiment
        The experiment that is running.
    ctx : FrozenContext
        The new context: ``ctx["replicate"]`` and ``ctx["condition"]`` tell where it belongs. The settings of
        a treatment are in it; a treatment that is a function is called after this hook, seeded like a
        step. ``ctx.add`` gives the steps something to read.

    Notes
    -----
    *Runs in:* the worker, before each condition of each replicate.

    *If it raises:* this outcome becomes an error that names the plugin and this hook; the other conditions
    and replicates go on.
    """


@hookspec
def before_step(experiment: RunningExperiment, step: PipelineStep, ctx: FrozenContext) -> None:
    """Look at a step that is about to run.

    Parameters
    ----------
    experiment : Experiment
        The experiment that is running.
    step : PipelineStep
        The step.
    ctx : FrozenContext
        The context that it will get; ``ctx["step_name"]`` is its name in the pipeline.

    Notes
    -----
    *Runs in:* the worker, before each step.

    *If it raises:* as in :func:`before_replicate`.
    """


@hookspec
def after_step(experiment: RunningExperiment, step: PipelineStep, data: Any, ctx: FrozenContext) -> None:
    """Look at what a step returned.

    Parameters
    ----------
    experiment : Experiment
        The experiment that is running.
    step : PipelineStep
        The step that has just returned.
    data : object
        The data that the next step will get; metrics that were returned with it are in ``ctx.metrics``.
    ctx : FrozenContext
        The context that the step had.

    Notes
    -----
    *Runs in:* the worker, after each step that did not raise.

    *If it raises:* as in :func:`before_replicate`; the hooks of the other plugins still run.
    """


@hookspec
def after_replicate(experiment: RunningExperiment, result: ReplicateResult) -> None:
    """Take note of a replicate that has arrived.

    Parameters
    ----------
    experiment : Experiment
        The experiment that is running; ``experiment.handed_back(self)`` returns what this plugin's hooks in the
        workers have handed back, always in the order of the replicates.
    result : ReplicateResult
        The outcomes of all conditions of one replicate.

    Notes
    -----
    *Runs in:* the coordinator, one call at a time, in the order of arrival. Where a stopping rule ends the run, it is
    also told of replicates that were in flight, and are not in the result.

    *If it raises:* a warning says so the first time, and the other plugins' hooks and the remaining replicates still
    run; then the run raises ``PluginError``, with everything that was measured already stored.
    """


@hookspec
def after_run(experiment: RunningExperiment, result: Result) -> None:
    """Use the final result.

    Parameters
    ----------
    experiment : Experiment
        The experiment that has run.
    result : Result
        Metrics, hypotheses, errors, artifacts and provenance, all final.

    Notes
    -----
    *Runs in:* the coordinator, once, at the end of a run.

    *If it raises:* the other plugins' hooks still run; then the run raises ``PluginError``.
    """
