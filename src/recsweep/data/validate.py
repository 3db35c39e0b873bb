"""Checks a table of ratings before it becomes tensors: values in range, and what repeated pairs become."""

from typing import Literal

import numpy as np
import pandas as pd
from pandera.errors import SchemaError
from pandera.pandas import Check, Column, DataFrameSchema

from recsweep.data.sheet import Sheet, note_once
from recsweep.errors import UserError

Duplicates = Literal["error", "last", "mean", "keep"]
"""What to do with repeated (user, item) pairs, see `resolve_duplicates`."""

_FINITE = (float(np.finfo(np.float32).min), float(np.finfo(np.float32).max))


def check_ratings(sheet: Sheet, scale: tuple[float, float] | None) -> None:
    """Raises `UserError` at the first missing value, rating outside `scale` or negative timestamp.

    Args:
        sheet: columns user, item, and optionally rating and timestamp (seconds).
        scale: lowest and highest allowed rating; None allows any finite number.
    """
    low, high = scale or _FINITE
    schema = DataFrameSchema(
        {
            "user": Column(checks=Check(has_id)),
            "item": Column(checks=Check(has_id)),
            "rating": Column(checks=Check.in_range(low, high), required=False),
            "timestamp": Column(checks=Check.ge(0), required=False),
        }
    )
    try:
        schema.validate(sheet.frame, inplace=True)
    except SchemaError as error:
        column = str(error.schema.name)
        case = error.failure_cases.iloc[0]
        allowed = {
            "rating": f"{low:g} to {high:g}" if scale else "finite numbers",
            "timestamp": "seconds since 1970, 0 or more",
        }.get(column, "an id in every row")
        raise sheet.value_error(int(case["index"]), column, allowed) from error


def has_id(ids: pd.Series) -> pd.Series:
    """Whether each row has an id: a value other than empty text."""
    if isinstance(ids.dtype, pd.CategoricalDtype):
        codes = ids.cat.codes.to_numpy()
        is_id = np.append(ids.cat.categories != "", False)  # the code of a missing id is -1
        return pd.Series(is_id[codes], ids.index)
    return ids.notna() if pd.api.types.is_numeric_dtype(ids) else ids.notna() & (ids != "")


def resolve_duplicates(sheet: Sheet, pair: np.ndarray, policy: Duplicates) -> tuple[np.ndarray | slice, np.ndarray]:
    """Chooses the rows to keep, one per (user, item) pair unless `policy` is `keep`, and their ratings.

    A line says how many rows repeat a pair.

    Args:
        sheet: columns rating and optionally timestamp, N rows.
        pair: [N] int64, a key of each row's user and item.
        policy: `error` raises `UserError` at the first repeated pair. `last` keeps the latest row of a pair (if times
            are equal, the last in the file). `mean` keeps the same row with the mean of the pair's ratings. `keep`
            keeps every row: each is an observation of its own, such as a purchase.

    Returns:
        rows [M] to keep, in file order (a full slice for all of them), and ratings [M] float64.
    """
    rating = sheet.frame["rating"].to_numpy()
    sorted_pair = np.sort(pair)
    if not (sorted_pair[1:] == sorted_pair[:-1]).any():
        return slice(None), rating
    if policy == "error":
        row = int(pd.Series(pair).duplicated().to_numpy().argmax())
        first = int((pair == pair[row]).argmax())
        user, item = (sheet.frame[name].iloc[row] for name in ("user", "item"))
        raise UserError(
            f"{sheet.location(row)}: user {user} and item {item} are already in {sheet.location(first)}; "
            "data.duplicates=last keeps the latest, data.duplicates=mean averages, data.duplicates=keep keeps all rows"
        )
    n_repeats = int((sorted_pair[1:] == sorted_pair[:-1]).sum())
    done = "kept" if policy == "keep" else "left out"
    note_once(f"{n_repeats:,} of {len(pair):,} rows repeat a user and an item: {done} (data.duplicates={policy})")
    if policy == "keep":
        return slice(None), rating
    order = np.argsort(pair, kind="stable")
    if "timestamp" in sheet.frame:
        order = np.lexsort((sheet.frame["timestamp"].to_numpy(), pair))
    is_last = np.append(np.diff(pair[order]) != 0, True)
    if policy == "mean":
        rating = pd.Series(rating).groupby(pair).transform("mean").to_numpy()
    rows = np.sort(order[is_last])
    return rows, rating[rows]
