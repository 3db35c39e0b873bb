"""RecBole's atomic files (Zhao et al., CIKM 2021): `NAME.inter` and, where they are, `NAME.user` and `NAME.item`."""

from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import ClassVar

import torch

from recsweep.data.assemble import assemble, find_parts, unknown_split_error
from recsweep.data.files import read_text
from recsweep.data.ids import ID
from recsweep.data.recbole_features import ATOMIC, read_entities, read_header
from recsweep.data.schema import Interactions, Split
from recsweep.data.sheet import FLOAT, Sheet
from recsweep.data.tables import IMPLICIT_SCALE
from recsweep.data.times import TIME, TimeUnit
from recsweep.data.validate import Duplicates
from recsweep.errors import UserError

PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class RecBole:
    """Interactions of `NAME.inter`; where there is none, of `NAME.train.inter`, `NAME.valid.inter`, `NAME.test.inter`.

    Args:
        folder: holds the files. Put them there by hand.
        name: of the files, such as `ml-100k`.
        user, item: columns of raw ids, named without their type.
        rating: column of numbers; None takes `rating` if there is one, else implicit feedback, all ratings 1.0.
        timestamp: column of times, see `times`; None takes `timestamp` if there is one.
        item_title: column of `NAME.item` with titles; None takes `title`, `name` or one that ends in `_title`.
        duplicates: what to do with a repeated (user, item) pair, see `validate.resolve_duplicates`.
        time_unit: the unit of times; None finds it by their size.
    """

    folder: str
    name: str
    user: str
    item: str
    rating: str | None
    timestamp: str | None
    item_title: str | None
    duplicates: Duplicates
    time_unit: TimeUnit | None

    ships: ClassVar[tuple[str, ...]] = ("given",)
    url: ClassVar[str] = "https://recbole.io/dataset_list.html"

    def ready(self) -> bool:
        """Whether there are interactions on disk."""
        return any(path.is_file() for path in (self._path("inter"), self._path("train.inter")))

    def read(self) -> Interactions:
        """All interactions, validated. Users and items of the feature files that have none are kept."""
        if not self.ready():
            raise UserError(
                f"{self._path('inter')}: no such file, and no {self.name}.train.inter; get the files at {self.url}"
            )
        if self._path("inter").is_file():
            rows = self._read_rows("inter")
        else:
            rows = reduce(Sheet.concatenate, (self._read_rows(f"{part}.inter") for part in self._parts()))
        users = read_entities(self._path("user"), self.user, rows.frame["user"])
        items = read_entities(self._path("item"), self.item, rows.frame["item"], self.item_title, with_title=True)
        scale = None
        if "rating" not in rows.frame:
            rows.frame["rating"] = 1.0
            scale = IMPLICIT_SCALE
        return assemble(self.name, rows, scale, self.duplicates, users, items)

    def parts(self, name: str, data: Interactions) -> Split:
        """`given`: the parts in files of their own; validation may be missing."""
        if name not in self.ships:
            raise unknown_split_error(self, name)
        sheets = {part: self._read_rows(f"{part}.inter") for part in self._parts()}
        if not {"train", "test"} <= sheets.keys():
            raise UserError(
                f"{self.folder}: no {self.name}.train.inter and {self.name}.test.inter for split=given: choose another"
            )
        train, test = find_parts(sheets["train"], sheets["test"], data)
        val = torch.zeros(0, dtype=torch.int64)
        if "valid" in sheets:
            _, val = find_parts(sheets["train"], sheets["valid"], data)
            find_parts(sheets["valid"], sheets["test"], data)
        return Split(train.unique(), val, test)

    def _parts(self) -> list[str]:
        return [part for part in PARTS if self._path(f"{part}.inter").is_file()]

    def _path(self, ending: str) -> Path:
        return Path(self.folder) / f"{self.name}.{ending}"

    def _read_rows(self, ending: str) -> Sheet:
        """Columns user, item, and rating and timestamp if there are such."""
        path = self._path(ending)
        header = read_header(path)
        if f"{self.item}_list" in header:
            raise UserError(f"{path}: column {self.item}_list holds histories, allowed: one {self.item} a line")
        named = {"user": self.user, "item": self.item, "rating": self.rating, "timestamp": self.timestamp}
        wanted = {role: name or role for role, name in named.items() if name or role in header}
        for role, name in wanted.items():
            if name not in header:
                raise UserError(f"{path}: no column {name}, allowed for data.{role}: {', '.join(header)}")
        kinds = {"user": ID, "item": ID, "rating": FLOAT, "timestamp": TIME}
        types = {header[name].column: kinds[role] for role, name in wanted.items()}
        sheet = read_text(path, ATOMIC, types, self.time_unit)
        return sheet.rename({header[name].column: role for role, name in wanted.items()})
