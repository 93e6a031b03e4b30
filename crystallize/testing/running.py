"""A small experiment for the tests of a plugin, kept apart from whatever else is installed."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from crystallize.datasources.datasource import data_source
from crystallize.discovery import PLUGINS, find, normalise
from crystallize.errors import UnknownNameError
from crystallize.experiments.experiment import Experiment
from crystallize.experiments.treatment import Treatment
from crystallize.pipelines.pipeline_step import pipeline_step
from crystallize.plugins.artifact import ArtifactPlugin
from crystallize.utils.wording import did_you_mean, listed

if TYPE_CHECKING:
    from pathlib import Path

    from crystallize.results.result import Result
    from crystallize.statistics.hypothesis import Hypothesis

_AUTOLOAD = "CRYSTALLIZE_DISABLE_PLUGIN_AUTOLOAD"
_SWITCHES = ("CRYSTALLIZE_DISABLE_PLUGINS", _AUTOLOAD)


@data_source
def numbers(ctx: Any) -> list[float]:
    """Give three numbers, which differ between replicates."""
    return [1.0, 2.0, 3.0 + ctx["replicate"]]


@pipeline_step()
def scale(data: list[float], *, factor: float = 1.0) -> list[float]:
    """Multiply the numbers; the treatment ``doubled`` sets the factor."""
    return [factor * value for value in data]


@pipeline_step()
def total(data: list[float]) -> tuple[float, dict[str, float]]:
    """Add them up, and record the sum as the metric ``total``."""
    return sum(data), {"total": sum(data)}


class RunExperiment:
    """What the fixture ``run_experiment`` returns: runs small experiments.

    Parameters
    ----------
    root : Path
        Where runs are stored.

    Attributes
    ----------
    experiment : Experiment or None
        The one that ran last.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.experiment: Experiment | None = None

    def __call__(
        self,
        *plugins: object,
        datasource: Any = None,
        steps: Sequence[Any] | None = None,
        treatments: Sequence[Treatment] | None = None,
        hypotheses: Sequence[Hypothesis] = (),
        replicates: int = 2,
        execution: Any = None,
        seed: int = 0,
        installed: bool | str | Collection[str] = False,
        **options: Any,
    ) -> Result:
        """Run an experiment with `plugins` and return its result.

        Parameters
        ----------
        *plugins : object
            What a user would pass as ``plugins=[...]``.
        datasource : DataSource or callable, optional
            By default a list of three numbers.
        steps : sequence, optional
            The pipeline. By default ``ScaleStep`` and ``TotalStep``; the latter records the metric ``total``.
        treatments : sequence of Treatment, optional
            By default ``doubled``, which goes with the default steps, and none with others.
        hypotheses : sequence of Hypothesis, optional
            What to ask of the metrics.
        replicates : int, default 2
            How many.
        execution : str, mapping or strategy, optional
            How replicates are driven; serially by default.
        seed : int, default 0
            The master seed.
        installed : bool, str or collection of str, default False
            Which installed plugins join, besides our three defaults: none; the named entry points or
            distributions; or, with True, whatever joins an experiment in this environment. Strategies and loaders
            are found by their names in any case.
        **options
            Any other argument of :class:`crystallize.Experiment`.

        Returns
        -------
        Result
            Stored below the test's ``tmp_path``. ``run_experiment.experiment`` is the experiment.

        Raises
        ------
        UnknownNameError
            If `installed` names what is not installed.
        """
        own_steps = steps is not None
        passed = list(plugins)
        if not any(isinstance(plugin, ArtifactPlugin) for plugin in passed):
            passed.append(ArtifactPlugin(root_dir=self._root))
        if treatments is None:
            treatments = [] if own_steps else [Treatment("doubled", {"factor": 2.0})]
        off = [*options.pop("disable_plugins", ())]
        with _plugin_switches(installed):
            if not isinstance(installed, bool):
                off += _names_except(installed)
            self.experiment = Experiment(
                numbers() if datasource is None else datasource,
                [scale(), total()] if steps is None else list(steps),
                plugins=passed,
                disable_plugins=off,
                treatments=treatments,
                hypotheses=hypotheses,
                replicates=replicates,
                execution=execution,
                seed=seed,
                **{"name": "experiment", **options},
            )
            return self.experiment.run()


def _names_except(wanted: str | Collection[str]) -> list[str]:
    """Return the names of the installed plugins that are neither the core's nor wanted."""
    names = {wanted} if isinstance(wanted, str) else set(wanted)
    found = find(PLUGINS)
    known = {name for each in found for name in (each.name, each.distribution)}
    for name in names - known:
        if normalise(name) not in map(normalise, known):
            raise UnknownNameError(
                f"no installed plugin is called {name!r}",
                "run_experiment(installed=...)",
                " ".join(filter(None, (did_you_mean(name, known), f"Installed are {listed(known)}"))),
            )
    kept = {normalise(name) for name in names}
    kept |= {normalise(each.name) for each in found if each.is_ours}
    return [each.name for each in found if not kept & {normalise(each.name), normalise(each.distribution)}]


@contextmanager
def _plugin_switches(installed: bool | str | Collection[str]) -> Iterator[None]:
    """Put the call's own choice of installed plugins in the place of the developer's; True leaves it as it is."""
    if installed is True:
        yield
        return
    before = {name: os.environ.pop(name) for name in _SWITCHES if name in os.environ}
    if installed is False:
        os.environ[_AUTOLOAD] = "1"
    try:
        yield
    finally:
        os.environ.pop(_AUTOLOAD, None)
        os.environ.update(before)
