"""Writes any data set with times, split into parts, as the files that `sequences.Sequences` reads."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pa_parquet
from torch import Tensor

from recsweep.atomic import write_atomically
from recsweep.data.files import INT, TEXT
from recsweep.data.schema import Interactions, Split
from recsweep.data.sequences import ITEMS, USERS
from recsweep.errors import UserError

SEQUENCES = pa.schema({"user_idx": INT, "pos_item_idx": INT, "history_idx": TEXT})
ITEMS_AT_ONCE = 1 << 24  # of histories, in memory


def write_sequences(data: Interactions, split: Split, folder: Path, max_history: int) -> None:
    """Writes `sequences_{train,val,test}.parquet` and the two maps into `folder`, in place of those it has.

    Rows of a file are sorted by user, then time (ties stay in file order). A train row's history is the train rows of
    its user before it, a val row's all train rows of its user, a test row's all train and val rows. Ratings are not
    written: every row is an event.

    Args:
        data: with timestamps.
        split: of its rows.
        folder: made when needed. Each file is replaced as a whole, when all are written.
        max_history: so many items, the last ones, are kept of a history.

    Raises:
        UserError: the data have no timestamps.
    """
    if data.timestamp is None:
        raise UserError(f"{data.name} has no timestamps, which sequences need: choose data= that has them")
    train, val, test = (_by_user_and_time(data, part.numpy()) for part in split[:3])
    known = _by_user_and_time(data, np.concatenate([train, val]))
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "sequences_train": _sequences(data, train, train, np.arange(len(train)), max_history),
        "sequences_val": _sequences(data, val, train, _end_of_user(data, val, train), max_history),
        "sequences_test": _sequences(data, test, known, _end_of_user(data, test, known), max_history),
        ITEMS: iter([_item_map(data)]),
        USERS: iter([_map("user_idx", "customer_id", data.user_ids.raw)]),
    }
    with ExitStack() as all_written:
        for file, tables in files.items():
            _write(all_written.enter_context(write_atomically(folder / f"{file}.parquet")), tables)


def _by_user_and_time(data: Interactions, rows: np.ndarray) -> np.ndarray:
    """Row numbers sorted by user, time, place in the data."""
    user, seconds = (_of(column, rows) for column in (data.user, data.seconds))
    return rows[np.lexsort((rows, seconds, user))]


def _end_of_user(data: Interactions, rows: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Of each of `rows`, the place behind its user's last row in `known`, which is sorted by user."""
    return np.searchsorted(_of(data.user, known), _of(data.user, rows), side="right")


def _sequences(
    data: Interactions, rows: np.ndarray, known: np.ndarray, end: np.ndarray, max_history: int
) -> Iterator[pa.Table]:
    """The rows of a file, in as many tables as keep memory small.

    Args:
        rows: [M] row numbers in `data`, in the file's order.
        known: [K] row numbers sorted by user and time.
        end: [M] the history of row m are the last rows of its user in `known[:end[m]]`.
    """
    user, item = _of(data.user, rows), _of(data.item, rows)
    start = np.maximum(np.searchsorted(_of(data.user, known), user), end - max_history)
    filled = (end - start).cumsum()
    cuts = np.searchsorted(filled, np.arange(ITEMS_AT_ONCE, filled[-1] if len(rows) else 0, ITEMS_AT_ONCE))
    for piece in np.split(np.arange(len(rows)), cuts):
        history = _joined(_of(data.item, known), start[piece], end[piece])
        yield pa.table([user[piece], item[piece], history], schema=SEQUENCES)


def _joined(item: np.ndarray, start: np.ndarray, end: np.ndarray) -> pa.Array:
    """For each m, `item[start[m]:end[m]]` as text, separated by spaces."""
    length = end - start
    offset = np.concatenate([[0], length.cumsum()])
    place = np.arange(offset[-1]) + (start - offset[:-1]).repeat(length)
    words = pc.cast(pa.array(item[place]), TEXT)
    return pc.binary_join(pa.ListArray.from_arrays(offset.astype(np.int32), words), " ")


def _item_map(data: Interactions) -> pa.Table:
    table = _map("item_idx", "item_id", data.item_ids.raw)
    return table if data.item_titles is None else table.append_column("title", pa.array(data.item_titles))


def _map(index: str, raw: str, ids: np.ndarray) -> pa.Table:
    return pa.table({index: np.arange(len(ids)), raw: pa.array(ids)})


def _write(path: Path, tables: Iterator[pa.Table]) -> None:
    first = next(tables)
    with pa_parquet.ParquetWriter(path, first.schema) as file:
        file.write_table(first)
        for table in tables:
            file.write_table(table)


def _of(column: Tensor, rows: np.ndarray) -> np.ndarray:
    return column.numpy()[rows]
