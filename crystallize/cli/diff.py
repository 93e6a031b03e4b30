"""``crystallize diff``: what differs between two stored runs."""

from __future__ import annotations

from crystallize.cli import options, screen


def diff(
    before: options.RunName,
    after: options.RunName,
    as_json: options.JsonObject = False,
) -> None:
    """Show what differs between two stored runs.

    That is settings, code, inputs of other experiments, environment, packages,
    plugins, seeds and metrics.
    Where both runs measured a replicate with the same seed, the difference of a metric is that of these pairs.
    """
    from crystallize.cli.stored import find_named_run
    from crystallize.results.comparison import compare_runs
    from crystallize.utils.wording import shown

    runs = find_named_run(before), find_named_run(after)
    found = compare_runs(*runs)
    if as_json:
        screen.print_json({"before": str(runs[0]), "after": str(runs[1])} | found.to_dict())
        return
    screen.echo(f"before: {shown(runs[0])}\nafter:  {shown(runs[1])}")
    for line in found.lines():
        screen.echo(line)
