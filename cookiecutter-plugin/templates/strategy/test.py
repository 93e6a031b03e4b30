from __future__ import annotations

import pytest
from crystallize.testing import ExecutionStrategyContract, RunExperiment

from {{ cookiecutter.__module }} import {{ cookiecutter.__class }}


class TestContract(ExecutionStrategyContract):
    """What every execution strategy owes to an experiment, as tests that Crystallize brings along."""

    @pytest.fixture(params=[1, 3])
    def strategy(self, request: pytest.FixtureRequest) -> {{ cookiecutter.__class }}:
        return {{ cookiecutter.__class }}(max_workers=request.param)


def test_it_is_chosen_by_its_name_and_gives_the_results_of_serial(run_experiment: RunExperiment) -> None:
    settings = {"strategy": "{{ cookiecutter.__entry }}", "max_workers": 2}
    result = run_experiment(execution=settings, replicates=5)
    assert result.to_dict() == run_experiment(execution="serial", replicates=5).to_dict()


def test_a_number_of_workers_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        {{ cookiecutter.__class }}(max_workers=0)
