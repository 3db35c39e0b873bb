"""Reads what a run's metrics are means of: `evidence/val.parquet` and `evidence/test.parquet`.

`runs/evidence.py` writes the files and says what they hold.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pa_parquet

from recsweep.errors import UserError

MAX_CELLS = 1 << 28
"""Rows × columns of a file: 256 million."""
METRICS_OF_SUM = {
    "squared_error": ("mse", "rmse"),
    "absolute_error": ("mae",),
    "error": ("calibration/bias",),
    "cross_entropy": ("log_loss",),
}
"""Column of sums over a user's rows -> the metrics that are its mean over all rows (of rmse the square)."""

Terms = tuple[np.ndarray, np.ndarray]
"""Numerators [U] and denominators [U] of a metric, float64."""


@dataclass(frozen=True)
class Evidence:
    """What every user adds to the metrics of one part of a run.

    Args:
        users: [U] raw ids as text, distinct.
        terms_of: metric, named as in metrics.json without `val/` or `test/` -> a function that returns its terms.
        n_seen: [U] rows of each user that the model may know; None if the run did not write them down.
        by_popularity: "head", "middle" and "tail" -> metrics over the held-out rows of these items alone; empty if the
            run did not write them down.
    """

    users: np.ndarray
    terms_of: Mapping[str, Callable[[], Terms]]
    n_seen: np.ndarray | None = None
    by_popularity: Mapping[str, "Evidence"] = field(default_factory=dict)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that follow from the users."""
        return tuple(self.terms_of)

    def terms(self, metric: str) -> Terms:
        """Numerators [U] and denominators [U], float64: the metric is the sum of those over the sum of these.

        rmse is the square root of that. A user whom the metric does not count has 0 / 0.

        Raises:
            UserError: a metric without evidence, such as coverage@10, auc or off_policy/ess, which are no means.
        """
        if metric not in self.terms_of:
            raise UserError(f"{metric}: not a mean over users or rows, so it has no evidence a user")
        return self.terms_of[metric]()


def read_evidence(run_folder: Path, part: Literal["val", "test"]) -> Evidence | None:
    """The evidence of one part of a run; None where the run left none, `UserError` for a damaged file."""
    path = run_folder / "evidence" / f"{part}.parquet"
    if not path.exists():
        return None
    evidence = _read(path)
    log_path = path.with_name(f"{part}_log.parquet")
    if not log_path.exists():
        return evidence
    logged = _read(log_path)
    if not np.array_equal(evidence.users, logged.users):
        raise UserError(f"{log_path}: other users than {path.name} has; train the run again")
    return replace(evidence, terms_of={**evidence.terms_of, **logged.terms_of})


def _read(path: Path) -> Evidence:
    if not path.is_file():  # a pipe would never end
        raise UserError(f"{path}: not a file")
    try:
        with pa_parquet.ParquetFile(path, page_checksum_verification=True) as file:
            if file.metadata.num_rows * file.metadata.num_columns > MAX_CELLS:
                raise UserError(f"{path}: more than {MAX_CELLS} cells")
            table = file.read()
        table.validate(full=True)
        return _from_table(table)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: damaged, or not as a run writes it ({reason}); train the run again") from None


def _from_table(table: pa.Table) -> Evidence:
    users = table["user"].cast(pa.string()).to_numpy().astype(str)
    counts = ["n", *(name for name in table.column_names if name == "n_seen" or name.startswith("n/"))]
    names = [name for name in table.column_names if name not in ("user", *counts)]
    columns = {name: table[name].cast(pa.float32()).to_numpy() for name in names}
    if (table.schema.metadata or {}).get(b"row") == b"logged row":
        return _from_log(users, columns)
    if pd.Series(users).duplicated().any():
        raise ValueError("a user has two rows")
    count_of = {name: table[name].cast(pa.int32()).to_numpy() for name in counts}
    terms_of: dict[str, Callable[[], Terms]] = {}
    terms_by_group: dict[str, dict[str, Callable[[], Terms]]] = {}
    for name, values in columns.items():
        match (table.field(name).metadata or {}).get(b"holds"):
            case b"value":
                terms_of[name] = partial(_terms_of_value, values)
            case b"mean":
                terms_of[name] = partial(_terms_of_mean, values, count_of["n"])
            case b"sum":
                terms_of |= dict.fromkeys(METRICS_OF_SUM[name], partial(_terms_of_sum, values, count_of["n"]))
            case b"group":
                column, _, group = name.rpartition("/")
                terms = partial(_terms_of_sum, values, count_of[f"n/{group}"])
                terms_by_group.setdefault(group, {}).update(dict.fromkeys(METRICS_OF_SUM.get(column, (column,)), terms))
            case other:
                raise ValueError(f"column {name} holds {other!r}, not a value, mean, sum or group")
    by_popularity = {group: Evidence(users, terms) for group, terms in terms_by_group.items()}
    return Evidence(users, terms_of, count_of.get("n_seen"), by_popularity)


def _from_log(row_user: np.ndarray, columns: Mapping[str, np.ndarray]) -> Evidence:
    """Sums over every user's rows; the users in the order of their first rows."""
    user_index, users = pd.factorize(row_user)
    weight, reward, predicted, expected = (
        columns[name].astype(np.float64) for name in ("weight", "reward", "predicted", "expected")
    )
    ones = np.ones(len(weight))
    terms_by_row = {
        "ips": (weight * reward, ones),
        "snips": (weight * reward, weight),
        "dm": (expected, ones),
        "dr": (expected + weight * (reward - predicted), ones),
        "logged": (reward, ones),
        "mean_weight": (weight, ones),
    }
    for name in ("true", "second_moment", "unsupported_mass"):
        if name in columns:
            terms_by_row[name] = (columns[name].astype(np.float64), ones)
    return Evidence(
        users, {f"off_policy/{name}": partial(_sum_by_user, user_index, *terms) for name, terms in terms_by_row.items()}
    )


def _sum_by_user(user_index: np.ndarray, numerator: np.ndarray, denominator: np.ndarray) -> Terms:
    return np.bincount(user_index, numerator), np.bincount(user_index, denominator)


def _terms_of_value(values: np.ndarray) -> Terms:
    """Of one value [U] a user; NaN for a user whom the metric does not count."""
    is_counted = ~np.isnan(values)
    return np.where(is_counted, values, 0).astype(np.float64), is_counted.astype(np.float64)


def _terms_of_mean(means: np.ndarray, n: np.ndarray) -> Terms:
    """Of the mean [U] of a user's n [U] lists."""
    return means.astype(np.float64) * n, n.astype(np.float64)


def _terms_of_sum(sums: np.ndarray, n: np.ndarray) -> Terms:
    """Of the sum [U] over a user's n [U] rows."""
    return sums.astype(np.float64), n.astype(np.float64)
