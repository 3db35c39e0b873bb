"""Reads columns of a Parquet file, or of a folder of them as Spark and Dask write it."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as pa_dataset
import pyarrow.parquet as pa_parquet

from recsweep.data.files import type_error
from recsweep.data.ids import ID
from recsweep.data.sheet import Sheet, Types, check_columns, check_exists, to_sheet
from recsweep.data.times import TIME, TimeUnit
from recsweep.errors import UserError

DAMAGED = (pa.ArrowException, OSError)


def is_parquet(path: Path) -> bool:
    """Whether the path is a folder, or a file that begins as Parquet files do, or is called like one."""
    if path.suffix.lower() in (".parquet", ".pq") or path.is_dir():
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def read_parquet(path: Path, types: Types, unit: TimeUnit | None = None) -> Sheet:
    """Reads columns of a Parquet file or folder and casts them to `types`; errors as in `files.read_text`."""
    check_columns(path, types, parquet_column_names(path))
    try:
        table = _read(path, types)
        table.validate(full=True)  # Arrow reads text that is none, and codes of values that are not there
        schema = [(name, _target(dtype, table.schema.field(name).type)) for name, dtype in types.items()]
    except DAMAGED as error:
        raise UserError(f"{path}: a damaged Parquet file ({str(error).splitlines()[0]})") from error
    for name, _ in schema:
        if pa.types.is_nested(table.schema.field(name).type):
            raise UserError(f"{path}, column {name}: lists or structs, allowed: one value in each row")
    try:
        columns = {name: table[name].cast(dtype) for name, dtype in schema}
        return to_sheet(columns, path, types, unit=unit)
    except pa.ArrowException as error:
        frame = pd.DataFrame({name: table[name].to_pandas() for name in types}).astype("str")
        raise type_error(Sheet(frame, path, header_lines=None), types, error) from error


def parquet_column_names(path: Path) -> list[str]:
    """Column names of a Parquet file, or of a folder with those that its subfolders `name=value` give."""
    check_exists(path)
    try:
        return list(_dataset(path).schema.names)
    except DAMAGED as error:
        raise UserError(f"{path}: not a Parquet file, or a truncated one") from error


def _dataset(path: Path) -> pa_dataset.Dataset:
    if not path.is_dir():
        return pa_parquet.ParquetDataset(path)
    if not any(file.is_file() for file in path.rglob("*.parquet")):
        raise UserError(f"{path}: a folder without .parquet files; allowed: one table")
    files = [str(file) for file in path.rglob("*") if file.suffix in (".parquet", ".pq") and file.is_file()]
    visible = [file for file in files if not any(part[:1] in "._" for part in Path(file).relative_to(path).parts)]
    return pa_dataset.dataset(sorted(visible), format="parquet", partitioning="hive")


def _read(path: Path, types: Types) -> pa.Table:
    dataset = _dataset(path)
    if path.is_dir():
        return dataset.to_table(columns=list(types))
    ids = [name for name, dtype in types.items() if dtype == ID and _is_text(dataset.schema.field(name).type)]
    return pa_parquet.read_table(path, columns=list(types), read_dictionary=ids)


def _is_text(dtype: pa.DataType) -> bool:
    return pa.types.is_string(dtype) or pa.types.is_large_string(dtype)


def _target(wanted: pa.DataType | None, found: pa.DataType) -> pa.DataType:
    """The type to cast to: ids and times keep theirs, other dictionaries (pandas' `category`) that of their values."""
    if wanted in (ID, TIME):
        return found
    return wanted or (found.value_type if pa.types.is_dictionary(found) else found)
