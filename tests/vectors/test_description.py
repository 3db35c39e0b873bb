"""What TensorBoard's projector says about an item."""

from dataclasses import replace

import torch
from random_vectors import catalogue

from recsweep.data.features import UNKNOWN
from recsweep.data.schema import Features
from recsweep.vectors.description import describe_items

FEATURES = Features(
    columns={
        "year": torch.tensor([0, 1, 2, 1]),
        "price": torch.tensor([1.5, 2.0, 0.1, 1e6]),
        "genres": torch.tensor([[0, 1, 1], [1, 0, 0], [0, 0, 0], [0, 1, 0]]).float(),
        "picture": torch.rand(4, 8),
    },
    labels={"year": ("1990", "2001", UNKNOWN), "genres": ("Comedy", "Sci\tFi", "War")},
)


def test_features_and_popularity_by_item() -> None:
    """Items 0 to 3 have 10, 1, 0 and 2 rows; those of items 2, 0 and 3 are asked for."""
    rows = [*((user, 0) for user in range(10)), (0, 1), (0, 3), (1, 3)]
    data = replace(catalogue(("A", "B", "", "D"), rows), item_features=FEATURES)
    assert describe_items(data, torch.tensor([2, 0, 3])) == {
        "title": ["22", "A", "D"],
        "year": ["", "1990", "2001"],
        "price": ["0.1", "1.5", "1e+06"],
        "genres": ["", "Sci Fi|War", "Sci Fi"],
        "first of genres": ["", "Sci Fi", "Sci Fi"],
        "popularity": ["0", "10", "2"],
        "log10 popularity": ["0.000", "1.000", "0.301"],
    }
