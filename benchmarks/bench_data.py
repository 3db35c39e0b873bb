"""Reading ratings: seconds and peak memory of the readers, as ratios against a reader that loops over rows.

    python benchmarks/bench_data.py                  ML-1M, where it is on disk, and 1 M invented rows
    python benchmarks/bench_data.py --rows 32000000  an invented table of MovieLens 32M's size

The naive twin reads with `csv.DictReader`, checks every row, and fills dictionaries of ids and lists of
numbers. It is timed on the first 500,000 rows, and both are compared in rows a second.
"""

import argparse
import csv
import os
import resource
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import torch

from recsweep.data.movielens import ML1M, ML32M
from recsweep.data.schema import Interactions

NAIVE_ROWS = 500_000
N_USERS, N_ITEMS = 200_948, 87_585  # of MovieLens 32M


def naive(path: Path) -> int:
    """The first rows of a ratings.csv, one at a time."""
    users: dict[int, int] = {}
    items: dict[int, int] = {}
    seen: set[tuple[int, int]] = set()
    columns: tuple[list[int], list[int], list[float], list[int]] = ([], [], [], [])
    with path.open() as lines:
        for row in islice(csv.DictReader(lines), NAIVE_ROWS):
            user, item, rating = int(row["userId"]), int(row["movieId"]), float(row["rating"])
            if not 0.5 <= rating <= 5 or int(row["timestamp"]) < 0 or (user, item) in seen:
                raise ValueError(row)
            seen.add((user, item))
            columns[0].append(users.setdefault(user, len(users)))
            columns[1].append(items.setdefault(item, len(items)))
            columns[2].append(rating)
            columns[3].append(int(row["timestamp"]))
    tensors = [torch.tensor(column) for column in columns]
    return len(tensors[0])


def invent(folder: Path, rows: int) -> Path:
    """A ratings.csv and movies.csv of distinct pairs in the format of MovieLens 32M."""
    n_users = min(N_USERS, rows // 150)
    place = np.arange(rows)
    user, number = place % n_users, place // n_users
    item = (user * 7919 + number * 104_729) % N_ITEMS  # a prime step: no pair repeats
    order = np.argsort(user, kind="stable")
    columns = {
        "userId": user + 1,
        "movieId": item + 1,
        "rating": (place * 31 % 10 + 1) / 2,
        "timestamp": 800_000_000 + place,
    }
    pa_csv.write_csv(pa.table({name: values[order] for name, values in columns.items()}), folder / "ratings.csv")
    movies = [f'{movie},"A title, no. {movie} ({1920 + movie % 100})",Drama|Comedy' for movie in range(1, N_ITEMS + 1)]
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *movies]) + "\n")
    return folder


def invent_apart(folder: Path, rows: int) -> None:
    """`invent` in a child process, so that its memory does not count."""
    if (child := os.fork()) == 0:
        invent(folder, rows)
        os._exit(0)
    os.waitpid(child, 0)


def timed(source: ML1M | ML32M) -> tuple[Interactions, float]:
    start = time.perf_counter()
    data = source.read()
    return data, time.perf_counter() - start


def batch_seconds(data: Interactions, size: int = 65_536) -> float:
    """One shuffled pass: a gather per column per batch."""
    start = time.perf_counter()
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    for rows in torch.split(order, size):
        data.user[rows], data.item[rows], data.rating[rows]
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    torch.set_num_threads(1)
    pa.set_cpu_count(1)
    folder = Path(os.environ.get("RECSWEEP_DATA_DIR", "data")) / "ml-1m"
    if folder.is_dir():
        data, seconds = timed(ML1M(str(folder), "error"))
        print(f"ML-1M: read and validated {len(data):,} rows in {seconds:.2f} s")
    with tempfile.TemporaryDirectory() as temporary:
        invent_apart(Path(temporary), rows)
        data, seconds = timed(ML32M(temporary, "error"))
        passed = batch_seconds(data)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        start = time.perf_counter()
        naive_rows = naive(Path(temporary) / "ratings.csv")
        naive_rate = naive_rows / (time.perf_counter() - start)
    print(f"{len(data):,} rows of CSV: read and validated in {seconds:.2f} s, peak memory {peak:.2f} GiB")
    print(f"one shuffled pass in batches: {passed:.2f} s")
    print(f"rows a second against the naive loop: {len(data) / seconds / naive_rate:.1f} x")


if __name__ == "__main__":
    main()
