"""Small data sets, written row by row."""

import numpy as np
import torch

from recsweep.data.schema import IdMap, Interactions


def interactions(rows: list[tuple[int, int, float]], n_users: int, n_items: int) -> Interactions:
    """(user, item, rating) rows on a scale of 1 to 5; raw ids are the contiguous ids plus 10 (users) and 20 (items)."""
    user, item, rating = zip(*rows, strict=True)
    return Interactions(
        name="rows",
        user=torch.tensor(user),
        item=torch.tensor(item),
        rating=torch.tensor(rating, dtype=torch.float32),
        timestamp=None,
        user_ids=IdMap(np.arange(n_users) + 10, "user"),
        item_ids=IdMap(np.arange(n_items) + 20, "item"),
        rating_scale=(1.0, 5.0),
    )
