"""``crystallize diff``: what differs between two stored runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crystallize.cli import options, screen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crystallize.results.circumstances import Change
    from crystallize.results.comparison import RunDifference


def diff(
    before: options.RunName,
    after: options.RunName,
    as_json: options.JsonObject = False,
) -> None:
    """Show what differs between two stored runs.

    That is settings, code, environment, packages, plugins, seeds and metrics.
    Where both runs measured a replicate with the same seed, the difference of a metric is that of these pairs.
    """
    from crystallize.cli.stored import find_named_run
    from crystallize.results.comparison import compare_runs
    from crystallize.utils.suggest import shown

    runs = find_named_run(before), find_named_run(after)
    found = compare_runs(*runs)
    if as_json:
        screen.print_json({"before": str(runs[0]), "after": str(runs[1])} | found.to_dict())
        return
    screen.echo(f"before: {shown(runs[0])}\nafter:  {shown(runs[1])}")
    for line in difference_lines(found):
        screen.echo(line)


def difference_lines(found: RunDifference) -> Iterator[str]:
    """Yield the lines of a text that tells what differs between two runs."""
    from crystallize.utils.text_table import wrapped

    for title in ("settings", "code", "environment", "packages", "plugins", "seeds"):
        part = getattr(found, title)
        yield ""
        yield f"{title}: {'' if part else 'no difference'}".rstrip()
        yield from wrapped(each if title == "code" else _told(each) for each in part)
    yield ""
    yield from _metrics(found)


def _told(change: Change) -> str:
    return f"{change.name}: {_shown(change.before)} -> {_shown(change.after)}"


def _shown(value: Any) -> str:
    from crystallize.utils.json_text import to_json
    from crystallize.utils.suggest import shortened

    return "-" if value is None else shortened(to_json(value))


def _metrics(found: RunDifference) -> list[str]:
    from crystallize.utils.text_table import TextTable

    if not found.metrics:
        return ["metrics: none"]

    def number(value: float | None) -> str:
        return "-" if value is None else format(value, ".6g")

    rows = [
        (
            each.condition,
            each.metric,
            number(each.before),
            number(each.after),
            "same" if each.same else number(each.difference),
            str(each.pairs),
        )
        for each in found.metrics
    ]
    return TextTable(("condition", "metric", "before", "after", "difference", "pairs"), rows).lines()
