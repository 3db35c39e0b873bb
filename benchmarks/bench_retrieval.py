"""An epoch and a full ranking of `bpr_mf` beside rivals; `full_softmax` with batches of users and of rows.

- recsweep: as users run it, with progress, TensorBoard and checkpoints, evaluated after every epoch;
- RecBole's BPR, with `--recbole DIR`: in an environment of its own, which is created in DIR if it is missing;
- naive: each negative drawn by itself against the set of its user's items, default Adam; users ranked in a Python loop.

    python benchmarks/bench_retrieval.py [--data ml_100k] [--softmax-data ml_1m] [--epochs 10] [--recbole DIR]

All use the same rows, BPR with one negative per row, 64 dimensions, batches of 2048, no regulariser, one thread and
leave-last-out. The rivals run after every epoch of recsweep, so that the load of other processes affects all. Printed
are medians.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import torch
from bench_evaluation import naive_ranking
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from recsweep.config import compose_config
from recsweep.data.batches import Batches
from recsweep.data.datamodules import InteractionData
from recsweep.evaluation import evaluate_batches
from recsweep.models.base import RecModule
from recsweep.runs import build
from recsweep.runs.fit import fit

DIM, BATCH = 64, 2048
MODEL = ["model=bpr_mf", f"model.embedding_dim={DIM}", f"trainer.batch_size={BATCH}", "regularization=none"]
KS = [5, 10, 20]
NAIVE_USERS = 40
RECBOLE = (
    "torch==2.13.0",
    "numpy==1.26.4",
    "pandas==2.3.3",
    "scipy==1.12.0",
    "setuptools==80.10.2",
    "recbole==1.2.1",
)
SOFTMAX_STEPS = 8
TURNS = ("train", "evaluate")
Turn = Callable[[], float]
"""Does its work once, and returns the seconds that it took."""
Times = dict[str, dict[str, list[float]]]
"""Seconds of every turn, by rival and kind of turn."""


class PlainMF(nn.Module):
    """The model as one would write it without the project."""

    def __init__(self, n_users: int, n_items: int) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(n_users, DIM), nn.Embedding(n_items, DIM)

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return (self.users(user) * self.items(item)).sum(1)

    def score_all(self, user: Tensor) -> Tensor:
        return self.users(user) @ self.items.weight.T


def naive(data: InteractionData) -> dict[str, Turn]:
    """Turns of the naive version."""
    n_users, n_items = data.data.n_users, data.data.n_items
    model, target = PlainMF(n_users, n_items), data.target("val")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    rows = list(zip(data.train.user.tolist(), data.train.item.tolist(), strict=True))
    items_by_user: list[set[int]] = [set() for _ in range(n_users)]
    for user, item in rows:
        items_by_user[user].add(item)

    def negative(user: int) -> int:
        while (item := random.randrange(n_items)) in items_by_user[user]:
            pass
        return item

    def epoch() -> None:
        order = torch.randperm(len(rows)).tolist()
        for start in range(0, len(order), BATCH):
            triples = [(*rows[i], negative(rows[i][0])) for i in order[start : start + BATCH]]
            user, item, negatives = torch.tensor(triples).T
            loss = -logsigmoid(model.score(user, item) - model.score(user, negatives)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    @torch.no_grad()
    def ranking() -> float:
        return seconds(partial(naive_ranking, model, target, NAIVE_USERS)) * len(target.held_out) / NAIVE_USERS

    return {"train": partial(seconds, epoch), "evaluate": ranking}


def environment(folder: Path) -> Path:
    """Python of RecBole's own environment: it needs other versions of packages than the project."""
    python = folder.absolute() / "bin" / "python"
    if not (folder / ".installed").is_file():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *RECBOLE], check=True)
        (folder / ".installed").touch()
    return python


@contextmanager
def recbole(python: Path, data: InteractionData) -> Iterator[dict[str, Turn]]:
    """Turns of RecBole in a process of its own, on the same split of the same rows."""
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows"
        rows.mkdir()
        for name, part in {"train": data.split.train, "valid": data.split.val, "test": data.split.test}.items():
            pairs = zip(data.data.user[part].tolist(), data.data.item[part].tolist(), strict=True)
            lines = ["user_id:token\titem_id:token", *(f"{user}\t{item}" for user, item in pairs)]
            (rows / f"rows.{name}.inter").write_text("\n".join(lines) + "\n")
        settings = {
            "data_path": folder,
            "benchmark_filename": ["train", "valid", "test"],
            "load_col": {"inter": ["user_id", "item_id"]},
            "use_gpu": False,
            "show_progress": False,
            "state": "ERROR",
            "embedding_size": DIM,
            "train_batch_size": BATCH,
            "eval_batch_size": 1024 * data.data.n_items,  # 1024 users, as recsweep; its default means two or three
            "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1},
            "eval_args": {"mode": "full"},
            "metrics": ["Hit", "NDCG", "Recall", "Precision", "MAP", "MRR"],
            "topk": KS,
            "valid_metric": "NDCG@10",
        }
        worker = [python, Path(__file__).with_name("recbole_worker.py"), json.dumps(settings)]
        one_thread = {"OMP_NUM_THREADS": "1", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
        with (
            (Path(folder) / "printed.txt").open("w") as printed,
            subprocess.Popen(worker, cwd=folder, env=os.environ | one_thread, stderr=printed, **pipes) as process,
        ):

            def turn(name: str) -> float:
                process.stdin.write(f"{name}\n")
                return float(process.stdout.readline())

            yield {name: partial(turn, name) for name in TURNS}


def seconds(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def epochs(options: argparse.Namespace) -> None:
    """Prints the seconds of an epoch and of a full ranking, for recsweep and its rivals."""
    fixed = [f"trainer.max_epochs={options.epochs}", "callbacks.early_stopping.patience=null", f"evaluation.ks={KS}"]
    cfg = compose_config([f"data={options.data}", "split=leave_last_out", *MODEL, *fixed])
    data = build.data(cfg)
    model = build.model(cfg, data)
    judged = list(model.evaluation.batches(data.target("val"), model.evaluation.device))  # once, as in training
    ours = partial(evaluate_batches, model, model.evaluation, judged)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        rivals = {"naive": naive(data)}
        if options.recbole:
            rivals["RecBole's BPR"] = stack.enter_context(recbole(environment(options.recbole), data))
        times: Times = {name: {turn: [] for turn in TURNS} for name in ("recsweep", *rivals)}
        starts: list[float] = []
        on_epoch_end = model.on_train_epoch_end

        def take_turns() -> None:
            times["recsweep"]["train"].append(time.perf_counter() - starts[-1])
            model.eval()
            with torch.no_grad():
                times["recsweep"]["evaluate"].append(seconds(ours))
            model.train()
            for name, turn in rivals.items():
                for kind in TURNS:
                    times[name][kind].append(turn[kind]())
            on_epoch_end()

        model.on_train_epoch_start = lambda: starts.append(time.perf_counter())
        model.on_train_epoch_end = take_turns
        fit(cfg, data, model, Path(folder) / "checkpoints", TensorBoardLogger(folder, "tb", ""))
    report(data, times)


def report(data: InteractionData, times: Times) -> None:
    median = {
        name: {kind: statistics.median(seconds[1:] or seconds) for kind, seconds in turns.items()}
        for name, turns in times.items()
    }
    table = Table("", "s per epoch", "× recsweep", "s per full ranking", "× recsweep")
    table.title = f"{data.data.name}: {len(data.train):,} rows, {len(data.split.val):,} users ranked, medians"
    for name, by_kind in median.items():
        cells = [(f"{by_kind[kind]:.3f}", f"{by_kind[kind] / median['recsweep'][kind]:.1f}") for kind in TURNS]
        table.add_row(name, *cells[0], *cells[1])
    Console().print(table)


def shuffles(options: argparse.Namespace) -> None:
    """Prints the milliseconds of a step of full softmax, with batches of rows and with batches of whole users."""
    steps: dict[str, Callable[[], None]] = {}
    for shuffle in ("rows", "users"):
        overrides = [f"data={options.softmax_data}", "split=leave_last_out", f"trainer.shuffle={shuffle}"]
        cfg = compose_config([*overrides, *MODEL, "loss=full_softmax"])
        data = build.data(cfg)
        steps[shuffle] = partial(next, softmax_steps(build.model(cfg, data), data, shuffle))
    times: dict[str, list[float]] = {shuffle: [] for shuffle in steps}
    for _ in range(SOFTMAX_STEPS + 1):
        for shuffle, step in steps.items():
            times[shuffle].append(seconds(step))
    rows, users = (statistics.median(times[shuffle][1:]) for shuffle in ("rows", "users"))
    n_steps = -(-len(data.train) // BATCH)
    print(
        f"full_softmax on {data.data.name}, batch {BATCH}: a step takes {1000 * rows:.0f} ms by rows, "
        f"{1000 * users:.1f} ms by users, {rows / users:.0f} x; an epoch of {n_steps} steps then "
        f"{n_steps * rows:.1f} s and {n_steps * users:.1f} s"
    )


def softmax_steps(model: RecModule, data: InteractionData, shuffle: str) -> Iterator[None]:
    """Optimizer steps, without Lightning."""
    optimizer = model.training_setup.optimizer(model.parameters())
    columns = model.columns(data.train)
    batches = Batches(columns, BATCH, 1, 0, shuffle_by=columns.user if shuffle == "users" else None)
    for index in range(len(batches)):
        (batch,) = batches.group(0, index)
        optimizer.zero_grad()
        model.training_loss(batch).backward()
        optimizer.step()
        yield


def main() -> None:
    data_folder = Path(os.environ.get("RECSWEEP_DATA_DIR", "data"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option, name, folder in (("--data", "ml_100k", "ml-100k"), ("--softmax-data", "ml_1m", "ml-1m")):
        parser.add_argument(option, default=name if (data_folder / folder).is_dir() else "synthetic")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--recbole", type=Path, metavar="DIR", help="environment of RecBole, created if missing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    epochs(options)
    shuffles(options)


if __name__ == "__main__":
    main()
