"""The leave-one-out files of Neural Collaborative Filtering (He et al., WWW 2017) for MovieLens 1M.

The published negatives are kept as they are: 156 of their 597,960 are in fact interactions of that user.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from recsweep.data.assemble import assemble, not_shipped, rows_of
from recsweep.data.files import INT, TEXT, Sheet, read_text
from recsweep.data.movielens import RATING_TYPES, TAB
from recsweep.data.schema import Interactions, Split
from recsweep.data.splits import last_rows
from recsweep.data.validate import Duplicates
from recsweep.errors import UserError

N_NEGATIVES = 99
NEGATIVES = [f"negative_{place}" for place in range(1, N_NEGATIVES + 1)]


@dataclass(frozen=True)
class NCFMovieLens1M:
    """Train rows, then one test row a user, each with 99 sampled negatives.

    Args:
        folder: `ml-1m.train.rating`, `ml-1m.test.rating` and `ml-1m.test.negative`, put there by hand: their
            authors publish no archive of them.
        with_test: whether the test rows belong to the data; without them, other splits divide the train rows alone.
        duplicates: what to do with a repeated pair, see `validate.one_rating_a_pair`.
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
        """Train rows, and test rows where they belong to the data, as one data set, validated."""
        if not Path(self.folder).is_dir():
            raise UserError(f"{self.folder}: no such folder; put the ml-1m.* files of {self.url} there")
        rows = self._ratings("train")
        if self.with_test:
            rows = rows.followed_by(self._ratings("test"))
        return assemble(self.name, rows, (1.0, 5.0), self.duplicates)

    def parts(self, name: str, data: Interactions) -> Split:
        """`given`: the published test rows with candidates [n_test, 99]; of the rest, each user's last row in
        time (of equal times, the last in the file) is validation.
        """
        if name not in self.ships:
            raise not_shipped(self, name)
        if not self.with_test:
            raise UserError("data.with_test=false leaves out the test rows of split=given: take another split")
        test_sheet = self._ratings("test")
        test = rows_of(test_sheet, data)
        rest = torch.ones(len(data), dtype=torch.bool)
        rest[test] = False
        rows = rest.nonzero().flatten()
        rated = torch.bincount(data.user[rows], minlength=data.n_users)
        train, val, _, _ = last_rows(data.take(rows), n_val=(rated >= 2).long(), n_test=torch.zeros_like(rated))
        return Split(rows[train], rows[val], test, self._negatives(test_sheet, data))

    def _ratings(self, part: str) -> Sheet:
        return read_text(self._path(f"{part}.rating"), TAB, RATING_TYPES)

    def _negatives(self, test: Sheet, data: Interactions) -> Tensor:
        """Item ids [n_test, 99]; the first field of each line names the test row it belongs to."""
        sheet = read_text(self._path("test.negative"), TAB, {"pair": TEXT, **dict.fromkeys(NEGATIVES, INT)})
        user, item = (test.frame[name].astype("str") for name in ("user", "item"))
        pair = "(" + user + "," + item + ")"
        if len(pair) != len(sheet.frame):
            raise UserError(f"{sheet.path}: {len(sheet.frame)} lines, allowed: the {len(pair)} lines of {test.path}")
        wrong = (pair != sheet.frame["pair"]).to_numpy()
        if wrong.any():
            row = int(wrong.argmax())
            found = sheet.frame["pair"].iloc[row]
            raise UserError(f"{sheet.where(row)}: {found}, allowed: {pair.iloc[row]} as in {test.where(row)}")
        return data.item_ids.encode(sheet.frame[NEGATIVES].to_numpy().ravel()).reshape(-1, N_NEGATIVES)

    def _path(self, part: str) -> Path:
        return Path(self.folder) / f"ml-1m.{part}"
