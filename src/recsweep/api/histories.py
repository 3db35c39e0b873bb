"""The rows of new users, from a file or a data frame."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from torch import Tensor

from recsweep.api.tables import check_frame
from recsweep.data.ids import ID, find_ids, raw_ids
from recsweep.data.schema import IdMap, Interactions
from recsweep.data.sheet import FLOAT, Types
from recsweep.data.tables import read_column_names, read_table
from recsweep.data.times import TIME, BadTime, MixedUnits, to_seconds
from recsweep.data.validate import has_id
from recsweep.errors import UserError
from recsweep.terminal import print_line

COLUMNS: Types = {"user": ID, "item": ID, "rating": FLOAT, "timestamp": TIME}


def read_file(path: Path) -> pd.DataFrame:
    """The columns of `COLUMNS` that a table has, `item` at least; without `user` all rows are of the user "new"."""
    names = read_column_names(path, "item")
    types = {name: dtype for name, dtype in COLUMNS.items() if name in names or name == "item"}
    frame = read_table(path, types).frame
    return frame if "user" in frame else frame.assign(user="new")


def read_histories(frame: pd.DataFrame, data: Interactions) -> Interactions:
    """The rows of `frame` as interactions of its users, in the order in which they appear, with the items of `data`.

    Rows with an item that the data do not have are left out, and so are users without other rows; a line says how many.
    Without a column `rating` the ratings are NaN.

    Args:
        frame: columns `user` and `item` (raw ids), and `rating` and `timestamp` if there are any.
        data: of the run.

    Raises:
        UserError: there are no rows, a column or a value is missing, an id is a list, a rating is no number, a
            timestamp no time, or all items are unknown.
    """
    _check_columns(frame)
    raw_users, raw_items = _read_ids(frame, "user"), _read_ids(frame, "item")
    item = find_ids(data.item_ids.raw, raw_items)
    is_known = item >= 0
    if not is_known.any():
        example = f"{data.item_ids.raw[0]} and {data.item_ids.raw[-1]}"
        raise UserError(
            f"histories: {raw_items[0]} and all other items are unknown; the data have ids such as {example}"
        )
    user, users = pd.factorize(raw_users[is_known])
    if not is_known.all():
        n_unknown, n_left_out = int((~is_known).sum()), len(pd.unique(raw_users)) - len(users)
        line = f"histories: {n_unknown:,} of {len(frame):,} rows have an item that the run does not know"
        print_line(
            line + (f"; left out are users without other rows: {n_left_out:,}" if n_left_out else ""), stderr=True
        )
    rating, timestamp = _read_ratings(frame)[is_known], _read_times(frame)
    return Interactions(
        name=data.name,
        user=torch.from_numpy(user),
        item=torch.from_numpy(item[is_known]),
        rating=torch.from_numpy(rating),
        timestamp=None if timestamp is None else timestamp[torch.from_numpy(is_known)],
        user_ids=IdMap(users, "user"),
        item_ids=data.item_ids,
        rating_scale=data.rating_scale,
        item_features=data.item_features,
        item_titles=data.item_titles,
        has_seconds=data.has_seconds,
    )


def _check_columns(frame: pd.DataFrame) -> None:
    """`UserError` unless there are rows, and each column stands once and has a value in each of them."""
    check_frame(frame, "histories")
    if not len(frame):
        raise UserError("histories: no rows")
    for column in ("user", "item"):
        if column not in frame:
            there = ", ".join(map(str, frame.columns))
            raise UserError(f"histories: no column {column}; there are {there}: name the columns {', '.join(COLUMNS)}")
    for column in [name for name in COLUMNS if name in frame]:
        if isinstance(frame[column], pd.DataFrame):
            raise UserError(f"histories: {frame[column].shape[1]} columns are called {column}; allowed: one")
        has_value = has_id(frame[column]).to_numpy()
        if not has_value.all():
            row = int(has_value.argmin()) + 1
            raise UserError(f"histories, row {row}, column {column}: no value; leave the row out")


def _read_ids(frame: pd.DataFrame, column: str) -> np.ndarray:
    try:
        return raw_ids(frame[column])
    except ValueError as error:
        raise UserError(f"histories, column {column}: not ids ({error})") from error


def _read_ratings(frame: pd.DataFrame) -> np.ndarray:
    if "rating" not in frame:
        return np.full(len(frame), np.nan, np.float32)
    try:
        with np.errstate(over="ignore"):  # overflow gives inf
            return frame["rating"].to_numpy(np.float32)
    except (TypeError, ValueError) as error:
        raise UserError(f"histories, column rating: not numbers ({error})") from error


def _read_times(frame: pd.DataFrame) -> Tensor | None:
    if "timestamp" not in frame:
        return None
    try:
        column = pa.chunked_array([pa.array(frame["timestamp"], from_pandas=True)])
        return torch.tensor(to_seconds(column, None).seconds)
    except BadTime as error:
        raise UserError(f"histories, row {error.row + 1}, column timestamp: {error.problem}") from error
    except MixedUnits as error:
        (first, text), (second, other) = error.first, error.second
        raise UserError(
            f"histories, row {second + 1}, column timestamp: {other}, but {text} in row {first + 1}; allowed: one unit"
        ) from error
    except pa.ArrowException as error:
        raise UserError(f"histories, column timestamp: no times of one kind ({error})") from error
