"""What each experiment of a graph is to run with: its treatments and its number of replicates."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.datasources.artifact import ArtifactSource
from crystallize.datasources.experiment_input import ExperimentInput, hint_of_one_for_all
from crystallize.errors import (
    CrystallizeError,
    GraphError,
    InvalidTypeError,
    ReplicateMismatchError,
    UnknownNameError,
    ValidationError,
)
from crystallize.experiments.inputs import nothing_ends
from crystallize.experiments.settings import readers_of
from crystallize.experiments.treatment import (
    Treatment,
    TreatmentFactory,
    as_treatments,
    with_baseline,
)
from crystallize.graphs.dependencies import (
    downstream_of,
    files_of,
    in_order,
    sources_of,
    stored_conditions,
)
from crystallize.store.layout import BASELINE
from crystallize.utils.wording import did_you_mean, listed, name_hint

if TYPE_CHECKING:
    from crystallize.datasources.datasource import DataSource
    from crystallize.experiments.experiment import Experiment
    from crystallize.graphs.dependencies import Dependencies, Nodes, Upstream
    from crystallize.statistics.stopping.rule import StoppingRule

_logger = logging.getLogger("crystallize.graph")


class Plan(NamedTuple):
    """What a run of a graph is to do.

    Attributes
    ----------
    upstream : dict of str to tuple of str
        What each experiment depends on in this run.
    order : list of str
        The names in topological order.
    treatments : dict of str to tuple of Treatment
        What each experiment runs with.
    replicates : dict of str to (int or None)
        How many replicates each will have; None where that is not known before it runs.
    most : dict of str to (int or None)
        How many replicates each will have at most; None where that is not known either.
    rules : dict of str to (StoppingRule or None)
        The rule that ends each one's run, if any does.
    asked_replicates : int or None
        How many the run was asked for.
    without_hypotheses : frozenset of str
        The experiments whose hypotheses have nothing to compare, since none of their treatments is requested.
    """

    upstream: Upstream
    order: list[str]
    treatments: dict[str, tuple[Treatment, ...]]
    replicates: dict[str, int | None]
    most: dict[str, int | None]
    rules: dict[str, StoppingRule | None]
    asked_replicates: int | None
    without_hypotheses: frozenset[str]


class _Count(NamedTuple):
    """How many replicates an experiment will have; None stands for what only its run will tell."""

    exactly: int | None
    most: int | None


class RuleFault(NamedTuple):
    """A stopping rule with which an experiment would not run."""

    experiment: Experiment
    error: CrystallizeError


def make_plan(
    dependencies: Dependencies,
    treatments: Any = None,
    replicates: int | None = None,
    stop_when: StoppingRule | None = None,
) -> Plan:
    """Plan a run of a graph.

    Parameters
    ----------
    dependencies : Dependencies
        The experiments, and who reads what.
    treatments : iterable of str or Treatment, optional
        The treatments to run; all that there are, if not given.
    replicates : int, optional
        The number for every experiment.
    stop_when : StoppingRule, optional
        The rule of the experiments that nothing else depends on, in place of their own.

    Raises
    ------
    GraphError, UnknownNameError, InvalidTypeError, ReplicateMismatchError
        If the experiments do not fit together, or the treatments are not what a run can be asked for.
    """
    nodes = dependencies.nodes
    requested = _requested_treatments(treatments, nodes)
    given = [each for each in (requested or {}).values() if each is not None]
    swapped = [each.datasource for each in given if each.datasource is not None]
    upstream = dependencies.upstream()
    last = frozenset(upstream) - {name for producers in upstream.values() for name in producers}
    extra_sources: dict[str, list[DataSource]] = {}
    if swapped:
        # What a treatment reads comes before the experiments that it is for.
        last -= {dependencies.producer_of(leaf) or "" for source in swapped for leaf in source.leaves()}
        extra_sources = dict.fromkeys(last, swapped)
        upstream = dependencies.upstream(extra_sources)
    order = in_order(upstream, nodes)
    joining = _joining_treatments(given, {name: nodes[name] for name in last})
    chosen = {name: node.treatments for name, node in nodes.items()}
    if requested is not None:
        chosen = {
            name: _treatments_of(node, requested, joining.get(name, {})) for name, node in nodes.items()
        }
    readers = downstream_of(upstream)
    rules = {
        name: node.stop_when if stop_when is None or readers[name] else stop_when
        for name, node in nodes.items()
    }
    planned: dict[str, _Count] = {}
    for name in order:
        sources = [*sources_of(nodes[name]), *extra_sources.get(name, ())]
        planned[name] = _count_replicates(
            nodes[name], sources, dependencies, planned, asked=replicates, rule=rules[name]
        )
    return Plan(
        upstream,
        order,
        chosen,
        {name: count.exactly for name, count in planned.items()},
        {name: count.most for name, count in planned.items()},
        rules,
        replicates,
        frozenset(name for name, node in nodes.items() if _leaves_out_all_treatments(node, chosen[name])),
    )


def _requested_treatments(treatments: Any, nodes: Nodes) -> dict[str, Treatment | None] | None:
    """Return the treatments that a run is asked for, by name; None if for all that there are.

    One that is asked for by its name only is None.

    Raises
    ------
    InvalidTypeError
        If something in `treatments` is neither.
    UnknownNameError
        If no experiment has a treatment of a name.
    """
    if treatments is None:
        return None
    if isinstance(treatments, str | Treatment | TreatmentFactory):
        treatments = [treatments]
    if isinstance(treatments, bytes | Mapping) or not isinstance(treatments, Iterable):
        raise InvalidTypeError(f"treatments are a list of names or of Treatment, got {treatments!r}")
    items = list(treatments)
    names = [item for item in items if isinstance(item, str)]
    known = {each.name for node in nodes.values() for each in node.treatments} | {BASELINE}
    for name in names:
        if name not in known:
            raise UnknownNameError(
                f"no experiment of the graph has a treatment {name!r}",
                files_of(nodes.values()),
                name_hint(name, "There are", known - {BASELINE}),
            )
    given = as_treatments([item for item in items if not isinstance(item, str)])
    return {**dict.fromkeys(names), **{each.name: each for each in given}}


def _joining_treatments(given: Sequence[Treatment], last: Nodes) -> dict[str, dict[str, Treatment]]:
    """Return what each experiment that nothing depends on gets of the treatments that were given as instances.

    Each gets the settings that it can read.

    Raises
    ------
    UnknownNameError
        If none of them reads a setting.
    """
    if not given:  # then nobody need know what the experiments read
        return {}
    readers = {name: readers_of([node], given) for name, node in last.items()}
    joining: dict[str, dict[str, Treatment]] = {name: {} for name in last}
    for each in given:
        for key in each.settings:
            if all(one.exclude(key) for one in readers.values()):
                raise UnknownNameError(
                    f"treatment {each.name!r} sets {key!r}, which nothing reads from the context",
                    f"experiments {listed(last)}",
                    readers_of(last.values()).hint(key),
                )
        for node, one in readers.items():
            joining[node][each.name] = each.limited_to({key for key in each.settings if not one.exclude(key)})
    return joining


def _treatments_of(
    node: Experiment, requested: Collection[str], joining: Mapping[str, Treatment]
) -> tuple[Treatment, ...]:
    """Return the treatments that an experiment runs with: those of its own that are requested by name.

    One that was given as an instance takes the place of its own, or joins them, only if nothing in the graph depends
    on the experiment. What gives the baseline its settings stays.
    """
    known = {each.name: each for each in node.treatments} | dict(joining)
    return as_treatments([each for name, each in known.items() if name == BASELINE or name in requested])


def report_unknown_conditions(dependencies: Dependencies, plan: Plan) -> None:
    """Log, once for each experiment, which of its treatments run on a baseline's output.

    That is what is meant where the experiments that it reads know nothing of a treatment. It is a warning where a name
    may have been misspelt: they have treatments of other names, or this one changes nothing itself.
    """
    nodes = dependencies.nodes
    chosen = {name: {each.name: each for each in treatments} for name, treatments in plan.treatments.items()}
    for name in plan.order:
        read: dict[str, Collection[str]] = {}
        for location in nodes[name].datasource.producers():
            owner = dependencies.owner(location)
            read[owner or location.experiment] = (
                stored_conditions(location)
                if owner is None
                else {*chosen[owner], *(each.name for each in nodes[owner].treatments)}
            )
        known = {each for treatments in read.values() for each in treatments} - {BASELINE}
        unknown = {
            each.name: each
            for each in chosen[name].values()
            if each.name not in known and each.name != BASELINE and each.datasource is None
        }
        if not read or not unknown:
            continue
        changes_something = all(each.settings or each.function for each in unknown.values())
        hints = [did_you_mean(each, known) for each in sorted(unknown)]
        _logger.log(
            logging.INFO if changes_something and not known else logging.WARNING,
            "%s",
            f"experiment {name!r} runs {listed(unknown)} on the baseline's output of {listed(read)}, "
            f"where no treatment is called so. {' '.join(filter(None, hints))}".rstrip(),
        )


def _leaves_out_all_treatments(node: Experiment, chosen: Sequence[Treatment]) -> bool:
    """Tell whether a run leaves out all the treatments that an experiment has."""
    has, keeps = ({each.name for each in some} - {BASELINE} for some in (node.treatments, chosen))
    return bool(has) and not keeps


def rule_faults(nodes: Nodes, plan: Plan) -> Iterator[RuleFault]:
    """Yield the stopping rules that a run would be refused for: one for each experiment."""
    for name, readers in downstream_of(plan.upstream).items():
        node, rule = nodes[name], plan.rules[name]
        if rule is None:
            continue
        try:
            rule.begin(with_baseline(each.name for each in plan.treatments[name]))
        except ValidationError as error:
            yield RuleFault(node, error)
            continue
        if plan.most[name] is None:
            yield RuleFault(node, nothing_ends(node, rule))
        elif rule.drops and readers:
            what = f"experiment {name!r} is read by {listed(readers)}, and the rule {rule} drops conditions"
            hint = "Give it a rule that drops none, such as decided(...) without drop"
            yield RuleFault(node, GraphError(what, files_of([node]), hint))


def _count_replicates(
    node: Experiment,
    sources: Sequence[DataSource],
    dependencies: Dependencies,
    planned: Mapping[str, _Count],
    *,
    asked: int | None,
    rule: StoppingRule | None,
) -> _Count:
    """Return how many replicates an experiment with these `sources` will have.

    `planned` is the same of those that it depends on.

    Raises
    ------
    ReplicateMismatchError
        If what it reads will have different numbers, or another one than it asks for.
    """
    offered: list[int] = []
    offered_most: list[int] = []
    insisted: dict[str, int] = {}
    is_open = False
    for source in sources:
        counts: dict[str, int] = {}
        for leaf in source.leaves():
            producer = dependencies.producer_of(leaf)
            if producer is None:
                label, count, needed = repr(leaf), leaf.default_replicates, leaf.replicates
            else:
                label, count = f"experiment {producer!r}", planned[producer].exactly
                needed = count if isinstance(leaf, ArtifactSource) else None
                is_open = is_open or count is None
                offered_most += filter(None, [planned[producer].most])
            if count is not None:
                counts[label] = count
            if needed is not None:
                insisted[label] = needed
        if isinstance(source, ExperimentInput) and len(set(counts.values())) > 1:
            had = ", ".join(f"{label} has {count}" for label, count in counts.items())
            raise _mismatch(
                node, f"reads what has different numbers of replicates: {had}", hint_of_one_for_all(counts)
            )
        offered += counts.values()
    known = node.replicates if asked is None else asked
    if rule is not None:  # it ends when the rule has seen enough
        limits = [*filter(None, (known, rule.limit)), *insisted.values()]
        return _Count(None, min(limits or offered or offered_most, default=None))
    if known is None:
        known = next(filter(None, offered), None if is_open else 1)
    for label, count in insisted.items():
        if known is not None and count != known:
            raise _mismatch(node, f"will have {known} replicates, and {label}, which it reads, {count}")
    return _Count(known, next(iter(offered_most), None) if known is None else known)


def _mismatch(node: Experiment, what: str, hint: str = "") -> ReplicateMismatchError:
    return ReplicateMismatchError(
        f"experiment {node.folder_name!r} {what}",
        files_of([node]),
        hint
        or "Give them the same number, each in its config.yaml, or all with ExperimentGraph.run(replicates=N)",
    )
