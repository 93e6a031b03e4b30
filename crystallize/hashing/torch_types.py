"""What the tensors of PyTorch consist of, on whichever device they are.

The library is not imported here: where there are values of it, it is imported already.
"""

from __future__ import annotations

import sys
from typing import Any


def content_of(value: Any) -> Any:
    """Return what a tensor consists of; modules, generators and types say so to pickle."""
    torch = sys.modules["torch"]

    if not isinstance(value, torch.Tensor):
        return NotImplemented
    if value.layout is not torch.strided or value.is_quantized:
        raise TypeError(f"no hasher knows tensors of layout {value.layout} and type {value.dtype}")
    return {
        "dtype": str(value.dtype),
        "requires_grad": value.requires_grad,
        "__dict__": value.__dict__,
        "elements": _as_array(value.detach().cpu().resolve_conj().resolve_neg()),
    }


def _as_array(tensor: Any) -> Any:
    """Return a tensor as an array of NumPy's in the same memory; of types that NumPy lacks, as integers."""
    torch = sys.modules["torch"]

    try:
        return tensor.numpy()
    except TypeError:
        return tensor.view({1: torch.uint8, 2: torch.int16, 4: torch.int32}[tensor.itemsize]).numpy()
