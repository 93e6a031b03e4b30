"""The hypotheses of a config.yaml, with their verifiers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize import discovery
from crystallize.config.lookup import MISSING, Lookup, Noted, Takes, reason_of
from crystallize.discovery import VERIFIERS
from crystallize.errors import CrystallizeError, UnknownNameError
from crystallize.statistics.hypothesis import Hypothesis
from crystallize.statistics.verifier import VerifierFactory, check_verifier
from crystallize.store.layout import BASELINE

if TYPE_CHECKING:
    from crystallize.config.errors import KeyPath
    from crystallize.config.schema import HypothesisConfig


def read_hypotheses(lookup: Lookup) -> list[Hypothesis]:
    """Return the hypotheses; those with a mistake are left out, and the mistake is noted."""
    config = lookup.config
    made: dict[str, Hypothesis] = {}
    lines: dict[str, int] = {}
    for position, given in enumerate(config.hypotheses):
        path = ("hypotheses", position)
        if given is None:
            continue
        hypothesis = lookup.attempt((*path, "verifier"), _hypothesis, lookup, given, path)
        if hypothesis is None:
            continue
        name = hypothesis.name
        if name in made:
            message = f"two hypotheses are called {name!r}; the first is in line {lines[name]}"
            lookup.note(path, message, "Give one of them a 'name'")
        else:
            made[name], lines[name] = hypothesis, lookup.line_of(*path)
    is_treated = any(each.name != BASELINE for each in lookup.draft.treatments)
    if config.hypotheses and not is_treated and not lookup.draft.is_broken("treatments"):
        message = "the hypotheses have nothing to compare with the baseline"
        lookup.note(("hypotheses",), message, "Add 'treatments'", key=True)
    return list(made.values())


def _hypothesis(lookup: Lookup, given: HypothesisConfig, path: KeyPath) -> Hypothesis:
    factory = _verifier(lookup, given.verifier, (*path, "verifier"))
    takes = Takes(factory.settings, takes_any=factory.takes_any)
    place = (*path, "args") if given.args else (*path, "verifier")
    lookup.check_arguments(place, f"verifier {given.verifier!r}", takes, given.args)
    try:
        return Hypothesis(
            factory(**given.args),
            given.metrics,
            name=given.name,
            direction=given.direction,
            smallest_effect=given.smallest_effect,
            equivalence_margin=given.equivalence_margin,
            correction=given.correction,
        )
    except Exception as error:  # a verifier's own check may raise anything
        lookup.refuse_call(place, given.args, error)


def _verifier(lookup: Lookup, name: str, path: KeyPath) -> VerifierFactory:
    thing = lookup.own("verifiers", name)
    is_installed = thing is MISSING
    if is_installed:
        if lookup.modules.failed("verifiers"):
            raise Noted  # it may be there; that the module could not be loaded says enough
        try:
            thing = discovery.resolve(VERIFIERS, name, "verifier")
        except UnknownNameError:
            if ":" in name:
                raise
            lookup.refuse_unknown("verifiers", name, path, "verifier", group=VERIFIERS)
    if isinstance(thing, VerifierFactory):
        return thing
    try:
        check_verifier(thing)
        return VerifierFactory(thing)
    except (CrystallizeError, ValueError) as error:  # a ValueError for a builtin without a signature
        reason, hint = reason_of(error)
        if is_installed and ":" not in name:
            reason = f"{discovery.lookup(VERIFIERS, name, 'verifier')} cannot be used: {reason}"
        lookup.refuse(path, reason, hint)
