"""A command for Crystallize that lists the runs that are stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def {{ cookiecutter.__function }}(
    root: Annotated[Path, typer.Option(help="The folder that runs are stored in.")] = Path("data"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs to read.")] = False,
) -> None:
    """List the runs that are stored, the newest first."""
    runs = sorted(map(_look, root.glob("*/v*/metadata.json")), key=lambda run: run["started"], reverse=True)
    if as_json:
        typer.echo(json.dumps(runs, indent=2))
    elif not runs:
        typer.echo(f"No run is stored in {root}.")
    else:
        width = max(len(run["path"]) for run in runs)
        for run in runs:
            columns = (f"{run['path']:{width}}", f"{run['started']:19.19}", f"{run['status']:11}")
            typer.echo("  ".join([*columns, f"{run['replicates']} replicates"]))


def _look(file: Path) -> dict[str, Any]:
    """Read what a run says of itself; one whose metadata are damaged is listed all the same."""
    try:
        metadata = json.loads(file.read_bytes())
    except ValueError:
        metadata = {}
    return {
        "path": str(file.parent),
        "started": metadata.get("started", ""),
        "status": metadata.get("status", "damaged"),
        "replicates": metadata.get("replicates", 0),
    }
