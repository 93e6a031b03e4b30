"""What the tests of plugins share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from crystallize import Experiment, pipeline_step


@pytest.fixture
def run() -> Callable[..., Experiment]:
    """Return a function that runs an experiment with plugins: ``run(*plugins, **options) -> the experiment``."""

    @pipeline_step()
    def double(data):
        return data * 2, {"double": data * 2}

    def with_plugins(*plugins, **options):
        experiment = Experiment(
            lambda: 5, [double], plugins=list(plugins), disable_plugins=["artifact"], **options
        )
        experiment.run(replicates=1)
        return experiment

    return with_plugins
