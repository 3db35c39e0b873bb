"""An epoch of `biased_mf`, batch 256, three ways over the same rows: as `recsweep train` runs it, as a bare PyTorch loop
over the same tensors and the same model, and as a naive loop that builds its batches row by row in Python.

    python benchmarks/bench_training.py [--data ml_100k] [--epochs 8]

Prints seconds an epoch and two ratios. The first epoch of each is a warm-up and not counted; the three take turns in
rounds, so that a neighbour's load falls on all of them.
"""

import time

from lightning import Callback


class EpochTimes(Callback):
    """Seconds of each epoch, everything between two epoch starts counted."""

    def __init__(self) -> None:
        self.starts: list[float] = []

    def on_train_epoch_start(self, *_: object) -> None:
        self.starts.append(time.perf_counter())

    def on_train_end(self, *_: object) -> None:
        self.starts.append(time.perf_counter())

    @property
    def seconds(self) -> list[float]:
        return [b - a for a, b in zip(self.starts[1:], self.starts[2:], strict=False)]
