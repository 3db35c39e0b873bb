"""Writes any split data set with timestamps as the files that `sequences.Sequences` reads."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pa_parquet
from torch import Tensor

from recsweep.atomic import write_atomically
from recsweep.data.schema import Interactions, Split
from recsweep.data.sequences import ITEMS, USERS
from recsweep.data.sheet import INT, TEXT
from recsweep.errors import UserError

SEQUENCES = pa.schema({"user_idx": INT, "pos_item_idx": INT, "history_idx": TEXT})
ITEMS_AT_ONCE = 1 << 24  # maximum number of history items in memory


def write_sequences(data: Interactions, split: Split, folder: Path, max_history: int) -> None:
    """Writes `sequences_{train,val,test}.parquet` and both id maps into `folder`, replacing files of the same name.

    Rows are sorted by user, then time; ties keep their file order. The history of a train row is the earlier train rows
    of its user, that of a val row all train rows of its user, that of a test row all train and val rows. Ratings are
    dropped: every row is an event.

    Args:
        data: with timestamps.
        split: assigns its rows to parts.
        folder: created if missing. Files are replaced only after all of them have been written.
        max_history: number of items to keep of each history, the last ones.

    Raises:
        UserError: the data have no timestamps.
    """
    if data.timestamp is None:
        raise UserError(f"{data.name} has no timestamps, and sequences need them: choose another data=")
    train, val, test = (_sort_by_user_and_time(data, part.numpy()) for part in split[:3])
    train_and_val = _sort_by_user_and_time(data, np.concatenate([train, val]))
    folder.mkdir(parents=True, exist_ok=True)
    val_end = _ends_of_users(data, val, train)
    test_end = _ends_of_users(data, test, train_and_val)
    files = {
        "sequences_train": _sequence_tables(data, train, train, np.arange(len(train)), max_history),
        "sequences_val": _sequence_tables(data, val, train, val_end, max_history),
        "sequences_test": _sequence_tables(data, test, train_and_val, test_end, max_history),
        ITEMS: iter([_item_map(data)]),
        USERS: iter([_id_map("user_idx", "customer_id", data.user_ids.raw)]),
    }
    with ExitStack() as replace_at_end:
        for file, tables in files.items():
            _write_parquet(replace_at_end.enter_context(write_atomically(folder / f"{file}.parquet")), tables)


def _sort_by_user_and_time(data: Interactions, rows: np.ndarray) -> np.ndarray:
    """Row numbers [M] sorted by user, then time, then row number."""
    user, seconds = (_values(column, rows) for column in (data.user, data.seconds))
    return rows[np.lexsort((rows, seconds, user))]


def _ends_of_users(data: Interactions, rows: np.ndarray, history_rows: np.ndarray) -> np.ndarray:
    """For each of `rows` [M], the index in `history_rows`, sorted by user, after the last row of the same user."""
    return np.searchsorted(_values(data.user, history_rows), _values(data.user, rows), side="right")


def _sequence_tables(
    data: Interactions, rows: np.ndarray, history_rows: np.ndarray, end: np.ndarray, max_history: int
) -> Iterator[pa.Table]:
    """The rows of a file, in tables small enough for memory.

    Args:
        rows: [M] row numbers in `data`, in the order of the file.
        history_rows: [K] row numbers sorted by user and time.
        end: [M] row m's history is the last rows of its user in `history_rows[:end[m]]`.
    """
    user, item = _values(data.user, rows), _values(data.item, rows)
    first = np.maximum(np.searchsorted(_values(data.user, history_rows), user), end - max_history)
    n_items = (end - first).cumsum()
    cuts = np.searchsorted(n_items, np.arange(ITEMS_AT_ONCE, n_items[-1] if len(rows) else 0, ITEMS_AT_ONCE))
    for chunk in np.split(np.arange(len(rows)), cuts):
        history = _join_slices(_values(data.item, history_rows), first[chunk], end[chunk])
        yield pa.table([user[chunk], item[chunk], history], schema=SEQUENCES)


def _join_slices(item: np.ndarray, first: np.ndarray, end: np.ndarray) -> pa.Array:
    """For each m, `item[first[m]:end[m]]` as text, separated by spaces."""
    length = end - first
    start = np.concatenate([[0], length.cumsum()])
    item_index = np.arange(start[-1]) + (first - start[:-1]).repeat(length)
    items_as_text = pc.cast(pa.array(item[item_index]), TEXT)
    return pc.binary_join(pa.ListArray.from_arrays(start.astype(np.int32), items_as_text), " ")


def _item_map(data: Interactions) -> pa.Table:
    table = _id_map("item_idx", "item_id", data.item_ids.raw)
    return table if data.item_titles is None else table.append_column("title", pa.array(data.item_titles))


def _id_map(index: str, raw: str, ids: np.ndarray) -> pa.Table:
    return pa.table({index: np.arange(len(ids)), raw: pa.array(ids)})


def _write_parquet(path: Path, tables: Iterator[pa.Table]) -> None:
    first_table = next(tables)
    with pa_parquet.ParquetWriter(path, first_table.schema) as file:
        file.write_table(first_table)
        for table in tables:
            file.write_table(table)


def _values(column: Tensor, rows: np.ndarray) -> np.ndarray:
    return column.numpy()[rows]
