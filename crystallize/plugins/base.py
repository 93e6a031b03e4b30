"""What a lifecycle plugin may inherit from."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from crystallize import hookspecs
from crystallize.utils.signatures import signature_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from crystallize.pipelines.pipeline_step import PipelineStep
    from crystallize.results.result import Result
    from crystallize.store.outcome import ReplicateResult
    from crystallize.utils.context import FrozenContext


HOOK_NAMES = tuple(hookspecs.RUNS_IN)
"""The lifecycle hooks, in the order of a run."""


@runtime_checkable
class ExecutionStrategy(Protocol):
    """What decides how the replicates of a run are driven: one hook.

    Any object with this method is one when it is named, with ``execution=``, in a config.yaml or on the command
    line. In ``plugins=[...]``, it inherits from :class:`BasePlugin` or marks the method with ``@hookimpl``, as
    plugins do. A strategy whose workers are other processes or machines sends them `replicate_fn`, once each,
    and nothing else: it holds the experiment.
    """

    def run_experiment_loop(self, experiment: Any, replicate_fn: Callable[[int], Any]) -> list[Any]:
        """Drive all replicates; see :func:`crystallize.hookspecs.run_experiment_loop`."""
        ...


class BasePlugin:
    """A plugin whose overridden methods are its hooks.

    Override any of the methods below; :mod:`crystallize.hookspecs` says when and where each is called, and what
    `experiment` is.
    ``@hookimpl`` is needed only for its options (``tryfirst``, ``trylast``, ``wrapper``; the result of a wrapper,
    which is a generator, is why the methods are annotated with Any). A method that is not overridden is never called.

    Attributes
    ----------
    environment : mapping of str to str
        The environment variables that the plugin reads, and what each is for; ``crystallize plugins show``
        tells them.
    affects_outcomes : bool
        Whether what the plugin does in the workers can change an outcome. If so, a run that is resumed with another
        version or other settings of it runs everything again.
    """

    environment: ClassVar[Mapping[str, str]] = {}
    affects_outcomes: ClassVar[bool] = True

    @property
    def settings(self) -> dict[str, Any]:
        """The constructor's arguments, as far as they are kept under their own names.

        They are written into each run's metadata.
        """
        return kept_arguments(self)

    def active_hooks(self) -> frozenset[str]:
        """Return the names of the hooks that this instance takes part in: those that its class overrides.

        Narrow it where a setting makes a hook pointless, so that the hook costs nothing.
        """
        return frozenset(
            name for name in HOOK_NAMES if getattr(type(self), name) is not getattr(BasePlugin, name)
        )

    def init_hook(self, experiment: Any) -> Any:
        """Look at, or complete, an experiment that was just built."""

    def before_run(self, experiment: Any) -> Any:
        """Prepare for a run."""

    def run_experiment_loop(self, experiment: Any, replicate_fn: Callable[[int], Any]) -> Any:
        """Drive all replicates and return their results in replicate order, or None to leave it to others."""

    def before_replicate(self, experiment: Any, ctx: FrozenContext) -> Any:
        """Prepare the context of one condition of one replicate."""

    def before_step(self, experiment: Any, step: PipelineStep, ctx: FrozenContext) -> Any:
        """Look at a step that is about to run."""

    def after_step(self, experiment: Any, step: PipelineStep, data: Any, ctx: FrozenContext) -> Any:
        """Look at what a step returned."""

    def after_replicate(self, experiment: Any, result: ReplicateResult) -> Any:
        """Take note of a replicate that has arrived."""

    def after_run(self, experiment: Any, result: Result) -> Any:
        """Use the final result."""


def kept_arguments(made: object, prefix: str = "") -> dict[str, Any]:
    """Return the arguments of an object's constructor, as far as it keeps them under their names with this prefix."""
    kind: type = type(made)
    names = (name for name in _parameters(kind) if hasattr(made, prefix + name))
    return {name: getattr(made, prefix + name) for name in names}


@cache
def _parameters(kind: type) -> tuple[str, ...]:
    """Return what a class is made with: of a constructor that has ``**others``, also what its base class takes."""
    names: list[str] = []
    for base in kind.__mro__[:-1]:
        if base is kind or "__init__" in vars(base):
            signature = signature_of(base)
            parameters = signature.parameters.values() if signature else ()
            names += [each.name for each in parameters]
            if all(each.kind is not each.VAR_KEYWORD for each in parameters):
                break
    return tuple(names)
