"""Any delimited text or Parquet table of ratings or events; the configuration names its columns."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, NotRequired

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from recsweep.data.assemble import assemble, unknown_split_error
from recsweep.data.features import Entities, FeatureColumn, build_features, encode_categories, sort_by_id
from recsweep.data.files import read_text
from recsweep.data.ids import ID
from recsweep.data.parquet import is_parquet, parquet_column_names, read_parquet
from recsweep.data.schema import Interactions, Split
from recsweep.data.sheet import ANY, FLOAT, TEXT, Sheet, Types, note_once
from recsweep.data.sniff import UNKNOWN, Layout, find_format, layout_column_names
from recsweep.data.times import TIME, TimeUnit
from recsweep.data.validate import Duplicates
from recsweep.errors import UserError

IMPLICIT_SCALE = (0.0, 1.0)
ColumnName = str | int
"""A column's name, or its number from 1 in a file without header."""
ROW_NUMBERS = ("", "__index_level_0__")  # the column of an unnamed pandas index, in CSV and in Parquet


@with_config(ConfigDict(extra="forbid"))
class FeatureFile(TypedDict):
    """A table with one row per user or item.

    Args:
        path: the file.
        id: name of its column of raw ids.
        columns: names of the columns that become features; without it, all but the id and the title.
    """

    path: str
    id: ColumnName
    columns: NotRequired[list[str]]


@dataclass(frozen=True)
class Table:
    """Interactions from one table.

    Args:
        path: delimited text, as it is or in a gzip or zip file; or Parquet, a file or a folder of them.
        user, item: columns of raw ids, text exactly as it stands in the file. Without a header, columns are called by
            their numbers, from 1.
        rating: column of numbers; None means implicit feedback, all ratings 1.0.
        timestamp: column of times, see `times`; None if there are no times.
        rating_scale: lowest and highest possible rating; None takes the lowest and highest in the file.
        no_rating: numbers in the column of ratings that mean that there is none; such rows are left out.
        user_features, item_features: tables of features. Text becomes a category, numbers stay numbers. They must list
            every user or item with a rating.
        item_title: column of `item_features` that becomes the items' titles instead of a feature.
        duplicates: what to do with a repeated (user, item) pair, see `validate.resolve_duplicates`.
        separator, encoding, header, decimal_comma: see `sniff.Layout`; they hold for `path`.
        time_unit: the unit of times that are numbers; None finds it by their size.
    """

    path: str
    user: ColumnName
    item: ColumnName
    rating: ColumnName | None
    timestamp: ColumnName | None
    rating_scale: Annotated[list[float], Field(min_length=2, max_length=2)] | None
    no_rating: Annotated[list[float], Field(min_length=1)] | None
    user_features: FeatureFile | None
    item_features: FeatureFile | None
    item_title: str | None
    duplicates: Duplicates
    separator: str | None
    encoding: str | None
    header: bool | None
    decimal_comma: bool | None
    time_unit: TimeUnit | None

    name: ClassVar[str] = "table"
    ships: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if self.rating_scale is not None and not self.rating_scale[0] < self.rating_scale[1]:
            raise UserError(f"data.rating_scale={list(self.rating_scale)}, allowed: [lowest, highest] rating")
        columns = [name for name in (self.user, self.item, self.rating, self.timestamp) if name is not None]
        if len(set(columns)) < len(columns):
            raise UserError(f"data.user, item, rating and timestamp name columns {columns}, allowed: each column once")
        if self.no_rating is not None and self.rating is None:
            raise UserError("data.no_rating: data.rating=null names no column of ratings; leave one of them out")
        if self.item_title is not None and self.item_features is None:
            raise UserError("data.item_title: a column of data.item_features, which is not set")
        self._layout()

    def ready(self) -> bool:
        """Whether the table is on disk."""
        return Path(self.path).exists()

    def read(self) -> Interactions:
        """The table, validated."""
        sheet = self._read_sheet(Path(self.path))
        return assemble(self.name, sheet, self._scale, self.duplicates, *self._read_entities())

    def parts(self, name: str, data: Interactions) -> Split:
        """Raises `UserError`: a table ships no split."""
        raise unknown_split_error(self, name)

    @property
    def _scale(self) -> tuple[float, float] | None:
        if self.rating_scale is None:
            return IMPLICIT_SCALE if self.rating is None else None
        return self.rating_scale[0], self.rating_scale[1]

    def _read_sheet(self, path: Path) -> Sheet:
        """Columns user, item, rating and, if there are times, timestamp."""
        columns = {str(self.user): "user", str(self.item): "item"}
        types: dict[str, pa.DataType | None] = dict.fromkeys(columns, ID)
        if self.rating is not None:
            columns[str(self.rating)], types[str(self.rating)] = "rating", FLOAT
        if self.timestamp is not None:
            columns[str(self.timestamp)], types[str(self.timestamp)] = "timestamp", TIME
        sheet = read_table(path, types, self._layout(), self.time_unit).rename(columns)
        if self.rating is None:
            sheet.frame["rating"] = 1.0
        return self._leave_out_no_ratings(sheet)

    def _read_entities(self) -> tuple[Entities | None, Entities | None]:
        """The tables of users and of items."""
        return read_entities(self.user_features), read_entities(self.item_features, self.item_title)

    def _layout(self) -> Layout:
        return Layout(self.separator, self.encoding, self.header, self.decimal_comma)

    def _leave_out_no_ratings(self, sheet: Sheet) -> Sheet:
        if self.no_rating is None:
            return sheet
        mask = ~sheet.frame["rating"].isin(self.no_rating).to_numpy()
        n_rows, values = int((~mask).sum()), ", ".join(f"{value:g}" for value in self.no_rating)
        if n_rows == len(mask):
            raise UserError(f"{sheet.path}: data.no_rating leaves no row: every rating is one of {values}")
        note_once(f"{sheet.path}: {n_rows:,} of {len(mask):,} rows without a rating ({values}) left out")
        return sheet.keep(mask)


def read_table(path: Path, types: Types, layout: Layout = UNKNOWN, unit: TimeUnit | None = None) -> Sheet:
    """Reads columns of a table; errors as in `read_text`.

    Args:
        path: Parquet, or delimited text.
        types: column -> type.
        layout: what is known of the format of a text file.
        unit: the unit of times that are numbers; None finds it by their size.
    """
    if is_parquet(path):
        return read_parquet(path, types, unit)
    return read_text(path, find_format(path, types, layout), types, unit)


def read_entities(file: FeatureFile | None, title: str | None = None) -> Entities | None:
    """Reads a feature table, sorted by id: the columns that it names, or all except row numbers that pandas wrote."""
    if file is None:
        return None
    path, id_column = Path(file["path"]), str(file["id"])
    names = file.get("columns")
    if names is None:
        names = read_column_names(path, id_column)
    types = {id_column: ID} | ({} if title is None else {title: TEXT})
    sheet = read_table(path, dict.fromkeys(names, ANY) | types)
    ids, frame = sort_by_id(sheet, id_column)
    features = [name for name in names if name not in (*types, *ROW_NUMBERS)]
    columns = {name: encode_feature(sheet, frame[name]) for name in features}
    titles = None if title is None else tuple(frame[title].fillna("").str.strip())
    return Entities(ids, str(path), build_features(columns) if columns else None, titles)


def read_column_names(path: Path, id_column: str) -> list[str]:
    """The names of all columns of a table that has the column `id_column`."""
    if is_parquet(path):
        return parquet_column_names(path)
    return layout_column_names(path, find_format(path, {id_column: ID}))


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
