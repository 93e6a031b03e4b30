"""The errors that Crystallize raises.

Every one is a :class:`CrystallizeError` and also the built-in kind that a caller would expect, so
``except FileNotFoundError`` catches a missing artifact. A message has up to three parts: what happened,
where it happened, and what to do about it.
"""

from __future__ import annotations

from typing import Any


class CrystallizeError(Exception):
    """Base of all errors raised by Crystallize.

    Parameters
    ----------
    what : str
        What happened, as one sentence without a full stop at the end.
    where : str, optional
        Where: experiment, condition, replicate, step, file and line; whatever is known.
    hint : str, optional
        What the reader can do about it, as one sentence.
    """

    def __init__(self, what: str, where: str = "", hint: str = "") -> None:
        # All three go to Exception.__init__, so that the error survives pickling unchanged.
        super().__init__(what, where, hint)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        advice = f". {self.hint}" if self.hint else ""
        return f"{self.what}{place}{advice}"


class InvalidTypeError(CrystallizeError, TypeError):
    """An argument has the wrong type."""


class InvalidValueError(CrystallizeError, ValueError):
    """An argument has the right type and a value that cannot be used."""


class InvalidNameError(InvalidValueError):
    """A name that becomes a file or folder would not stay inside its folder."""


class UnknownNameError(CrystallizeError, LookupError):
    """Nothing is installed, or defined, under the name that was asked for."""


class ValidationError(CrystallizeError, ValueError):
    """An experiment cannot run as it is defined."""


class ContextMutationError(CrystallizeError, TypeError):
    """A key of the immutable context was to be set a second time, or removed."""


class ContextKeyError(CrystallizeError, KeyError):
    """The context does not hold the key that was read."""


class MissingParameterError(CrystallizeError, TypeError):
    """Nothing provides a parameter that a step needs."""


class MissingMetricError(CrystallizeError, KeyError):
    """A metric that a hypothesis or a user asks for was never recorded."""


class PluginError(CrystallizeError, RuntimeError):
    """A plugin could not be used, or one of its hooks raised.

    Attributes
    ----------
    raised_in : str
        Whose hook raised: ``"plugin 'seed' raised in before_run"``; empty if none did.
    others : tuple of PluginError
        What the same hook of other plugins raised in the same call. They are notes of the error, too.
    """

    raised_in: str = ""
    others: tuple[PluginError, ...] = ()


class PluginLoadError(PluginError, ImportError):
    """An installed plugin could not be loaded.

    Both bases initialise differently, so the constructor is spelled out: ``ImportError`` would take the
    three parts for its own arguments.
    """

    def __init__(self, what: str, where: str = "", hint: str = "") -> None:
        PluginError.__init__(self, what, where, hint)
        self.msg = str(self)


class ArtifactError(CrystallizeError, RuntimeError):
    """An artifact was written or read where that cannot be done."""


class ArtifactNotFoundError(ArtifactError, FileNotFoundError):
    """A stored artifact, or the metadata of the run that should hold it, is not there."""


class ReplicateMismatchError(CrystallizeError, ValueError):
    """Two parts of an experiment ask for different numbers of replicates."""


class StoreError(CrystallizeError, OSError):
    """A folder of the store is missing, damaged or in use."""


class NewerSchemaError(StoreError):
    """A run was stored by a newer Crystallize, whose files this one may misunderstand."""


class SerializationError(CrystallizeError, TypeError):
    """An object cannot be sent to a worker process, or its result cannot be sent back."""


class UnhashableContentError(CrystallizeError, TypeError):
    """A value, or a part of it, hides what it consists of, so that nobody can tell whether it is still the same."""


class ExecutionError(CrystallizeError, RuntimeError):
    """An execution strategy broke its contract or lost its workers."""


class WorkerLostError(ExecutionError):
    """The worker of a replicate ended before the replicate did."""


class OutcomeTimeoutError(ExecutionError, TimeoutError):
    """An outcome took longer than it may."""


class RunFailedError(CrystallizeError, RuntimeError):
    """Outcomes of a run failed: more than it allows, or any, for ``Result.raise_for_errors``."""


class GraphError(CrystallizeError, ValueError):
    """The experiments of a graph do not fit together: a cycle, a missing or a second producer."""


class GraphRunError(CrystallizeError, RuntimeError):
    """Experiments of a graph failed, or were left out because one that they depend on did.

    Attributes
    ----------
    results : dict
        What the experiments measured that ran, by name; also of those of the failed ones that came so far.
    failed : dict of str to str
        Why each of the others failed.
    skipped : dict of str to str
        For each one that was left out, the failed one that it depends on.
    """

    def __init__(
        self,
        what: str,
        where: str = "",
        hint: str = "",
        *,
        results: dict[str, Any] | None = None,
        failed: dict[str, str] | None = None,
        skipped: dict[str, str] | None = None,
    ) -> None:
        super().__init__(what, where, hint)
        self.results = results or {}
        self.failed = failed or {}
        self.skipped = skipped or {}
