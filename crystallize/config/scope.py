"""Where names of a config.yaml are looked up, and where problems with them go."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from crystallize.config.signatures import public_names
from crystallize.discovery import advice, find
from crystallize.utils.suggest import did_you_mean, listed

if TYPE_CHECKING:
    from crystallize.config.document import Document
    from crystallize.config.errors import KeyPath
    from crystallize.config.modules import FolderModules
    from crystallize.config.reader import Draft
    from crystallize.config.schema import ExperimentConfig

MISSING: Any = object()
"""What a look-up gives that found nothing."""


class Scope:
    """A configuration with the modules beside it.

    Parameters
    ----------
    draft : Draft
        The configuration; problems go to its document.
    modules : FolderModules
        The folder's modules.
    """

    def __init__(self, draft: Draft, modules: FolderModules) -> None:
        self.draft = draft
        self.modules = modules

    @property
    def config(self) -> ExperimentConfig:
        """The configuration without its mistakes."""
        return self.draft.config

    @property
    def document(self) -> Document:
        """The file."""
        return self.draft.document

    def own(self, file: str, name: str) -> Any:
        """Return what `name` is in a module of the folder, or MISSING."""
        module = self.modules.load(file)
        return MISSING if module is None or name.startswith("__") else vars(module).get(name, MISSING)

    def note_unknown(
        self,
        file: str,
        name: str,
        path: KeyPath,
        what: str,
        *,
        fits: Callable[[Any], bool] = callable,
        group: str | None = None,
    ) -> None:
        """Note that nothing is called `name`, unless its module could not be loaded, which says enough.

        Parameters
        ----------
        file : str
            The module that might have it.
        name : str
            What was looked for.
        path : tuple
            Where it stands in the file.
        what : str
            What it should be: ``"step"``.
        fits : callable, optional
            Tells which things of the module could have been meant.
        group : str, optional
            The group of the entry points that could have been meant.
        """
        module = self.modules.load(file)
        if self.modules.failed(file):
            return
        names = public_names(module, fits)
        places = [f"in {file}.py"] if module is not None else []
        there = f"{file}.py has {listed(names)}" if module is not None else f"There is no {file}.py beside it"
        hint = did_you_mean(name, names)
        if group is not None:
            places.append("among the installed ones")
            there += f"; installed are {listed({found.name for found in find(group)})}"
            hint = advice(group, name, names)
        self.document.add(
            path, f"no {what} is called {name!r} {' or '.join(places)}".rstrip(), f"{hint} {there}".strip()
        )
