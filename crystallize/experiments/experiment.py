"""The experiment: its definition, and the calls that run it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Self

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
    check_rule,
    check_strategy,
    with_seed,
)
from crystallize.experiments.failure_policy import FailurePolicy
from crystallize.experiments.inputs import (
    data_sources,
    resolve_replicates,
    settle_sources,
    shared_inputs,
    stopped_inputs,
    warn_of_shared_inputs,
)
from crystallize.experiments.intake import Intake
from crystallize.experiments.order import INTERLEAVED, check_order
from crystallize.experiments.preregistration import compare_with_plan
from crystallize.experiments.replicate import FETCH, Replicate
from crystallize.experiments.run import Run, RunKind
from crystallize.experiments.signature import experiment_signature
from crystallize.experiments.treatment import (
    Treatment,
    Treatments,
    as_treatments,
    check_context,
    choose_condition,
    stored_coordinates,
    with_baseline,
)
from crystallize.pipelines.cache.settings import NO_LIMITS, CacheSettings
from crystallize.pipelines.pipeline import Pipeline
from crystallize.plugins.artifact import ArtifactPlugin
from crystallize.plugins.execution.resolution import resolve_strategy
from crystallize.plugins.manager import PluginManager
from crystallize.utils.checks import check_count
from crystallize.utils.fingerprint import fingerprint
from crystallize.utils.masking import masked
from crystallize.utils.names import check_experiment_name
from crystallize.utils.randomness import check_seed, draw_master_seed
from crystallize.utils.signals import termination_ends_the_run
from crystallize.utils.wording import first_of

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from os import PathLike
    from pathlib import Path

    from crystallize.experiments.builder import ExperimentBuilder
    from crystallize.experiments.handover import HandedBack
    from crystallize.results.result import Result
    from crystallize.statistics.hypothesis import Hypothesis
    from crystallize.statistics.stopping.rule import StoppingRule
    from crystallize.store.layout import RunLocation
    from crystallize.store.outcome import ReplicateResult

_logger = logging.getLogger("crystallize.experiment")
_entrance = threading.Lock()  # two threads that start one experiment at once: one of them is told


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
        The conditions besides the baseline; designs such as :func:`crystallize.grid` may be among them.
    hypotheses : sequence of Hypothesis, optional
        What to ask of the metrics.
    replicates : int, optional
        How often to repeat; if not given here or to :meth:`run`, as often as the data source has data, or once.
    seed : int, optional
        Short for ``plugins=[SeedPlugin(seed=...)]``.
    aggregator : type of ResultAggregator, optional
        What makes the result of the outcomes.
    on_error : {"continue", "stop"}, default "continue"
        Whether the run goes on when an outcome has failed; ``"stop"`` is short for ``max_failures=0``.
    max_failures : int, optional
        How many outcomes may fail; with one more the run stops and raises RunFailedError.
    retries : int, default 0
        How often an outcome that failed is tried again, at once and with the same seeds.
    timeout : float, optional
        How many seconds one condition of one replicate may take. In worker processes it is then killed; elsewhere an
        awaited step is cancelled, and what cannot be stopped fails when it is through.
    cache : bool or "refresh", default True
        Whether steps that are cacheable take their outputs from the step cache; ``"refresh"`` has them made anew.
    order : {"interleaved", "randomised"}
        The order in time, against drift of the machine: replicate after replicate, in each one the baseline and the
        treatments as they are listed; or replicates, and the conditions of each, as the master seed has drawn it. The
        results are the same.
    stop_when : StoppingRule, optional
        A rule that ends a run when it has seen enough, such as ``decided("loss", max=200)``. `replicates` then says
        how many there are at most.

    Attributes
    ----------
    failure_policy : FailurePolicy
        What `on_error`, `max_failures`, `retries` and `timeout` say.
    plugins : PluginManager
        The active plugins.
    current_run : Run or None
        The run under way. As long as there is one, `replicates`, `conditions`, `active_treatments` and `master_seed`
        are that run's, since plugins look at the experiment from everywhere; so it does one run at a time.
    source : pathlib.Path or None
        The config.yaml that the experiment was built from.
    command_name : str or None
        What the command line calls it, if it was built from one: its name, or its folder.
    is_seed_drawn : bool
        Whether nobody has given a seed, so that the operating system was asked for one. A run that is resumed then
        goes on with the seed that it began with.

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
        treatments: Treatments = (),
        hypotheses: Sequence[Hypothesis] = (),
        replicates: int | None = None,
        seed: int | None = None,
        aggregator: type[ResultAggregator] = ResultAggregator,
        on_error: str = "continue",
        max_failures: int | None = None,
        retries: int = 0,
        timeout: float | None = None,
        cache: bool | str = True,
        order: str = INTERLEAVED,
        stop_when: StoppingRule | None = None,
    ) -> None:
        CacheSettings.of(cache)
        self.stop_when = check_rule(stop_when)
        self.cache = cache
        self.order = check_order(order)
        self.failure_policy = FailurePolicy.of(
            on_error=on_error, max_failures=max_failures, retries=retries, timeout=timeout
        )
        self.name = None if name is None else check_experiment_name(name)
        self.description = check_description(description)
        self.datasource = datasource
        self.pipeline = pipeline if isinstance(pipeline, Pipeline) else Pipeline(pipeline)
        self.initial_ctx = check_context({} if initial_ctx is None else initial_ctx, "initial_ctx")
        self.treatments = as_treatments(treatments)
        self.hypotheses = as_hypotheses(hypotheses)
        self.aggregator = check_aggregator(aggregator)
        self.source: Path | None = None
        self.command_name: str | None = None
        self.current_run: Run | None = None
        self._intake: Intake | None = None  # of the run under way
        self._replicates = None if replicates is None else check_count("replicates", replicates)
        self._master_seed = draw_master_seed()
        self.is_seed_drawn = True
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
    def builder(cls, name: str | None = None) -> ExperimentBuilder[Self]:
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
    def replicates(self) -> int | None:
        """How many replicates there are: of the run under way, or as the experiment asks for."""
        return self._replicates if self.current_run is None else self.current_run.replicates

    @replicates.setter
    def replicates(self, replicates: int | None) -> None:
        self._replicates = None if replicates is None else check_count("replicates", replicates)

    @property
    def active_treatments(self) -> Mapping[str, Treatment]:
        """The treatments of the run under way, or else the experiment's, by name."""
        if self.current_run is not None:
            return self.current_run.treatments
        return {each.name: each for each in self.treatments}

    @property
    def conditions(self) -> tuple[str, ...]:
        """The conditions of the run under way, or else the experiment's; the baseline is the first."""
        return (
            with_baseline(self.active_treatments) if self.current_run is None else self.current_run.conditions
        )

    @property
    def master_seed(self) -> int:
        """What all random streams derive from. Drawn from the operating system if no seed is given."""
        return self._master_seed if self.current_run is None else self.current_run.master_seed

    @master_seed.setter
    def master_seed(self, seed: int) -> None:
        self._master_seed = check_seed(seed)
        self.is_seed_drawn = False

    @property
    def run_kind(self) -> RunKind | None:
        """What is under way, for plugins: ``"run"``, ``"apply"`` or nothing."""
        return None if self.current_run is None else self.current_run.kind

    @property
    def owed(self) -> Iterator[int]:
        """The replicates that the run under way still has to do, for the execution strategy to take from."""
        return self._intake_under_way("was asked what is owed").owed

    @property
    def id(self) -> str:
        """The hash of the pipeline's signature; the same in every process and on every machine."""
        return self.pipeline.signature[:16]

    @property
    def folder_name(self) -> str:
        """Name of the folder that runs are stored in: the experiment's name, or else its id."""
        return self.name or self.id

    def definition(self) -> dict[str, Any]:
        """Return what defines the run under way, for metadata: secrets are masked, and values that JSON lacks stay."""
        treatments, pipeline, run = self.active_treatments, self.pipeline, self.current_run
        decided = run or self
        planned = compare_with_plan(self, decided.hypotheses)
        return {
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "replicates": self.replicates,
            "conditions": {
                name: masked(name, treatments[name].describe()) if name in treatments else {}
                for name in self.conditions
            },
            "coordinates": stored_coordinates(treatments),
            "pipeline": [
                {"step": name, "params": masked(name, step.params), "cacheable": step.cacheable}
                for name, step in zip(pipeline.names, pipeline.steps, strict=True)
            ],
            "datasource": repr(self.datasource),
            "inputs": [entry for source in data_sources(self).values() for entry in source.inputs()],
            "files": self.files(),
            "initial_ctx": sorted(self.initial_ctx),
            "hypotheses": [masked(each.name, each.describe()) for each in decided.hypotheses],
            "failure_policy": asdict(decided.failure_policy),
            "stopping": None if decided.stop_when is None else {"rule": str(decided.stop_when)},
            "master_seed": self.master_seed,
            "order": decided.order,
            "signature": experiment_signature(self, decided.hypotheses),
            "preregistration": None if planned is None else planned._asdict(),
            "shared_inputs": {} if run is None else shared_inputs(self, run.replicates),
            "stopped_inputs": [] if run is None else stopped_inputs(self, run.replicates),
        }

    def files(self) -> dict[str, str]:
        """Return a hash of each file that defines the experiment: its config.yaml and the modules beside it."""
        if self.source is None:
            return {}
        found = [self.source, *sorted(self.source.parent.glob("*.py"))]
        return {file.name: fingerprint(file.read_bytes()) for file in found if file.is_file()}

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
        resolve_replicates(self, self.replicates, self.stop_when)

    # -- running -------------------------------------------------------------------------------------------

    def run(
        self,
        *,
        treatments: Treatments | None = None,
        hypotheses: Sequence[Hypothesis] | None = None,
        replicates: int | None = None,
        strategy: str = "rerun",
        stop_when: StoppingRule | None = None,
    ) -> Result:
        """Run every replicate under the baseline and every treatment, and compare.

        Parameters
        ----------
        treatments, hypotheses, replicates : optional
            Take the place of the experiment's own for this run.
        strategy : {"rerun", "resume"}
            What to do about an earlier run: run everything anew, or go on with the newest one. What it has measured is
            taken over as far as it still applies: with the same code, parameters, seed and data. What is owed is run:
            replicates and conditions that it lacks, and outcomes that failed. If nothing is stored, all is owed.
        stop_when : StoppingRule, optional
            Takes the place of the experiment's own for this run: the rule looks at the replicates in their order and
            ends the run when it has seen enough. ``result.stopping`` says why.

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
            If a hypothesis asks for a metric that was not recorded: after the first replicate, if no condition has it
            there, and else at the end. What was measured is stored, and is its ``result``.
        RunFailedError
            If more outcomes failed than `max_failures` allows; what was measured is its ``result``.
        """
        return self._execute(treatments, hypotheses, replicates, strategy, stop_when=stop_when)

    async def arun(
        self,
        *,
        treatments: Treatments | None = None,
        hypotheses: Sequence[Hypothesis] | None = None,
        replicates: int | None = None,
        strategy: str = "rerun",
        stop_when: StoppingRule | None = None,
    ) -> Result:
        """Do what :meth:`run` does without blocking the running event loop.

        With asynchronous execution the steps run on this loop, so that they can share its sessions and
        connections; with any other, the run has a thread of its own. A cancelled task ends the run.
        """
        from crystallize.utils.aio import in_thread, running_loop

        loop = running_loop()
        with termination_ends_the_run():
            try:
                return await in_thread(
                    lambda: self._execute(
                        treatments, hypotheses, replicates, strategy, stop_when=stop_when, loop=loop
                    ),
                    on_cancel=self.cancel,
                )
            except BaseException as error:
                measured = getattr(error.__cause__, "result", None)  # of a run that was cancelled
                if measured is not None:
                    vars(error)["result"] = measured
                raise

    def repeat(
        self,
        *,
        seed: int,
        replicates: int,
        treatments: Treatments | None = None,
        only: Collection[int] | None = None,
        inputs: Sequence[Mapping[str, Any]] | None = None,
    ) -> Result:
        """Run replicates of an earlier run again, to compare them; :func:`crystallize.verify` does both.

        Hypotheses are not asked, no number of failures ends it, and nothing comes from the step cache.

        Parameters
        ----------
        seed : int
            The earlier run's master seed.
        replicates : int
            How many replicates it had.
        treatments : sequence of Treatment, optional
            Its treatments; all of the experiment's, if not given.
        only : collection of int, optional
            Which of the replicates to run; all, if not given.
        inputs : sequence of mapping, optional
            The ``inputs`` of its metadata: the same runs of other experiments are read, as far as they are still
            there. The newest ones, if not given.

        Returns
        -------
        Result
            What these replicates gave.
        """
        active = {
            each.name: each for each in as_treatments(self.treatments if treatments is None else treatments)
        }
        with self._under_way(
            "run",
            active,
            with_baseline(active),
            self.hypotheses,
            replicates=replicates,
            seed=seed,
            cache=False,
            policy=self.failure_policy.changed(on_error="continue"),
            only=None if only is None else frozenset(only),
        ) as run:
            return self._drive(run, (), replicates, inputs=inputs)

    def apply(
        self,
        treatment: Treatment | str | None = None,
        *,
        data: Any = FETCH,
        seed: int | None = None,
        replicate: int = 0,
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
        replicate : int, default 0
            Which replicate it is: with the seed of a run, the outcome of that replicate comes about again.

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
        check_count("replicate", replicate, least=0)
        only = frozenset({replicate})
        with self._under_way(
            "apply", chosen, (name,), (), replicates=replicate + 1, seed=seed, only=only
        ) as run:
            check_experiment(self, ())
            settle_sources(self)
            self.plugins.call("before_run", experiment=self)
            self._intake = Intake(self, run, self.aggregator(self), ())
            self._intake.take_stored()
            applied, result = Replicate(self).apply(name, data, replicate)
            self._intake.take(result)
            self._intake.finish()
            return applied

    def replicate_done(self, result: ReplicateResult) -> int:
        """Take the result of a replicate as it arrives; for execution strategies, in the coordinator.

        The number that it returns is what to keep in the result's place; the content lives on in the aggregator.
        """
        return self._intake_under_way("was given a result").take(result)

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
        return self._intake_under_way("was asked for what was handed back").handover.due(name)

    def cancel(self) -> None:
        """Have the run under way end soon, as Ctrl-C would; from any thread."""
        if self.current_run is not None:
            self.current_run.is_cancelled = True

    def check_cancelled(self) -> None:
        """Raise if the run under way was cancelled; for strategies, now and then while they wait for results.

        It raises once: what has finished by then can still be given to :meth:`replicate_done`.
        """
        if self.current_run is not None:
            self.current_run.check_cancelled()

    def location(self) -> RunLocation | None:
        """Return where this experiment's runs are stored, or None if nothing stores them."""
        plugin = self.plugins.find(ArtifactPlugin)
        return None if plugin is None else plugin.location(self)

    # -- behind the calls ----------------------------------------------------------------------------------

    def _execute(
        self,
        treatments: Treatments | None,
        hypotheses: Sequence[Hypothesis] | None,
        replicates: int | None,
        strategy: str,
        *,
        stop_when: StoppingRule | None,
        loop: AbstractEventLoop | None = None,
    ) -> Result:
        check_strategy(strategy)
        rule = self.stop_when if stop_when is None else check_rule(stop_when)
        chosen = self.treatments if treatments is None else as_treatments(treatments)
        active = {each.name: each for each in chosen}
        asked = self.replicates if replicates is None else check_count("replicates", replicates)
        hypotheses = self.hypotheses if hypotheses is None else as_hypotheses(hypotheses)
        resumes = strategy == "resume"
        with self._under_way(
            "run",
            active,
            with_baseline(active),
            hypotheses,
            replicates=asked,
            seed=None,
            resumes=resumes,
            stop_when=rule,
        ) as run:
            return self._drive(run, hypotheses, asked, loop=loop)

    def _drive(
        self,
        run: Run,
        hypotheses: Sequence[Hypothesis],
        asked: int | None,
        *,
        loop: AbstractEventLoop | None = None,
        inputs: Sequence[Mapping[str, Any]] | None = None,
    ) -> Result:
        check_experiment(self, hypotheses)
        settle_sources(self, inputs)
        run.replicates = resolve_replicates(self, asked, run.stop_when)
        if run.stop_when is not None and (unused := run.stop_when.unused_looks(run.replicates)):
            _logger.warning("experiment %r: the stopping rule %s", self.folder_name, unused)
        self.plugins.call("before_run", experiment=self)
        run.shared_inputs = shared_inputs(self, run.replicates)  # a run that is resumed may keep more of them
        run.stopped_inputs = stopped_inputs(self, run.replicates)
        warn_of_shared_inputs(self)
        if run.resumes and not run.stored and self.location() is None:
            _logger.warning(
                "nothing stores the runs of experiment %r, so that there is none to resume: all is run",
                self.folder_name,
            )
        run.preregistration = compare_with_plan(self, hypotheses)
        self._intake = intake = Intake(self, run, self.aggregator(self), hypotheses)
        run.has_begun = True
        return intake.drive(Replicate(self, loop, intake.take_stored()))

    @contextmanager
    def _under_way(
        self,
        kind: RunKind,
        treatments: dict[str, Treatment],
        conditions: tuple[str, ...],
        hypotheses: Sequence[Hypothesis],
        *,
        replicates: int | None,
        seed: int | None,
        resumes: bool = False,
        policy: FailurePolicy | None = None,
        cache: bool | None = None,
        only: frozenset[int] | None = None,
        stop_when: StoppingRule | None = None,
    ) -> Iterator[Run]:
        run = Run(
            kind,
            self.plugins,
            treatments=treatments,
            conditions=conditions,
            hypotheses=hypotheses,
            master_seed=self.master_seed if seed is None else check_seed(seed),
            replicates=replicates,
            resumes=resumes,
            failure_policy=policy or self.failure_policy,
            cache=CacheSettings.of(self.cache if cache is None else cache),
            only=only,
            order=check_order(self.order),
            stop_when=stop_when,
        )
        with _entrance:
            if self.current_run is not None:
                raise ExecutionError(
                    f"experiment {self.folder_name!r} is running already",
                    hint="Wait for that run to end, or build a second Experiment",
                )
            self.current_run = run
        if run.cache.limits != NO_LIMITS and self.pipeline.is_cacheable:
            from crystallize.pipelines.cache.upkeep import keep_limits

            run.exit_stack.callback(keep_limits, run.cache)
        try:
            with termination_ends_the_run(), run.exit_stack:
                yield run
        finally:
            self._intake = None
            self.current_run = None

    def _intake_under_way(self, event: str) -> Intake:
        if self._intake is None:
            raise ExecutionError(
                f"experiment {self.folder_name!r} {event} and no run is under way",
                hint="replicate_done is for run_experiment_loop, handed_back for after_replicate",
            )
        return self._intake

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_intake": None}  # results arrive in the coordinator

    def __repr__(self) -> str:
        return f"<Experiment {self.folder_name!r}: {len(self.pipeline)} steps, conditions {first_of(self.conditions)}>"
