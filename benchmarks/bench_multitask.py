"""An epoch of `multitask` and its MRR beside naive versions, and the cost of each balance of losses.

- recsweep: as users run it, with TensorBoard and checkpoints. An epoch is its training alone; a "whole" epoch includes
  validation and logging, which the naive versions lack, and lasts from its start to that of the next one;
- naive: the same network with the same initial weights, losses and dropout, as one would write it without the project:
  three embeddings, default AdamW, a `Dataset` with rows from a list of tuples (the fastest form) or from a pandas table
  by `iloc`, each with a negative drawn against the set of its user's items, and a `DataLoader` that shuffles;
- MRR: recsweep's joint evaluation of the test rows, with all its other metrics; the naive version computes only MRR,
  by SciPy's `rankdata` for one user at a time. Both must give the same `mrr_all`.

    python benchmarks/bench_multitask.py [--data ml_100k] [--rounds 3]

All take turns in every round, so that the load of other processes affects all of them. Printed are the best of all
rounds, on one thread, ratios, and the losses of the first epoch, which show that all train the same.
"""

import argparse
import logging
import math
import os
import random
import tempfile
import time
from collections import defaultdict
from copy import deepcopy
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from bench_training import PandasRows, Rows
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, mse_loss
from torch.utils.data import DataLoader, Dataset

from recsweep.config import compose_config
from recsweep.data.datamodules import InteractionData
from recsweep.evaluation import Target, evaluate
from recsweep.models.multitask import Multitask
from recsweep.runs import build
from recsweep.runs.fit import fit

BATCHES = (256, 1024)
FIXED = "bpr_mse"
BALANCES = (FIXED, "uncertainty", "gradnorm")
EPOCHS = 3  # of recsweep per turn
Items = dict[int, set[int]]
Times = dict[str, dict[int, list[float]]]
"""Seconds of every epoch, by loop and batch size."""
Runs = dict[int, dict[str, DictConfig]]
"""Configurations by batch size and balance."""


class NaiveRows(Dataset[tuple[int, int, int, float]]):
    """A rating with a random item that its user has not rated."""

    def __init__(self, rows: Rows, items_by_user: Items, n_items: int) -> None:
        self.rows, self.items_by_user, self.n_items = rows, items_by_user, n_items

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> tuple[int, int, int, float]:
        user, item, rating = self.rows[i]
        while (negative := random.randrange(self.n_items)) in self.items_by_user[int(user)]:
            pass
        return int(user), int(item), negative, rating


class PlainNet(nn.Module):
    """The network as one would write it without the project, with the initial weights of `model`."""

    def __init__(self, model: Multitask, dropout: float) -> None:
        super().__init__()
        p, q = model.vectors.weight.split([model.n_users, model.n_items])
        self.user, self.item, self.item_bias = _embedding(p), _embedding(q), _embedding(model.item_bias.weight)
        self.perceptron = deepcopy(model.perceptron)
        self.mean, self.dropout = model.mean, nn.Dropout(dropout)

    def forward(self, user: Tensor, item: Tensor, negative: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of both items, and the predicted rating of the first."""
        p, q, q_negative = (self.dropout(x) for x in (self.user(user), self.item(item), self.item(negative)))
        positive_logit = (p * q).sum(1) + self.item_bias(item)[:, 0]
        negative_logit = (p * q_negative).sum(1) + self.item_bias(negative)[:, 0]
        return positive_logit, negative_logit, self.mean + self.perceptron(torch.cat([p, q, p * q], 1))[:, 0]


def _embedding(start: Tensor) -> nn.Embedding:
    return nn.Embedding.from_pretrained(start.detach().clone(), freeze=False)


class Naive:
    """Trains the plain network, an epoch at a time, and keeps the mean losses of the epochs."""

    def __init__(self, cfg: DictConfig, model: Multitask, rows: NaiveRows) -> None:
        self.net = PlainNet(model, cfg.regularization.dropout)
        decay = cfg.regularization.weight_decay
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=cfg.optimizer.lr, weight_decay=decay)
        self.loader = DataLoader(rows, batch_size=cfg.trainer.batch_size, shuffle=True, num_workers=0)
        self.weights = cfg.loss.factorization_weight, cfg.loss.regression_weight
        self.losses: list[float] = []

    def epoch(self) -> float:
        """Trains an epoch; its seconds."""
        start, total = time.perf_counter(), 0.0
        for user, item, negative, rating in self.loader:
            positive_logit, negative_logit, predicted = self.net(user, item, negative)
            ranking_loss = -logsigmoid(positive_logit - negative_logit).mean()
            loss = self.weights[0] * ranking_loss + self.weights[1] * mse_loss(predicted, rating.float())
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        self.losses.append(total / len(self.loader))
        return time.perf_counter() - start


def naives(cfg: DictConfig, data: InteractionData) -> dict[str, Naive]:
    columns = data.train.user.tolist(), data.train.item.tolist(), data.train.rating.tolist()
    rows, items_by_user = list(zip(*columns, strict=True)), group_items(data, data.split.train)
    model = build.model(cfg, data)
    sources: dict[str, Rows] = {"naive, list of tuples": rows, "naive, pandas": PandasRows(rows)}
    return {
        name: Naive(cfg, model, NaiveRows(source, items_by_user, data.data.n_items)) for name, source in sources.items()
    }


def group_items(data: InteractionData, rows: Tensor) -> Items:
    """Items of these rows by user."""
    items: Items = defaultdict(set)
    for user, item in zip(data.data.user[rows].tolist(), data.data.item[rows].tolist(), strict=True):
        items[user].add(item)
    return items


def train(cfg: DictConfig, data: InteractionData) -> tuple[Multitask, list[float], list[float]]:
    """A trained model; the seconds of training in each epoch, and of each whole epoch except the last."""
    model = build.model(cfg, data)
    starts: list[float] = []
    training: list[float] = []
    on_epoch_end = model.on_train_epoch_end

    def stop_clock() -> None:
        training.append(time.perf_counter() - starts[-1])
        on_epoch_end()

    model.on_train_epoch_start = lambda: starts.append(time.perf_counter())
    model.on_train_epoch_end = stop_clock
    with tempfile.TemporaryDirectory() as folder:
        fit(cfg, data, model, Path(folder) / "checkpoints", TensorBoardLogger(folder, "tb", ""))
    return model.eval(), training, [after - before for before, after in pairwise(starts)]


@torch.no_grad()
def naive_mrr(model: Multitask, data: InteractionData, target: Target) -> float:
    """Mean over users of the mean of 1 / rank over all their held-out items."""
    seen, held_out, values = group_items(data, target.seen), group_items(data, target.held_out), []
    for user, items in held_out.items():
        scores = model.score_all(torch.tensor([user]))[0].numpy()
        scores[list(seen[user] - items)] = -np.inf
        values.append(np.mean(1 / rankdata(-scores, method="max")[list(items)]))
    return float(np.mean(values))


def time_evaluations(model: Multitask, data: InteractionData) -> tuple[float, float, float]:
    """Seconds that recsweep and the naive version need for `mrr_all` on the test rows, and its value."""
    target = data.target("test")
    start = time.perf_counter()
    ours = evaluate(model, model.evaluation, target)["mrr_all"]
    middle = time.perf_counter()
    naive = naive_mrr(model, data, target)
    end = time.perf_counter()
    if not math.isclose(ours, naive, rel_tol=1e-6):
        raise SystemExit(f"mrr_all is {ours} by recsweep and {naive} by the naive version")
    return middle - start, end - middle, ours


def measure(runs: Runs, rounds: int) -> None:
    """Measures all in turn, `rounds` times, and prints the results."""
    parts = {batch: build.data(cfgs[FIXED]) for batch, cfgs in runs.items()}
    naive_versions = {batch: naives(cfgs[FIXED], parts[batch]) for batch, cfgs in runs.items()}
    times: Times = defaultdict(lambda: defaultdict(list))
    evaluations: list[tuple[float, float, float]] = []
    losses: dict[str, float] = {}
    for _ in range(rounds):
        for batch, cfgs in runs.items():
            for balance, cfg in cfgs.items():
                model, training, whole = train(cfg, parts[batch])
                times[f"recsweep, {balance}"][batch] += training
                if balance == FIXED:
                    times["recsweep, whole"][batch] += whole
                    losses.setdefault("recsweep", model.epochs[0]["train/loss"])
                    evaluations.append(time_evaluations(model, parts[batch]))
            for name, version in naive_versions[batch].items():
                times[name][batch].append(version.epoch())
                losses.setdefault(name, version.losses[0])
    data = parts[BATCHES[0]]
    Console().print(epochs_table(data, times))
    print(f"mean loss of the first epoch, batch {BATCHES[0]}:", ", ".join(f"{n} {x:.4f}" for n, x in losses.items()))
    ours, naive = min(seconds for seconds, _, _ in evaluations), min(seconds for _, seconds, _ in evaluations)
    n_users = len(data.data.user[data.split.test].unique())
    print(
        f"mrr_all={evaluations[-1][-1]:.6f} by both, of {n_users} users with test rows: "
        f"recsweep {ours:.3f} s, naive {naive:.3f} s, {naive / ours:.1f} x"
    )
    print("load average of 1 and 5 minutes: {:.1f}, {:.1f}".format(*os.getloadavg()))


def epochs_table(data: InteractionData, times: Times) -> Table:
    table = Table("loop", title=f"{data.data.name}: {len(data.train):,} rows, seconds per epoch")
    for batch in BATCHES:
        table.add_column(f"batch {batch}")
        table.add_column(f"× {FIXED}")
    for name, by_batch in times.items():
        row = [(min(by_batch[batch]), min(times[f"recsweep, {FIXED}"][batch])) for batch in BATCHES]
        table.add_row(name, *(cell for seconds, ours in row for cell in (f"{seconds:.3f}", f"{seconds / ours:.2f}")))
    return table


def main() -> None:
    has_movielens = (Path(os.environ.get("RECSWEEP_DATA_DIR", "data")) / "ml-100k").is_dir()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="ml_100k" if has_movielens else "synthetic", help="a data set of conf/data")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # no notices at every fit
    split = ["split=random", "split.test_fraction=0.05", "split.val_fraction=0.05"]
    fixed = [f"trainer.max_epochs={EPOCHS}", "trainer.accelerator=cpu", "callbacks.progress=false"]
    overrides = ["model=multitask", f"data={options.data}", *split, *fixed]
    runs = {
        batch: {
            balance: compose_config([*overrides, f"trainer.batch_size={batch}", f"loss={balance}"])
            for balance in BALANCES
        }
        for batch in BATCHES
    }
    measure(runs, options.rounds)


if __name__ == "__main__":
    main()
