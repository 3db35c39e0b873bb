"""Turns validated ratings and feature tables into `Interactions`, and published split files into row numbers."""

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recsweep.data.features import Entities
from recsweep.data.ids import find_ids, natural_order, occurring_ids, raw_ids
from recsweep.data.schema import IdMap, Interactions, Source
from recsweep.data.sheet import Sheet
from recsweep.data.validate import Duplicates, check_ratings, resolve_duplicates
from recsweep.errors import UserError


def assemble(
    name: str,
    ratings: Sheet,
    scale: tuple[float, float] | None,
    duplicates: Duplicates,
    users: Entities | None = None,
    items: Entities | None = None,
    part: np.ndarray | int = 0,
) -> Interactions:
    """Checks a table of ratings and turns it into `Interactions`.

    Args:
        name: name of the data set.
        ratings: columns user, item, rating, and optionally timestamp.
        scale: lowest and highest possible rating; None takes the lowest and highest in the table.
        duplicates: what to do with a repeated (user, item) pair, see `resolve_duplicates`.
        users, items: all users and items that may occur, with their features; a rating of any other is an error. None
            takes those that occur in the table.
        part: [N] the file of each row; a pair repeats within one only.
    """
    check_ratings(ratings, scale)
    users = users or _entities_in_column(ratings, "user")
    items = items or _entities_in_column(ratings, "item")
    user = _encode_ids(ratings, "user", users.ids, users.path)
    item = _encode_ids(ratings, "item", items.ids, items.path)
    rows, rating = resolve_duplicates(ratings, (part * len(users.ids) + user) * len(items.ids) + item, duplicates)
    times = ratings.frame.get("timestamp")
    return Interactions(
        name=name,
        user=torch.from_numpy(user[rows]),
        item=torch.from_numpy(item[rows]),
        rating=torch.from_numpy(rating.astype(np.float32)),
        timestamp=None if times is None else torch.tensor(times.to_numpy()[rows]),
        user_ids=IdMap(users.ids, "user"),
        item_ids=IdMap(items.ids, "item"),
        rating_scale=scale or (float(rating.min()), float(rating.max())),
        user_features=users.features,
        item_features=items.features,
        item_titles=items.titles,
    )


def find_rows(sheet: Sheet, data: Interactions) -> Tensor:
    """Row numbers [n] in `data` of the n (user, item) pairs in `sheet`, in its order.

    Raises:
        UserError: `data` has no row of a pair, or repeats one, so that a pair does not tell which row is meant.
    """
    user = _encode_ids(sheet, "user", data.user_ids.raw, data.name)
    item = _encode_ids(sheet, "item", data.item_ids.raw, data.name)
    pair_in_sheet = user * data.n_items + item
    pair_in_data = (data.user * data.n_items + data.item).numpy()
    order = np.argsort(pair_in_data)
    if (np.diff(pair_in_data[order]) == 0).any():
        raise UserError(
            f"{sheet.path} names rows by user and item, which {data.name} repeats with data.duplicates=keep: take "
            "data.duplicates=last, or another split="
        )
    sorted_index = np.searchsorted(pair_in_data, pair_in_sheet, sorter=order).clip(max=len(pair_in_data) - 1)
    rows = order[sorted_index]
    is_unknown = pair_in_data[rows] != pair_in_sheet
    if is_unknown.any():
        raise UserError(f"{sheet.location(int(is_unknown.argmax()))}: {data.name} has no row of this user and item")
    return torch.from_numpy(rows)


def has_pair_of(sheet: Sheet, data: Interactions) -> Tensor:
    """Whether each row of `data` [N] is of a (user, item) pair in `sheet`."""
    user = _encode_ids(sheet, "user", data.user_ids.raw, data.name)
    item = _encode_ids(sheet, "item", data.item_ids.raw, data.name)
    return torch.isin(data.user * data.n_items + data.item, torch.from_numpy(user * data.n_items + item))


def find_parts(train: Sheet, test: Sheet, data: Interactions) -> tuple[Tensor, Tensor]:
    """The rows of two published parts; `UserError` where they have one in common, or where test repeats one."""
    train_rows, test_rows = find_rows(train, data), find_rows(test, data)
    is_common = torch.isin(test_rows, train_rows)
    if is_common.any():
        line = int(is_common.int().argmax())
        other_line = int((train_rows == test_rows[line]).int().argmax())
        raise UserError(
            f"{test.location(line)}: this user and item are in {train.location(other_line)} too "
            f"({int(is_common.sum())} of {len(test_rows)} lines), and a model must not see what it is tested on: "
            "get the published files again"
        )
    check_distinct(test, test_rows)
    return train_rows, test_rows


def check_distinct(sheet: Sheet, rows: Tensor) -> None:
    """Raises `UserError` at the first line of a published part that repeats a row.

    Args:
        rows: of the lines, see `find_rows`.
    """
    is_repeated = pd.Series(rows.numpy()).duplicated().to_numpy()
    if is_repeated.any():
        line = int(is_repeated.argmax())
        first = int((rows == rows[line]).int().argmax())
        raise UserError(f"{sheet.location(line)}: this user and item are already in {sheet.location(first)}")


def unknown_split_error(source: Source, split: str) -> UserError:
    """The error for a `split` that `source` does not ship."""
    return UserError(f"{source.name} ships no split {split!r}; it ships {', '.join(source.ships) or 'none'}")


def _entities_in_column(sheet: Sheet, kind: str) -> Entities:
    """The users or items that occur in the table, for data without a feature table."""
    ids = raw_ids(occurring_ids(sheet.frame[kind]))
    return Entities(ids[natural_order(ids)], str(sheet.path))


def _encode_ids(sheet: Sheet, kind: str, allowed_ids: np.ndarray, source: str) -> np.ndarray:
    """Contiguous ids [N] of a column of raw ids; `UserError` at the first id that is not in `allowed_ids`.

    Args:
        sheet: N rows.
        kind: the column, "user" or "item".
        allowed_ids: [n] raw ids; the contiguous id of each is its index.
        source: where they come from, for messages.
    """
    column = sheet.frame[kind]
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes, values = column.cat.codes.to_numpy(), column.cat.categories
    else:
        codes, values = pd.factorize(column)
    distinct = raw_ids(pd.Series(values))
    index = find_ids(allowed_ids, distinct)
    is_unknown = index < 0
    if is_unknown.any() and is_unknown[codes].any():  # a category need not occur
        row = int(is_unknown[codes].argmax())
        raise UserError(
            f"{sheet.location(row, kind)}: unknown {kind} {distinct[codes[row]]}, "
            f"allowed: the {len(allowed_ids)} {kind}s of {source}, ids {allowed_ids[0]} to {allowed_ids[-1]}"
        )
    return index[codes]
