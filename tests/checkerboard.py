"""A data set with a known right answer."""

from pathlib import Path

import pandas as pd


def write_checkerboard(path: Path, n: int) -> None:
    """Writes the ratings of `n` users, an even number, of as many items as a CSV file.

    A user rates the items of their own block 5, and those of the other block 1. Each user has two ratings withheld: of
    item u, in their own block, which would be 5, and of item u + n/2, in the other block, which would be 1.
    """
    pairs = pd.MultiIndex.from_product([range(n), range(n)], names=["user", "item"]).to_frame(index=False)
    alike = (pairs.user < n // 2) == (pairs.item < n // 2)
    table = pairs.assign(rating=alike.map({True: 5, False: 1}))
    table[(table.item - table.user) % (n // 2) != 0].to_csv(path, index=False)
