"""An epoch of `biased_mf` with batches of 256 beside rivals that train the same model on the same rows.

- recsweep: as users run it, with progress, TensorBoard, checkpoints and validation after every epoch;
- bare, same model: recsweep's model, loss and optimizer in a bare PyTorch loop, which shows the framework's cost;
- bare: the model as one would write it (four embeddings, `nn.Dropout`), fused AdamW, in the same bare loop;
- naive: the same with default AdamW, and batches built row by row in Python, from a list of tuples (the fastest form)
  or from a pandas table.

    python benchmarks/bench_training.py [--data ml_100k] [--epochs 15] [overrides ...]

The rivals train an epoch each between two epochs of recsweep, so that the load of other processes affects all. Printed
are the medians of seconds per epoch, and ratios.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from recsweep.config import compose_config
from recsweep.data.batches import Ratings
from recsweep.data.datamodules import InteractionData
from recsweep.evaluation import evaluate
from recsweep.models.base import RecModule
from recsweep.runs import build
from recsweep.runs.fit import fit

BATCH = 256
Row = tuple[int, int, float]


class PandasRows:
    """A data set as a beginner writes it: one row of a table at a time."""

    def __init__(self, rows: list[Row]) -> None:
        self.frame = pd.DataFrame(rows, columns=["user", "item", "rating"])

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, i: int) -> Row:
        return tuple(self.frame.iloc[i])


Rows = list[Row] | PandasRows


class PlainMF(nn.Module):
    """The model as one would write it without the project."""

    def __init__(self, n_users: int, n_items: int, mean: Tensor, dim: int, dropout: float) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(n_users, dim), nn.Embedding(n_items, dim)
        self.user_bias, self.item_bias = nn.Embedding(n_users, 1), nn.Embedding(n_items, 1)
        self.mean, self.dropout = mean, nn.Dropout(dropout)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        product = (self.dropout(self.user(user)) * self.dropout(self.item(item))).sum(1)
        return self.mean + product + self.user_bias(user)[:, 0] + self.item_bias(item)[:, 0]


def step(model: nn.Module, optimizer: torch.optim.Optimizer, user: Tensor, item: Tensor, rating: Tensor) -> None:
    loss = nn.functional.mse_loss(model(user, item), rating)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def validate(model: nn.Module, user: Tensor, item: Tensor, rating: Tensor) -> None:
    model.eval()
    with torch.no_grad():
        nn.functional.mse_loss(model(user, item), rating)
    model.train()


def bare_epoch(model: nn.Module, optimizer: torch.optim.Optimizer, data: InteractionData) -> None:
    rows = data.train
    for batch in torch.randperm(len(rows)).split(BATCH):
        step(model, optimizer, rows.user[batch], rows.item[batch], rows.rating[batch])
    held_out = data.data.take(data.split.val)
    validate(model, held_out.user, held_out.item, held_out.rating)


def naive_epoch(model: nn.Module, optimizer: torch.optim.Optimizer, train: Rows, val: Rows) -> None:
    order = torch.randperm(len(train)).tolist()
    for start in range(0, len(order), BATCH):
        step(model, optimizer, *stack_rows([train[i] for i in order[start : start + BATCH]]))
    columns = (stack_rows([val[i] for i in range(len(val))])[column] for column in range(3))  # a pass per column
    validate(model, *columns)


def stack_rows(batch: list[Row]) -> tuple[Tensor, Tensor, Tensor]:
    user, item = torch.tensor([int(x[0]) for x in batch]), torch.tensor([int(x[1]) for x in batch])
    return user, item, torch.tensor([x[2] for x in batch], dtype=torch.float32)


def same_model_epoch(model: RecModule, optimizer: torch.optim.Optimizer, data: InteractionData) -> None:
    rows = data.train
    for batch in torch.randperm(len(rows)).split(BATCH):
        loss = model.training_loss(Ratings(rows.user[batch], rows.item[batch], rows.rating[batch]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    evaluate(model, model.evaluation, data.target("val"))
    model.train()


def rivals(cfg: DictConfig, data: InteractionData) -> dict[str, Callable[[], None]]:
    """By name, a function that trains an epoch."""

    def plain(fused: bool) -> tuple[nn.Module, torch.optim.Optimizer]:
        dim, dropout = cfg.model.embedding_dim, cfg.regularization.dropout
        model = PlainMF(data.data.n_users, data.data.n_items, data.train.rating.mean(), dim, dropout)
        return model, torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4, fused=fused or None)

    def rows_as_list(part: Tensor) -> list[Row]:
        rows = data.data.take(part)
        return list(zip(rows.user.tolist(), rows.item.tolist(), rows.rating.tolist(), strict=True))

    train, val = rows_as_list(data.split.train), rows_as_list(data.split.val)
    tables = PandasRows(train), PandasRows(val)
    bare, lists, table = plain(True), plain(False), plain(False)
    twin = build.model(cfg, data)
    twin.generator = torch.Generator()
    optimizer = twin.training_setup.optimizer(twin.parameters())
    return {
        "bare, same model": lambda: same_model_epoch(twin, optimizer, data),
        "bare": lambda: bare_epoch(*bare, data),
        "naive, lists": lambda: naive_epoch(*lists, train, val),
        "naive, pandas": lambda: naive_epoch(*table, *tables),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="synthetic", help="a data set of conf/data")
    parser.add_argument("--epochs", type=int, default=15, help="epochs of recsweep and of the bare loop")
    options, overrides = parser.parse_known_args()
    torch.set_num_threads(1)
    fixed = [f"trainer.batch_size={BATCH}", "callbacks.early_stopping.patience=null"]
    cfg = compose_config([f"data={options.data}", f"trainer.max_epochs={options.epochs}", *fixed, *overrides])
    data = build.data(cfg)
    model = build.model(cfg, data)
    epoch_by_rival = rivals(cfg, data)
    seconds: dict[str, list[float]] = {name: [] for name in ("recsweep", *epoch_by_rival)}
    starts: list[float] = []

    def run_rivals() -> None:
        if starts:
            seconds["recsweep"].append(time.perf_counter() - starts[-1])
        for name, epoch in epoch_by_rival.items():
            if name.startswith("bare") or (name == "naive, lists" and len(starts) < 4) or len(starts) < 2:
                start = time.perf_counter()
                epoch()
                seconds[name].append(time.perf_counter() - start)
        starts.append(time.perf_counter())

    model.on_train_epoch_start = run_rivals
    with tempfile.TemporaryDirectory() as folder:
        fit(cfg, data, model, Path(folder) / "checkpoints", [TensorBoardLogger(folder, "tb", "")])
    report(data, seconds)


def report(data: InteractionData, seconds: dict[str, list[float]]) -> None:
    median = {name: statistics.median(times[1:] or times) for name, times in seconds.items()}
    table = Table(
        "loop", "seconds per epoch", "rows per second", "× recsweep", title=f"{data.data.name}, batch {BATCH}"
    )
    for name, epoch_seconds in median.items():
        ratio = epoch_seconds / median["recsweep"]
        table.add_row(name, f"{epoch_seconds:.3f}", f"{len(data.train) / epoch_seconds:,.0f}", f"{ratio:.2f}")
    Console().print(table)
    for name in ("bare, same model", "bare"):
        print(f"recsweep / {name} = {median['recsweep'] / median[name]:.3f}")


if __name__ == "__main__":
    main()
