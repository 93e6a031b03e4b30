"""Treatments: what a condition changes."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from crystallize.datasources.datasource import DataSource, as_datasource
from crystallize.errors import InvalidNameError, InvalidTypeError, InvalidValueError, UnknownNameError
from crystallize.store.layout import BASELINE, check_condition_name
from crystallize.utils.context import RESERVED_KEYS
from crystallize.utils.factories import ConfiguredFunction, Factory
from crystallize.utils.levels import stored_levels
from crystallize.utils.names import name_key
from crystallize.utils.signatures import check_call, is_async
from crystallize.utils.wording import name_hint

if TYPE_CHECKING:
    from crystallize.utils.context import FrozenContext


class Treatment:
    """One named change of the context, or of the data source.

    Parameters
    ----------
    name : str
        Name of the condition. A treatment called ``"baseline"`` gives the baseline its settings.
    apply : mapping or callable
        Settings, laid over the experiment's initial context; or a function of the context that adds keys with
        ``ctx.add``.
    datasource : optional
        A data source that takes the place of the experiment's under this condition.
    coordinates : mapping, optional
        The level of each factor, if the treatment is a cell of a design: what effects are computed from.

    Raises
    ------
    InvalidTypeError
        If an argument has the wrong type.
    InvalidNameError
        If the name cannot be a folder.
    InvalidValueError
        If a setting uses a reserved key.
    """

    def __init__(
        self,
        name: str,
        apply: Mapping[str, Any] | Callable[[FrozenContext], Any],
        *,
        datasource: Any = None,
        coordinates: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = check_condition_name(name)
        self.settings: dict[str, Any] = {}
        self.function: TreatmentFunction | None = None
        if isinstance(apply, Mapping):
            self.settings = check_context(apply, f"treatment {name!r}")
        elif callable(apply) and not isinstance(apply, type):
            _refuse_async(name, apply)
            self.function = apply if isinstance(apply, TreatmentFunction) else TreatmentFunction(apply)
        else:
            raise InvalidTypeError(
                f"treatment {name!r} is a mapping of settings or a function of the context, got {apply!r}"
            )
        self.datasource: DataSource | None = None if datasource is None else as_datasource(datasource)
        self.coordinates = (
            {}
            if coordinates is None
            else check_context(coordinates, f"the coordinates of treatment {name!r}")
        )

    def describe(self) -> dict[str, Any]:
        """Return what the treatment does, for metadata and provenance."""
        described: dict[str, Any] = dict(self.settings)
        if self.function is not None:
            described["apply"] = getattr(self.function.fn, "__qualname__", repr(self.function.fn))
        if self.datasource is not None:
            described["datasource"] = repr(self.datasource)
        return described

    def limited_to(self, keys: Collection[str]) -> Treatment:
        """Return the treatment with these of its settings only."""
        if len(keys) == len(self.settings):
            return self
        limited = copy.copy(self)
        limited.settings = {key: value for key, value in self.settings.items() if key in keys}
        return limited

    def __repr__(self) -> str:
        return f"Treatment({self.name!r}, {self.function or self.settings!r})"


Treatments: TypeAlias = "Iterable[Treatment | TreatmentFactory | Iterable[Treatment]]"
"""What is taken as treatments: a design is an iterable of them."""


class TreatmentFunction(ConfiguredFunction):
    """What a treatment does to the context: a function, with arguments that no outcome can change for the next."""

    def __call__(self, ctx: FrozenContext) -> Any:
        """Call the function."""
        return self.fn(ctx, **self.fresh_arguments())


class TreatmentFactory(Factory[Treatment]):
    """What ``@treatment("name")`` leaves in place of a function: call it to get the treatment.

    Attributes
    ----------
    name : str
        Name of the condition.
    """

    decorator = "@treatment"
    product = "treatment"
    by_hand = ".function(ctx), with ctx from standalone_context"
    name: str

    def make(self, fn: Callable[..., Any], arguments: dict[str, Any]) -> Treatment:
        """Return the treatment; `arguments` are passed on to the function."""
        check_call(f"treatment {self.name!r}", fn, None, **arguments)
        return Treatment(self.name, TreatmentFunction(fn, arguments))


@overload
def treatment(
    name: str, apply: Mapping[str, Any] | Callable[[FrozenContext], Any], *, datasource: Any = None
) -> Treatment: ...
@overload
def treatment(name: str) -> Callable[[Callable[..., Any]], TreatmentFactory]: ...
@overload
def treatment(name: str, *, datasource: Any) -> Treatment: ...
def treatment(
    name: str,
    apply: Mapping[str, Any] | Callable[[FrozenContext], Any] | None = None,
    *,
    datasource: Any = None,
) -> Treatment | Callable[[Callable[..., Any]], TreatmentFactory]:
    """Make a treatment, or decorate the function that is one.

    Parameters
    ----------
    name : str
        Name of the condition.
    apply : mapping or callable, optional
        See :class:`Treatment`. Without it, and without a data source, this is a decorator.
    datasource : optional
        See :class:`Treatment`.

    Examples
    --------
    >>> low = treatment("low", {"factor": 0.5})
    >>> @treatment("shifted")
    ... def shifted(ctx, *, by=1.0):
    ...     ctx.add("shift", by)
    >>> shifted(by=2.0)
    Treatment('shifted', ...)
    """
    if apply is not None or datasource is not None:
        return Treatment(name, {} if apply is None else apply, datasource=datasource)
    check_condition_name(name)

    def decorate(fn: Callable[..., Any]) -> TreatmentFactory:
        factory = TreatmentFactory(fn, name=name)
        _refuse_async(name, fn)
        return factory

    return decorate


def as_treatments(treatments: Any) -> tuple[Treatment, ...]:
    """Return `treatments`, instances, factories and designs of them, as a tuple of treatments.

    Raises
    ------
    InvalidTypeError
        If something in it is no treatment.
    InvalidNameError
        If two have one name.
    """
    if isinstance(treatments, Treatment | TreatmentFactory):
        treatments = [treatments]
    if isinstance(treatments, str | bytes | Mapping) or not isinstance(treatments, Iterable):
        raise InvalidTypeError(f"treatments are a list of Treatment, got {treatments!r}")
    made: dict[str, Treatment] = {}
    for one in itertools.chain.from_iterable(map(_each_treatment, treatments)):
        other = made.setdefault(name_key(one.name), one)
        if other is not one:
            raise InvalidNameError(
                f"two treatments are called {one.name!r}"
                if other.name == one.name
                else f"the treatments {other.name!r} and {one.name!r} would share a folder on some systems",
                hint="Give each its own name",
            )
    return tuple(made.values())


def _each_treatment(item: Any) -> Iterable[Treatment]:
    """Return the treatments that one item of a list stands for: itself, what a factory makes, or those of a design."""
    one = item() if isinstance(item, TreatmentFactory) else item
    if isinstance(one, Treatment):
        return (one,)
    if isinstance(one, str | bytes | Mapping) or not isinstance(one, Iterable):
        raise InvalidTypeError(
            f"a treatment is a Treatment, got {item!r}",
            hint='Make one with treatment("name", {"key": value}), or many with grid(key=[...])',
        )
    return as_treatments(one)


def with_baseline(treatments: Iterable[str]) -> tuple[str, ...]:
    """Return the conditions of a run with these treatments: the baseline first."""
    return (BASELINE, *(name for name in treatments if name != BASELINE))


def stored_coordinates(treatments: Mapping[str, Treatment]) -> dict[str, dict[str, Any]]:
    """Return the coordinates of the treatments that are cells of a design, as they are stored."""
    return {name: stored_levels(each.coordinates) for name, each in treatments.items() if each.coordinates}


def choose_condition(
    treatments: Iterable[Treatment], wanted: Treatment | str | None
) -> tuple[str, dict[str, Treatment]]:
    """Return the name of the condition that `wanted` stands for, and its treatment if it has one.

    Parameters
    ----------
    treatments : iterable of Treatment
        Those of the experiment.
    wanted : Treatment, str or None
        A treatment, the name of one of the experiment's, or None for the baseline.

    Raises
    ------
    UnknownNameError
        If the experiment has no treatment of that name.
    """
    known = {each.name: each for each in treatments}
    if wanted is None or wanted == BASELINE:
        return BASELINE, {name: each for name, each in known.items() if name == BASELINE}
    if not isinstance(wanted, str):
        (one,) = as_treatments([wanted])
        return one.name, {one.name: one}
    if wanted not in known:
        raise UnknownNameError(
            f"the experiment has no treatment {wanted!r}",
            hint=name_hint(wanted, "It has", known),
        )
    return wanted, {wanted: known[wanted]}


def check_context(entries: Any, owner: str) -> dict[str, Any]:
    """Return `entries` as a dict if they can be entries of a context.

    Raises
    ------
    InvalidTypeError
        If it is not a mapping with str keys.
    InvalidValueError
        If a key is reserved.
    """
    if not isinstance(entries, Mapping):
        raise InvalidTypeError(f"{owner} is a mapping of context keys to values, got {entries!r}")
    for key in entries:
        if not isinstance(key, str):
            raise InvalidTypeError(f"{owner} has the key {key!r}; context keys are str")
        if key in RESERVED_KEYS:
            raise InvalidValueError(
                f"{owner} sets {key!r}, which the framework sets itself", hint="Choose another key"
            )
    return dict(entries)


def _refuse_async(name: str, fn: Callable[..., Any]) -> None:
    if is_async(fn):
        raise InvalidTypeError(
            f"treatment {name!r} is an async function, and treatments are called without await",
            hint="Await in a step or in the data source",
        )
