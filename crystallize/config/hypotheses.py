"""The hypotheses of a config.yaml, with their verifiers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crystallize.config.lookup import MISSING, Lookup, Takes
from crystallize.discovery import VERIFIERS, resolve
from crystallize.discovery import lookup as find_installed
from crystallize.errors import CrystallizeError, PluginLoadError, UnknownNameError
from crystallize.experiments.treatment import BASELINE
from crystallize.statistics.hypothesis import Hypothesis
from crystallize.statistics.verifier import VerifierFactory, check_verifier
from crystallize.utils.failures import told

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
        hypothesis = None if given is None else _hypothesis(lookup, given, path)
        if hypothesis is None:
            continue
        name = hypothesis.name
        if name in made:
            message = f"two hypotheses are called {name!r}; the first is in line {lines[name]}"
            lookup.note(path, message, "Give one of them a 'name'")
        else:
            made[name], lines[name] = hypothesis, lookup.line_of(*path)
    is_treated = any(name != BASELINE for name in config.treatments)
    if config.hypotheses and not is_treated and not lookup.draft.is_broken("treatments"):
        message = "the hypotheses have nothing to compare with the baseline"
        lookup.note(("hypotheses",), message, "Add 'treatments'", key=True)
    return list(made.values())


def _hypothesis(lookup: Lookup, given: HypothesisConfig, path: KeyPath) -> Hypothesis | None:
    factory = _verifier(lookup, given.verifier, (*path, "verifier"))
    if factory is None:
        return None
    takes = Takes(factory.settings, open_ended=factory.takes_any)
    place = (*path, "args") if given.args else (*path, "verifier")
    if not lookup.check_arguments(place, f"verifier {given.verifier!r}", takes, given.args):
        return None
    try:
        return Hypothesis(factory(**given.args), given.metrics, name=given.name)
    except Exception as error:  # a verifier's own check may raise anything
        lookup.note_refusal(place, given.args, error)
        return None


def _verifier(lookup: Lookup, name: str, path: KeyPath) -> VerifierFactory | None:
    thing = lookup.own("verifiers", name)
    is_installed = thing is MISSING
    if is_installed and lookup.modules.failed("verifiers"):
        return None  # it may be there; that the module could not be loaded says enough
    try:
        return _as_factory(resolve(VERIFIERS, name, "verifier") if is_installed else thing)
    except UnknownNameError as error:
        if ":" in name:
            lookup.note_error(path, error)
        else:
            lookup.note_unknown("verifiers", name, path, "verifier", group=VERIFIERS)
    except PluginLoadError as error:
        lookup.note_error(path, error)
    except (CrystallizeError, ValueError) as error:  # a ValueError for a builtin without a signature
        if is_installed and ":" not in name:
            reason = error.what if isinstance(error, CrystallizeError) else told(error)
            message = f"{find_installed(VERIFIERS, name, 'verifier')} cannot be used: {reason}"
            lookup.note(path, message, getattr(error, "hint", ""))
        else:
            lookup.note_error(path, error)
    return None


def _as_factory(thing: Any) -> VerifierFactory:
    if isinstance(thing, VerifierFactory):
        return thing
    check_verifier(thing)
    return VerifierFactory(thing)
