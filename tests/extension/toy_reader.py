"""A data set from outside the package: RecBole's atomic files, whose header says each column's type."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from recsweep.data.assemble import assemble, unknown_split_error
from recsweep.data.files import read_text
from recsweep.data.schema import Interactions, Split
from recsweep.data.sheet import FLOAT, TEXT, Format

COLUMNS = {"user_id:token": "user", "item_id:token": "item", "rating:float": "rating"}


@dataclass(frozen=True)
class Atomic:
    """The ratings of a `.inter` file."""

    path: str

    name: ClassVar[str] = "toy_atomic"
    ships: ClassVar[tuple[str, ...]] = ()

    def ready(self) -> bool:
        return Path(self.path).is_file()

    def read(self) -> Interactions:
        types = dict(zip(COLUMNS, (TEXT, TEXT, FLOAT), strict=True))
        sheet = read_text(Path(self.path), Format("\t", header=True, encoding="utf-8", quoted=False), types)
        return assemble(self.name, sheet.rename(COLUMNS), None, "error")

    def parts(self, name: str, data: Interactions) -> Split:
        raise unknown_split_error(self, name)
