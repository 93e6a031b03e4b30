"""What the sparse arrays and matrices of SciPy consist of."""

from __future__ import annotations

from typing import Any

_PARTS = {
    "csr": ("indptr", "indices", "data"),
    "csc": ("indptr", "indices", "data"),
    "bsr": ("indptr", "indices", "data"),
    "coo": ("coords", "data"),
    "dia": ("offsets", "data"),
    "lil": ("rows", "data"),
    "dok": (),
}
"""What is stored in each format. SciPy also keeps what it found out of that, as whether the indices are sorted."""


def content_of(value: Any) -> Any:
    """Return what a sparse array or matrix stores, as it is: duplicates, and the order of indices, can be seen."""
    parts = _PARTS.get(getattr(value, "format", ""))
    if parts is None:
        return NotImplemented
    content = {"shape": value.shape, "dtype": value.dtype} | {name: getattr(value, name) for name in parts}
    return content if parts else content | {"items": dict(value.items())}
