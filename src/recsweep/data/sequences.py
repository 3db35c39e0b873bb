"""Purchase sequences in Parquet: every row is a user, what they had before, and the item that came next.

A folder holds `sequences_train`, `sequences_val` and optionally `sequences_test` with the columns `user_idx`,
`pos_item_idx` (the next item) and `history_idx` (the items before, oldest first, separated by spaces; null or empty
where there were none); `item_id_map` (`item_idx`, `item_id`, optionally `title`) and `customer_id_map` (`user_idx`,
`customer_id`) name what the indices stand for.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import torch
from pydantic import Field
from torch import Tensor

from recsweep.data.assemble import not_shipped
from recsweep.data.features import by_id
from recsweep.data.files import ANY, INT, TEXT, Sheet, columns_of_parquet, read_parquet
from recsweep.data.schema import IdMap, Interactions, Split
from recsweep.data.splits import last_rows, place_in_group
from recsweep.data.tables import IMPLICIT_SCALE
from recsweep.errors import UserError

log = logging.getLogger(__name__)

EVENT = {"user_idx": INT, "pos_item_idx": INT}
ITEMS, USERS = "item_id_map", "customer_id_map"
NUMBER_DIGITS = 18  # at most, so that the number fits int64


@dataclass(frozen=True)
class Sequences:
    """Every event is a row: what a user is known to have had, then what is held out of them.

    A user's sequence takes the files in the order train, val, test, and rows in file order, a row's history before its
    next item. Of an item that comes again, the first time counts. It is known unless that is as the next item of val
    or test; these are rows of their own, after the known ones, also of items that are known already (a repeated
    purchase).

    The files have no times: the timestamp is the place in the user's sequence, 0 first. Ratings are 1.0.

    Args:
        folder: of the files, put there by hand or written by `recsweep data prepare data=NAME sequences=FOLDER`.
        max_history: items in the longest history that is allowed.
    """

    folder: str
    max_history: Annotated[int, Field(ge=1)]

    name: ClassVar[str] = "sequences"
    ships: ClassVar[tuple[str, ...]] = ("given",)

    def ready(self) -> bool:
        """Whether all files but the optional one are on disk."""
        return all(self._path(file).is_file() for file in ("sequences_train", "sequences_val", ITEMS, USERS))

    def read(self) -> Interactions:
        """All events, sorted by user and their place in the user's sequence."""
        if not Path(self.folder).is_dir():
            raise UserError(
                f"{self.folder}: no such folder; put sequences_train.parquet and the files that go with it there, or "
                "write them from another data set: recsweep data prepare data=NAME sequences=FOLDER"
            )
        users = _read_map(self._path(USERS), "user_idx", "customer_id")
        items = _read_map(self._path(ITEMS), "item_idx", "item_id")
        files = [self._events(file, part, len(users.ids), len(items.ids)) for part, file in enumerate(self._files())]
        events = _Events(*(np.concatenate(column) for column in zip(*files, strict=True)))
        rows = _rows(events, len(items.ids))
        user, item, held_out = (torch.from_numpy(column[rows]) for column in events)
        _tell_without_history(user, held_out, len(users.ids))
        return Interactions(
            name=self.name,
            user=user,
            item=item,
            rating=torch.ones(len(rows)),
            timestamp=place_in_group(user, torch.arange(len(rows)), len(users.ids)),
            user_ids=IdMap(users.ids, "user"),
            item_ids=IdMap(items.ids, "item"),
            rating_scale=IMPLICIT_SCALE,
            item_titles=items.titles,
        )

    def parts(self, name: str, data: Interactions) -> Split:
        """`given`: the next items of val and of test, and train, all that is known.

        Without a test file, the val file is the test part, and each user's last known event is validation; users
        who have a single one train with it.
        """
        if name not in self.ships:
            raise not_shipped(self, name)
        n_val, *n_test = (self._n_held_out(file, data) for file in self._files()[1:])
        if n_test:
            return last_rows(data, n_val, n_test[0])
        n_known = torch.bincount(data.user, minlength=data.n_users) - n_val
        return last_rows(data, (n_known >= 2).long(), n_val)

    def _events(self, file: str, part: int, n_users: int, n_items: int) -> "_Events":
        """Of each row of a file, the history and then the next item."""
        sheet = read_parquet(self._path(file), {**EVENT, "history_idx": TEXT})
        user = _indices(sheet, "user_idx", n_users)
        next_item = _indices(sheet, "pos_item_idx", n_items)
        history, length = _histories(sheet, n_items, self.max_history)
        end = (length + 1).cumsum() - 1
        is_next = np.zeros(len(user) + len(history), dtype=bool)
        is_next[end] = True
        item = np.empty(len(is_next), dtype=np.int64)
        item[is_next], item[~is_next] = next_item, history
        return _Events(user.repeat(length + 1), item, np.where(is_next, part, 0))

    def _n_held_out(self, file: str, data: Interactions) -> Tensor:
        """How many distinct items [n_users] the file holds out of each user."""
        frame = read_parquet(self._path(file), EVENT).frame.drop_duplicates()
        return torch.bincount(torch.tensor(frame["user_idx"].to_numpy()), minlength=data.n_users)

    def _files(self) -> list[str]:
        """Names of the files of events, in the order of their events."""
        optional = ["sequences_test"] if self._path("sequences_test").is_file() else []
        return ["sequences_train", "sequences_val", *optional]

    def _path(self, file: str) -> Path:
        return Path(self.folder) / f"{file}.parquet"


class _Events(NamedTuple):
    """Columns [E] int64 of events in order; `held_out` is 1 for val, 2 for test, 0 for what is known."""

    user: np.ndarray
    item: np.ndarray
    held_out: np.ndarray


class _Ids(NamedTuple):
    """Raw ids [n] by index, and titles [n] where the map has them."""

    ids: np.ndarray
    titles: tuple[str, ...] | None


def _rows(events: _Events, n_items: int) -> np.ndarray:
    """Which events become rows, by user, part and order.

    A known event does where it is the first of its pair among all events: a later one repeats it, or is the history
    that shows an item which an earlier row holds out. Held-out ones are the first of their pair in their part.
    """
    user, item, held_out = events
    pair = user * n_items + item
    known = ~pd.Series(pair).duplicated().to_numpy() & (held_out == 0)
    apart = np.flatnonzero(held_out)
    repeated = pd.Series(pair[apart] * 3 + held_out[apart]).duplicated().to_numpy()
    rows = np.concatenate([np.flatnonzero(known), apart[~repeated]])
    return rows[np.lexsort((rows, held_out[rows], user[rows]))]


def _tell_without_history(user: Tensor, held_out: Tensor, n_users: int) -> None:
    judged, known = (torch.bincount(user[rows], minlength=n_users) > 0 for rows in (held_out > 0, held_out == 0))
    without = int((judged & ~known).sum())
    if without:
        log.info("sequences: %d users are held out without any history", without)


def _read_map(path: Path, index: str, raw: str) -> _Ids:
    """A map; `UserError` unless its n indices are 0 to n - 1, and each raw id stands once."""
    titled = "title" in columns_of_parquet(path)
    sheet = read_parquet(path, {index: INT, raw: ANY} | ({"title": TEXT} if titled else {}))
    ids, frame = by_id(sheet, raw)
    by_id(sheet, index)  # each once
    order = _indices(sheet, index, len(ids))[frame.index].argsort()
    return _Ids(ids[order], tuple(frame["title"].fillna("").iloc[order]) if titled else None)


def _indices(sheet: Sheet, column: str, n: int) -> np.ndarray:
    """A column [rows] of indices below n."""
    values = sheet.frame[column]
    wrong = ~values.between(0, n - 1).to_numpy()  # a missing value is not between
    if wrong.any():
        raise sheet.wrong(int(wrong.argmax()), column, f"indices 0 to {n - 1}")
    return values.to_numpy(dtype=np.int64)


def _histories(sheet: Sheet, n_items: int, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Items [T] of all histories one after another, and the length [rows] of each."""
    text = pc.utf8_trim_whitespace(pa.array(sheet.frame["history_idx"], type=TEXT))
    lists = pc.utf8_split_whitespace(pc.if_else(pc.equal(text, ""), None, text))
    length = pc.fill_null(pc.list_value_length(lists), 0).to_numpy().astype(np.int64)
    if length.max() > longest:
        row = int((length > longest).argmax())
        where = sheet.where(row, "history_idx")
        raise UserError(f"{where}: {length[row]} items, allowed: data.max_history={longest}")
    words = pc.list_flatten(lists)
    number = pc.and_(pc.ascii_is_decimal(words), pc.less_equal(pc.binary_length(words), NUMBER_DIGITS))
    item = pc.cast(pc.if_else(number, words, "-1"), INT).to_numpy()
    wrong = (item < 0) | (item >= n_items)
    if wrong.any():
        place = int(wrong.argmax())
        where = sheet.where(int(np.searchsorted(length.cumsum(), place, side="right")), "history_idx")
        found = words[place].as_py()
        raise UserError(f"{where}: {found!r}, allowed: indices 0 to {n_items - 1}, separated by spaces")
    return item, length
