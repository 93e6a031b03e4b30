"""Crystallize: replicated, reproducible experiments whose every part is a plugin.

The public names are loaded when they are first used, so that ``import crystallize`` costs next to nothing.
"""

TYPE_CHECKING = False  # not from typing, whose import would cost more than all else here
if TYPE_CHECKING:
    from crystallize.datasources.artifact import Artifact
    from crystallize.datasources.datasource import DataSource, data_source
    from crystallize.datasources.experiment_input import ExperimentInput
    from crystallize.errors import CrystallizeError
    from crystallize.experiments.aggregation import ResultAggregator
    from crystallize.experiments.designs.design import cases, grid, where, zipped
    from crystallize.experiments.designs.ranges import integers, linear, log
    from crystallize.experiments.designs.sampled import design
    from crystallize.experiments.experiment import Experiment
    from crystallize.experiments.treatment import Treatment, treatment
    from crystallize.experiments.verification import verify
    from crystallize.graphs.graph import ExperimentGraph
    from crystallize.hookspecs import hookimpl, hookspec
    from crystallize.loaders.base import Loader
    from crystallize.pipelines.pipeline import Pipeline
    from crystallize.pipelines.pipeline_step import PipelineStep, pipeline_step
    from crystallize.plugins.artifact import ArtifactPlugin
    from crystallize.plugins.base import BasePlugin, ExecutionStrategy
    from crystallize.plugins.execution import AsyncExecution, ParallelExecution, SerialExecution
    from crystallize.plugins.logging import LoggingPlugin
    from crystallize.plugins.seed import SeedPlugin
    from crystallize.results.load import open_run
    from crystallize.results.plan import power
    from crystallize.results.result import Result
    from crystallize.results.runs import runs
    from crystallize.statistics.hypothesis import Hypothesis, hypothesis
    from crystallize.statistics.stopping.best import best
    from crystallize.statistics.stopping.decided import decided
    from crystallize.statistics.stopping.looks import looks
    from crystallize.statistics.stopping.precise import precise
    from crystallize.statistics.verifier import verifier
    from crystallize.statistics.verifiers import (
        dunnett_test,
        equivalence_test,
        mcnemar_test,
        non_inferiority_test,
        paired_t_test,
        sign_flip_test,
        welch_t_test,
        wilcoxon_test,
    )
    from crystallize.utils.context import FrozenContext
    from crystallize.utils.resources import resource_factory
    from crystallize.utils.standalone import standalone_context

_HOMES = {
    "Artifact": "datasources.artifact",
    "ArtifactPlugin": "plugins.artifact",
    "AsyncExecution": "plugins.execution",
    "BasePlugin": "plugins.base",
    "CrystallizeError": "errors",
    "DataSource": "datasources.datasource",
    "ExecutionStrategy": "plugins.base",
    "Experiment": "experiments.experiment",
    "ExperimentGraph": "graphs.graph",
    "ExperimentInput": "datasources.experiment_input",
    "FrozenContext": "utils.context",
    "Hypothesis": "statistics.hypothesis",
    "Loader": "loaders.base",
    "LoggingPlugin": "plugins.logging",
    "ParallelExecution": "plugins.execution",
    "Pipeline": "pipelines.pipeline",
    "PipelineStep": "pipelines.pipeline_step",
    "Result": "results.result",
    "ResultAggregator": "experiments.aggregation",
    "SeedPlugin": "plugins.seed",
    "SerialExecution": "plugins.execution",
    "Treatment": "experiments.treatment",
    "best": "statistics.stopping.best",
    "cases": "experiments.designs.design",
    "data_source": "datasources.datasource",
    "decided": "statistics.stopping.decided",
    "design": "experiments.designs.sampled",
    "dunnett_test": "statistics.verifiers",
    "equivalence_test": "statistics.verifiers",
    "grid": "experiments.designs.design",
    "hookimpl": "hookspecs",
    "hookspec": "hookspecs",
    "hypothesis": "statistics.hypothesis",
    "integers": "experiments.designs.ranges",
    "linear": "experiments.designs.ranges",
    "log": "experiments.designs.ranges",
    "looks": "statistics.stopping.looks",
    "mcnemar_test": "statistics.verifiers",
    "non_inferiority_test": "statistics.verifiers",
    "open_run": "results.load",
    "paired_t_test": "statistics.verifiers",
    "pipeline_step": "pipelines.pipeline_step",
    "power": "results.plan",
    "precise": "statistics.stopping.precise",
    "resource_factory": "utils.resources",
    "runs": "results.runs",
    "sign_flip_test": "statistics.verifiers",
    "standalone_context": "utils.standalone",
    "treatment": "experiments.treatment",
    "verifier": "statistics.verifier",
    "verify": "experiments.verification",
    "welch_t_test": "statistics.verifiers",
    "where": "experiments.designs.design",
    "wilcoxon_test": "statistics.verifiers",
    "zipped": "experiments.designs.design",
}

__all__ = [  # spelled out: type checkers and editors do not run code
    "Artifact",
    "ArtifactPlugin",
    "AsyncExecution",
    "BasePlugin",
    "CrystallizeError",
    "DataSource",
    "ExecutionStrategy",
    "Experiment",
    "ExperimentGraph",
    "ExperimentInput",
    "FrozenContext",
    "Hypothesis",
    "Loader",
    "LoggingPlugin",
    "ParallelExecution",
    "Pipeline",
    "PipelineStep",
    "Result",
    "ResultAggregator",
    "SeedPlugin",
    "SerialExecution",
    "Treatment",
    "best",
    "cases",
    "data_source",
    "decided",
    "design",
    "dunnett_test",
    "equivalence_test",
    "grid",
    "hookimpl",
    "hookspec",
    "hypothesis",
    "integers",
    "linear",
    "log",
    "looks",
    "mcnemar_test",
    "non_inferiority_test",
    "open_run",
    "paired_t_test",
    "pipeline_step",
    "power",
    "precise",
    "resource_factory",
    "runs",
    "sign_flip_test",
    "standalone_context",
    "treatment",
    "verifier",
    "verify",
    "welch_t_test",
    "where",
    "wilcoxon_test",
    "zipped",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib_metadata import version

        return version("crystallize-lab")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'crystallize' has no attribute {name!r}")
    from importlib import import_module

    found = getattr(import_module(f"crystallize.{home}"), name)
    globals()[name] = found  # the next look-up does not come here
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, "__version__"])
