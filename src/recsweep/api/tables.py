"""Ids in, data frames out: what users of the API hand over, and what they get."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recsweep.data.schema import IdMap, Interactions
from recsweep.errors import UserError

Ids = int | str | Iterable[int | str]
"""One raw id, or several: a list, an array, a column of a data frame."""


def encode_ids(ids: Ids, id_map: IdMap) -> Tensor:
    """Contiguous ids [n] of the distinct raw ids, in their order; `UserError` for none at all, and an unknown one."""
    values = list(ids) if isinstance(ids, Iterable) and not isinstance(ids, str) else [ids]
    if not values:
        raise UserError(f"no {id_map.kind} is given: give at least one id")
    return id_map.encode(list(dict.fromkeys(values)))


def encode_pairs(frame: pd.DataFrame, data: Interactions, name: str) -> tuple[Tensor, Tensor]:
    """Contiguous ids of the columns `user` [n] and `item` [n].

    Args:
        name: of the frame, for messages.

    Raises:
        UserError: it is no data frame, or a column or a value is missing, or an id is unknown.
    """
    check_frame(frame, name)
    for column in ("user", "item"):
        if column not in frame:
            there = ", ".join(map(str, frame.columns))
            raise UserError(f"{name}: no column {column}; there are {there}: rename those of the ids to user and item")
        is_missing = frame[column].isna().to_numpy()
        if is_missing.any():
            raise UserError(f"{name}, row {int(is_missing.argmax()) + 1}, column {column}: no value; leave the row out")
    return data.user_ids.encode(frame["user"].to_numpy()), data.item_ids.encode(frame["item"].to_numpy())


def check_frame(frame: pd.DataFrame, name: str) -> None:
    """`UserError` unless it is a data frame; `name` is what a message calls it."""
    if not isinstance(frame, pd.DataFrame):
        raise UserError(f"{name}: a {type(frame).__name__}; give a data frame with the columns user and item")


def tabulate_recommendations(data: Interactions, user: Tensor, items: Tensor, scores: Tensor) -> pd.DataFrame:
    """A row for each item of each list: user, rank (from 1), item, title if the data have titles, score.

    Args:
        user: [B].
        items: [B, k], best first; -1 is none.
        scores: [B, k]; -inf marks an item that does not count.
    """
    items, scores = items.cpu(), scores.cpu()
    row, column = ((items >= 0) & (scores > -torch.inf)).nonzero(as_tuple=True)
    item = items[row, column]
    content = {"user": data.user_ids.decode(user[row]), "rank": 1 + column.numpy(), "item": data.item_ids.decode(item)}
    return pd.DataFrame(content | name_titles(data, item) | {"score": scores[row, column].numpy()})


def tabulate_similar(
    data: Interactions, ids: IdMap, index: Tensor, similar: Tensor, similarity: Tensor
) -> pd.DataFrame:
    """A row for each neighbour: user or item, rank (from 1), similar, title of an item, similarity.

    Args:
        ids: of the users, or of the items.
        index: [B].
        similar: [B, k], most similar first.
        similarity: [B, k]; -inf marks a neighbour that does not count.
    """
    row, column = (similarity > -torch.inf).nonzero(as_tuple=True)
    neighbour = similar[row, column]
    content = {ids.kind: ids.decode(index[row]), "rank": 1 + column.numpy(), "similar": ids.decode(neighbour)}
    titles = name_titles(data, neighbour) if ids.kind == "item" else {}
    return pd.DataFrame(content | titles | {"similarity": similarity[row, column].numpy()})


def name_titles(data: Interactions, item: Tensor) -> dict[str, np.ndarray]:
    """A column `title` of these items [n]; no column where the data have no titles."""
    return {"title": np.array(data.item_titles, dtype=object)[item.numpy()]} if data.item_titles else {}
