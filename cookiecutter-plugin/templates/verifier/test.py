from __future__ import annotations

import math
from importlib.metadata import entry_points

import pytest
from crystallize import Hypothesis
from crystallize.testing import RunExperiment

from {{ cookiecutter.__module }} import {{ cookiecutter.__function }}


def test_nine_larger_values_of_ten_are_significant() -> None:
    found = {{ cookiecutter.__function }}()({"loss": [0.0] * 10}, {"loss": [1.0] * 9 + [-1.0]})
    assert found["p_value"] == pytest.approx(2 * (1 + 10) / 2**10)  # 0 or 1 of 10 heads, and as many tails
    assert (found["larger"], found["smaller"]) == (9, 1)
    assert found["significant"]


def test_equal_values_say_nothing() -> None:
    found = {{ cookiecutter.__function }}()({"loss": [1.0, 2.0, 3.0]}, {"loss": [1.0, 2.0, 4.0]})
    assert (found["p_value"], found["larger"], found["smaller"]) == (1.0, 1, 0)


def test_a_value_that_is_not_a_number_gives_no_p_value() -> None:
    found = {{ cookiecutter.__function }}()({"loss": [1.0, 2.0]}, {"loss": [1.0, math.nan]})
    assert math.isnan(found["p_value"])
    assert not found["significant"]


def test_two_metrics_at_once_are_refused() -> None:
    samples = {"loss": [1.0], "time": [2.0]}
    with pytest.raises(ValueError, match="one metric is compared"):
        {{ cookiecutter.__function }}()(samples, samples)


def test_a_level_that_makes_no_sense_is_refused_when_the_verifier_is_made() -> None:
    with pytest.raises(ValueError, match="alpha lies between 0 and 1"):
        {{ cookiecutter.__function }}(alpha=5)


def test_it_compares_a_treatment_with_the_baseline(run_experiment: RunExperiment) -> None:
    hypothesis = Hypothesis({{ cookiecutter.__function }}(), metrics="total", name="larger")
    result = run_experiment(hypotheses=[hypothesis], replicates=6)
    assert result.get_hypothesis("larger").get_for_treatment("doubled")["p_value"] == 2 / 2**6


def test_config_yaml_finds_it_by_its_name() -> None:
    (entry,) = entry_points(group="{{ cookiecutter.__group }}", name="{{ cookiecutter.__entry }}")
    assert entry.load() is {{ cookiecutter.__function }}
