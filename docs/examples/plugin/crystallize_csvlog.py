"""A plugin that writes each value to a CSV file as it arrives: to follow a long run, or to open in a spreadsheet."""

from __future__ import annotations

import csv
from pathlib import Path

from crystallize import BasePlugin


class CsvLog(BasePlugin):
    """Write one line for each value that an outcome recorded, or for its error.

    Parameters
    ----------
    path : str or pathlib.Path
        The file. A run begins it anew.
    """

    def __init__(self, path="outcomes.csv"):
        self.path = Path(path)

    def before_run(self, experiment):
        self._write("w", [("experiment", "replicate", "condition", "metric", "value")])

    def after_replicate(self, experiment, result):
        # Called in the coordinator, for one replicate at a time: in the order in which they are finished.
        rows = []
        for outcome in result.outcomes:
            place = (experiment.name, result.replicate, outcome.condition)
            rows += [(*place, name, value) for name, values in outcome.metrics.items() for value in values]
            if outcome.error:
                rows.append((*place, "error", outcome.error.message))
        self._write("a", rows)

    def _write(self, mode, rows):
        with self.path.open(mode, newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
