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
    # A class derived from ours may have attributes, which an array has not.
    return content_of_array(value), getattr(value, "__dict__", None)


def _masked(array: Any) -> Any:
    """Return what a masked array consists of; what stands below the mask can be read, and counts."""
    import numpy as np

    return (
        content_of_array(array.data),
        content_of_array(np.ma.getmaskarray(array)),
        content_of_array(np.asarray(array.fill_value)),
        array.hardmask,
    )
