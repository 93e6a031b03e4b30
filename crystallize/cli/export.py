"""``crystallize export``: a stored run in a form that other tools can read."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from crystallize.cli import options, screen
from crystallize.utils import quantities


class Format(StrEnum):
    """What a run can be exported as."""

    RO_CRATE = "ro-crate"


def export(
    run: options.RunName,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER|FILE.zip",
            help="Where to write it: a folder that is empty or not there, or a zip file. By default a zip file here, "
            "which is called after the run.",
            show_default=False,
        ),
    ] = None,
    _form: Annotated[  # there is one by now, and who asks for another is told
        Format, typer.Option("--format", help="A Process Run Crate, which is an RO-Crate.")
    ] = Format.RO_CRATE,
    license_: Annotated[
        str | None,
        typer.Option(
            "--license",
            metavar="URL|TEXT",
            help="Under which license it may be used: https://spdx.org/licenses/CC-BY-4.0, or in your words.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a crate that is there already.")] = False,
) -> None:
    """Write a stored run as an RO-Crate, to share or to archive it.

    It has the run's files and a description of them: what ran, when, by whom, with which settings, code and packages.
    It depends on the run alone: exported again, it has the same bytes.
    """
    from crystallize.cli.stored import find_named_run
    from crystallize.results.export import export_run
    from crystallize.utils.wording import counted, shown

    done = export_run(find_named_run(run), output, license=license_, force=force)
    screen.echo(
        f"Wrote {shown(done.path)}: {counted(done.files, 'file')}, {quantities.format_size(done.size)}."
    )
    if done.gone:
        screen.echo(f"Only described, since they are no longer stored: {counted(done.gone, 'artifact')}.")
