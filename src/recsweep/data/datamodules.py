"""The Lightning data module: holds the data as tensors; its loader yields group numbers, not batches."""

from collections.abc import Callable
from copy import copy
from typing import Any, Literal, cast

import torch
from lightning import LightningDataModule

from recsweep.data.batches import Batches, Columns
from recsweep.data.fingerprint import fingerprint_rows
from recsweep.data.schema import Interactions, Source, Split
from recsweep.errors import UserError
from recsweep.evaluation import Target


class InteractionData(LightningDataModule):
    """Reads and splits a source; gives batches for training and targets for evaluation.

    The loader yields group numbers, and the model takes the group of its epoch from `batches`. So a resumed run does
    not depend on how far a loader had got when the run was interrupted.

    Args:
        source: reads the data set.
        split: assigns rows to train, val and test.
        batch_size, steps, limit, repeat, seed: see `Batches`.
        shuffle: single rows, or whole users with their rows.
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
        repeat: bool = False,
    ) -> None:
        super().__init__()
        self.batching = (batch_size, steps, seed, limit, repeat)
        self.shuffle = shuffle
        self.data = source.read()
        self.split = split(self.data, source)
        self.train = self.data.take(self.split.train)
        self.fingerprints = fingerprint_rows(self.data, self.split)

    def refit_data(self) -> "InteractionData":
        """The same data with validation merged into train, for the refit after model selection.

        `fingerprints` stays that of the split, which says on which rows the model was selected and judged.
        """
        rows = torch.cat([self.split.train, self.split.val])
        merged = copy(self)
        merged.split = self.split._replace(train=rows, val=rows[:0])
        merged.train = self.data.take(rows)
        return merged

    def setup(self, stage: str) -> None:
        trainer = cast(Any, self.trainer)
        columns: Columns = trainer.lightning_module.columns(self.train)
        column_type, device = cast(Any, type(columns)), trainer.strategy.root_device
        on_device = column_type(*(column.to(device) for column in columns))
        shuffle_by = on_device.user if self.shuffle == "users" else None
        self.batches = Batches(on_device, *self.batching, shuffle_by=shuffle_by)

    def train_dataloader(self) -> range:
        return range(len(self.batches))

    def target(self, part: str) -> Target:
        """The part ("val" or "test") to evaluate on; items of the earlier parts are masked when ranking."""
        if part == "val":
            return Target(self.data, seen=self.split.train, held_out=self.split.val, candidates=None)
        if part == "test":
            seen = torch.cat([self.split.train, self.split.val])
            return Target(self.data, seen=seen, held_out=self.split.test, candidates=self.split.candidates)
        raise UserError(f"part={part}: allowed are val and test")
