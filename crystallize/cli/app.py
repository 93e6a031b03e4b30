"""The command ``crystallize``: its commands, found by name and imported when they are called."""

from __future__ import annotations

import gc
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from crystallize.cli import errors, screen
from crystallize.cli.commands import BUILT_IN, borrow, built_in, installed, starting
from crystallize.utils.terminal import is_terminal, visible

_THIRD_PARTIES = "Commands of plugins"


class _Commands(TyperGroup):
    """Our own commands and those of installed distributions, none of them imported before it is called."""

    _is_listing = False

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Return the names of our own commands, then of the installed ones."""
        return [*BUILT_IN, *installed()]

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        """Return the command of a name, or None; while they are only listed, a stand-in with its summary."""
        if cmd_name in BUILT_IN:
            if self._is_listing:
                return TyperCommand(cmd_name, help=BUILT_IN[cmd_name].summary)
            return built_in(cmd_name)
        found = installed().get(cmd_name)
        if found is None:
            return None
        if self._is_listing:
            from rich.markup import escape

            origin = escape(visible(f"From {found.distribution} {found.version}."))
            return TyperCommand(cmd_name, help=origin, rich_help_panel=_THIRD_PARTIES)
        errors.state.borrowed = found
        return borrow(found)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; without any, a terminal gets the command that is to open then."""
        if not args and not ctx.resilient_parsing and _is_interactive():
            names = [found.name for found in starting()]
            if len(names) == 1:
                return super().parse_args(ctx, names)
            if names:
                screen.echo(
                    f"What is to open here? {' and '.join(names)} both would: run one by its name, or switch all but "
                    "one off with CRYSTALLIZE_DISABLE_PLUGINS.",
                    err=True,
                )
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> Any:  # type: ignore[override]
        """Find the command that the arguments name, or say which name is nearest."""
        name = args[0]
        is_a_name = not name.startswith("-") and not ctx.resilient_parsing and name not in BUILT_IN
        if is_a_name and name not in self.list_commands(ctx):
            from crystallize.discovery import COMMANDS, advice

            ctx.fail(f"No such command {name!r}. {advice(COMMANDS, name, BUILT_IN)}".rstrip())
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> None:
        """Run the command that was called; what it returns is no exit code."""
        super().invoke(ctx)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, from the commands' summaries alone."""
        self._is_listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._is_listing = False

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Complete the name of a command, from the summaries alone."""
        self._is_listing = True
        try:
            return super().shell_complete(ctx, incomplete)
        finally:
            self._is_listing = False


def _is_interactive() -> bool:
    """Tell whether somebody sits at a terminal that can show more than lines."""
    return is_terminal(sys.stdin) and is_terminal(sys.stdout) and os.environ.get("TERM") != "dumb"


app = typer.Typer(
    name="crystallize",
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        import crystallize

        screen.echo(f"crystallize {crystallize.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
    traceback: Annotated[
        bool,
        typer.Option("--traceback", help="Show the full traceback of any error. Goes before the command."),
    ] = False,
) -> None:
    """Replicated, reproducible experiments whose every part is a plugin."""
    errors.state.traceback = traceback


def main() -> None:
    """Run the command line and end the process with its exit code.

    0 is success, 1 a failed run, 2 wrong use, 130 an interruption.
    """
    gc.set_threshold(50_000)  # imports make objects by the ten thousand, and no garbage to look for
    errors.state.reset()
    screen.prepare_streams()
    code = _run()
    lost = screen.unwritten()
    if lost is not None:
        screen.echo_error(f"standard output could not be written: {lost.strerror or lost}")
        code = code or errors.FAILED
    sys.exit(code)


def _run() -> int:
    """Run the command that the arguments name and return the exit code."""
    try:
        return app(standalone_mode=False) or errors.DONE
    except typer.Abort:
        screen.echo("Aborted.", err=True)
        return errors.FAILED
    except Exception as error:
        return errors.report(error)
    except SystemExit as ended:  # by a command of a plugin, or the shell's completion
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or errors.DONE
        screen.echo(str(ended.code), err=True)
        return errors.FAILED
