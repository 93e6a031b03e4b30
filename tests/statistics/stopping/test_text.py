"""Stopping rules as text."""

from __future__ import annotations

import pytest

from crystallize import best, decided, looks, precise
from crystallize.errors import InvalidValueError
from crystallize.statistics.stopping.text import read_rule


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("decided(rmse, max=200)", decided("rmse", max=200)),
        ("decided", decided()),
        ("decided(max=50, drop=true)", decided(max=50, drop=True)),
        ("looks(val/loss, k=3, shape=obrien-fleming)", looks("val/loss", k=3)),
        ("precise('f1 score', half_width=.5)", precise("f1 score", half_width=0.5)),
        ("best(rmse, delta=0.1, direction=min)", best("rmse", delta=0.1, direction="min")),
        ("decided(a) | looks(a) & precise(a, relative=0.1)",
         decided("a") | looks("a") & precise("a", relative=0.1)),
        ("(decided(a) | looks(a)) & looks(b)", (decided("a") | looks("a")) & looks("b")),
    ],
)  # fmt: skip
def test_a_text_stands_for_a_rule_and_what_a_rule_prints_stands_for_it(text, rule):
    assert read_rule(text) == rule
    assert read_rule(str(rule)) == rule


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no stopping rule"),
        ("decided(rmse", "'(' was never closed"),
        ("decidd(rmse)", "no rule is called 'decidd'. Did you mean 'decided'? Rules are 'best', 'decided', 'looks', "),
        ("decided(rmse, 200)", "decided takes the metric first and all else by name"),
        ("decided(rmse, maximum=3)", "decided has no parameter 'maximum'"),
        ("decided(rmse, metric=a)", "metric is given twice"),
        ("decided(rmse, alpha=2)", "alpha lies between 0 and 1, got 2"),
        ("decided(rmse, alpha=high)", "alpha is a number, got 'high'"),
        ("best(rmse)", "best needs 'delta', 'direction'"),
        ("decided(rmse) and looks(rmse)", "is no call of a rule"),
        ("__import__('os').getcwd()", "is no call of a rule"),
        ("decided(**{})", "has no parameter None"),
        ("3", "'3' is no call of a rule"),
    ],
)  # fmt: skip
def test_what_is_no_rule_is_told(text, message):
    with pytest.raises(InvalidValueError) as caught:
        read_rule(text)
    assert message in str(caught.value)
