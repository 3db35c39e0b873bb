"""The headers of RecBole's atomic files, `column:type`, and features of users and items by these types."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from recsweep.data.features import Entities, FeatureColumn, build_features, encode_categories, sort_by_id
from recsweep.data.files import column_names, read_text
from recsweep.data.ids import ID, natural_order, occurring_ids, raw_ids
from recsweep.data.sheet import FLOAT, TEXT, Format, Sheet, note_once
from recsweep.errors import UserError

ATOMIC = Format(separator="\t", header=True, encoding="utf-8", quoted=False)
TYPES = ("token", "token_seq", "float", "float_seq")
MAX_CELLS = 10**8  # of a feature's matrix in memory, 400 MB


class Field(NamedTuple):
    """A column: its name in the file, `column:type`, and the type."""

    column: str
    type: str


def read_header(path: Path) -> dict[str, Field]:
    """The columns of an atomic file by their names without the type."""
    fields = {}
    for column in column_names(path, ATOMIC):
        name, _, kind = column.rpartition(":")
        if not name or kind not in TYPES:
            raise UserError(
                f"{path}, line 1: {column!r}, allowed: column:type with tabs between, type {', '.join(TYPES)}"
            )
        fields[name] = Field(column, kind)
    return fields


def read_entities(
    path: Path, id_column: str, used: pd.Series, title: str | None = None, with_title: bool = False
) -> Entities | None:
    """Users or items of a feature file, and those that only have interactions; None if there is no such file.

    What is missing becomes the category `unknown`, the mean of the numbers, as in RecBole, or no label.

    Args:
        path: the file.
        id_column: its column of raw ids.
        used: ids with interactions.
        title: column of titles; with `with_title`, None takes a column that is called like one.
    """
    if not path.is_file():
        return None
    header = read_header(path)
    if with_title and title is None:
        title = next((name for name in header if name in ("title", "name") or name.endswith("_title")), None)
    for name in filter(None, (id_column, title)):
        if name not in header:
            raise UserError(f"{path}: no column {name}, the file has {', '.join(header)}")
    types = {column: FLOAT if kind == "float" else TEXT for column, kind in header.values()}
    sheet = read_text(path, ATOMIC, types | {header[id_column].column: ID})
    listed, frame = sort_by_id(sheet, header[id_column].column)
    others = raw_ids(occurring_ids(used))
    ids = raw_ids(pd.Series(pd.unique(np.concatenate([listed.astype(str), others.astype(str)]).astype(object))))
    ids = ids[natural_order(ids)]
    frame = frame.set_axis(listed.astype(str).astype(object), axis=0).reindex(ids.astype(str).astype(object))
    titles = None if title is None else tuple(frame[header[title].column].fillna("").str.strip())
    features = {name: field for name, field in header.items() if name not in (id_column, title)}
    columns = encode_fields(sheet, frame, features)
    return Entities(ids, str(path), build_features(columns) if columns else None, titles)


def encode_fields(sheet: Sheet, frame: pd.DataFrame, fields: Mapping[str, Field]) -> dict[str, FeatureColumn]:
    """Features by their types, without sequences that are too large; says which."""
    columns = {}
    for name, (column, kind) in fields.items():
        values = frame[column]
        if kind == "token":
            columns[name] = encode_categories(values)
        elif kind == "float":
            mean = values.mean()
            filled = values.fillna(0.0 if np.isnan(mean) else mean)
            columns[name] = torch.tensor(filled.to_numpy(dtype=np.float32)), ()
        else:
            encoded = encode_labels(values) if kind == "token_seq" else encode_vectors(sheet, values)
            if encoded is None:
                note_once(f"{sheet.path}: column {column} left out, for it would take more than {MAX_CELLS:,} numbers")
            else:
                columns[name] = encoded
    return columns


def encode_labels(lists: pd.Series) -> FeatureColumn | None:
    """0/1 matrix [n, d] of labels with blanks between, and the labels; None if it is too large.

    >>> encode_labels(pd.Series(["b a", None, "a"]))
    (tensor([[1., 1.],
            [0., 0.],
            [1., 0.]]), ('a', 'b'))
    """
    words = lists.reset_index(drop=True).str.split().explode().dropna()
    codes, labels = pd.factorize(words, sort=True)
    if len(lists) * len(labels) > MAX_CELLS:
        return None
    flags = torch.zeros(len(lists), len(labels))
    flags[torch.from_numpy(words.index.to_numpy()), torch.from_numpy(codes)] = 1
    return flags, tuple(labels)


def encode_vectors(sheet: Sheet, lists: pd.Series) -> FeatureColumn | None:
    """Matrix [n, d] of numbers with blanks between, shorter rows filled with 0; None if it is too large."""
    rows = lists.fillna("").str.split().tolist()
    width = max(map(len, rows))
    if len(rows) * width > MAX_CELLS:
        return None
    try:
        numbers = np.array([row + ["0"] * (width - len(row)) for row in rows], dtype=np.float32)
    except ValueError as error:
        raise UserError(f"{sheet.path}, column {lists.name}: {error}, allowed: numbers with blanks between") from error
    return torch.from_numpy(numbers.reshape(len(rows), width)), tuple(str(number + 1) for number in range(width))
