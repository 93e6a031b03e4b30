"""Settings that nothing reads: told before the run where that is certain, and after it elsewhere."""

from __future__ import annotations

import pytest

from crystallize import (
    BasePlugin,
    DataSource,
    Experiment,
    ExperimentGraph,
    ExperimentInput,
    PipelineStep,
    Treatment,
    data_source,
    hookimpl,
    pipeline_step,
    resource_factory,
    treatment,
)
from crystallize.errors import UnknownNameError

STRATEGIES = ["serial", "thread", "process"]


@pipeline_step
def scale(data, *, factor=1.0):
    return data * factor, {"value": data * factor}


@pipeline_step
def record(data, ctx):
    ctx.record("value", data)
    return data


@pipeline_step
def looks(data, ctx):
    return data * ctx.get("factor", 1.0), {"value": data}


@pipeline_step
def hidden(data, ctx):
    held = ctx
    return data * held.get("factor", 1.0), {"value": data}


@data_source
def numbers(ctx, *, n=3):
    return float(n)


class Fetches(DataSource):
    def fetch(self, ctx):
        return ctx.get("start", 1.0)


class Multiply(PipelineStep):
    def __init__(self, key):
        self.key = key

    def __call__(self, data, ctx):
        return data, {"value": data * ctx.get(self.key, 1.0)}


def one(*steps, datasource=numbers, settings=None, **options):
    given = [Treatment("more", {"factor": 2.0} if settings is None else settings)]
    return Experiment(datasource, list(steps), name="study", treatments=given, **options)


def test_a_misspelt_key_is_told_before_the_run_with_the_nearest_name():
    ran = []
    experiment = one(lambda data: ran.append(data), scale, record, settings={"fctor": 2.0})
    for call in (experiment.validate, experiment.run, lambda: experiment.apply("more")):
        with pytest.raises(UnknownNameError, match=r"'more' sets 'fctor'.*'study'.*Did you mean 'factor'\?"):
            call()
    assert not ran


def test_a_key_that_the_step_is_given_itself_is_told():
    with pytest.raises(UnknownNameError, match="Step 'ScaleStep' has 'factor' as an argument of its own"):
        one(scale(factor=3.0)).run()
    one(scale(factor=3.0), scale).validate()  # the second one reads it


def test_a_parameter_of_the_data_source_is_no_key_of_the_context():
    with pytest.raises(UnknownNameError, match=r"have it read ctx\['n'\]"):
        one(scale, settings={"n": 9}).validate()


def test_the_baselines_settings_and_those_of_a_builder_are_looked_at_too():
    built = Experiment.builder().datasource(numbers).steps(scale).treatments(treatment("baseline", {"x": 1}))
    with pytest.raises(UnknownNameError, match="'baseline' sets 'x'"):
        built.build().run()


def test_treatments_given_to_run_are_looked_at():
    with pytest.raises(UnknownNameError, match="'fctor'"):
        one(scale).run(treatments=[Treatment("more", {"fctor": 2.0})])


@pytest.mark.parametrize(
    "experiment",
    [
        one(scale),
        one(looks),
        one(scale, datasource=Fetches(), settings={"start": 2.0}),
        one(scale, datasource=ExperimentInput(a=Fetches(), b=numbers()), settings={"start": 2.0}),
        one(scale, datasource=lambda ctx: ctx["start"], settings={"start": 2.0}),
        one(lambda data, ctx: ctx["size"], settings={"size": 2.0}),
    ],
)
def test_a_key_that_something_reads_is_right(experiment):
    experiment.validate()


def test_a_treatments_own_data_source_may_read_its_settings():
    given = Treatment("more", {"start": 2.0}, datasource=Fetches())
    Experiment(numbers, [scale], treatments=[given]).validate()


def test_a_hook_may_read_a_setting():
    class Reads(BasePlugin):
        def before_replicate(self, experiment, ctx):
            ctx.add("factor", ctx.get("strength", 1.0))

    class Times(BasePlugin):
        def before_step(self, experiment, step, ctx):
            ctx.get("condition")

    one(scale, settings={"strength": 2.0}, plugins=[Reads()]).validate()
    with pytest.raises(UnknownNameError, match="'strength'"):
        one(scale, settings={"strength": 2.0}, plugins=[Times()]).validate()


def test_a_resource_may_read_a_setting():
    made = resource_factory(lambda ctx: ctx["size"] * 2)
    held = Treatment("more", {"factor": made, "size": 2.0})
    Experiment(numbers, [scale], treatments=[held]).validate()
    other = Treatment("other", {"size": 2.0})
    Experiment(numbers, [scale], initial_ctx={"factor": made, "size": 1.0}, treatments=[other]).validate()
    with pytest.raises(UnknownNameError, match="Did you mean 'size'"):
        Experiment(numbers, [scale], treatments=[Treatment("more", {"factor": made, "sise": 2.0})]).validate()


def warnings(caplog):
    return [each.getMessage() for each in caplog.records if "has read it" in each.getMessage()]


def test_a_decorated_treatment_shows_what_it_reads_like_a_plain_function():
    @treatment("shown")
    def shown(ctx):
        ctx.add("factor", ctx.get("strength", 1.0))

    def build(key):
        return Experiment(numbers, [scale], treatments=[shown(), Treatment("other", {key: 2.0})])

    build("strength").validate()
    with pytest.raises(UnknownNameError, match="Did you mean 'strength'"):
        build("strengh").validate()


@pytest.mark.parametrize("execution", STRATEGIES)
def test_what_cannot_be_known_before_is_warned_of_once_after_the_run(caplog, execution):
    one(Multiply("rate"), settings={"rte": 2.0, "rate": 3.0}, execution=execution, replicates=3).run()
    (warning,) = warnings(caplog)
    assert "experiment 'study': treatment 'more' sets 'rte', and no step, data source or treatment" in warning


@pytest.mark.parametrize("step", [Multiply("factor"), hidden])
def test_what_code_has_read_is_not_warned_of(caplog, step):
    one(step, replicates=2).run()
    assert not warnings(caplog)


def test_what_a_hook_reads_is_not_warned_of_and_a_hook_that_hides_it_is_named(caplog):
    class Reads(BasePlugin):
        def before_step(self, experiment, step, ctx):
            ctx.get("tag")

    class Hides(BasePlugin):
        def before_step(self, experiment, step, ctx):
            held = ctx
            held.get("tag")

    one(scale, settings={"factor": 2.0, "tag": "a"}, plugins=[Reads()]).run()
    assert not warnings(caplog)
    one(scale, settings={"factor": 2.0, "tag": "a"}, plugins=[Hides()]).run()
    (warning,) = warnings(caplog)
    assert "sets 'tag', and no step, data source or treatment has read it" in warning
    assert "Whether a hook of 'Hides' has read it is not known" in warning


def test_a_key_that_code_names_and_did_not_reach_has_no_nearest_name(caplog):
    def sometimes(data, ctx):
        return data, {"value": ctx["factor"] if data < 0 else data}

    one(sometimes).run()
    (warning,) = warnings(caplog)
    assert warning.endswith("has read it. The code that reads 'factor' was not reached")


def test_keys_that_a_treatments_function_adds_are_watched(caplog):
    def more(ctx):
        ctx.add("factor", 2.0)
        ctx.add("fctor", 3.0)

    Experiment(numbers, [scale], treatments=[Treatment("more", more)]).run(replicates=2)
    (warning,) = warnings(caplog)
    assert "treatment 'more' sets 'fctor', and" in warning
    assert "Did you mean 'factor'?" in warning


def test_an_entry_of_the_initial_context_that_nothing_reads_is_warned_of(caplog):
    entries = {"factor": 2.0, "fctor": 3.0, "made": resource_factory(lambda ctx: ctx["inner"]), "inner": 1}
    Experiment(numbers, [scale, lambda data, made: data], initial_ctx=entries).run()
    (warning,) = warnings(caplog)
    assert "initial_ctx has 'fctor', and" in warning


def test_a_condition_that_always_failed_before_is_not_warned_of(caplog):
    def fails(data, ctx):
        held = ctx
        raise ValueError(held["condition"])

    one(fails).run()
    assert not warnings(caplog)


def test_in_a_graph_each_experiment_gets_of_a_treatment_what_it_can_read(tmp_path):
    first = Experiment(numbers, [scale], name="first")
    second = Experiment(numbers, [lambda data, shift=0.0: (data, {"value": data + shift})], name="second")
    graph = ExperimentGraph(first, second)
    results = graph.run(treatments=[Treatment("both", {"factor": 2.0, "shift": 1.0})])
    assert [each.metrics.treatments["both"].metrics["value"] for each in results.values()] == [[6.0], [4.0]]
    with pytest.raises(UnknownNameError, match=r"'shfit'.*'first', 'second'.*Did you mean 'shift'"):
        graph.run(treatments=[Treatment("both", {"factor": 2.0, "shfit": 1.0})])


def test_a_hook_with_hookimpl_in_a_module_may_read_a_setting():
    class Hooks:
        @hookimpl(specname="before_replicate")
        def anything(self, ctx):
            ctx.add("factor", ctx["strength"])

    one(scale, settings={"strength": 2.0}, plugins=[Hooks()]).validate()
