"""Any table of ratings or events, CSV or Parquet, whose columns the user names."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from recsweep.data.assemble import assemble, not_shipped
from recsweep.data.features import Encoded, Entities, as_features, by_id, categorical
from recsweep.data.files import (
    ANY,
    CSV,
    FLOAT,
    INT,
    Sheet,
    Types,
    columns_of,
    columns_of_parquet,
    read_parquet,
    read_text,
)
from recsweep.data.schema import Interactions, Split
from recsweep.data.validate import Duplicates
from recsweep.errors import UserError

IMPLICIT_SCALE = (0.0, 1.0)
ROW_NUMBERS = ("", "__index_level_0__")  # what pandas calls an index without a name, in CSV and in Parquet


@with_config(ConfigDict(extra="forbid"))
class FeatureFile(TypedDict):
    """A table with one row an entity: its `path`, and the column `id` that holds the raw ids."""

    path: str
    id: str


@dataclass(frozen=True)
class Table:
    """Interactions from one file; CSV is UTF-8, separated by commas, with a header.

    Args:
        path: ends in `.csv` or `.parquet`.
        user, item: columns of raw ids, whole numbers or text.
        rating: column of numbers; None means implicit feedback, every rating 1.0.
        timestamp: column of whole seconds; None where there are no times.
        rating_scale: lowest and highest possible rating; None takes the lowest and highest that occur.
        user_features, item_features: tables whose columns all become features: text a category, numbers a
            number. Every rated id must stand there.
        duplicates: what to do with a repeated pair, see `validate.one_rating_a_pair`.
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
        named = [name for name in (self.user, self.item, self.rating, self.timestamp) if name is not None]
        if len(set(named)) < len(named):
            raise UserError(f"data.user, item, rating and timestamp name columns {named}, allowed: each once")

    def ready(self) -> bool:
        """Whether the table is on disk."""
        return Path(self.path).is_file()

    def read(self) -> Interactions:
        """The table, validated."""
        columns = {self.user: "user", self.item: "item"}
        types: dict[str, pa.DataType | None] = dict.fromkeys(columns, ANY)
        for column, name, dtype in ((self.rating, "rating", FLOAT), (self.timestamp, "timestamp", INT)):
            if column is not None:
                columns[column], types[column] = name, dtype
        sheet = read_table(Path(self.path), types).renamed(columns)
        scale = None if self.rating_scale is None else (self.rating_scale[0], self.rating_scale[1])
        if self.rating is None:
            sheet.frame["rating"] = 1.0
            scale = scale or IMPLICIT_SCALE
        users, items = read_entities(self.user_features), read_entities(self.item_features)
        return assemble(self.name, sheet, scale, self.duplicates, users, items)

    def parts(self, name: str, data: Interactions) -> Split:
        """`UserError`: a table ships no split."""
        raise not_shipped(self, name)


def read_table(path: Path, types: Types) -> Sheet:
    """Columns of a CSV or Parquet file; `UserError` as in `read_text`, or for another kind of file."""
    if path.suffix == ".parquet":
        return read_parquet(path, types)
    if path.suffix == ".csv":
        return read_text(path, CSV, types)
    raise UserError(f"{path}: unknown kind of table, allowed: .csv, .parquet")


def read_entities(file: FeatureFile | None) -> Entities | None:
    """Every column of a feature table but its id, sorted by id; row numbers that pandas wrote are none."""
    if file is None:
        return None
    path = Path(file["path"])
    names = columns_of_parquet(path) if path.suffix == ".parquet" else columns_of(path, CSV)
    sheet = read_table(path, dict.fromkeys([file["id"], *names], ANY))
    ids, frame = by_id(sheet, file["id"])
    columns = {name: encoded(sheet, frame[name]) for name in names if name not in (file["id"], *ROW_NUMBERS)}
    return Entities(ids, str(path), as_features(columns))


def encoded(sheet: Sheet, values: pd.Series) -> Encoded:
    """A feature column of `sheet`, in any order of its rows, as a category (text) or as finite float32 numbers."""
    if not pd.api.types.is_numeric_dtype(values):
        return categorical(values)
    with np.errstate(over="ignore"):  # becomes inf, which the next lines report
        numbers = values.to_numpy(dtype=np.float32, na_value=np.nan)
    wrong = ~np.isfinite(numbers)
    if wrong.any():
        raise sheet.wrong(int(values.index[int(wrong.argmax())]), str(values.name), "finite numbers")
    return torch.from_numpy(numbers), ()
