"""The results of runs as a table; it loads no torch."""

from pathlib import Path

import pandas as pd

from recsweep.report.collect import collect


def read_runs(folder: str | Path) -> pd.DataFrame:
    """The runs at any depth below a folder, a row a run: the table that a report writes to `runs.csv`.

    Columns: `run` (its folder), `label`, `status`, `seed`, `model`, every setting that differs, every metric
    (`val/…`, `test/…`), `seconds/…`, and what the data were.

    Raises:
        UserError: there is no such folder, or no run in it.
    """
    return collect(Path(folder)).table
