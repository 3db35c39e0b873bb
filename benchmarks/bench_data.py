"""Seconds and peak memory of the readers of ratings, beside a naive reader that loops over rows.

    python benchmarks/bench_data.py                  ML-1M if it is on disk, and 1 M synthetic rows
    python benchmarks/bench_data.py --rows 32000000  a synthetic table of MovieLens 32M's size

The naive reader uses `csv.DictReader`, checks every row, and fills dictionaries of ids and lists of numbers. It reads
the first 500,000 rows only; the ratio is one of rows per second.
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


def read_naively(path: Path) -> int:
    """Reads the first `NAIVE_ROWS` rows of a ratings.csv, one at a time; their number."""
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


def write_ratings(folder: Path, rows: int) -> Path:
    """Writes a ratings.csv and movies.csv in the format of MovieLens 32M; no pair of user and item repeats."""
    n_users = min(N_USERS, rows // 150)
    row = np.arange(rows)
    user, number = row % n_users, row // n_users
    item = (user * 7919 + number * 104_729) % N_ITEMS  # a prime step, so that no pair repeats
    order = np.argsort(user, kind="stable")
    columns = {
        "userId": user + 1,
        "movieId": item + 1,
        "rating": (row * 31 % 10 + 1) / 2,
        "timestamp": 800_000_000 + row,
    }
    pa_csv.write_csv(pa.table({name: values[order] for name, values in columns.items()}), folder / "ratings.csv")
    movies = [f'{movie},"A title, no. {movie} ({1920 + movie % 100})",Drama|Comedy' for movie in range(1, N_ITEMS + 1)]
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *movies]) + "\n")
    return folder


def write_ratings_in_child(folder: Path, rows: int) -> None:
    """`write_ratings` in a child process, so that its memory does not count."""
    if (child := os.fork()) == 0:
        write_ratings(folder, rows)
        os._exit(0)
    os.waitpid(child, 0)


def time_read(source: ML1M | ML32M) -> tuple[Interactions, float]:
    """The data, and the seconds that reading took."""
    start = time.perf_counter()
    data = source.read()
    return data, time.perf_counter() - start


def batch_seconds(data: Interactions, size: int = 65_536) -> float:
    """Seconds of one shuffled pass: a gather per column and batch."""
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
        data, seconds = time_read(ML1M(str(folder), "error"))
        print(f"ML-1M: read and validated {len(data):,} rows in {seconds:.2f} s")
    with tempfile.TemporaryDirectory() as temporary:
        write_ratings_in_child(Path(temporary), rows)
        data, seconds = time_read(ML32M(temporary, "error"))
        pass_seconds = batch_seconds(data)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        start = time.perf_counter()
        naive_rows = read_naively(Path(temporary) / "ratings.csv")
        naive_rate = naive_rows / (time.perf_counter() - start)
    print(f"{len(data):,} rows of CSV: read and validated in {seconds:.2f} s, peak memory {peak:.2f} GiB")
    print(f"one shuffled pass in batches: {pass_seconds:.2f} s")
    print(f"rows per second against the naive loop: {len(data) / seconds / naive_rate:.1f} x")


if __name__ == "__main__":
    main()
