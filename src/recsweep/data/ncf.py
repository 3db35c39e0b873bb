"""The leave-one-out files of Neural Collaborative Filtering (He et al., WWW 2017) for MovieLens 1M.

The published negatives are used unchanged, although 156 of the 597,960 are interactions of the same user.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from recsweep.data.assemble import assemble, find_parts, find_rows, unknown_split_error
from recsweep.data.files import read_text
from recsweep.data.movielens import RATING_TYPES, TAB
from recsweep.data.schema import Interactions, Split
from recsweep.data.sheet import INT, TEXT, Sheet
from recsweep.data.splits import split_last_rows
from recsweep.data.validate import Duplicates
from recsweep.errors import UserError

N_NEGATIVES = 99
NEGATIVES = [f"negative_{number}" for number in range(1, N_NEGATIVES + 1)]


@dataclass(frozen=True)
class NCFMovieLens1M:
    """Train rows, and one test row per user with 99 sampled negatives each.

    Args:
        folder: holds `ml-1m.train.rating`, `ml-1m.test.rating` and `ml-1m.test.negative`. Put them there by hand: the
            authors publish no archive.
        with_test: whether the data include the test rows; without them, other splits divide only the train rows.
        duplicates: what to do with a repeated (user, item) pair, see `validate.resolve_duplicates`.
    """

    folder: str
    with_test: bool
    duplicates: Duplicates

    name: ClassVar[str] = "ncf_ml_1m"
    ships: ClassVar[tuple[str, ...]] = ("given",)
    url: ClassVar[str] = "https://github.com/hexiangnan/neural_collaborative_filtering/tree/master/Data"

    def ready(self) -> bool:
        """Whether all three files are on disk."""
        return all(self._path(part).is_file() for part in ("train.rating", "test.rating", "test.negative"))

    def read(self) -> Interactions:
        """Train rows, and test rows if `with_test`, as one validated data set."""
        if not Path(self.folder).is_dir():
            raise UserError(f"{self.folder}: no such folder; put the ml-1m.* files of {self.url} there")
        rows = self._read_ratings("train")
        if self.with_test:
            rows = rows.concatenate(self._read_ratings("test"))
        return assemble(self.name, rows, (1.0, 5.0), self.duplicates)

    def parts(self, name: str, data: Interactions) -> Split:
        """`given`: the published test rows with candidates [n_test, 99]. Validation is each user's last other row in
        time (the last in the file if times are equal), unless it is their only one.
        """
        if name not in self.ships:
            raise unknown_split_error(self, name)
        if not self.with_test:
            raise UserError("data.with_test=false leaves out the test rows of split=given: choose another split")
        test_sheet = self._read_ratings("test")
        if self.duplicates == "error":  # so `read` has seen that no pair is in both
            test = find_rows(test_sheet, data)
        else:
            _, test = find_parts(self._read_ratings("train"), test_sheet, data)
        is_rest = torch.ones(len(data), dtype=torch.bool)
        is_rest[test] = False
        rest = is_rest.nonzero().flatten()
        count = torch.bincount(data.user[rest], minlength=data.n_users)
        train, val, _, _ = split_last_rows(data.take(rest), n_val=(count >= 2).long(), n_test=torch.zeros_like(count))
        return Split(rest[train], rest[val], test, self._read_negatives(test_sheet, data))

    def _read_ratings(self, part: str) -> Sheet:
        return read_text(self._path(f"{part}.rating"), TAB, RATING_TYPES)

    def _read_negatives(self, test: Sheet, data: Interactions) -> Tensor:
        """Items [n_test, 99]; the first field of each line repeats the pair of its test row, as `(user,item)`."""
        sheet = read_text(self._path("test.negative"), TAB, {"pair": TEXT, **dict.fromkeys(NEGATIVES, INT)})
        user, item = (test.frame[name].astype("str") for name in ("user", "item"))
        pair = "(" + user + "," + item + ")"
        if len(pair) != len(sheet.frame):
            raise UserError(f"{sheet.path}: {len(sheet.frame)} lines, allowed: the {len(pair)} lines of {test.path}")
        is_bad = (pair != sheet.frame["pair"]).to_numpy()
        if is_bad.any():
            row = int(is_bad.argmax())
            pair_in_line = sheet.frame["pair"].iloc[row]
            raise UserError(
                f"{sheet.location(row)}: {pair_in_line}, allowed: {pair.iloc[row]} as in {test.location(row)}"
            )
        return data.item_ids.encode(sheet.frame[NEGATIVES].to_numpy().ravel()).reshape(-1, N_NEGATIVES)

    def _path(self, part: str) -> Path:
        return Path(self.folder) / f"ml-1m.{part}"
