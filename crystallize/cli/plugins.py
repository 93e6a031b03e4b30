"""``crystallize plugins``: what is installed, whether it works, and what it does to a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from crystallize.cli import options
from crystallize.cli.errors import FAILED, fail
from crystallize.cli.screen import echo, print_json

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from crystallize.errors import UnknownNameError

app = typer.Typer(help="Look at the installed plugins.", no_args_is_help=True)


# -- arguments -----------------------------------------------------------------------------------------------


def _complete_names(incomplete: str) -> list[str]:
    from crystallize.discovery import GROUPS, find

    return options.starting_with(incomplete, (found.name for group in GROUPS for found in find(group)))


def _complete_groups(incomplete: str) -> list[str]:
    return options.starting_with(incomplete, (name for name in _group_names() if "." not in name))


def _complete_hooks(incomplete: str) -> list[str]:
    from crystallize.plugins.base import HOOK_NAMES

    return options.starting_with(incomplete, HOOK_NAMES)


Group = Annotated[
    str | None,
    typer.Option(
        "--group",
        metavar="GROUP",
        help="Only what is in this entry point group: plugins, execution, loaders, hashers, verifiers or commands.",
        autocompletion=_complete_groups,
        show_default=False,
    ),
]


def _group_names() -> dict[str, str]:
    """Return each name that a group goes by: its own, its last part, and what an entry of it is called."""
    from crystallize.discovery import KINDS

    names: dict[str, str] = {}
    for group, kind in KINDS.items():
        names |= {group.rpartition(".")[2]: group, kind: group, group: group}
    return names


def _groups(name: str | None) -> Collection[str]:
    from crystallize.discovery import GROUPS

    if name is None:
        return GROUPS
    names = _group_names()
    if name.lower() not in names:
        _refuse("entry point group", name, [each.rpartition(".")[2] for each in GROUPS], names)
    return (names[name.lower()],)


def _refuse(what: str, name: str, choices: Sequence[str], others: Iterable[str] = ()) -> NoReturn:
    from crystallize.errors import UnknownNameError
    from crystallize.utils.wording import did_you_mean

    near = did_you_mean(name.lower(), choices) or did_you_mean(name.lower(), others)
    hint = f"{near} Choose from {', '.join(choices)}".strip()
    fail(UnknownNameError(f"there is no {what} {name!r}", hint=hint))


# -- commands ------------------------------------------------------------------------------------------------


@app.command("list")
def list_plugins(
    as_json: options.JsonList = False,
    group: Group = None,
    hook: Annotated[
        str | None,
        typer.Option(
            "--hook",
            metavar="HOOK",
            help="Only what implements this hook.",
            autocompletion=_complete_hooks,
            show_default=False,
        ),
    ] = None,
    everything: Annotated[
        bool,
        typer.Option(
            "--all", "-a", help="List too what is hidden by another copy of its distribution on sys.path."
        ),
    ] = False,
) -> None:
    """List the installed plugins, execution strategies, loaders, hashers, verifiers and commands.

    Each is active; disabled, by an environment variable; failed, with the
    reason; or shadowed, where the name stays with Crystallize's own. To find
    out, all but the disabled ones are imported. Nothing is run.
    """
    from crystallize.cli.plugins_listing import list_installed
    from crystallize.cli.plugins_text import print_table
    from crystallize.discovery import hidden
    from crystallize.plugins.base import HOOK_NAMES

    if hook is not None and hook not in HOOK_NAMES:
        _refuse("hook", hook, HOOK_NAMES)
    groups = _groups(group)
    unusable = [found for found in hidden() if found.group in groups] if everything else []
    installed = [
        each.as_json() for each in list_installed(groups, unusable) if hook is None or hook in each.hooks
    ]
    within = f" in the group {_group_names()[group.lower()]}" if group is not None else ""
    if as_json:
        print_json(installed)
    elif installed:
        print_table(installed)
    elif hook is not None:
        echo(f"Nothing that is installed and active{within} implements {hook}.")
    elif group is not None:
        echo(f"Nothing is installed{within}.")
    else:
        echo("Nothing is installed, not even Crystallize's own parts: install crystallize-lab again.")


@app.command()
def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="The name of the plugin, strategy, loader, hasher, verifier or command.",
            autocompletion=_complete_names,
            show_default=False,
        ),
    ],
    as_json: options.JsonList = False,
    group: Group = None,
) -> None:
    """Show what one plugin is, what can be set, and when its hooks are called.

    That is its status, its documentation, its settings with types and
    defaults, the environment variables that it reads, where each of its hooks
    runs and at which place among all that implement it, how to switch it off,
    its source file and its homepage. What is disabled is not imported.

    Upper and lower case, and '-', '_' and '.', make no difference in NAME. If
    several groups have the name, all of them are shown.
    """
    from crystallize.cli.plugins_details import page_of
    from crystallize.cli.plugins_listing import list_installed
    from crystallize.cli.plugins_text import print_page
    from crystallize.discovery import EXECUTION, PLUGINS, find, normalise

    groups = _groups(group)
    own = {place for place in groups for each in find(place) if normalise(each.name) == normalise(name)}
    if not own:
        fail(_unknown(name, groups))
    with_hooks = {PLUGINS, EXECUTION}  # all that implement the same hooks
    installed = list_installed(own | with_hooks if own & with_hooks else own)
    meant = [
        each
        for each in installed
        if each.found.group in own and normalise(each.found.name) == normalise(name)
    ]
    meant.sort(key=lambda each: each.status != "active")
    pages = [page_of(each, installed) for each in meant]
    if as_json:
        print_json(pages)
        return
    for number, page in enumerate(pages):
        echo("\n" if number else "", end="")
        print_page(page)


def _unknown(name: str, groups: Collection[str]) -> UnknownNameError:
    """Make the error for a name that nothing has: with the nearest ones, and all that there are."""
    from difflib import get_close_matches

    from crystallize.discovery import KINDS, find, normalise
    from crystallize.errors import UnknownNameError

    every = [found for group in groups for found in find(group)]
    folded = {normalise(found.name): found.name for found in every}
    near = " or ".join(repr(folded[each]) for each in get_close_matches(normalise(name), folded))
    brought = {found.name for found in every if normalise(found.distribution) == normalise(name)}
    by_kind: dict[str, list[str]] = {}
    for found in every:
        by_kind.setdefault(KINDS[found.group], []).append(found.name)
    listing = "; ".join(f"{kind}: {', '.join(dict.fromkeys(names))}" for kind, names in by_kind.items())
    hints = [
        f"Did you mean {near}?" if near else "",
        f"It is a distribution, which brings {', '.join(sorted(brought))}." if brought else "",
        f"Installed are {listing or 'none'}",
    ]
    return UnknownNameError(
        f"nothing that is installed is called {name!r}", hint=" ".join(filter(None, hints))
    )


@app.command()
def hooks(as_json: options.JsonList = False) -> None:
    """Show every hook in the order of a run, and who implements it.

    Each with its arguments, where it runs, and its implementations in the
    order of the calls, for an experiment that is built with what is installed
    here and with nothing passed. A wrapper surrounds those that follow it.
    """
    from crystallize.cli.plugins_details import hooks_of, records_of
    from crystallize.cli.plugins_listing import list_installed
    from crystallize.cli.plugins_text import print_hooks
    from crystallize.discovery import EXECUTION, PLUGINS

    installed = list_installed((PLUGINS, EXECUTION))
    every = hooks_of(records_of(installed))
    if as_json:
        print_json(every)
        return
    print_hooks(every)
    left_out = [
        each.found.name
        for each in installed
        if each.found.group == PLUGINS and each.status in ("failed", "disabled")
    ]
    if left_out:
        echo(f"\nLeft out, since disabled or failed: {', '.join(left_out)}")


@app.command()
def check() -> None:
    """Load everything that is installed, and tell what fails and why.

    Each plugin, strategy, loader, hasher, verifier and command that is not switched
    off is imported, made and checked as if it were used. What fails is told
    with the traceback of its own code. Names that are claimed twice and
    misspelt entry point groups are told as well. Nothing is run.

    The exit code is 0 if all is well, and 1 if anything has failed.
    """
    from crystallize.cli.plugins_listing import list_installed
    from crystallize.cli.plugins_text import print_report
    from crystallize.discovery import misspelt

    if not print_report(list_installed(unusable=misspelt())):
        raise typer.Exit(FAILED)
