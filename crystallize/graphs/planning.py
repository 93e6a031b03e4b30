"""What each experiment of a graph is to run with: its treatments and its number of replicates."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.datasources.artifact import ArtifactSource
from crystallize.datasources.experiment_input import ExperimentInput
from crystallize.errors import InvalidTypeError, ReplicateMismatchError, UnknownNameError
from crystallize.experiments.settings import readers_of
from crystallize.experiments.treatment import BASELINE, Treatment, TreatmentFactory, as_treatments
from crystallize.graphs.dependencies import (
    files_of,
    find_upstream,
    in_order,
    sources_of,
    stored_conditions,
)
from crystallize.utils.suggest import did_you_mean, listed, name_hint

if TYPE_CHECKING:
    from crystallize.datasources.datasource import DataSource
    from crystallize.experiments.experiment import Experiment
    from crystallize.graphs.dependencies import Nodes, RunFolders, Upstream

_logger = logging.getLogger("crystallize.graph")


class Plan(NamedTuple):
    """What a run of a graph is to do.

    Attributes
    ----------
    upstream : dict of str to tuple of str
        What each experiment depends on in this run.
    order : list of str
        The names in topological order.
    treatments : dict of str to (tuple of Treatment or None)
        What each experiment runs with; None stands for its own.
    replicates : dict of str to (int or None)
        How many replicates each will have; None where that is not known before it runs.
    asked_replicates : int or None
        How many the run was asked for.
    without_hypotheses : frozenset of str
        The experiments whose hypotheses have nothing to compare, since none of their treatments is requested.
    """

    upstream: Upstream
    order: list[str]
    treatments: dict[str, tuple[Treatment, ...] | None]
    replicates: dict[str, int | None]
    asked_replicates: int | None
    without_hypotheses: frozenset[str]


def make_plan(
    nodes: Nodes,
    folders: RunFolders,
    declared: Mapping[str, Sequence[str]],
    treatments: Any = None,
    replicates: int | None = None,
) -> Plan:
    """Plan a run of a graph.

    Parameters
    ----------
    nodes : mapping of str to Experiment
        The experiments.
    folders : RunFolders
        Where they store their runs.
    declared : mapping of str to sequence of str
        Dependencies that no data source shows.
    treatments : iterable of str or Treatment, optional
        The treatments to run; all that there are, if not given.
    replicates : int, optional
        The number for every experiment.

    Raises
    ------
    GraphError, UnknownNameError, InvalidTypeError, ReplicateMismatchError
        If the experiments do not fit together, or the treatments are not what a run can be asked for.
    """
    requested = _requested_treatments(treatments, nodes)
    upstream = find_upstream(nodes, folders, declared)
    last = frozenset(upstream) - {name for producers in upstream.values() for name in producers}
    extra_sources: dict[str, list[DataSource]] = {}
    if requested is not None:
        swapped = [each.datasource for each in requested.given.values() if each.datasource is not None]
        if swapped:
            # What a treatment reads comes before the experiments that it is for.
            last -= {folders.producer_of(leaf) or "" for source in swapped for leaf in source.leaves()}
            extra_sources = dict.fromkeys(last, swapped)
            upstream = find_upstream(nodes, folders, declared, extra_sources)
    order = in_order(upstream, nodes)
    joining = _joining_treatments(requested, {name: nodes[name] for name in last})
    chosen = {name: _treatments_of(node, requested, joining.get(name, {})) for name, node in nodes.items()}
    return Plan(
        upstream,
        order,
        chosen,
        _count_replicates(nodes, folders, order, replicates, extra_sources),
        replicates,
        frozenset(name for name, node in nodes.items() if _leaves_out_all_treatments(node, chosen[name])),
    )


class _Requested(NamedTuple):
    """The treatments that a run of a graph is asked for.

    Attributes
    ----------
    names : frozenset of str
        Their names.
    given : dict of str to Treatment
        Those that were given as treatments, not as names.
    """

    names: frozenset[str]
    given: dict[str, Treatment]


def _requested_treatments(treatments: Any, nodes: Nodes) -> _Requested | None:
    """Return the treatments, names or instances, that a run is asked for; None if for all that there are.

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
    given = {each.name: each for each in as_treatments([item for item in items if not isinstance(item, str)])}
    return _Requested(frozenset([*names, *given]), given)


def _joining_treatments(requested: _Requested | None, last: Nodes) -> dict[str, dict[str, Treatment]]:
    """Return what each experiment that nothing depends on gets of the treatments that were given as instances.

    Each gets the settings that it can read.

    Raises
    ------
    UnknownNameError
        If none of them reads a setting.
    """
    if requested is None or not requested.given:
        return {}
    readers = {name: readers_of([node], requested.given.values()) for name, node in last.items()}
    joining: dict[str, dict[str, Treatment]] = {name: {} for name in last}
    for name, each in requested.given.items():
        for key in each.settings:
            if all(one.exclude(key) for one in readers.values()):
                raise UnknownNameError(
                    f"treatment {name!r} sets {key!r}, which nothing reads from the context",
                    f"experiments {listed(last)}",
                    readers_of(last.values()).hint(key),
                )
        for node, one in readers.items():
            joining[node][name] = each.limited_to({key for key in each.settings if not one.exclude(key)})
    return joining


def _treatments_of(
    node: Experiment, requested: _Requested | None, joining: Mapping[str, Treatment]
) -> tuple[Treatment, ...] | None:
    """Return the treatments that an experiment runs with; None stands for its own.

    It runs those of its own that are requested by name. One that was given as an instance takes the place of its
    own, or joins them, only if nothing in the graph depends on the experiment. What gives the baseline its
    settings stays.
    """
    if requested is None:
        return None
    known = {each.name: each for each in node.treatments} | dict(joining)
    return as_treatments(
        [each for name, each in known.items() if name == BASELINE or name in requested.names]
    )


def report_unknown_conditions(nodes: Nodes, folders: RunFolders, plan: Plan) -> None:
    """Log, once for each experiment, which of its treatments run on a baseline's output.

    That is what is meant where the experiments that it reads know nothing of a treatment. It is a warning where a name
    may have been misspelt: they have treatments of other names, or this one changes nothing itself.
    """
    chosen = {
        name: {each.name: each for each in (nodes[name].treatments if given is None else given)}
        for name, given in plan.treatments.items()
    }
    for name in plan.order:
        read: dict[str, Collection[str]] = {}
        for location in nodes[name].datasource.producers():
            owner = folders.owner(location)
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


def _leaves_out_all_treatments(node: Experiment, chosen: Sequence[Treatment] | None) -> bool:
    """Tell whether a run leaves out all the treatments that an experiment has."""
    if chosen is None:
        return False
    has, keeps = ({each.name for each in some} - {BASELINE} for some in (node.treatments, chosen))
    return bool(has) and not keeps


def _count_replicates(
    nodes: Nodes,
    folders: RunFolders,
    order: Sequence[str],
    asked: int | None,
    extra_sources: Mapping[str, Sequence[DataSource]],
) -> dict[str, int | None]:
    """Return how many replicates each experiment will have; None where that is not known before it runs.

    Raises
    ------
    ReplicateMismatchError
        If what an experiment reads will have different numbers, or another one than it asks for.
    """
    planned: dict[str, int | None] = {}
    for name in order:
        node = nodes[name]
        sources = [*sources_of(node), *extra_sources.get(name, ())]
        counts = [_SourceCounts(source, node, folders, planned) for source in sources]
        own = asked if asked is not None else node.replicates
        default = next((each.default for each in counts if each.default), None)
        known = own if own is not None else default
        if known is None and not any(each.is_open for each in counts):
            known = 1
        for each in counts:
            each.check(known)
        planned[name] = known
    return planned


class _SourceCounts:
    """How many replicates one data source of an experiment will have data for, once its producers have run."""

    def __init__(
        self,
        source: DataSource,
        reader: Experiment,
        folders: RunFolders,
        planned: Mapping[str, int | None],
    ) -> None:
        self.reader = reader
        self.strict: dict[str, int] = {}
        default: dict[str, int] = {}
        self.is_open = False
        for leaf in source.leaves():
            producer = folders.producer_of(leaf)
            if producer is None:
                label, count, strict = repr(leaf), leaf.default_replicates, leaf.replicates
            else:
                label, count = f"experiment {producer!r}", planned.get(producer)
                strict = count if isinstance(leaf, ArtifactSource) else None
                self.is_open = self.is_open or count is None
            if count is not None:
                default[label] = count
            if strict is not None:
                self.strict[label] = strict
        self.default = next(iter(default.values()), None)
        if isinstance(source, ExperimentInput) and len(set(default.values())) > 1:
            raise ReplicateMismatchError(
                f"experiment {reader.folder_name!r} reads what has different numbers of replicates: "
                + ", ".join(f"{label} has {count}" for label, count in default.items()),
                files_of([reader]),
                "Run the graph with replicates=N, or give them the same number",
            )

    def check(self, requested: int | None) -> None:
        """Refuse a number that differs from one that the source insists on."""
        for label, count in self.strict.items():
            if requested is not None and count != requested:
                raise ReplicateMismatchError(
                    f"experiment {self.reader.folder_name!r} will have {requested} replicates, and {label}, which it "
                    f"reads, {count}",
                    files_of([self.reader]),
                    "Run the graph with replicates=N, or give them the same number",
                )
