"""Validated ratings and feature tables become `Interactions`; published files become its row numbers."""

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recsweep.data.features import Entities, raw_ids
from recsweep.data.files import Sheet
from recsweep.data.schema import IdMap, Interactions, Source
from recsweep.data.validate import Duplicates, check_ratings, one_rating_a_pair
from recsweep.errors import UserError


def assemble(
    name: str,
    ratings: Sheet,
    scale: tuple[float, float] | None,
    duplicates: Duplicates,
    users: Entities | None = None,
    items: Entities | None = None,
) -> Interactions:
    """Checked `Interactions` of one table of ratings.

    Args:
        name: of the data set.
        ratings: columns user, item, rating, and optionally timestamp.
        scale: lowest and highest possible rating; None takes the lowest and highest that occur.
        duplicates: what to do with a repeated pair, see `one_rating_a_pair`.
        users, items: entities with features. They fix the ids: a rating by or of anyone else is an error.
    """
    check_ratings(ratings, scale)
    users = users or _who_occurs(ratings, "user")
    items = items or _who_occurs(ratings, "item")
    user, item = (
        _encode(ratings, "user", users.ids, users.path),
        _encode(ratings, "item", items.ids, items.path),
    )
    rows, rating = one_rating_a_pair(ratings, user * len(items.ids) + item, duplicates)
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


def rows_of(sheet: Sheet, data: Interactions) -> Tensor:
    """Row numbers [n] in `data` of the pairs that a published file lists, in the file's order."""
    user = _encode(sheet, "user", data.user_ids.raw, data.name)
    item = _encode(sheet, "item", data.item_ids.raw, data.name)
    listed = user * data.n_items + item
    pair = (data.user * data.n_items + data.item).numpy()
    order = np.argsort(pair)
    rows = order[np.searchsorted(pair, listed, sorter=order).clip(max=len(pair) - 1)]
    unknown = pair[rows] != listed
    if unknown.any():
        raise UserError(f"{sheet.where(int(unknown.argmax()))}: this user and item are no row of {data.name}")
    return torch.from_numpy(rows)


def not_shipped(source: Source, split: str) -> UserError:
    """The error of asking `source` for a `split` that it does not ship."""
    return UserError(f"{source.name} ships no split {split!r}; it ships {', '.join(source.ships) or 'none'}")


def _who_occurs(sheet: Sheet, kind: str) -> Entities:
    """The entities of a column that no feature table describes."""
    distinct = pd.Series(sheet.frame[kind].unique())
    return Entities(np.sort(raw_ids(distinct, f"{sheet.path}, column {sheet.name(kind)}")), str(sheet.path))


def _encode(sheet: Sheet, kind: str, known: np.ndarray, known_from: str) -> np.ndarray:
    """Contiguous ids [N] of a column: the place of each raw id among the sorted ids `known`."""
    codes, values = pd.factorize(sheet.frame[kind])
    distinct = raw_ids(pd.Series(values), f"{sheet.path}, column {sheet.name(kind)}")
    if known.dtype.kind != distinct.dtype.kind:
        raise UserError(f"{sheet.path}: {kind} ids are {_kind(distinct)}, but {_kind(known)} in {known_from}")
    place = np.searchsorted(known, distinct).clip(max=len(known) - 1)
    unknown = known[place] != distinct
    if unknown.any():
        first = int(unknown.argmax())
        raise UserError(
            f"{sheet.where(int((codes == first).argmax()), kind)}: unknown {kind} {distinct[first]}, "
            f"allowed: the {len(known)} {kind}s of {known_from}, ids {known[0]} to {known[-1]}"
        )
    return place[codes]


def _kind(ids: np.ndarray) -> str:
    return "whole numbers" if ids.dtype.kind == "i" else "text"
