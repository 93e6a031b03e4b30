"""What NumPy's types consist of."""

from __future__ import annotations

from crystallize.utils.arrays import content_of

__all__ = ["content_of"]
