from __future__ import annotations

import random

import numpy as np
import pytest

from crystallize import Experiment, ParallelExecution, Pipeline, SeedPlugin, pipeline_step
from crystallize.errors import InvalidTypeError, InvalidValueError, MissingParameterError, PluginError


@pipeline_step()
def note_seed_and_draws(data, ctx):
    ctx.record("seed", ctx["seed_used"])
    ctx.record("random", random.random())
    ctx.record("numpy", float(np.random.random()))


def experiment(*plugins, treatments=None, **options):
    return Experiment(
        lambda: None,
        Pipeline([note_seed_and_draws]),
        plugins=list(plugins),
        treatments=treatments or (),
        **options,
    )


def baseline(result):
    return result.metrics.baseline.metrics


def test_each_replicate_has_the_seed_of_the_formula():
    result = experiment(SeedPlugin(seed=1234)).run(replicates=4)
    assert baseline(result)["seed"] == [(1234 + r * 31337) % 2**32 for r in range(4)]


def test_the_formula_wraps_around():
    result = experiment(SeedPlugin(seed=2**32 - 1)).run(replicates=2)
    assert baseline(result)["seed"] == [2**32 - 1, 31336]


def test_without_auto_seed_every_replicate_has_the_master_seed():
    result = experiment(SeedPlugin(seed=7, auto_seed=False)).run(replicates=3)
    assert baseline(result)["seed"] == [7, 7, 7]
    assert len(set(baseline(result)["random"])) == 1


def test_a_master_seed_may_be_larger_than_what_numpy_takes():
    plugin = SeedPlugin(seed=2**40 + 5, auto_seed=False)
    the_experiment = experiment(plugin)
    assert the_experiment.master_seed == 2**40 + 5
    assert baseline(the_experiment.run(replicates=1))["seed"] == [5]


def test_the_global_generators_are_seeded_like_by_their_own_functions():
    result = experiment(SeedPlugin(seed=99)).run(replicates=2)
    for replicate in range(2):
        seed = 99 + replicate * 31337
        random.seed(seed)
        np.random.seed(seed)
        assert baseline(result)["random"][replicate] == random.random()
        assert baseline(result)["numpy"][replicate] == np.random.random()


def test_baseline_and_treatments_of_a_replicate_share_the_seed_and_the_draws():
    from crystallize import treatment

    result = experiment(SeedPlugin(seed=5), treatments=[treatment("t", {})]).run(replicates=3)
    assert result.metrics.treatments["t"].metrics == baseline(result)


def test_without_a_seed_each_experiment_draws_one_and_keeps_it():
    the_experiment = experiment()
    first = baseline(the_experiment.run(replicates=2))
    assert first["seed"][0] == the_experiment.master_seed % 2**32
    assert baseline(the_experiment.run(replicates=2)) == first
    assert experiment().master_seed != the_experiment.master_seed


def test_the_seed_fn_is_called_with_the_seed_before_each_condition():
    seeds = []
    experiment(SeedPlugin(seed=10, seed_fn=seeds.append)).run(replicates=2)
    assert seeds == [10, 31347]


def test_a_lambda_seeds_in_worker_processes():
    plugin = SeedPlugin(seed=3, seed_fn=lambda seed: random.seed(seed + 1))
    result = experiment(plugin, ParallelExecution(max_workers=2, executor_type="process")).run(replicates=2)
    expected = [random.Random(3 + 1 + replicate * 31337).random() for replicate in range(2)]
    assert baseline(result)["random"] == expected


def test_a_seed_of_apply_flows_through_the_seed_fn():
    seeds = []
    experiment(SeedPlugin(seed=10, seed_fn=seeds.append)).apply(seed=999)
    assert seeds == [999]


def test_a_number_of_numpy_is_a_seed():
    plugin = SeedPlugin(seed=np.int64(12))
    assert (plugin.seed, type(plugin.seed)) == (12, int)


async def seed_later(seed):
    random.seed(seed)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"seed": -1}, InvalidValueError, "seed is at least 0, got -1"),
        ({"seed": True}, InvalidTypeError, "got True"),
        ({"seed": "3"}, InvalidTypeError, "got '3'"),
        ({"seed": 2.5}, InvalidTypeError, r"got 2\.5"),
        ({"seed": np.array([1, 2])}, InvalidTypeError, "seed is an int"),
        ({"auto_seed": 1}, InvalidTypeError, "auto_seed is True or False, got 1"),
        ({"seed_fn": 3}, InvalidTypeError, "seed_fn is a callable"),
        ({"seed_fn": lambda: None}, InvalidTypeError, "seed_fn is called with a seed: too many positional"),
        ({"seed_fn": lambda seed, more: None}, MissingParameterError, "missing a required argument: 'more'"),
        ({"seed_fn": seed_later}, InvalidTypeError, "seed_fn is an async def, and nobody awaits it"),
    ],
)
def test_a_bad_argument_is_a_clear_error(arguments, error, message):
    with pytest.raises(error, match=message):
        SeedPlugin(**arguments)


def test_two_seed_plugins_are_one_too_many():
    class MySeed(SeedPlugin):
        pass

    with pytest.raises(PluginError, match="an experiment has one seed plugin, got seed and MySeed"):
        experiment(SeedPlugin(seed=1), MySeed(seed=2))
