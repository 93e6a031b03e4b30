"""A plugin that remembers which hooks were called, wherever they ran."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.hookspecs import hookimpl
from crystallize.plugins.base import HOOK_NAMES, BasePlugin

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from crystallize.experiments.experiment import Experiment
    from crystallize.pipelines.pipeline_step import PipelineStep
    from crystallize.results.result import Result
    from crystallize.store.outcome import ReplicateResult
    from crystallize.utils.context import FrozenContext

_BEGIN, _REPLICATES, _END = range(3)
_WORKER, _COORDINATOR = range(2)


class HookCall(NamedTuple):
    """One call of a hook.

    Attributes
    ----------
    hook : str
        The hook's name.
    replicate : int or None
        Index of the replicate, for hooks that belong to one.
    condition : str or None
        ``"baseline"`` or the treatment's name, for ``before_replicate`` and the hooks around steps.
    step : str or None
        The step's name, for the hooks around steps.
    """

    hook: str
    replicate: int | None = None
    condition: str | None = None
    step: str | None = None


class _Entry(NamedTuple):
    place: tuple[int, ...]
    call: HookCall


class HookRecorder(BasePlugin):
    """Records every hook call of the experiments that it is passed to, the same under every execution strategy.

    What runs in a worker process is handed back, so a recorder knows the calls of a replicate when the replicate
    has arrived; of one that was tried again, it knows those of the attempt that counts.
    """

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._run = 0

    @property
    def calls(self) -> list[HookCall]:
        """All calls, in the order in which a serial run makes them: replicates in order, whenever they arrived."""
        return [entry.call for entry in sorted(self._entries, key=lambda entry: entry.place)]

    def names(self) -> list[str]:
        """Return the hooks' names, in the order of `calls`."""
        return [call.hook for call in self.calls]

    def of(self, hook: str) -> list[HookCall]:
        """Return the calls of one hook.

        Raises
        ------
        ValueError
            If there is no such hook.
        """
        if hook not in HOOK_NAMES:
            raise ValueError(f"there is no hook {hook!r}, only {', '.join(HOOK_NAMES)}")
        return [call for call in self.calls if call.hook == hook]

    def clear(self) -> None:
        """Forget all calls."""
        self._entries.clear()

    def _add(self, call: HookCall, *place: int) -> None:
        self._entries.append(_Entry((self._run, *place), call))

    def __getstate__(self) -> dict[str, Any]:
        return {"_entries": [], "_run": self._run}  # a worker's copy hands back what it sees

    # -- in the coordinator --------------------------------------------------------------------------------

    def init_hook(self, experiment: Experiment) -> None:
        """Record the call."""
        self._add(HookCall("init_hook"), _END)  # of the run before it, or of none: the next has not begun

    def before_run(self, experiment: Experiment) -> None:
        """Record the call; a new run begins with it."""
        self._run += 1
        self._add(HookCall("before_run"), _BEGIN)

    @hookimpl(wrapper=True)
    def run_experiment_loop(
        self, experiment: Experiment, replicate_fn: Callable[[int], Any]
    ) -> Generator[None, Any, Any]:
        """Record the call and leave it to the execution strategy."""
        self._add(HookCall("run_experiment_loop"), _BEGIN)
        return (yield)

    def after_replicate(self, experiment: Experiment, result: ReplicateResult) -> None:
        """Record the call, and those that workers have handed back."""
        for replicate, condition, (hook, step) in experiment.handed_back(self):
            self._add(HookCall(hook, replicate, condition, step), _REPLICATES, replicate, _WORKER)
        self._add(HookCall("after_replicate", result.replicate), _REPLICATES, result.replicate, _COORDINATOR)

    def after_run(self, experiment: Experiment, result: Result) -> None:
        """Record the call."""
        self._add(HookCall("after_run"), _END)

    # -- in the workers ------------------------------------------------------------------------------------

    def before_replicate(self, experiment: Experiment, ctx: FrozenContext) -> None:
        """Hand the call back."""
        ctx.hand_back(self, ("before_replicate", None))

    def before_step(self, experiment: Experiment, step: PipelineStep, ctx: FrozenContext) -> None:
        """Hand the call back."""
        ctx.hand_back(self, ("before_step", ctx.peek("step_name")))

    def after_step(self, experiment: Experiment, step: PipelineStep, data: Any, ctx: FrozenContext) -> None:
        """Hand the call back."""
        ctx.hand_back(self, ("after_step", ctx.peek("step_name")))
