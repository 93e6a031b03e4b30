"""What options mean: each text is read, or refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from crystallize.experiments.designs.design import Design
    from crystallize.statistics.stopping.rule import StoppingRule

_AGES = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}  # no M: who writes 6M means months
_SIZES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*")


def read_execution(config: Path, execution: str | None, workers: int | None) -> Any:
    """Return the strategy that the options ask for, or None for those of the files."""
    if execution is None and workers is None:
        return None
    from crystallize.config.reader import read_config
    from crystallize.plugins.execution.resolution import find_strategy
    from crystallize.utils.signatures import takes_keyword

    chosen: Any = execution or read_config(config).execution or "serial"
    spelled = {"strategy": chosen} if isinstance(chosen, str) else dict(chosen)
    strategy = find_strategy(spelled["strategy"])
    if workers is None:
        return execution
    if not takes_keyword(strategy, "max_workers"):
        raise typer.BadParameter(
            f"the strategy {spelled['strategy']!r} has no max_workers. Say --execution process or thread",
            param_hint="--workers",
        )
    return {**spelled, "max_workers": workers}


def read_stop_when(text: str) -> StoppingRule:
    """Return the stopping rule that ``--stop-when RULE`` says."""
    from crystallize.errors import InvalidValueError
    from crystallize.statistics.stopping.text import read_rule

    try:
        return read_rule(text)
    except InvalidValueError as error:
        raise typer.BadParameter(str(error), param_hint="--stop-when") from None


def read_disabled_plugins(plugins: Sequence[str]) -> list[str]:
    """Return the plugins that several ``-p no:NAME`` leave out."""
    names = []
    for plugin in plugins:
        name = plugin.removeprefix("no:").strip()
        if not plugin.startswith("no:") or not name:
            raise typer.BadParameter(f"{plugin!r} is not of the form no:NAME", param_hint="-p")
        names.append(name)
    return names


def read_cached_steps(steps: Sequence[str]) -> dict[str, bool]:
    """Return whether each of the steps that several ``--cache STEP|no:STEP`` name is to be cached."""
    found: dict[str, bool] = {}
    for step in steps:
        name = step.removeprefix("no:").strip()
        if not name:
            raise typer.BadParameter(f"{step!r} is not of the form STEP or no:STEP", param_hint="--cache")
        if name in found:
            raise typer.BadParameter(f"the step {name!r} is named twice", param_hint="--cache")
        found[name] = name == step.strip()
    return found


def read_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Return what several ``--set KEY=VALUE`` say."""
    from crystallize.config.document import read_value
    from crystallize.errors import InvalidValueError

    context: dict[str, Any] = {}
    for key, text in _texts_by_key(settings, "--set", "KEY=VALUE").items():
        try:
            context[key] = read_value(text.strip())
        except InvalidValueError as error:
            raise typer.BadParameter(f"{key}: {error}", param_hint="--set") from None
    return context


def read_grid(factors: Sequence[str]) -> Design:
    """Return the design that several ``--grid FACTOR=LEVEL,...`` say."""
    from crystallize.config.document import read_value
    from crystallize.errors import CrystallizeError
    from crystallize.experiments.designs.design import grid

    levels: dict[str, Any] = {}
    for factor, text in _texts_by_key(factors, "--grid", "FACTOR=LEVEL,...").items():
        try:
            levels[factor] = read_value(f"[{text}]")
        except CrystallizeError:
            raise typer.BadParameter(
                f"the levels of {factor!r} cannot be read: {text!r}. Put text with brackets or quotes in quotes",
                param_hint="--grid",
            ) from None
    try:
        return grid(levels)
    except CrystallizeError as error:
        raise typer.BadParameter(str(error), param_hint="--grid") from None


def _texts_by_key(given: Sequence[str], option: str, form: str) -> dict[str, str]:
    """Return what stands behind the equals sign of each of several options."""
    texts: dict[str, str] = {}
    for each in given:
        key, equals, text = each.partition("=")
        key = key.strip()
        if not equals or not key:
            raise typer.BadParameter(f"{each!r} is not of the form {form}", param_hint=option)
        if key in texts:
            raise typer.BadParameter(f"{key!r} is given twice", param_hint=option)
        texts[key] = text
    return texts


def read_age(text: str) -> timedelta:
    """Return the time that ``30d`` or ``12h`` stands for."""
    try:
        return timedelta(
            seconds=_read_quantity(text, _AGES, "an age is a number with one of s, m, h, d, w: 30d")
        )
    except OverflowError:
        raise typer.BadParameter(f"{text!r} is longer than time has been") from None


def read_size(text: str) -> int:
    """Return the bytes that ``10MB`` or ``500`` stands for."""
    return round(
        _read_quantity(text.lower(), _SIZES, "a size is a number with one of B, kB, MB, GB, TB: 10MB")
    )


def _read_quantity(text: str, units: dict[str, int], form: str) -> float:
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in units:
        raise typer.BadParameter(f"{text!r} cannot be read: {form}")
    return float(match[1]) * units[match[2]]
