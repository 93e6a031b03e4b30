"""YAML as its version 1.2 means it: scalars follow the core schema, so that ``on`` and ``1:30`` are text.

PyYAML reads version 1.1, where they are True and 90.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from crystallize.utils.arrays import to_plain

_INT = re.compile(r"[-+]?[0-9]+")
_OTHER_BASE = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **{f"{sign}{word}": float(f"{sign}inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")},
}
_TAG = "tag:yaml.org,2002:"
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SafeDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def plain_scalar(text: str) -> Any:
    """Return what a scalar without quotes is.

    Raises
    ------
    ValueError
        If it is a whole number with more digits than Python reads.
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _OTHER_BASE.fullmatch(text):
        return int(text, 0)
    return float(text) if _FLOAT.fullmatch(text) else text


def load_yaml(content: bytes) -> Any:
    """Return the value in a YAML file; tags of Python are refused.

    Raises
    ------
    yaml.YAMLError
        If it is not YAML, or has a tag that is not known.
    """
    return yaml.load(content, Loader=_Loader)


def dump_yaml(value: Any) -> bytes:
    """Return `value` as YAML in UTF-8, mappings in their own order, NumPy's numbers and arrays as numbers and lists.

    What either version of YAML would read as something else is written in quotes.

    Raises
    ------
    yaml.YAMLError
        If YAML has no form for something in it.
    """
    content: bytes = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, encoding="utf-8", default_flow_style=False
    )
    return content


class _Loader(_SafeLoader):  # type: ignore[misc]
    """Takes a scalar without quotes for what :func:`plain_scalar` says."""

    def resolve(self, kind: type, value: Any, implicit: Any) -> str:
        if kind is yaml.ScalarNode and implicit[0]:
            return f"{_TAG}merge" if value == "<<" else f"{_TAG}plain"
        tag: str = super().resolve(kind, value, implicit)
        return tag


_Loader.add_constructor(f"{_TAG}plain", lambda _, node: plain_scalar(node.value))


class _Dumper(_SafeDumper):  # type: ignore[misc]
    """Knows what the core schema reads as a number, and writes what stands for numbers and containers."""

    def resolve(self, kind: type, value: Any, implicit: Any) -> str:
        tag: str = super().resolve(kind, value, implicit)
        if kind is not yaml.ScalarNode or not implicit[0]:
            return tag
        # A text that would be taken for something else gets quotes, as its tag is not this one; and a date, which
        # only version 1.1 knows without one, its tag.
        is_number = tag == f"{_TAG}str" and not isinstance(_read(value), str)
        return f"{_TAG}plain" if is_number or tag == f"{_TAG}timestamp" else tag

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.Node:
        node: yaml.Node = super().represent_mapping(tag, mapping, flow_style=flow_style)
        if not all(isinstance(key, yaml.ScalarNode) for key, _ in node.value):
            raise yaml.representer.RepresenterError(
                "a key that is a container could not be read again", mapping
            )
        return node

    def _represent_other(self, value: Any) -> yaml.Node:
        """Represent a subclass of one of Python's own types, or what NumPy makes one of those of."""
        if hasattr(value, "tolist"):
            value = to_plain(value)
        else:
            kinds: tuple[Any, ...] = (str, int, float, dict, list, tuple)
            own = next((kind for kind in kinds if isinstance(value, kind)), self.represent_undefined)
            value = own(value)  # the last one raises
        node: yaml.Node = self.represent_data(value)
        return node


_Dumper.add_representer(None, _Dumper._represent_other)


def _read(text: str) -> Any:
    try:
        return plain_scalar(text)
    except ValueError:
        return None
