"""Results as people read them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from crystallize.cli.screen import console, echo, styled
from crystallize.utils.terminal import is_terminal

if TYPE_CHECKING:
    from crystallize.results.result import Result


def print_result(name: str, result: Result, subtitle: str = "", *, detail: bool = False) -> None:
    """Print a run's summary with what its hypotheses found, its seed, and where it is stored."""
    from crystallize.utils.wording import shown

    echo(styled(name, bold=True))
    if subtitle:
        echo(subtitle)
    summary = result.summary(detail=detail)
    if is_terminal(sys.stdout):
        console().print(summary)
    else:  # plain text of its own width
        echo(str(summary))
    echo(f"Seed: {result.master_seed}")
    path = result.path
    echo(f"Results: {shown(path)}" if path else "Results: not stored")
