"""What a function's source tells about the keys that it reads."""

from __future__ import annotations

import functools

import pytest

from crystallize.utils.context_reads import context_reads

KEY = "named elsewhere"


def helper(data, context, scale=1.0):
    return data * context["from the helper"] * scale


def again(ctx, depth=0):
    return ctx.get("again") if depth else again(ctx, depth + 1)


def by_item(data, ctx):
    return data * ctx["a"] + ctx.get("b", ctx["c"])


def by_test(data, ctx):
    return "a" in ctx and "b" not in ctx


def nothing(data, ctx):
    ctx.record("a", 1)
    ctx.metrics.add("b", ctx.rng.random())
    ctx.add("c", ctx.stream("d"))
    return data


def by_constant(data, ctx):
    return ctx[KEY]


def through_a_helper(data, ctx):
    return helper(data, ctx) + helper(data, context=ctx, scale=ctx["scale"])


def itself(data, ctx):
    return again(ctx)


def inside(data, ctx):
    return [ctx["a"] for _ in data] + sorted(data, key=lambda x: x * ctx["b"])


async def asynchronous(data, ctx):
    return ctx["a"]


@functools.lru_cache  # its wrapper is written in C
def wrapped(data, ctx):
    return ctx["a"]


def aliased(data, ctx):
    other = ctx
    return other["a"]


def computed(data, ctx):
    return ctx[f"a{data}"]


def by_local_name(data, ctx):
    KEY = data
    return ctx[KEY]


def iterated(data, ctx):
    return dict(ctx)


def spread(data, ctx):
    return helper(**ctx)


def handed_on(data, ctx):
    return data.run(ctx)


def handed_to_anything(data, ctx, helper=print):
    return helper(data, ctx)


def wrapper_of(helper):
    return lambda data, ctx: helper(data, ctx)


enclosed = wrapper_of(by_item)  # what it calls is not the module's `helper`


def values(data, ctx):
    return ctx.values()


class Step:
    def __call__(self, data, ctx):
        return ctx["a"]


@pytest.mark.parametrize(
    ("fn", "keys"),
    [
        (by_item, {"a", "b", "c"}),
        (by_test, {"a", "b"}),
        (nothing, set()),
        (by_constant, {KEY}),
        (through_a_helper, {"from the helper", "scale"}),
        (itself, {"again"}),
        (inside, {"a", "b"}),
        (asynchronous, {"a"}),
        (functools.partial(by_item, 1), {"a", "b", "c"}),
        (Step.__call__, {"a"}),
        (Step().__call__, {"a"}),
        (lambda data, ctx: ctx["a"], {"a"}),
    ],
)
def test_the_keys_that_a_function_names_are_known(fn, keys):
    assert context_reads(fn, "ctx") == keys


# fmt: off
pair = [lambda data, ctx: ctx["a"], lambda data, ctx: ctx["b"]]  # which of the two on a line is which is not known
# fmt: on


@pytest.mark.parametrize(
    "fn",
    [
        *(wrapped, aliased, computed, by_local_name, iterated, spread, handed_on, handed_to_anything, values),
        *(print, enclosed, *pair),
    ],
)
def test_what_the_source_does_not_show_is_not_known(fn):
    assert context_reads(fn, "ctx") is None


def test_a_function_without_a_source_is_not_known():
    made: dict = {}
    exec("def fn(data, ctx): return ctx['a']", made)
    assert context_reads(made["fn"], "ctx") is None
