"""Memory, milliseconds per step, and the share of negative sampling in them, on a synthetic catalogue of any size.

    python benchmarks/bench_large_catalogue.py                        100,000 users and items, a million rows
    python benchmarks/bench_large_catalogue.py --users 1000000 --items 1000000 --rows 10000000 [--folder DIR]

Every configuration runs in a process of its own: it reads the data, trains `--batches` steps, and ranks every user's
held-out item among 99 others. Memory is the peak of the whole process. `bpr_mf` uses Sparse Adam, which updates the
rows of a batch only; `two_tower` has no sparse gradients and uses AdamW, which updates every parameter in every step.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from recsweep.config import compose_config
from recsweep.data.batches import Batches
from recsweep.data.datamodules import InteractionData
from recsweep.data.schema import IdMap, Interactions, Split
from recsweep.data.splits import LeaveLastOut
from recsweep.data.synthetic import Synthetic
from recsweep.evaluation import evaluate
from recsweep.models import retrieval
from recsweep.models.base import RecModule
from recsweep.runs import build

SPARSE = ["optimizer=sparse_adam", "regularization=none", "model.embedding_dim=64"]
TOWERS = ["model=two_tower", "regularization=none", "model.embedding_dim=64", "model.hidden=[64,64]"]
CONFIGURATIONS = {
    "bpr_mf, bpr": ["model=bpr_mf", *SPARSE],
    "bpr_mf, sampled_softmax": ["model=bpr_mf", "loss=sampled_softmax", *SPARSE],
    "two_tower, sampled_softmax": [*TOWERS, "loss=sampled_softmax"],
    "two_tower, in_batch": [*TOWERS, "loss=in_batch"],
}


@dataclass(frozen=True)
class SyntheticFile:
    """A synthetic data set whose rows are in a file."""

    path: Path
    n_users: int
    n_items: int
    name = "synthetic"
    ships = ()

    def ready(self) -> bool:
        return True

    def read(self) -> Interactions:
        columns: dict[str, Tensor] = torch.load(self.path, weights_only=True)
        ids = {"user_ids": IdMap(np.arange(self.n_users), "user"), "item_ids": IdMap(np.arange(self.n_items), "item")}
        return Interactions(name=self.name, rating_scale=(1.0, 5.0), **columns, **ids)

    def parts(self, name: str, data: Interactions) -> Split:
        raise NotImplementedError


def write_data(path: Path, users: int, items: int, rows: int) -> None:
    """Writes the file of a `SyntheticFile`."""
    data = Synthetic(users, items, rows, 0.88, 0).read()
    columns = {"user": data.user, "item": data.item, "rating": data.rating, "timestamp": data.timestamp}
    torch.save(columns, path)


def time_calls(owner: Any, name: str) -> list[float]:
    """A list that collects the seconds of each call of `owner.name` from now on."""
    seconds: list[float] = []
    original = getattr(owner, name)

    def call(*arguments: Any) -> Any:
        start = time.perf_counter()
        result = original(*arguments)
        seconds.append(time.perf_counter() - start)
        return result

    setattr(owner, name, call)
    return seconds


def measure(source: SyntheticFile, overrides: list[str], batch_size: int, n_batches: int) -> dict[str, float]:
    """Memory and seconds of one configuration."""
    torch.set_num_threads(1)
    cfg = compose_config(["evaluation=sampled_99", f"trainer.batch_size={batch_size}", *overrides])
    shape = {"batch_size": batch_size, "steps": 1, "limit": n_batches, "seed": 0, "shuffle": "rows"}
    data = InteractionData(source, LeaveLastOut(), **shape)
    model = build.model(cfg, data)
    assert isinstance(model, RecModule)
    seconds = train(model, Batches(model.columns(data.train), batch_size, 1, 0, n_batches))
    memory = {"trained GiB": peak()}
    start = time.perf_counter()
    evaluate(model.eval(), build.evaluation(cfg), data.target("val"))
    return {
        **{part: statistics.median(times[1:] or [0.0]) for part, times in seconds.items()},
        **memory,
        "evaluated GiB": peak(),
        "evaluation": time.perf_counter() - start,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "steps": -(-len(data.train) // batch_size),
    }


def train(model: RecModule, batches: Batches) -> dict[str, list[float]]:
    """Seconds of each step, and of its optimizer and sampling."""
    optimizer = model.training_setup.optimizer(model.parameters())
    sampling, updates, steps = time_calls(retrieval, "sample_negatives"), time_calls(optimizer, "step"), []
    for index in range(len(batches)):
        start = time.perf_counter()
        (batch,) = batches.group(0, index)
        optimizer.zero_grad()
        model.training_loss(batch).backward()
        optimizer.step()
        steps.append(time.perf_counter() - start)
    return {"step": steps, "optimizer": updates, "sampling": sampling}


def peak() -> float:
    """Peak memory of this process so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def report(results: dict[str, dict[str, float]], title: str) -> None:
    columns = ["GiB, epoch", "GiB, + ranking", "ms per step", "optimizer", "sampling", "share", "min per epoch"]
    table = Table("", *columns, "s per ranking", "M params", title=title)
    for name, result in results.items():
        memory = [f"{result[when]:.2f}" for when in ("trained GiB", "evaluated GiB")]
        speed = [f"{1000 * result[part]:.1f}" for part in ("step", "optimizer", "sampling")]
        share, minutes = result["sampling"] / result["step"], result["step"] * result["steps"] / 60
        rest = [f"{share:.1%}", f"{minutes:.1f}", f"{result['evaluation']:.1f}", f"{result['parameters'] / 1e6:.1f}"]
        table.add_row(name, *memory, *speed, *rest)
    Console(width=140).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option, default in {
        "users": 100_000,
        "items": 100_000,
        "rows": 1_000_000,
        "batch": 2048,
        "batches": 30,
    }.items():
        parser.add_argument(f"--{option}", type=int, default=default)
    parser.add_argument("--folder", type=Path, help="keep the data here for the next call")
    parser.add_argument("--only", help=argparse.SUPPRESS)  # one configuration, or "data": for a child process
    options = parser.parse_args()
    size = (options.users, options.items)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        path = folder / f"synthetic_{options.users}_{options.items}_{options.rows}.pt"
        if options.only == "data":
            write_data(path, *size, options.rows)
        elif options.only:
            overrides = CONFIGURATIONS[options.only]
            print(json.dumps(measure(SyntheticFile(path, *size), overrides, options.batch, options.batches)))
        else:
            run_all(path, options)


def run_all(path: Path, options: argparse.Namespace) -> None:
    """Writes the data if they are missing, and prints the table of all configurations."""

    def run_child(only: str) -> str:
        command = [sys.executable, __file__, *sys.argv[1:], "--folder", path.parent, "--only", only]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    if not path.is_file():
        run_child("data")
    results = {name: json.loads(run_child(name).splitlines()[-1]) for name in CONFIGURATIONS}
    title = f"{options.users:,} users, {options.items:,} items, {options.rows:,} rows, batch {options.batch}"
    report(results, title)


if __name__ == "__main__":
    main()
