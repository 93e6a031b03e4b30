"""Verifiers: functions that compare the samples of two conditions."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, overload

from crystallize.errors import InvalidTypeError, InvalidValueError, MissingParameterError
from crystallize.utils.factories import ConfiguredFunction, Factory
from crystallize.utils.signatures import is_async, mismatch, name_of, place_of_code, signature_of
from crystallize.utils.wording import counted, did_you_mean, listed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Verifier(ConfiguredFunction):
    """A verifier with its settings: call it with the samples of the baseline and of a treatment.

    Attributes
    ----------
    many : callable or None
        What compares all treatments at once; see :func:`verifier`.
    corrects : bool
        Whether it corrects p-values for their number by itself.
    """

    many: Callable[..., Any] | None
    corrects: bool

    def __init__(
        self,
        fn: Callable[..., Any],
        arguments: dict[str, Any],
        many: Callable[..., Any] | None = None,
        corrects: bool = False,
    ) -> None:
        super().__init__(fn, arguments, many=many, corrects=corrects)
        self.__name__ = name_of(fn)
        self.__doc__ = fn.__doc__

    @property
    def settings(self) -> dict[str, Any]:
        """The keyword arguments of the function."""
        return self.arguments

    def __call__(self, baseline_samples: Any, treatment_samples: Any) -> Any:
        """Compare two mappings from metric to values."""
        return self.fn(baseline_samples, treatment_samples, **self.fresh_arguments())

    def compare_all(self, samples: Sequence[tuple[Any, Any]]) -> list[Any]:
        """Return what :meth:`find_all` does, in a list whose results the caller may change."""
        return list(self.find_all(samples))

    def find_all(self, samples: Sequence[tuple[Any, Any]]) -> Sequence[Any]:
        """Return the results of several treatments, or the exceptions that they raised, as :attr:`many` gives them.

        Parameters
        ----------
        samples : sequence of pairs
            For each treatment the baseline's samples that belong to it, and its own.

        Raises
        ------
        InvalidValueError
            If there are not as many results as treatments.
        """
        assert self.many is not None
        found = self.many(samples, **self.fresh_arguments())
        if not isinstance(found, list):
            found = list(found)
        if len(found) != len(samples):
            raise InvalidValueError(
                f"verifier {self.__name__} gave {counted(len(found), 'result')} "
                f"of {counted(len(samples), 'treatment')}",
                place_of_code(self.fn),
                "Return one for each pair of samples",
            )
        return found


class VerifierFactory(Factory[Verifier]):
    """What :func:`verifier` makes of a function: call it with settings for a :class:`Verifier`.

    Attributes
    ----------
    settings : dict of str to object
        The default of each setting; ``inspect.Parameter.empty`` if it has none.
    takes_any : bool
        Whether it takes settings of any other name.
    """

    decorator = "@verifier"
    product = "verifier"
    by_hand = "(baseline_samples, treatment_samples)"
    check: Callable[..., None] | None
    many: Callable[..., Any] | None
    corrects: bool

    def __init__(
        self,
        fn: Callable[..., Any],
        check: Callable[..., None] | None = None,
        many: Callable[..., Any] | None = None,
        corrects: bool = False,
    ) -> None:
        super().__init__(fn, check=check, many=many, corrects=corrects)
        _refuse_async(fn)
        signature = signature_of(fn)
        parameters = [] if signature is None else list(signature.parameters.values())
        positional = [
            p for p in parameters if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL}
        ]
        if len(positional) < 2:
            raise InvalidTypeError(
                f"a verifier takes the samples of the baseline and of the treatment, {name_of(fn)} does not",
                place_of_code(fn),
                "Write it as def verifier(baseline_samples, treatment_samples, *, alpha=0.05)",
            )
        settings = [p for p in parameters[2:] if p.kind in {p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY}]
        self.settings = {p.name: p.default for p in settings}
        self.takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
        self.__signature__ = inspect.Signature([p.replace(kind=p.KEYWORD_ONLY) for p in settings])

    def make(self, fn: Callable[..., Any], arguments: dict[str, Any]) -> Verifier:
        """Return the verifier with these settings."""
        name, place = name_of(fn), place_of_code(fn)
        unknown = [key for key in arguments if key not in self.settings and not self.takes_any]
        if unknown:
            advice = did_you_mean(unknown[0], self.settings) or f"It has {listed(self.settings)}"
            raise InvalidTypeError(f"verifier {name} has no setting {unknown[0]!r}", place, advice)
        complete = {**self.settings, **arguments}
        missing = [key for key, value in complete.items() if value is inspect.Parameter.empty]
        if missing:
            raise MissingParameterError(
                f"verifier {name} needs a value for {listed(missing)}",
                place,
                f"Give it: {name}({missing[0]}=...)",
            )
        if self.check is not None:
            self.check(**complete)
        return Verifier(fn, complete, self.many, self.corrects)


@overload
def verifier(fn: Callable[..., Any]) -> VerifierFactory: ...
@overload
def verifier(
    *,
    check: Callable[..., None] | None = None,
    many: Callable[..., Any] | None = None,
    corrects: bool = False,
) -> Callable[[Callable[..., Any]], VerifierFactory]: ...
def verifier(
    fn: Any = None,
    *,
    check: Callable[..., None] | None = None,
    many: Callable[..., Any] | None = None,
    corrects: bool = False,
) -> Any:
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
    many : callable, optional
        ``many(samples, **settings)`` returns the results of all treatments at once, for a test that is of all of them
        together, or that is faster so: `samples` is a sequence of pairs, for each treatment the baseline's samples and
        its own. A treatment that cannot be tested has the exception in its place.
    corrects : bool, default False
        Whether each result has an ``adjusted_p_value``, so that a hypothesis refuses another correction. The samples of
        all treatments are then of the same replicates, which no condition lacks.

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
        return lambda function: VerifierFactory(function, check, many, corrects)
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
    fault = mismatch(candidate, None, None)
    if fault:
        raise InvalidTypeError(
            f"a verifier is called with two samples, {name_of(candidate)} cannot be: {fault}",
            place_of_code(candidate),
        )


def _refuse_async(fn: Any) -> None:
    if is_async(fn):
        raise InvalidTypeError(f"a verifier is not async, {name_of(fn)} is", place_of_code(fn))
