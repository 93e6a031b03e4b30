"""What can be known to be wrong with an experiment before it runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from crystallize.datasources.artifact import Artifact
from crystallize.errors import (
    InvalidNameError,
    InvalidTypeError,
    InvalidValueError,
    UnknownNameError,
    ValidationError,
)
from crystallize.experiments.settings import hooks_with_context, unread_settings
from crystallize.experiments.treatment import with_baseline
from crystallize.pipelines.injection import REQUIRED
from crystallize.pipelines.pipeline_step import FunctionStep
from crystallize.plugins.seed import SeedPlugin
from crystallize.statistics.hypothesis import Hypothesis, as_hypothesis
from crystallize.store.layout import BASELINE
from crystallize.utils.context import RESERVED_KEYS
from crystallize.utils.names import name_key
from crystallize.utils.wording import listed

if TYPE_CHECKING:
    from crystallize.experiments.aggregation import ResultAggregator
    from crystallize.experiments.treatment import Treatment
    from crystallize.hookspecs import RunningExperiment
    from crystallize.statistics.stopping.rule import StoppingRule


def check_description(description: Any) -> str:
    """Return `description` if it is a str; raise InvalidTypeError if not."""
    if not isinstance(description, str):
        raise InvalidTypeError(f"description is a str, got {description!r}")
    return description


def check_aggregator(aggregator: Any) -> type[ResultAggregator]:
    """Return `aggregator` if it can make an aggregator for each run; raise InvalidTypeError if not."""
    if not callable(aggregator):
        raise InvalidTypeError(
            f"aggregator is a class such as ResultAggregator, got {aggregator!r}",
            hint="Pass the class, not an instance: each run makes its own",
        )
    made: type[ResultAggregator] = aggregator
    return made


def with_seed(seed: int | None, plugins: Sequence[object] | None) -> list[object]:
    """Return the plugins that the user passed, with a SeedPlugin for `seed`.

    Raises
    ------
    InvalidTypeError
        If `plugins` is no sequence.
    InvalidValueError
        If a SeedPlugin is among them already.
    """
    if plugins is None:
        plugins = []
    if isinstance(plugins, str | bytes | Mapping) or not isinstance(plugins, Iterable):
        raise InvalidTypeError(f"plugins is a list of plugins, got {plugins!r}", hint="Write plugins=[...]")
    passed = list(plugins)
    if seed is None:
        return passed
    if any(isinstance(plugin, SeedPlugin) for plugin in passed):
        raise InvalidValueError(
            "both seed= and a SeedPlugin are given",
            hint="Give the seed to the SeedPlugin: SeedPlugin(seed=...)",
        )
    return [*passed, SeedPlugin(seed=seed)]


def as_hypotheses(hypotheses: Any) -> tuple[Hypothesis, ...]:
    """Return `hypotheses`, instances or factories, as a tuple of hypotheses.

    Raises
    ------
    InvalidTypeError
        If something in it is no hypothesis.
    InvalidNameError
        If two have one name.
    """
    if isinstance(hypotheses, str | bytes | Mapping) or not isinstance(hypotheses, Iterable):
        raise InvalidTypeError(f"hypotheses are a list of Hypothesis, got {hypotheses!r}")
    made = tuple(as_hypothesis(item) for item in hypotheses)
    names = [hypothesis.name for hypothesis in made]
    for name in names:
        if names.count(name) > 1:
            raise InvalidNameError(f"two hypotheses are called {name!r}", hint="Give one of them a name=")
    return made


def as_outputs(outputs: Any) -> dict[str, Artifact]:
    """Return `outputs` by alias.

    Raises
    ------
    InvalidTypeError
        If something in it is no Artifact.
    InvalidNameError
        If two have one file name or one alias.
    """
    if isinstance(outputs, Artifact):
        outputs = [outputs]
    if isinstance(outputs, str | bytes) or not isinstance(outputs, Iterable):
        raise InvalidTypeError(
            f"outputs are a list of Artifact, got {outputs!r}", hint="Write outputs=[Artifact(...)]"
        )
    pairs = list(outputs.items() if isinstance(outputs, Mapping) else ((None, output) for output in outputs))
    for _, output in pairs:
        if not isinstance(output, Artifact):
            raise InvalidTypeError(
                f"an output is an Artifact, got {output!r}", hint='Write Artifact("model.bin")'
            )
    own = Counter(output.alias for _, output in pairs)
    made: dict[str, Artifact] = {}
    files: dict[str, str] = {}
    aliases: dict[str, str] = {}
    for given, output in pairs:
        alias = given or (output.alias if own[output.alias] == 1 else output.full_alias)
        file, known = files.get(name_key(output.name)), aliases.get(name_key(alias))
        if file is not None or known is not None:
            like = f", and one system or another does not tell {file or known!r} from it"
            raise InvalidNameError(
                f"two outputs are called {output.name!r} or have the alias {alias!r}"
                f"{'' if output.name == file or alias == known else like}",
                hint="Give each its own file name, and alias= where two names differ in their suffix only",
            )
        made[alias] = output
        files[name_key(output.name)], aliases[name_key(alias)] = output.name, alias
    return made


def check_strategy(strategy: Any) -> None:
    """Check the `strategy` of a run.

    Raises
    ------
    InvalidValueError
        If there is no such strategy.
    """
    if strategy not in ("rerun", "resume"):
        raise InvalidValueError(f"strategy is 'rerun' or 'resume', got {strategy!r}")


def check_rule(rule: Any) -> StoppingRule | None:
    """Return `rule` if it is a stopping rule, or None; raise InvalidTypeError if it is neither."""
    if rule is None:
        return None
    from crystallize.statistics.stopping.rule import StoppingRule

    if not isinstance(rule, StoppingRule):
        raise InvalidTypeError(
            f"stop_when is a stopping rule, got {rule!r}",
            hint='Write stop_when=decided("loss", max=200), or looks(...), precise(...), best(...)',
        )
    return rule


def check_experiment(
    experiment: RunningExperiment,
    hypotheses: Sequence[Hypothesis],
    treatments: Sequence[Treatment] | None = None,
) -> None:
    """Check what a run of `experiment` with these treatments, or else its active ones, can be known to lack.

    Raises
    ------
    ValidationError
        If hypotheses have nothing to compare, or a step needs a parameter that nothing provides.
    UnknownNameError
        If a treatment sets what nothing reads.
    """
    place = f"experiment {experiment.folder_name!r}"
    active = experiment.active_treatments if treatments is None else {each.name: each for each in treatments}
    conditions = with_baseline(active) if experiment.current_run is None else experiment.conditions
    if hypotheses and conditions == (BASELINE,):
        raise ValidationError(
            f"the hypotheses {listed(each.name for each in hypotheses)} have nothing to compare with the baseline",
            place,
            "Give the experiment a treatment",
        )
    if experiment.plugins.strategy is None:
        raise ValidationError(
            "no execution strategy is installed, not even the serial one",
            place,
            "Install crystallize-lab properly (its entry points are missing), or pass a strategy in plugins=[...]",
        )
    for fault in unread_settings(experiment, active.values()):
        raise UnknownNameError(fault.message, place, fault.hint)
    _check_parameters(experiment, active, conditions, place)


def _check_parameters(
    experiment: RunningExperiment,
    treatments: Mapping[str, Treatment],
    conditions: Iterable[str],
    place: str,
) -> None:
    """Find parameters without a value, where nothing that runs before the step could add one to the context."""
    if hooks_with_context(experiment):
        return
    source_may_add = getattr(experiment.datasource, "takes_context", True)
    for condition in conditions:
        treatment = treatments.get(condition)
        if source_may_add or (treatment is not None and (treatment.function or treatment.datasource)):
            continue
        held = (
            RESERVED_KEYS
            | experiment.initial_ctx.keys()
            | (treatment.settings.keys() if treatment else set())
        )
        for name, step in zip(experiment.pipeline.names, experiment.pipeline.steps, strict=True):
            if not isinstance(step, FunctionStep):
                break  # from here on, a step that has the context may have added keys
            for parameter, default in step.injected.items():
                if default is REQUIRED and parameter not in held:
                    raise ValidationError(
                        f"step {name!r} needs the parameter {parameter!r}, and nothing provides it under the "
                        f"condition {condition!r}",
                        place,
                        "Give it at construction, in initial_ctx or in a treatment (one called 'baseline' for the "
                        "baseline), or give it a default",
                    )
            if step.signature.context is not None:
                break
