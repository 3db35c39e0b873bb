"""Batches from tensors that lie in memory: one gather per column for a whole group of batches."""

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
    """Shuffled batches of aligned columns, addressed by (epoch, group), so that any of them can be drawn again.

    An epoch visits every row once, in an order that depends on (seed, epoch) alone. A group is what one call of the
    training engine works through: `steps` batches that one gather per column brings together. The last batch of an
    epoch may be smaller.

    Args:
        columns: NamedTuple of tensors [N, ...] on the device where the model trains.
        batch_size: rows a batch.
        steps: batches a group.
        seed: of the order.
        limit: batches an epoch at most; None for all.
        together: [N] int64, shuffles these groups instead of single rows; rows of one group follow each other.
    """

    def __init__(
        self,
        columns: Columns,
        batch_size: int,
        steps: int,
        seed: int,
        limit: int | None = None,
        together: Tensor | None = None,
    ) -> None:
        self.columns = columns
        self.together = together
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed
        n_rows = len(columns[0])
        n_batches = -(-n_rows // batch_size)
        self.n_batches = n_batches if limit is None else min(limit, n_batches)
        self.n_rows = n_rows if limit is None else min(limit * batch_size, n_rows)
        self._order: tuple[int, Tensor] | None = None

    def __len__(self) -> int:
        """Groups an epoch."""
        return -(-self.n_batches // self.steps)

    def order(self, epoch: int) -> Tensor:
        """Row numbers [n_rows] in the order in which `epoch` visits them."""
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, self._shuffled(generator("order", self.seed, epoch))[: self.n_rows])
        return self._order[1]

    def _shuffled(self, draws: torch.Generator) -> Tensor:
        first = self.columns[0]
        if self.together is None:
            return torch.randperm(len(first), generator=draws).to(first.device)
        place = torch.randperm(int(self.together.max()) + 1, generator=draws).to(first.device)
        return place[self.together].argsort(stable=True)

    def group(self, epoch: int, index: int) -> list[Columns]:
        """Batches `index * steps` up to `(index + 1) * steps` of an epoch, each a NamedTuple like `columns`."""
        size = self.steps * self.batch_size
        rows = self.order(epoch)[index * size : (index + 1) * size]
        gathered = (torch.split(column[rows], self.batch_size) for column in self.columns)
        like = cast(Any, type(self.columns))
        return [like(*batch) for batch in zip(*gathered, strict=True)]


def ratings(data: Interactions) -> Ratings:
    """The rows of a rating data set as columns for `Batches`."""
    return Ratings(data.user, data.item, data.rating)
