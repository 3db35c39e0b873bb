"""Small sequence files, written down row by row, and the pairs that they hold."""

from pathlib import Path

import pandas as pd
from torch import Tensor

from recsweep.data.schema import Interactions
from recsweep.data.sequences import Sequences

PARTS = ("train", "val", "test")
Rows = list[tuple[int, int, str | None]]
"""(user_idx, pos_item_idx, history_idx) of each row."""

ITEM_MAP = pd.DataFrame(
    {
        "item_idx": [2, 0, 1, 3, 4],
        "item_id": ["tea", "ale", "rum", "gin", "cola"],
        "title": ["Tea, green", "Ale", None, "Gin", "Cola"],
    }
)
USER_MAP = pd.DataFrame({"user_idx": [1, 0, 2], "customer_id": [70, 7, 700]})
TRAIN: Rows = [(1, 1, "0 2"), (0, 3, None), (1, 0, " 0  2 1 ")]
VAL: Rows = [(0, 4, "3 2"), (1, 1, "0 2 1")]
TEST: Rows = [(0, 0, "3 2 4"), (2, 3, "")]


def to_frame(rows: Rows) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["user_idx", "pos_item_idx", "history_idx"])


def save_sequences(folder: Path, **files: pd.DataFrame | Rows) -> Sequences:
    """Saves both maps, TRAIN and VAL, or the given `files` of the same name; the longest allowed history is 3."""
    folder.mkdir(exist_ok=True)
    defaults = {"item_id_map": ITEM_MAP, "customer_id_map": USER_MAP, "sequences_train": TRAIN, "sequences_val": VAL}
    for name, content in (defaults | files).items():
        table = content if isinstance(content, pd.DataFrame) else to_frame(content)
        table.to_parquet(folder / f"{name}.parquet", index=False)
    return Sequences(str(folder), max_history=3)


def pairs(data: Interactions, rows: Tensor | None = None) -> list[tuple[int, int]]:
    """(user, item) of all rows, or of these `rows`."""
    selected = data if rows is None else data.take(rows)
    return list(zip(selected.user.tolist(), selected.item.tolist(), strict=True))
