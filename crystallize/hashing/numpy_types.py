"""What NumPy's types consist of."""

from __future__ import annotations

from typing import Any

from crystallize.utils.arrays import content_of_array
from crystallize.utils.parts import StandsFor


def content_of(value: Any) -> Any:
    """Return what an array or scalar consists of; NumPy's other types say so to pickle."""
    import numpy as np

    if isinstance(value, np.ma.MaskedArray):
        return _masked(value)
    if isinstance(value, np.memmap):
        return StandsFor(np.asarray(value))
    if not isinstance(value, np.ndarray | np.generic):
        return NotImplemented
    content = content_of_array(value)
    attributes = getattr(value, "__dict__", None)  # of a class that is derived from NumPy's; that has none
    return {"array": content, "__dict__": attributes} if attributes else content


def _masked(array: Any) -> Any:
    """Return what a masked array consists of; what stands below the mask can be read, and counts."""
    import numpy as np

    return {
        "data": array.data,
        "mask": np.ma.getmaskarray(array),
        "fill_value": array.fill_value,
        "hardmask": array.hardmask,
    }
