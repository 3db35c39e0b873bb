"""Any CSV or Parquet table of ratings or events; the configuration names its columns."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from recsweep.data.assemble import assemble, unknown_split_error
from recsweep.data.features import Entities, FeatureColumn, build_features, encode_categories, sort_by_id
from recsweep.data.files import (
    ANY,
    CSV,
    FLOAT,
    INT,
    Sheet,
    Types,
    column_names,
    parquet_column_names,
    read_parquet,
    read_text,
)
from recsweep.data.schema import Interactions, Split
from recsweep.data.validate import Duplicates
from recsweep.errors import UserError

IMPLICIT_SCALE = (0.0, 1.0)
ROW_NUMBERS = ("", "__index_level_0__")  # the column of an unnamed pandas index, in CSV and in Parquet


@with_config(ConfigDict(extra="forbid"))
class FeatureFile(TypedDict):
    """A table with one row per user or item: its `path`, and `id`, the name of its column of raw ids."""

    path: str
    id: str


@dataclass(frozen=True)
class Table:
    """Interactions from one file. CSV files are UTF-8, comma-separated, with a header.

    Args:
        path: ends in `.csv` or `.parquet`.
        user, item: columns of raw ids, whole numbers or text.
        rating: column of numbers; None means implicit feedback, all ratings 1.0.
        timestamp: column of whole seconds; None if there are no times.
        rating_scale: lowest and highest possible rating; None takes the lowest and highest in the file.
        user_features, item_features: tables of features. Text becomes a category, numbers stay numbers. They must list
            every user or item with a rating.
        duplicates: what to do with a repeated (user, item) pair, see `validate.resolve_duplicates`.
    """

    path: str
    user: str
    item: str
    rating: str | None
    timestamp: str | None
    rating_scale: Annotated[list[float], Field(min_length=2, max_length=2)] | None
    user_features: FeatureFile | None
    item_features: FeatureFile | None
    duplicates: Duplicates

    name: ClassVar[str] = "table"
    ships: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if self.rating_scale is not None and not self.rating_scale[0] < self.rating_scale[1]:
            raise UserError(f"data.rating_scale={list(self.rating_scale)}, allowed: [lowest, highest] rating")
        columns = [name for name in (self.user, self.item, self.rating, self.timestamp) if name is not None]
        if len(set(columns)) < len(columns):
            raise UserError(f"data.user, item, rating and timestamp name columns {columns}, allowed: each column once")

    def ready(self) -> bool:
        """Whether the table is on disk."""
        return Path(self.path).is_file()

    def read(self) -> Interactions:
        """The table, validated."""
        columns = {self.user: "user", self.item: "item"}
        types: dict[str, pa.DataType | None] = {self.user: ANY, self.item: ANY}
        if self.rating is not None:
            columns[self.rating], types[self.rating] = "rating", FLOAT
        if self.timestamp is not None:
            columns[self.timestamp], types[self.timestamp] = "timestamp", INT
        sheet = read_table(Path(self.path), types).rename(columns)
        scale = None if self.rating_scale is None else (self.rating_scale[0], self.rating_scale[1])
        if self.rating is None:
            sheet.frame["rating"] = 1.0
            scale = scale or IMPLICIT_SCALE
        users, items = read_entities(self.user_features), read_entities(self.item_features)
        return assemble(self.name, sheet, scale, self.duplicates, users, items)

    def parts(self, name: str, data: Interactions) -> Split:
        """Raises `UserError`: a table ships no split."""
        raise unknown_split_error(self, name)


def read_table(path: Path, types: Types) -> Sheet:
    """Reads columns of a CSV or Parquet file; errors as in `read_text`, or for another suffix."""
    if path.suffix == ".parquet":
        return read_parquet(path, types)
    if path.suffix == ".csv":
        return read_text(path, CSV, types)
    raise UserError(f"{path}: unknown kind of table, allowed: .csv, .parquet")


def read_entities(file: FeatureFile | None) -> Entities | None:
    """Reads a feature table, sorted by id: all columns except the id and row numbers that pandas wrote."""
    if file is None:
        return None
    path = Path(file["path"])
    names = parquet_column_names(path) if path.suffix == ".parquet" else column_names(path, CSV)
    sheet = read_table(path, dict.fromkeys([file["id"], *names], ANY))
    ids, frame = sort_by_id(sheet, file["id"])
    columns = {name: encode_feature(sheet, frame[name]) for name in names if name not in (file["id"], *ROW_NUMBERS)}
    return Entities(ids, str(path), build_features(columns))


def encode_feature(sheet: Sheet, values: pd.Series) -> FeatureColumn:
    """Encodes a feature column: text as categories, numbers as finite float32.

    Args:
        sheet: the table, for messages.
        values: the column, in any order; its index holds row numbers of `sheet`.
    """
    if not pd.api.types.is_numeric_dtype(values):
        return encode_categories(values)
    with np.errstate(over="ignore"):  # overflow gives inf, reported below
        numbers = values.to_numpy(dtype=np.float32, na_value=np.nan)
    is_bad = ~np.isfinite(numbers)
    if is_bad.any():
        raise sheet.value_error(int(values.index[int(is_bad.argmax())]), str(values.name), "finite numbers")
    return torch.from_numpy(numbers), ()
