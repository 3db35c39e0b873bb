"""Reads purchase sequences from Parquet: each row is a user, their history, and their next item.

A folder holds `sequences_train`, `sequences_val` and optionally `sequences_test` with the columns `user_idx`,
`pos_item_idx` (the next item) and `history_idx` (the items before it, oldest first, separated by spaces; null or empty
if there are none). `item_id_map` (`item_idx`, `item_id`, optionally `title`) and `customer_id_map` (`user_idx`,
`customer_id`) map the indices to raw ids.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import torch
from pydantic import Field
from torch import Tensor

from recsweep.data.assemble import unknown_split_error
from recsweep.data.features import sort_by_id
from recsweep.data.ids import ID
from recsweep.data.parquet import parquet_column_names, read_parquet
from recsweep.data.schema import IdMap, Interactions, Split
from recsweep.data.sheet import INT, TEXT, Sheet, note_once
from recsweep.data.splits import position_in_group, split_last_rows
from recsweep.data.tables import IMPLICIT_SCALE
from recsweep.errors import UserError

log = logging.getLogger(__name__)

EVENT = {"user_idx": INT, "pos_item_idx": INT}
ITEMS, USERS = "item_id_map", "customer_id_map"
MAX_DIGITS = 18  # of an index, so that it fits int64


@dataclass(frozen=True)
class Sequences:
    """Purchase sequences as events: for each user the train events, then the held-out ones.

    The sequence of a user follows the files in the order train, val, test, the rows in file order, and in each row the
    history before the next item. The next items of val and test are the held-out events. Any other event is a train
    event if its item did not occur earlier in the user's sequence. An item can be a train event and held out as well (a
    repeated purchase). Repetitions within a part are dropped or kept, and a line says how many there are.

    The files have no times: the timestamp is the position in the user's sequence, from 0. Ratings are 1.0.

    Args:
        folder: holds the files, put there by hand or written by `recsweep data prepare data=NAME sequences=FOLDER`.
        max_history: maximum length of a history; a longer one is an error.
        duplicates: `first` keeps the first event of a user and an item in train, and the first in each held-out part.
            `keep` keeps repetitions: every next item is an event, and an item in a history is one where the history has
            it more often than the events before. Of a repetition that only histories show which `max_history` has cut
            before its first occurrence, nothing can be known.
    """

    folder: str
    max_history: Annotated[int, Field(ge=1)]
    duplicates: Literal["first", "keep"] = "first"  # of runs before there was a choice

    name: ClassVar[str] = "sequences"
    ships: ClassVar[tuple[str, ...]] = ("given",)

    def ready(self) -> bool:
        """Whether all files except the optional `sequences_test` are on disk."""
        return all(self._path(file).is_file() for file in ("sequences_train", "sequences_val", ITEMS, USERS))

    def read(self) -> Interactions:
        """All events, sorted by user and position in the user's sequence."""
        if not Path(self.folder).is_dir():
            raise UserError(
                f"{self.folder}: no such folder; put sequences_train.parquet and its companion files there, or "
                "write them from another data set: recsweep data prepare data=NAME sequences=FOLDER"
            )
        users = _read_map(self._path(USERS), "user_idx", "customer_id")
        items = _read_map(self._path(ITEMS), "item_idx", "item_id")
        files = [
            self._read_events(file, part, len(users.ids), len(items.ids))
            for part, file in enumerate(self._event_files())
        ]
        events = _Events(*(np.concatenate(column) for column in zip(*files, strict=True)))
        rows = self._choose_rows(events, len(items.ids))
        user, item, part = (torch.from_numpy(column[rows]) for column in events[:3])
        _log_users_without_history(user, part, len(users.ids))
        return Interactions(
            name=self.name,
            user=user,
            item=item,
            rating=torch.ones(len(rows)),
            timestamp=position_in_group(user, torch.arange(len(rows)), len(users.ids)),
            user_ids=IdMap(users.ids, "user"),
            item_ids=IdMap(items.ids, "item"),
            rating_scale=IMPLICIT_SCALE,
            item_titles=items.titles,
            has_seconds=False,
        )

    def parts(self, name: str, data: Interactions) -> Split:
        """`given`: val and test hold the next items of their files, train the other events.

        Without a test file, the val file becomes the test part, and each user's last train event validation, unless it
        is their only one.
        """
        if name not in self.ships:
            raise unknown_split_error(self, name)
        _, val_file, *test_files = self._event_files()
        n_val = self._n_next_items(val_file, data)
        if test_files:
            return split_last_rows(data, n_val, self._n_next_items(test_files[0], data))
        n_train = torch.bincount(data.user, minlength=data.n_users) - n_val
        return split_last_rows(data, (n_train >= 2).long(), n_val)

    def _choose_rows(self, events: "_Events", n_items: int) -> np.ndarray:
        """Indices of the events that become rows, see `_select_rows`; a line says how many repeat a pair."""
        every, first = (_select_rows(events, n_items, keeps_repeats) for keeps_repeats in (True, False))
        if n_repeats := len(every) - len(first):
            done = "kept" if self.duplicates == "keep" else "left out"
            note_once(
                f"{self.folder}: {n_repeats:,} of {len(every):,} events repeat a user and an item in a part: {done} "
                f"(data.duplicates={self.duplicates})"
            )
        return every if self.duplicates == "keep" else first

    def _read_events(self, file: str, part: int, n_users: int, n_items: int) -> "_Events":
        """The events of a file: for each row, the history and then the next item."""
        sheet = read_parquet(self._path(file), {**EVENT, "history_idx": TEXT})
        user = _indices(sheet, "user_idx", n_users)
        next_item = _indices(sheet, "pos_item_idx", n_items)
        history, length = _parse_histories(sheet, n_items, self.max_history)
        is_next = np.zeros(len(user) + len(history), dtype=bool)
        is_next[(length + 1).cumsum() - 1] = True
        item = np.empty(len(is_next), dtype=np.int64)
        item[is_next], item[~is_next] = next_item, history
        return _Events(user.repeat(length + 1), item, np.where(is_next, part, 0), is_next)

    def _n_next_items(self, file: str, data: Interactions) -> Tensor:
        """Number of next items of each user [n_users] in a file; distinct ones, if repetitions are dropped."""
        frame = read_parquet(self._path(file), EVENT).frame
        frame = frame if self.duplicates == "keep" else frame.drop_duplicates()
        return torch.bincount(torch.tensor(frame["user_idx"].to_numpy()), minlength=data.n_users)

    def _event_files(self) -> list[str]:
        """The files of train, val and, if it exists, test."""
        optional = ["sequences_test"] if self._path("sequences_test").is_file() else []
        return ["sequences_train", "sequences_val", *optional]

    def _path(self, file: str) -> Path:
        return Path(self.folder) / f"{file}.parquet"


class _Events(NamedTuple):
    """Columns [E] of events in order, the events of a row of a file together and its next item last.

    Args:
        user, item: int64.
        part: 1 for next items of val, 2 for those of test, else 0.
        is_next: whether the event is the next item of its row.
    """

    user: np.ndarray
    item: np.ndarray
    part: np.ndarray
    is_next: np.ndarray


class _Ids(NamedTuple):
    """Raw ids [n] by index, and titles [n] if the map has them."""

    ids: np.ndarray
    titles: tuple[str, ...] | None


def _select_rows(events: _Events, n_items: int, keeps_repeats: bool) -> np.ndarray:
    """Indices of the events that become rows, sorted by user, part and order.

    An event of part 0 becomes a row if it is the first of its (user, item) pair among all events. A later one is a
    repetition, or shows an item in a history after an earlier row held it out. A held-out event becomes a row if it is
    the first of its pair in its part. With `keeps_repeats`, see `_is_new`.
    """
    user, item, part, _ = events
    pair = user * n_items + item
    if keeps_repeats:
        rows = np.flatnonzero(_is_new(pair, events.is_next))
    else:
        is_train = ~pd.Series(pair).duplicated().to_numpy() & (part == 0)
        held_out = np.flatnonzero(part)
        is_repeated = pd.Series(pair[held_out] * 3 + part[held_out]).duplicated().to_numpy()
        rows = np.concatenate([np.flatnonzero(is_train), held_out[~is_repeated]])
    return rows[np.lexsort((rows, part[rows], user[rows]))]


def _is_new(pair: np.ndarray, is_next: np.ndarray) -> np.ndarray:
    """Whether each event [E] is one that no event before it shows already, where items repeat.

    Every next item is new. An item in a history is new if it is its o-th occurrence there and the rows before have
    fewer than o new events of the pair. Of these, d are next items; so it is new if o - d is above its values before.

    Args:
        pair: [E] the user and item of each event, in order.
        is_next: [E], the last event of each row of a file.
    """
    if not len(pair):
        return is_next
    order = np.argsort(pair, kind="stable")
    row = (is_next.cumsum() - is_next)[order]
    is_next_in_order, starts = is_next[order], np.append(True, np.diff(pair[order]) != 0)
    index = np.arange(len(pair))
    occurrence = index + 1 - np.maximum.accumulate(np.where(starts | np.append(True, np.diff(row) != 0), index, 0))
    n_next = is_next_in_order.cumsum() - is_next_in_order
    n_next -= n_next[np.maximum.accumulate(np.where(starts, index, 0))]
    excess = np.where(is_next_in_order, 0, np.maximum(occurrence - n_next, 0))
    base = (starts.cumsum() - 1) * (int(excess.max()) + 1)  # above all values of the pairs before
    most_before = np.append(0, np.maximum.accumulate(excess + base)[:-1])
    is_new = np.empty(len(pair), dtype=bool)
    is_new[order] = is_next_in_order | (excess + base > np.maximum(most_before, base))
    return is_new


def _log_users_without_history(user: Tensor, part: Tensor, n_users: int) -> None:
    has_held_out, has_train = (torch.bincount(user[mask], minlength=n_users) > 0 for mask in (part > 0, part == 0))
    n_without = int((has_held_out & ~has_train).sum())
    if n_without:
        log.info("sequences: %d users have held-out items but no history", n_without)


def _read_map(path: Path, index: str, raw: str) -> _Ids:
    """Reads an id map; `UserError` unless its n indices are 0 to n - 1 and its raw ids are distinct."""
    has_titles = "title" in parquet_column_names(path)
    sheet = read_parquet(path, {index: INT, raw: ID} | ({"title": TEXT} if has_titles else {}))
    ids, frame = sort_by_id(sheet, raw)
    sort_by_id(sheet, index)  # raises if an index is missing or repeated
    order = _indices(sheet, index, len(ids))[frame.index].argsort()
    return _Ids(ids[order], tuple(frame["title"].fillna("").iloc[order]) if has_titles else None)


def _indices(sheet: Sheet, column: str, n: int) -> np.ndarray:
    """A column of indices [rows]; `UserError` unless all are in [0, n)."""
    values = sheet.frame[column]
    is_bad = ~values.between(0, n - 1).to_numpy()  # true for missing values as well
    if is_bad.any():
        raise sheet.value_error(int(is_bad.argmax()), column, f"indices 0 to {n - 1}")
    return values.to_numpy(dtype=np.int64)


def _parse_histories(sheet: Sheet, n_items: int, max_history: int) -> tuple[np.ndarray, np.ndarray]:
    """Items [T] of all histories, concatenated, and the length [rows] of each history."""
    text = pc.utf8_trim_whitespace(pa.array(sheet.frame["history_idx"], type=TEXT))
    lists = pc.utf8_split_whitespace(pc.if_else(pc.equal(text, ""), None, text))
    length = pc.fill_null(pc.list_value_length(lists), 0).to_numpy().astype(np.int64)
    if length.max() > max_history:
        row = int((length > max_history).argmax())
        location = sheet.location(row, "history_idx")
        raise UserError(f"{location}: {length[row]} items, allowed: data.max_history={max_history}")
    tokens = pc.list_flatten(lists)
    is_index = pc.and_(pc.ascii_is_decimal(tokens), pc.less_equal(pc.binary_length(tokens), MAX_DIGITS))
    item = pc.cast(pc.if_else(is_index, tokens, "-1"), INT).to_numpy()
    is_bad = (item < 0) | (item >= n_items)
    if is_bad.any():
        bad_index = int(is_bad.argmax())
        row = int(np.searchsorted(length.cumsum(), bad_index, side="right"))
        location, token = sheet.location(row, "history_idx"), tokens[bad_index].as_py()
        raise UserError(f"{location}: {token!r}, allowed: indices 0 to {n_items - 1}, separated by spaces")
    return item, length
