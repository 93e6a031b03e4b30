"""Where the table comes from."""

from __future__ import annotations

import csv
from pathlib import Path

from crystallize import data_source


@data_source
def csv_table(*, file):
    """The rows of a CSV file beside this module, as dictionaries."""
    with Path(__file__).with_name(file).open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))
