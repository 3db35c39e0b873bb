"""A data set of my own: a JSON object a line, such as {"reader": "u1", "book": "i2", "stars": 5}."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pandas as pd

from recsweep.data.assemble import assemble, unknown_split_error
from recsweep.data.schema import Interactions, Split
from recsweep.data.sheet import Sheet
from recsweep.parse import name_file

COLUMNS = {"reader": "user", "book": "item", "stars": "rating"}


@dataclass(frozen=True)
class JsonLines:
    """The ratings of a file."""

    path: str

    name: ClassVar[str] = "my_lines"
    ships: ClassVar[tuple[str, ...]] = ()

    def ready(self) -> bool:
        return Path(self.path).is_file()

    def read(self) -> Interactions:
        path = Path(self.path)
        with name_file(path):  # whatever a broken file raises becomes one line that names it
            frame = pd.read_json(path, lines=True, dtype={"reader": str, "book": str})[list(COLUMNS)]
        return assemble(self.name, Sheet(frame, path, header_lines=0).rename(COLUMNS), None, "error")

    def parts(self, name: str, data: Interactions) -> Split:
        raise unknown_split_error(self, name)
