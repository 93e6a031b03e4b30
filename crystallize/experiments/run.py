"""One run of an experiment: what it is a run of, and the state that plugins keep in it."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

from crystallize.experiments.order import INTERLEAVED
from crystallize.store.accounting import now
from crystallize.utils.failures import RunCancelled

if TYPE_CHECKING:
    from crystallize.experiments.failure_policy import FailurePolicy
    from crystallize.experiments.order import Order
    from crystallize.experiments.treatment import Treatment
    from crystallize.pipelines.cache.settings import CacheSettings
    from crystallize.plugins.manager import PluginManager
    from crystallize.results.preregistration import Preregistration
    from crystallize.statistics.hypothesis import Hypothesis
    from crystallize.statistics.stopping.rule import StoppingRule
    from crystallize.store.outcome import Outcome, ReplicateResult
    from crystallize.utils.artifact_log import Sink

RunKind = Literal["run", "apply"]


class Run:
    """One run of an experiment, from before the first hook to after the last.

    A worker has a copy of it, with the state that plugins had put there before the replicates began.

    Parameters
    ----------
    kind : {"run", "apply"}
        What was called.
    plugins : PluginManager
        The experiment's plugins.
    treatments : mapping of str to Treatment
        Those of this run.
    conditions : tuple of str
        The conditions of this run, in order.
    hypotheses : sequence of Hypothesis
        What is asked of the metrics at its end.
    master_seed : int
        What all random streams of this run derive from.
    replicates : int, optional
        How many replicates it has, as soon as that is known.
    resumes : bool, default False
        Whether it is to go on where an earlier run was left, with what of it still applies.
    failure_policy : FailurePolicy
        What it does about outcomes that fail.
    cache : CacheSettings
        Where the step cache is, and whether the run uses it.
    only : frozenset of int, optional
        Those of the replicates that are run; all, if not given.
    order : {"interleaved", "randomised"}
        In which order replicates, and the conditions of each, are run.
    stop_when : StoppingRule, optional
        The rule that decides when it has seen enough. `replicates` is then how many there are at most, until that is
        decided.

    Attributes
    ----------
    token : str
        Tells its results from those of other runs.
    started : str
        When it began, in UTC; of one that is resumed, when that was first.
    has_begun : bool
        Whether all plugins have let it begin.
    is_cancelled : bool
        Whether the run is to end soon; set from any thread.
    stored : iterable of ReplicateResult
        The outcomes that are there already, of some conditions or of all: from the plugin that stores runs, which puts
        them there in ``before_run``.
    artifact_sink : Sink or None
        What stores the artifacts of its outcomes, in the workers: from the same plugin, in ``before_run``.
    done : dict of int to frozenset of str
        Of the replicates that are there in part: the conditions that are.
    failed : dict of int to dict of str to Outcome
        What failed in earlier sessions of a run that is resumed, by replicate and condition: it is owed, and counts as
        failed until it has run again.
    preregistration : Preregistration or None
        How it relates to the plan of its experiment, if that has one.
    shared_inputs : dict of str to int
        Each experiment of which its replicates share artifacts, with how many replicates that has.
    stopped_inputs : list of str
        The experiments that it reads, and whose stopping rules say how many replicates it has.
    dropped : dict of str to int
        For each condition that the rule has dropped, the first replicate that it has no part in.
    exit_stack : contextlib.ExitStack
        Closed in the coordinator when the run is over, however it ended: ``exit_stack.callback(function)`` tidies up.
    """

    def __init__(
        self,
        kind: RunKind,
        plugins: PluginManager,
        *,
        treatments: Mapping[str, Treatment],
        conditions: tuple[str, ...],
        hypotheses: Sequence[Hypothesis],
        master_seed: int,
        replicates: int | None,
        resumes: bool = False,
        failure_policy: FailurePolicy,
        cache: CacheSettings,
        only: frozenset[int] | None = None,
        order: Order = INTERLEAVED,
        stop_when: StoppingRule | None = None,
    ) -> None:
        self.kind = kind
        self.treatments = treatments
        self.conditions = conditions
        self.hypotheses = hypotheses
        self.master_seed = master_seed
        self.replicates = replicates
        self.resumes = resumes
        self.failure_policy = failure_policy
        self.cache = cache
        self.only = only
        self.order = order
        self.stop_when = stop_when
        self.token = secrets.token_hex(8)
        self.started = now()
        self.stored: Iterable[ReplicateResult] = ()
        self.artifact_sink: Sink | None = None
        self.done: dict[int, frozenset[str]] = {}
        self.failed: Mapping[int, Mapping[str, Outcome]] = {}
        self.preregistration: Preregistration | None = None
        self.shared_inputs: dict[str, int] = {}
        self.stopped_inputs: list[str] = []
        self.dropped: dict[str, int] = {}
        self.has_begun = False
        self.exit_stack = ExitStack()
        self._plugins = plugins
        self._states: dict[str, SimpleNamespace] = {}  # by the plugin's name
        self._by_identity: dict[int, SimpleNamespace] = {}
        self.is_cancelled = False
        self._knows_it_is_cancelled = False

    def check_cancelled(self) -> None:
        """Raise if the run was cancelled: once, so that what had finished by then can still be taken in."""
        if self.is_cancelled and not self._knows_it_is_cancelled:
            self._knows_it_is_cancelled = True
            raise RunCancelled

    def state(self, plugin: object) -> SimpleNamespace:
        """Return what a plugin keeps for this run: a namespace of its own, empty at first.

        What it puts there in ``before_run`` is there in the workers, too; each worker has a copy.

        Raises
        ------
        PluginError
            If `plugin`, an instance or its name, does not take part.
        """
        found = self._by_identity.get(id(plugin))  # asked in every outcome
        if found is None:
            found = self._states.setdefault(self._plugins.name_of(plugin), SimpleNamespace())
            if not isinstance(plugin, str):
                self._by_identity[id(plugin)] = found
        return found

    def __getstate__(self) -> dict[str, Any]:
        only_here: dict[str, Any] = {
            "exit_stack": None,
            "hypotheses": (),
            "stored": (),
            "failed": {},
            "_by_identity": {},
        }
        return self.__dict__ | only_here
