"""Stopping rules as text: ``decided(rmse, max=200) | precise(rmse, relative=0.01)``."""

from __future__ import annotations

import ast
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

from crystallize.errors import CrystallizeError, InvalidValueError
from crystallize.statistics.stopping.best import best
from crystallize.statistics.stopping.decided import decided
from crystallize.statistics.stopping.looks import looks
from crystallize.statistics.stopping.precise import precise
from crystallize.utils.wording import listed, name_hint

if TYPE_CHECKING:
    from crystallize.statistics.stopping.rule import SingleRule, StoppingRule

RULES: dict[str, type[SingleRule]] = {rule.__name__: rule for rule in (decided, looks, precise, best)}
_TRUTH = {"true": True, "false": False}


def read_rule(text: str) -> StoppingRule:
    """Return the rule that a text stands for: calls of rules, combined by ``&``, ``|`` and brackets.

    What is no number stands for itself, so that names of metrics need no quotes unless they have spaces or commas.
    Nothing is evaluated.

    Raises
    ------
    InvalidValueError
        If it stands for none; with what the rule itself refuses.
    """
    try:
        return _Reader(text.strip()).read()
    except CrystallizeError as error:
        raise InvalidValueError(f"{text!r} is no stopping rule: {error.what}", hint=error.hint) from error


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text

    def read(self) -> StoppingRule:
        try:
            tree = ast.parse(self._text, mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            reason = getattr(error, "msg", None) or "it cannot be read"
            raise InvalidValueError(str(reason), hint="Write decided(rmse, max=200), for example") from None
        return self._rule(tree.body)

    def _rule(self, node: ast.expr) -> StoppingRule:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd):
            return self._rule(node.left) & self._rule(node.right)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return self._rule(node.left) | self._rule(node.right)
        if isinstance(node, ast.Name):  # a rule without arguments, if it can be without
            node = ast.Call(node, [], [])
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            raise InvalidValueError(
                f"{self._written(node)!r} is no call of a rule", hint=f"Rules are {listed(RULES)}"
            )
        name = node.func.id
        if name not in RULES:
            raise InvalidValueError(f"no rule is called {name!r}", hint=name_hint(name, "Rules are", RULES))
        return self._call(RULES[name], node)

    def _call(self, rule: type[SingleRule], node: ast.Call) -> SingleRule:
        known = {each.name: each.default is MISSING for each in fields(rule)}
        arguments: dict[str, Any] = {}
        if len(node.args) > 1:
            raise InvalidValueError(
                f"{rule.__name__} takes the metric first and all else by name",
                hint=f"Write {rule.__name__}(metric, max=200), for example",
            )
        for name, value in [("metric", each) for each in node.args] + [
            (each.arg, each.value) for each in node.keywords
        ]:
            if name not in known:
                hint = name_hint(name, "It has", known)
                raise InvalidValueError(f"{rule.__name__} has no parameter {name!r}", hint=hint)
            if name in arguments:
                raise InvalidValueError(f"{name} is given twice")
            arguments[name] = self._value(value)
        lacking = [name for name, is_required in known.items() if is_required and name not in arguments]
        if lacking:
            raise InvalidValueError(f"{rule.__name__} needs {listed(lacking)}")
        return rule(**arguments)

    def _value(self, node: ast.expr) -> Any:
        try:
            return ast.literal_eval(node)
        except ValueError:
            written = self._written(node)
            return _TRUTH.get(written, written)

    def _written(self, node: ast.expr) -> str:
        return ast.get_source_segment(self._text, node) or self._text
