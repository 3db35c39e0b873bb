"""Encodes columns of a feature table as tensors: categories, numbers, multi-hot lists."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recsweep.data.ids import natural_order, raw_ids
from recsweep.data.schema import Features
from recsweep.data.sheet import Sheet
from recsweep.errors import UserError

UNKNOWN = "unknown"
"""The category of empty values."""

FeatureColumn = tuple[Tensor, tuple[str, ...]]
"""A feature's tensor and its labels, () for numbers; see `schema.Features`."""


@dataclass(frozen=True)
class Entities:
    """Users or items, sorted by raw id. With a feature table, they include those without ratings.

    Args:
        ids: [n] raw ids, sorted.
        path: the file that lists them, for messages.
        features: in the order of `ids`; None without a feature table.
        titles: in the order of `ids`; None without titles.
    """

    ids: np.ndarray
    path: str
    features: Features | None = None
    titles: tuple[str, ...] | None = None


def sort_by_id(sheet: Sheet, column: str) -> tuple[np.ndarray, pd.DataFrame]:
    """Sorted raw ids [n] of a table and its rows in that order; `UserError` at a missing or repeated id."""
    values = sheet.frame[column]
    for is_bad, problem in ((values.isna() | (values == ""), "missing id"), (values.duplicated(), "repeated id")):
        if is_bad.any():
            row = int(is_bad.to_numpy().argmax())
            raise UserError(f"{sheet.location(row, column)}: {problem}, allowed: one row per id")
    ids = raw_ids(values)
    order = natural_order(ids)
    return ids[order], sheet.frame.iloc[order]


def encode_categories(values: pd.Series) -> FeatureColumn:
    """Codes [n] int64 and their labels in sorted order; an empty value gets the category `unknown`.

    >>> encode_categories(pd.Series(["b", "", "a", "b"]))
    (tensor([1, 2, 0, 1]), ('a', 'b', 'unknown'))
    """
    is_empty = values.isna() | (values == "")
    if is_empty.any():
        values = values.astype("str").mask(is_empty, UNKNOWN)
    codes, labels = pd.factorize(values, sort=True)
    return torch.from_numpy(codes.astype(np.int64)), tuple(str(label) for label in labels)


def encode_multi_hot(lists: pd.Series) -> FeatureColumn:
    """0/1 matrix [n, d] float32 of `|`-separated lists, and the labels of its d columns.

    >>> encode_multi_hot(pd.Series(["Drama|Comedy", "", "Drama"]))
    (tensor([[1., 1.],
            [0., 0.],
            [0., 1.]]), ('Comedy', 'Drama'))
    """
    flags = lists.str.get_dummies("|").drop(columns="", errors="ignore")
    return torch.tensor(flags.to_numpy(dtype=np.float32)), tuple(flags.columns)


def build_features(columns: Mapping[str, FeatureColumn]) -> Features:
    """The feature table of these encoded columns."""
    return Features(
        columns={name: values for name, (values, _) in columns.items()},
        labels={name: labels for name, (_, labels) in columns.items() if labels},
    )
