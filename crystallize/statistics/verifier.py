"""Verifiers: functions that compare the samples of two conditions."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, cast, overload

from crystallize.errors import InvalidTypeError, MissingParameterError
from crystallize.utils.suggest import did_you_mean, listed
from crystallize.utils.wrapped import portable, restore

if TYPE_CHECKING:
    from collections.abc import Callable


class Verifier:
    """A verifier with its settings: call it with the samples of the baseline and of a treatment.

    Attributes
    ----------
    settings : dict of str to object
        The keyword arguments of the function.
    """

    def __init__(self, factory: VerifierFactory, settings: dict[str, Any]) -> None:
        self.factory = factory
        self.settings = settings
        self.__name__: str = getattr(factory, "__name__", "verifier")
        self.__doc__ = factory.__doc__

    def __call__(self, baseline_samples: Any, treatment_samples: Any) -> Any:
        """Compare two mappings from metric to values."""
        return self.factory.fn(baseline_samples, treatment_samples, **self.settings)

    def __reduce__(self) -> Any:
        return type(self), (self.factory, self.settings)

    def __repr__(self) -> str:
        return f"{self.__name__}({', '.join(f'{key}={value!r}' for key, value in self.settings.items())})"


class VerifierFactory:
    """What :func:`verifier` makes of a function: call it with settings for a :class:`Verifier`."""

    def __init__(self, fn: Callable[..., Any], check: Callable[..., None] | None = None) -> None:
        if not callable(fn):
            raise InvalidTypeError(f"@verifier decorates a function, got {fn!r}")
        functools.update_wrapper(cast(Any, self), fn)
        self.fn = fn
        _refuse_async(fn)
        parameters = list(inspect.signature(fn).parameters.values())
        positional = [
            p for p in parameters if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL}
        ]
        if len(positional) < 2:
            raise InvalidTypeError(
                f"a verifier takes the samples of the baseline and of the treatment, {_title(fn)} does not",
                _place(fn),
                "Write it as def verifier(baseline_samples, treatment_samples, *, alpha=0.05)",
            )
        settings = [p for p in parameters[2:] if p.kind in {p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY}]
        self.takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
        self.settings = {p.name: p.default for p in settings}
        self.check = check
        self.__signature__ = inspect.Signature([p.replace(kind=p.KEYWORD_ONLY) for p in settings])

    def __call__(self, *samples: Any, **settings: Any) -> Verifier:
        """Return the verifier with these settings.

        Raises
        ------
        InvalidTypeError
            If the function has no such keyword, or samples were given.
        MissingParameterError
            If a keyword without a default is not given.
        """
        name = getattr(self, "__name__", "verifier")
        if samples:
            raise InvalidTypeError(
                f"{name} makes verifiers and takes keyword settings only",
                hint=f"To compare samples, call {name}()(baseline_samples, treatment_samples)",
            )
        unknown = [key for key in settings if key not in self.settings and not self.takes_any]
        if unknown:
            advice = did_you_mean(unknown[0], self.settings) or f"It has {listed(self.settings)}"
            raise InvalidTypeError(f"verifier {name} has no setting {unknown[0]!r}", _place(self.fn), advice)
        missing = [
            key
            for key, default in self.settings.items()
            if default is inspect.Parameter.empty and key not in settings
        ]
        if missing:
            raise MissingParameterError(
                f"verifier {name} needs a value for {listed(missing)}",
                _place(self.fn),
                f"Give it: {name}({missing[0]}=...)",
            )
        complete = {**self.settings, **settings}
        if self.check is not None:
            self.check(**complete)
        return Verifier(self, complete)

    def __reduce__(self) -> Any:
        return _restore, (portable(self.fn), self.check)

    def __repr__(self) -> str:
        return f"<verifier factory {getattr(self, '__name__', self.fn)}>"


def _restore(fn: Any, check: Callable[..., None] | None) -> VerifierFactory:
    return VerifierFactory(restore(fn), check)


@overload
def verifier(fn: Callable[..., Any]) -> VerifierFactory: ...
@overload
def verifier(*, check: Callable[..., None]) -> Callable[[Callable[..., Any]], VerifierFactory]: ...
def verifier(fn: Any = None, *, check: Callable[..., None] | None = None) -> Any:
    """Turn a function into a factory of verifiers.

    Parameters
    ----------
    fn : callable
        ``fn(baseline_samples, treatment_samples, *, <settings>) -> dict``. The first two are mappings from a
        metric's name to the list of its values, and may have any name. A result with a ``p_value`` needs no
        ranker.
    check : callable, optional
        ``check(**settings)`` raises if the values of the settings cannot be used. It is called when the
        verifier is made, so that nobody learns of a wrong setting at the end of a long run.

    Returns
    -------
    VerifierFactory
        Called with keyword settings it returns the verifier. Both can be pickled.

    Examples
    --------
    >>> @verifier
    ... def mean_differs(baseline_samples, treatment_samples, *, margin=0.0):
    ...     (a,), (b,) = baseline_samples.values(), treatment_samples.values()
    ...     return {"differs": abs(sum(b) / len(b) - sum(a) / len(a)) > margin}
    >>> mean_differs(margin=0.5)({"loss": [1.0, 2.0]}, {"loss": [3.0, 4.0]})
    {'differs': True}
    """
    if fn is None:
        return lambda function: VerifierFactory(function, check)
    return VerifierFactory(fn)


def check_verifier(candidate: object) -> None:
    """Refuse what cannot be called with two samples.

    Raises
    ------
    InvalidTypeError
        If it is no callable of two positional arguments, is a class, or is ``async``.
    """
    if not callable(candidate):
        raise InvalidTypeError(
            f"a verifier is a callable (baseline_samples, treatment_samples) -> dict, got {candidate!r}"
        )
    if isinstance(candidate, type):
        raise InvalidTypeError(f"a verifier is an instance, got the class {candidate.__name__}")
    _refuse_async(candidate)
    try:
        inspect.signature(candidate).bind(None, None)
    except ValueError:  # a callable written in C may not tell
        return
    except TypeError as exc:
        raise InvalidTypeError(
            f"a verifier is called with two samples, {_title(candidate)} cannot be: {exc}",
            _place(candidate),
        ) from None


def _refuse_async(fn: Any) -> None:
    if inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None)):  # noqa: B004
        raise InvalidTypeError(f"a verifier is not async, {_title(fn)} is", _place(fn))


def _title(fn: Any) -> str:
    return str(getattr(fn, "__name__", type(fn).__name__))


def _place(fn: Any) -> str:
    code = getattr(fn, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""
