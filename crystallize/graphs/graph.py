"""Experiments that read each other's artifacts, run in the order that this asks for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from crystallize.errors import (
    ExecutionError,
    GraphError,
    InvalidTypeError,
    UnknownNameError,
)
from crystallize.experiments.checks import (
    check_experiment,
    check_rule,
    check_strategy,
)
from crystallize.experiments.experiment import Experiment
from crystallize.experiments.treatment import with_baseline
from crystallize.graphs.dependencies import Dependencies, files_of, in_order
from crystallize.graphs.planning import make_plan, report_unknown_conditions, rule_faults
from crystallize.graphs.run import GraphRun
from crystallize.utils.checks import check_count
from crystallize.utils.wording import name_hint

if TYPE_CHECKING:
    from os import PathLike
    from pathlib import Path

    from crystallize.experiments.treatment import Treatment
    from crystallize.graphs.drawing import Picture
    from crystallize.graphs.planning import Plan, RuleFault
    from crystallize.results.result import Result
    from crystallize.statistics.stopping.rule import StoppingRule

MOST_AT_ONCE = 32
"""How many experiments `max_concurrency=None` runs at the same time at most."""


class ExperimentGraph:
    """Experiments, of which some read the artifacts of others.

    What depends on what is found from the experiments' data sources (and their treatments'), whenever it is
    asked for; :meth:`add_dependency` adds what they do not show. An experiment that is read but not in the
    graph is read as it was stored last.

    Parameters
    ----------
    *experiments : Experiment
        In any order.
    max_concurrency : int, optional
        How many experiments run at the same time. By default as many as can, but at most 32.

    Attributes
    ----------
    experiments : dict of str to Experiment
        The experiments by name, in the order in which they were added.
    max_concurrency : int or None
        The argument.

    Raises
    ------
    GraphError
        If two experiments have one name or one folder, if they depend on each other in a cycle, or if one
        reads what none stores.
    """

    def __init__(self, *experiments: Experiment, max_concurrency: int | None = None) -> None:
        if max_concurrency is not None:
            hint = "Leave it out to have it chosen for you"
            max_concurrency = check_count("max_concurrency", max_concurrency, hint=hint)
        self.max_concurrency = max_concurrency
        self.experiments: dict[str, Experiment] = {}
        self._declared: dict[str, list[str]] = {}
        self._has_warned = False
        self._run: GraphRun | None = None
        for experiment in experiments:
            self._add(experiment)
        self.order()

    @classmethod
    def from_experiments(
        cls, experiments: Iterable[Experiment], *, max_concurrency: int | None = None
    ) -> ExperimentGraph:
        """Make a graph of a list of experiments."""
        return cls(*experiments, max_concurrency=max_concurrency)

    @classmethod
    def from_yaml(
        cls, path: str | PathLike[str], *, max_concurrency: int | None = None, **overrides: Any
    ) -> ExperimentGraph:
        """Build the experiment of a folder and all that it reads, transitively.

        Parameters
        ----------
        path : str or Path
            The folder, or its config.yaml.
        max_concurrency : int, optional
            How many experiments run at the same time.
        **overrides
            For each experiment; see :func:`crystallize.config.build.load_experiment`.

        Raises
        ------
        ConfigError
            If a config.yaml has errors, or names an experiment that is not there.
        """
        from crystallize.config.build import load_nodes

        return cls(*load_nodes(path, **overrides), max_concurrency=max_concurrency)

    @staticmethod
    def visualize_from_yaml(
        path: str | PathLike[str], output: str | PathLike[str] | None = None, format: str | None = None
    ) -> Path | str:
        """Draw the graph of the experiment in a folder.

        Parameters
        ----------
        path : str or Path
            The folder, or its config.yaml.
        output : str or Path, optional
            The file to write. By default ``<experiment>.svg`` in the working directory; ``"text"``,
            ``"mermaid"`` and ``"dot"`` are returned instead of written.
        format : {"svg", "png", "dot", "mermaid", "text"}, optional
            By default what the suffix of `output` says (``.svg``, ``.png``, ``.dot``, ``.gv``, ``.mmd``,
            ``.txt``), or else ``"svg"``.

        Returns
        -------
        Path or str
            The file, or the drawing if none was written. Without Graphviz, in place of a picture it is the
            drawing as text, and the log says how to get Graphviz.

        Raises
        ------
        InvalidValueError
            If there is no such format.
        """
        from crystallize.graphs.drawing import visualize

        graph = ExperimentGraph.from_yaml(path)
        return visualize(graph.picture(), list(graph.experiments)[-1], output, format)

    # -- the definition ------------------------------------------------------------------------------------

    def add_experiment(self, experiment: Experiment) -> None:
        """Add an experiment.

        Raises
        ------
        GraphError
            If it does not fit to those that are there; the graph is then as it was.
        """
        before = dict(self.experiments)
        self._add(experiment)
        try:
            self.order()
        except BaseException:
            self.experiments = before
            raise

    def add_dependency(self, downstream: Experiment | str, upstream: Experiment | str) -> None:
        """Have `downstream` run after `upstream`, though it reads none of its artifacts.

        Parameters
        ----------
        downstream, upstream : Experiment or str
            Experiments of the graph, or their names.

        Raises
        ------
        UnknownNameError
            If one of them is not in the graph.
        GraphError
            If the two are the same, or `upstream` depends on `downstream`.
        """
        consumer, producer = self._name_of(downstream), self._name_of(upstream)
        if consumer == producer:
            raise GraphError(
                f"experiment {consumer!r} cannot depend on itself", files_of([self.experiments[consumer]])
            )
        declared = self._declared.setdefault(consumer, [])
        if producer in declared:
            return
        declared.append(producer)
        try:
            self.order()
        except BaseException:
            declared.remove(producer)
            raise

    @property
    def dependencies(self) -> dict[str, tuple[str, ...]]:
        """For each experiment, by name, those that it depends on.

        Raises
        ------
        GraphError
            If an experiment reads itself, or what no experiment stores, or what two write.
        """
        return Dependencies(self.experiments, self._declared).upstream()

    def order(self) -> list[str]:
        """Return the names so that each comes after all that it depends on; else as they were added.

        Raises
        ------
        GraphError
            If the experiments do not fit together.
        """
        return in_order(self.dependencies, self.experiments)

    # -- running -------------------------------------------------------------------------------------------

    def run(
        self,
        *,
        treatments: Sequence[str | Treatment] | None = None,
        replicates: int | None = None,
        strategy: str = "rerun",
        stop_when: StoppingRule | None = None,
    ) -> dict[str, Result]:
        """Run every experiment after those that it depends on, independent ones at the same time.

        Parameters
        ----------
        treatments : sequence of str or Treatment, optional
            The treatments to run besides the baseline. Each experiment runs those of its own that are called
            so, and its baseline only if it has none. A treatment that is given as an instance also takes the
            place of, or joins, the treatments of the experiments that nothing else depends on. By default each
            experiment runs all of its own.
        replicates : int, optional
            For every experiment. By default each has its own number, or as many as what it reads.
        strategy : {"rerun", "resume"}
            What to do about earlier runs: run everything anew, or go on with the newest run of each experiment. An
            experiment then runs what it owes: what its stored run lacks, and what was measured with other code,
            settings or inputs. What reads nothing that has changed, and owes nothing, does not run.
        stop_when : StoppingRule, optional
            A rule that ends the runs of the experiments that nothing else depends on. By default each experiment has
            its own, or none.

        Returns
        -------
        dict of str to Result
            By name, in topological order.

        Raises
        ------
        GraphRunError
            If experiments failed: their run raised an error, or every outcome of a condition failed. What
            depends on them is left out. The error is raised when all others have finished, and has their results.
        GraphError
            If the experiments do not fit together.
        UnknownNameError
            If no experiment has a treatment of a name.
        ReplicateMismatchError
            If an experiment would read what has another number of replicates.
        """
        check_strategy(strategy)
        plan = self.plan(treatments=treatments, replicates=replicates, stop_when=stop_when)
        if self._run is not None:
            raise ExecutionError(
                f"{self!r} is running already", hint="Wait for that run to end, or build a second graph"
            )
        self._run = graph_run = GraphRun(
            self.experiments,
            plan,
            min(self.max_concurrency or MOST_AT_ONCE, max(1, len(plan.order))),
            has_warned=self._has_warned,
            strategy=strategy,
        )
        try:
            return graph_run.run()
        finally:
            self._run = None
            self._has_warned = graph_run.has_warned

    async def arun(
        self,
        *,
        treatments: Sequence[str | Treatment] | None = None,
        replicates: int | None = None,
        strategy: str = "rerun",
        stop_when: StoppingRule | None = None,
    ) -> dict[str, Result]:
        """Do what :meth:`run` does without blocking the running event loop; a cancelled task ends the run."""
        from crystallize.utils.aio import in_thread

        return await in_thread(
            lambda: self.run(
                treatments=treatments, replicates=replicates, strategy=strategy, stop_when=stop_when
            ),
            on_cancel=self.cancel,
        )

    def cancel(self) -> None:
        """Have the run under way end soon, as Ctrl-C would; from any thread."""
        if self._run is not None:
            self._run.cancel()

    def plan(
        self,
        *,
        treatments: Sequence[str | Treatment] | None = None,
        replicates: int | None = None,
        stop_when: StoppingRule | None = None,
    ) -> Plan:
        """Check everything that can be known before a run, and return what it would do; nothing runs.

        Parameters
        ----------
        treatments, replicates, stop_when : optional
            As for :meth:`run`.

        Raises
        ------
        CrystallizeError
            What :meth:`run` raises before anything runs.
        """
        dependencies, plan = self._planned(treatments, replicates, check_rule(stop_when))
        for fault in rule_faults(self.experiments, plan):
            raise fault.error
        report_unknown_conditions(dependencies, plan)
        return plan

    def faulty_rules(self) -> list[RuleFault]:
        """Return the stopping rules with which the graph, as it is defined, would not run.

        Raises
        ------
        CrystallizeError
            What else :meth:`run` raises before anything runs.
        """
        return list(rule_faults(self.experiments, self._planned(None, None, None)[1]))

    # -- drawing -------------------------------------------------------------------------------------------

    @overload
    def draw(self, format: Literal["text", "mermaid", "dot"] = "text") -> str: ...
    @overload
    def draw(self, format: Literal["svg", "png"]) -> bytes: ...
    @overload
    def draw(self, format: str) -> str | bytes: ...
    def draw(self, format: str = "text") -> str | bytes:
        """Draw the experiments, with their treatments and numbers of replicates, and what depends on what.

        Parameters
        ----------
        format : {"text", "mermaid", "dot", "svg", "png"}
            The last two need Graphviz.

        Returns
        -------
        str or bytes
            Bytes for ``"svg"`` and ``"png"``.

        Raises
        ------
        InvalidValueError
            If there is no such format.
        GraphvizError
            If Graphviz is not installed, or fails.
        """
        from crystallize.graphs.drawing import draw

        return draw(self.picture(), format)

    def picture(self) -> Picture:
        """Return what a drawing shows, for programs that draw themselves."""
        from crystallize.graphs.drawing import Node, Picture

        dependencies = Dependencies(self.experiments, self._declared)
        plan = make_plan(dependencies)
        outside = dependencies.outside()
        nodes = [
            Node(
                name,
                plan.most[name],
                with_baseline(each.name for each in self.experiments[name].treatments)[1:],
                tuple(sorted(plan.upstream[name], key=plan.order.index)),
                tuple(sorted({location.experiment for location in outside[name]})),
                plan.replicates[name] is not None,
            )
            for name in plan.order
        ]
        return Picture(tuple(nodes))

    def __repr__(self) -> str:
        return f"<ExperimentGraph of {', '.join(map(repr, self.experiments)) or 'no experiments'}>"

    # -- helpers ----------------------------------------------------------------------------------

    def _add(self, experiment: Experiment) -> None:
        if not isinstance(experiment, Experiment):
            raise InvalidTypeError(
                f"a graph consists of Experiments, got {experiment!r}",
                hint="Write ExperimentGraph(*experiments) or ExperimentGraph.from_experiments(experiments)",
            )
        name = experiment.folder_name
        other = self.experiments.setdefault(name, experiment)
        if other is not experiment:
            raise GraphError(
                f"two experiments of the graph are called {name!r}",
                files_of([other, experiment]),
                "Give one of them another name=",
            )

    def _name_of(self, experiment: Experiment | str) -> str:
        name = experiment.folder_name if isinstance(experiment, Experiment) else experiment
        if not isinstance(name, str):
            raise InvalidTypeError(f"an experiment of a graph is given as such or by its name, got {name!r}")
        known = self.experiments.get(name)
        if known is None or (isinstance(experiment, Experiment) and known is not experiment):
            raise UnknownNameError(
                f"the graph has no experiment {name!r}"
                if known is None
                else f"{experiment!r} is not in the graph",
                hint=name_hint(name, "It has", self.experiments),
            )
        return name

    def _planned(
        self, treatments: Any, replicates: int | None, stop_when: StoppingRule | None
    ) -> tuple[Dependencies, Plan]:
        """Plan a run, and check everything but the rules."""
        asked = None if replicates is None else check_count("replicates", replicates)
        dependencies = Dependencies(self.experiments, self._declared)
        dependencies.check_outside()
        plan = make_plan(dependencies, treatments, asked, stop_when)
        for name, experiment in self.experiments.items():
            hypotheses = () if name in plan.without_hypotheses else experiment.hypotheses
            check_experiment(experiment, hypotheses, plan.treatments[name])
        return dependencies, plan
