"""Columns of a feature table as tensors: categories, numbers, multi-hot lists."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recsweep.data.files import Sheet
from recsweep.data.schema import Features
from recsweep.errors import UserError

UNKNOWN = "unknown"

Encoded = tuple[Tensor, tuple[str, ...]]  # a column and its labels, () for numbers


@dataclass(frozen=True)
class Entities:
    """Users or items sorted by raw id; a feature table also lists those that nobody rated.

    Args:
        ids: [n] raw ids, sorted.
        path: the table that lists them, for messages.
        features: of the entities, in the order of `ids`; None where there is no feature table.
        titles: of the entities, in the order of `ids`.
    """

    ids: np.ndarray
    path: str
    features: Features | None = None
    titles: tuple[str, ...] | None = None


def raw_ids(values: pd.Series, column: str) -> np.ndarray:
    """Raw ids [n] as int64 or fixed-width text; `column` names their place for the message."""
    if pd.api.types.is_integer_dtype(values):
        return values.to_numpy(dtype=np.int64)
    if pd.api.types.is_string_dtype(values):
        return values.to_numpy(dtype=object).astype(str)
    raise UserError(f"{column}: ids of type {values.dtype}, allowed: whole numbers or text")


def by_id(sheet: Sheet, column: str) -> tuple[np.ndarray, pd.DataFrame]:
    """Sorted raw ids [n] of a feature table and its rows in that order; each id must stand once."""
    values = sheet.frame[column]
    for wrong, what in (
        (values.isna(), "no id"),
        (values.duplicated(), "an id for the second time"),
    ):
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            raise UserError(f"{sheet.where(row, column)}: {what}, allowed: one row an id")
    ids = raw_ids(values, f"{sheet.path}, column {column}")
    order = np.argsort(ids)
    return ids[order], sheet.frame.iloc[order]


def categorical(values: pd.Series) -> Encoded:
    """Codes [n] int64 and their labels in sorted order; an empty value is the category `unknown`.

    >>> categorical(pd.Series(["b", "", "a", "b"]))
    (tensor([1, 2, 0, 1]), ('a', 'b', 'unknown'))
    """
    missing = values.isna() | (values == "")
    if missing.any():
        values = values.astype("str").mask(missing, UNKNOWN)
    codes, labels = pd.factorize(values, sort=True)
    return torch.from_numpy(codes.astype(np.int64)), tuple(str(label) for label in labels)


def multi_hot(lists: pd.Series) -> Encoded:
    """0/1 matrix [n, d] float32 of `|`-separated lists, and what each of the d columns stands for.

    >>> multi_hot(pd.Series(["Drama|Comedy", "", "Drama"]))
    (tensor([[1., 1.],
            [0., 0.],
            [0., 1.]]), ('Comedy', 'Drama'))
    """
    flags = lists.str.get_dummies("|").drop(columns="", errors="ignore")
    return torch.tensor(flags.to_numpy(dtype=np.float32)), tuple(flags.columns)


def as_features(columns: Mapping[str, Encoded]) -> Features:
    """The feature table of encoded columns."""
    return Features(
        columns={name: values for name, (values, _) in columns.items()},
        labels={name: labels for name, (_, labels) in columns.items() if labels},
    )
