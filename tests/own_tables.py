"""Tables of a user's own, with columns who, film, stars and when."""

from pathlib import Path
from typing import Any

from recsweep.data.tables import Table

HEADER = "who,film,stars,when\n"


def table(path: Path, **changes: Any) -> Table:
    """The table in a file, with the defaults of conf/data/table.yaml but for the columns' names."""
    settings = {
        "user": "who", "item": "film", "rating": "stars", "timestamp": "when", "rating_scale": None,
        "no_rating": None, "user_features": None, "item_features": None, "item_title": None, "duplicates": "error",
        "separator": None, "encoding": None, "header": None, "decimal_comma": None, "time_unit": None,
    }  # fmt: skip
    return Table(str(path), **(settings | changes))
