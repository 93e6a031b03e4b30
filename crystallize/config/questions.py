"""The hypotheses of a config.yaml, with their verifiers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crystallize.config.scope import MISSING, Scope
from crystallize.config.signatures import Takes, blamed_argument, check_arguments, explained, reason_of
from crystallize.discovery import VERIFIERS, lookup, resolve
from crystallize.errors import CrystallizeError, PluginLoadError, UnknownNameError
from crystallize.experiments.treatment import BASELINE
from crystallize.statistics.hypothesis import Hypothesis
from crystallize.statistics.verifier import VerifierFactory, check_verifier

if TYPE_CHECKING:
    from crystallize.config.errors import KeyPath
    from crystallize.config.schema import HypothesisConfig


def read_hypotheses(scope: Scope) -> list[Hypothesis]:
    """Return the hypotheses; those with a mistake are left out, and the mistake is noted."""
    config, document = scope.config, scope.document
    made: dict[str, Hypothesis] = {}
    lines: dict[str, int] = {}
    for position, given in enumerate(config.hypotheses):
        path = ("hypotheses", position)
        hypothesis = None if given is None else _hypothesis(scope, given, path)
        if hypothesis is None:
            continue
        line = document.at(path)[0]
        if made.setdefault(hypothesis.name, hypothesis) is not hypothesis:
            document.add(
                path,
                f"two hypotheses are called {hypothesis.name!r}; the first is in line {lines[hypothesis.name]}",
                "Give one of them a 'name'",
            )
        lines.setdefault(hypothesis.name, line)
    is_treated = any(name != BASELINE for name in config.treatments)
    if config.hypotheses and not is_treated and not scope.draft.is_broken("treatments"):
        document.add(
            ("hypotheses",),
            "the hypotheses have nothing to compare with the baseline",
            "Add 'treatments'",
            key=True,
        )
    return list(made.values())


def _hypothesis(scope: Scope, given: HypothesisConfig, path: KeyPath) -> Hypothesis | None:
    factory = _verifier(scope, given.verifier, (*path, "verifier"))
    if factory is None:
        return None
    takes = Takes(factory.settings, takes_any=factory.takes_any)
    place = (*path, "args") if given.args else (*path, "verifier")
    if not check_arguments(scope.document, place, f"verifier {given.verifier!r}", takes, given.args):
        return None
    try:
        return Hypothesis(factory(**given.args), given.metrics, name=given.name)
    except Exception as error:  # a verifier's own check may raise anything
        reason, hint = reason_of(error)
        scope.document.add((*place, *blamed_argument(given.args, reason)), reason, hint)
        return None


def _verifier(scope: Scope, name: str, path: KeyPath) -> VerifierFactory | None:
    own = scope.own("verifiers", name)
    if own is MISSING and scope.modules.failed("verifiers"):
        return None  # it may be there; that the module could not be loaded says enough
    try:
        thing = resolve(VERIFIERS, name, "verifier") if own is MISSING else own
    except UnknownNameError as error:
        if ":" in name:
            scope.document.add(path, *explained(error))
        else:
            scope.note_unknown("verifiers", name, path, "verifier", group=VERIFIERS)
        return None
    except PluginLoadError as error:
        scope.document.add(path, *explained(error))
        return None
    try:
        return _as_factory(thing)
    except (CrystallizeError, ValueError) as error:  # a ValueError for a builtin without a signature
        reason, hint = reason_of(error)
        if own is MISSING and ":" not in name:
            reason = f"{lookup(VERIFIERS, name, 'verifier')} cannot be used: {reason}"
        scope.document.add(path, reason, hint)
        return None


def _as_factory(thing: Any) -> VerifierFactory:
    if isinstance(thing, VerifierFactory):
        return thing
    check_verifier(thing)
    return VerifierFactory(thing)
