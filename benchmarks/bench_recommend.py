"""The best unseen items of all users by vectors, beside implicit's `recommend`; memory for a million users; rankings.

- users=all: time of recsweep, which returns data frames, and of implicit, which returns arrays, by turns of some users,
  with the same vectors, seen items and k, with one thread and with two. implicit is left out where it is not installed
  (`pip install implicit`).
- The peak memory of a process that has a million users, their rows and vectors, and writes three parts of the file.
- A full ranking of a large catalogue by popularity, in a process of its own.

    python benchmarks/bench_recommend.py [--users 20000] [--items 100000] [--k 100] [--turns 10]
        [--file-users 1000000] [--ranked-users 3000] [--ranked-items 200000]

Printed are Markdown tables. CPU seconds are those of all threads; where other processes run, they say more.
"""

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recsweep.api.bulk import ROWS_AT_ONCE, write_in_parts
from recsweep.api.recommend import Known, make_recommender
from recsweep.data.schema import IdMap, Interactions
from recsweep.evaluation import RankingEvaluation, Target, evaluate
from recsweep.models.baselines import Popularity
from recsweep.sampling import UserItems, group_items

DIM, ROWS = 64, 20
"""Numbers in a vector, and rows of a user."""
Turn = Callable[[Tensor], object]
"""Recommends to some users."""


class Vectors:
    """Random vectors as a model."""

    def __init__(self, n_users: int, n_items: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.users = torch.randn(n_users, DIM, generator=generator)
        self.items = torch.randn(n_items, DIM, generator=generator)

    def user_vectors(self, user: Tensor) -> Tensor:
        return self.users[user]

    def item_vectors(self) -> Tensor:
        return self.items

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return (self.users[user] * self.items[item]).sum(1)

    def score_all(self, user: Tensor) -> Tensor:
        return self.users[user] @ self.items.T


def draw_rows(n_users: int, n_items: int) -> Interactions:
    """ROWS random items for each user."""
    n_rows = n_users * ROWS
    return Interactions(
        name="random",
        user=torch.arange(n_users).repeat_interleave(ROWS),
        item=torch.randint(n_items, (n_rows,), generator=torch.Generator().manual_seed(1)),
        rating=torch.ones(n_rows),
        timestamp=None,
        user_ids=IdMap(np.arange(n_users), "user"),
        item_ids=IdMap(np.arange(n_items), "item"),
        rating_scale=(1.0, 1.0),
    )


def gather_users(n_users: int, n_items: int) -> Known:
    rows = draw_rows(n_users, n_items)
    return Known(rows, group_items(rows.user, rows.item, n_users, n_items), Vectors(n_users, n_items))


def recommend_by_recsweep(known: Known, k: int) -> Callable[[Tensor], pd.DataFrame]:
    return make_recommender(known, k, torch.ones(known.rows.n_items, dtype=torch.bool), torch.device("cpu"))


def recommend_by_implicit(vectors: Vectors, seen: UserItems, k: int, n_threads: int) -> Turn:
    from implicit.cpu.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix
    from threadpoolctl import threadpool_limits

    threadpool_limits(1, "blas")  # as implicit asks for: it has threads of its own
    model = AlternatingLeastSquares(factors=DIM, num_threads=n_threads)
    model.user_factors, model.item_factors = vectors.users.numpy(), vectors.items.numpy()
    values = np.ones(len(seen.item), np.float32)
    user_items = csr_matrix((values, seen.item.numpy(), seen.start.numpy()), (len(vectors.users), len(vectors.items)))
    return lambda user: model.recommend(user.numpy(), user_items[user.numpy()], N=k)


def measure(call: Callable[[], object]) -> tuple[float, float]:
    """Seconds of one call: by the clock, and of the CPU."""
    start, cpu_start = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - start, time.process_time() - cpu_start


def compare(options: argparse.Namespace) -> None:
    """Prints the seconds of recsweep and of implicit for all users."""
    known = gather_users(options.users, options.items)
    has_implicit = importlib.util.find_spec("implicit") is not None
    print(f"{options.users:,} users × {options.items:,} items, {DIM} numbers, k={options.k}, medians of turns\n")
    print("| threads | recsweep, s | implicit, s | ratio | recsweep, CPU s | implicit, CPU s | ratio |")
    print("|---|---|---|---|---|---|---|")
    for n_threads in (1, 2):
        torch.set_num_threads(n_threads)
        rivals: dict[str, Turn] = {"recsweep": recommend_by_recsweep(known, options.k)}
        if has_implicit:
            rivals["implicit"] = recommend_by_implicit(known.scorer, known.seen, options.k, n_threads)
        times = {name: [] for name in rivals}
        first, *turns = torch.arange(options.users).split(-(-options.users // options.turns))
        for users in (first, first, *turns):  # the first turn warms up
            for name, rival in rivals.items():
                times[name].append(measure(partial(rival, users)))
        print(f"| {n_threads} | {report_times(times)} |")
    if not has_implicit:
        print("\nimplicit is not installed: pip install implicit")


def report_times(times: dict[str, list[tuple[float, float]]]) -> str:
    """Cells of seconds and their ratios: by the clock, and of the CPU."""
    cells = []
    for kind in (0, 1):
        ours, *theirs = ([pair[kind] for pair in pairs[1:]] for pairs in times.values())
        seconds = [len(ours) * statistics.median(values) for values in (ours, *theirs)]
        ratios = [statistics.median(a / b for a, b in zip(values, ours, strict=True)) for values in theirs]
        texts = [f"{value:.1f}" for value in seconds] + [f"{ratio:.2f}" for ratio in ratios]
        cells += texts if theirs else [*texts, "", ""]
    return " | ".join(cells)


def write_three_parts(n_users: int, n_items: int, k: int) -> dict[str, float]:
    """Memory of a process with so many users, and its seconds for three parts of the file."""
    torch.set_num_threads(1)
    known = gather_users(n_users, n_items)
    loaded = read_peak()
    users = torch.arange(min(n_users, 3 * (ROWS_AT_ONCE // k)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recs.parquet"
        recommend = recommend_by_recsweep(known, k)
        _, seconds = measure(lambda: write_in_parts(path, users, k, {}, recommend))
        size = path.stat().st_size / 2**30
    return {"users": len(users), "cpu": seconds, "loaded": loaded, "peak": read_peak(), "size": size}


def rank(n_users: int, n_items: int) -> dict[str, float]:
    """Seconds and memory of a full ranking by popularity, one held-out row a user."""
    torch.set_num_threads(1)
    rows = draw_rows(n_users, n_items)
    is_held_out = torch.arange(len(rows)) % ROWS == 0
    target = Target(rows, (~is_held_out).nonzero()[:, 0], is_held_out.nonzero()[:, 0])
    model = Popularity(rows)
    model.fit(rows)
    ranking = RankingEvaluation(None, "exact", ks=[5, 10, 20], objective="ndcg@10", seed=0, batch_size=1024)
    wall, cpu = measure(lambda: evaluate(model, ranking, target))
    return {"wall": wall, "cpu": cpu, "peak": read_peak()}


def read_peak() -> float:
    """Peak memory of this process so far, in GiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 2**20


def run_child(only: str) -> dict[str, float]:
    """What a part measures in a process of its own."""
    command = [sys.executable, __file__, *sys.argv[1:], "--only", only]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    defaults = {"users": 20_000, "items": 100_000, "k": 100, "turns": 10}
    defaults |= {"file_users": 1_000_000, "ranked_users": 3000, "ranked_items": 200_000}
    for option, default in defaults.items():
        parser.add_argument(f"--{option.replace('_', '-')}", type=int, default=default)
    parser.add_argument("--only", choices=["compare", "memory", "ranking"])
    options = parser.parse_args()
    if options.only == "memory":
        print(json.dumps(write_three_parts(options.file_users, options.items, options.k)))
    elif options.only == "ranking":
        print(json.dumps(rank(options.ranked_users, options.ranked_items)))
    else:
        compare(options)
    if options.only is None:
        report_memory(options, run_child("memory"))
        report_ranking(options, run_child("ranking"))


def report_memory(options: argparse.Namespace, memory: dict[str, float]) -> None:
    hours = memory["cpu"] / memory["users"] * options.file_users / 3600
    scale = options.file_users / memory["users"]
    print(f"\nA Parquet file for {options.file_users:,} users × {options.items:,} items, k={options.k}, one thread\n")
    print(
        "| GiB, rows and vectors | GiB, peak | users written | CPU s | all users, CPU h | all users, GiB of the file |"
    )
    print("|---|---|---|---|---|---|")
    print(
        f"| {memory['loaded']:.2f} | {memory['peak']:.2f} | {memory['users']:,} | {memory['cpu']:.1f} | {hours:.2f} | "
        f"{memory['size'] * scale:.1f} |\n\nThe last two are what the users written took, times {scale:.1f}."
    )


def report_ranking(options: argparse.Namespace, ranking: dict[str, float]) -> None:
    print(f"\nPopularity ranks {options.ranked_items:,} items for {options.ranked_users:,} users, one thread\n")
    print("| s | CPU s | GiB, peak |\n|---|---|---|")
    print(f"| {ranking['wall']:.1f} | {ranking['cpu']:.1f} | {ranking['peak']:.2f} |")


if __name__ == "__main__":
    main()
