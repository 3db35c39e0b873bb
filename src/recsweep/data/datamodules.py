"""Lightning data modules: they hold tensors, and name the groups of batches instead of carrying them."""

from collections.abc import Callable
from copy import copy
from typing import Any, Literal, cast

import torch
from lightning import LightningDataModule

from recsweep.data.batches import Batches, Columns
from recsweep.data.schema import Interactions, Source, Split
from recsweep.errors import UserError
from recsweep.evaluation import Target


class InteractionData(LightningDataModule):
    """A source, split into parts, as batches for training and as targets for evaluation.

    The loader yields group numbers; the module asks `batches` for the group of its epoch. Nothing then depends on how
    far a loader had been read when a run was interrupted.

    Args:
        source: reads the data set.
        split: rows by part.
        batch_size, steps, limit, seed: see `Batches`.
        shuffle: rows, or whole users.
    """

    def __init__(
        self,
        source: Source,
        split: Callable[[Interactions, Source], Split],
        *,
        batch_size: int,
        steps: int,
        limit: int | None,
        seed: int,
        shuffle: Literal["rows", "users"],
    ) -> None:
        super().__init__()
        self.batching = (batch_size, steps, seed, limit)
        self.shuffle = shuffle
        self.data = source.read()
        self.split = split(self.data, source)
        self.train = self.data.take(self.split.train)

    def whole(self) -> "InteractionData":
        """The same data with the validation part as part of train: for a refit, when selection is over."""
        rows = torch.cat([self.split.train, self.split.val])
        other = copy(self)
        other.split = self.split._replace(train=rows, val=rows[:0])
        other.train = self.data.take(rows)
        return other

    def setup(self, stage: str) -> None:
        trainer = cast(Any, self.trainer)
        columns: Columns = trainer.lightning_module.columns(self.train)
        like, device = cast(Any, type(columns)), trainer.strategy.root_device
        there = like(*(column.to(device) for column in columns))
        self.batches = Batches(there, *self.batching, together=there.user if self.shuffle == "users" else None)

    def train_dataloader(self) -> range:
        return range(len(self.batches))

    def target(self, part: str) -> Target:
        """The part ("val", "test") that a model is judged on; everything known before it is masked when ranking."""
        if part == "val":
            return Target(self.data, seen=self.split.train, held_out=self.split.val, candidates=None)
        if part == "test":
            known = torch.cat([self.split.train, self.split.val])
            return Target(self.data, seen=known, held_out=self.split.test, candidates=self.split.candidates)
        raise UserError(f"part={part}: allowed are val and test")
