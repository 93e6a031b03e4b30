"""The file hypotheses.json: what the hypotheses of a run found, as :meth:`HypothesisResult.to_dict` gives it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from crystallize.errors import StoreError
from crystallize.store.layout import HYPOTHESES, read_in
from crystallize.utils.json_text import parse_json, to_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crystallize.statistics.hypothesis_result import HypothesisResult


def format_hypotheses(found: Iterable[HypothesisResult]) -> bytes:
    """Return the content of hypotheses.json. What JSON has no form for becomes text."""
    return (to_json([each.to_dict() for each in found]) + "\n").encode()


def read_hypotheses(run: Path) -> list[HypothesisResult]:
    """Return what the hypotheses of a stored run found; nothing if it had none.

    Raises
    ------
    StoreError
        If the file is damaged.
    """
    from crystallize.statistics.hypothesis_result import HypothesisResult

    try:
        return [HypothesisResult.from_dict(each) for each in parse_json(read_in(run, HYPOTHESES))]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            "what the hypotheses of a run found cannot be read",
            str(run / HYPOTHESES),
            f"Run the experiment again ({error!r})",
        ) from error
