"""Batches from tensors in memory: one gather per column for a whole group of batches."""

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from recsweep.data.schema import Interactions
from recsweep.seeding import generator


class Ratings(NamedTuple):
    """Pointwise rows: user [B] and item [B] int64, rating [B] float32."""

    user: Tensor
    item: Tensor
    rating: Tensor


Columns = tuple[Tensor, ...]
"""Any NamedTuple of tensors with the same first dimension: rows of ratings, pairs, sequences or bandit logs."""


class Batches:
    """Shuffled batches of aligned columns, addressed by (epoch, group), so that any group can be drawn again.

    An epoch visits every row once, in an order that depends only on (stream, seed, epoch). A group holds the `steps`
    batches of one training call, fetched by one gather per column. The last batch of an epoch may be smaller.

    Args:
        columns: NamedTuple of tensors [N, ...] on the training device.
        batch_size: rows per batch.
        steps: batches per group.
        seed: seed of the row order.
        limit: maximum number of batches per epoch; None for all.
        repeat: whether all epochs visit the rows of the first one; with a limit, the same few batches again and again.
        shuffle_by: [N] int64 ids, such as users: shuffles ids instead of rows, so that rows of one id stay together,
            in their original order.
        stream: names the random stream of the order: with the same seed, other names have independent orders.
    """

    def __init__(
        self,
        columns: Columns,
        batch_size: int,
        steps: int,
        seed: int,
        limit: int | None = None,
        repeat: bool = False,
        shuffle_by: Tensor | None = None,
        stream: str = "order",
    ) -> None:
        self.columns = columns
        self.shuffle_by = shuffle_by
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed
        self.stream = stream
        self.repeat = repeat
        n_rows = len(columns[0])
        n_batches = -(-n_rows // batch_size)
        self.n_batches = n_batches if limit is None else min(limit, n_batches)
        self.n_rows = n_rows if limit is None else min(limit * batch_size, n_rows)
        self._order: tuple[int, Tensor] | None = None

    def __len__(self) -> int:
        """Groups per epoch."""
        return -(-self.n_batches // self.steps)

    def order(self, epoch: int) -> Tensor:
        """Row numbers [n_rows] in the order in which `epoch` visits them."""
        epoch = 0 if self.repeat else epoch
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, self._shuffle(epoch)[: self.n_rows])
        return self._order[1]

    def _shuffle(self, epoch: int) -> Tensor:
        device, random = self.columns[0].device, generator(self.stream, self.seed, epoch)
        if self.shuffle_by is None:
            return torch.randperm(len(self.columns[0]), generator=random).to(device)
        rank_by_id = torch.randperm(int(self.shuffle_by.max()) + 1, generator=random).to(device)
        return rank_by_id[self.shuffle_by].argsort(stable=True)

    def group(self, epoch: int, index: int) -> list[Columns]:
        """Batches `index * steps` up to `(index + 1) * steps` of an epoch, each a NamedTuple like `columns`."""
        size = self.steps * self.batch_size
        rows = self.order(epoch)[index * size : (index + 1) * size]
        columns = (torch.split(column[rows], self.batch_size) for column in self.columns)
        column_type = cast(Any, type(self.columns))
        return [column_type(*batch) for batch in zip(*columns, strict=True)]


def ratings(data: Interactions) -> Ratings:
    """The rows of a rating data set as columns for `Batches`."""
    return Ratings(data.user, data.item, data.rating)
