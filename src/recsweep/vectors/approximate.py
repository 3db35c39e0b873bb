"""Approximate nearest neighbours by faiss (optional extra `ann`): items with the largest dot products, found quickly.

Departures from faiss's defaults, which would find far less: an IVF index searches an eighth of its cells rather than
one, and an HNSW index goes on until it has as many candidates as are asked for, at least `BREADTH`, rather than 16.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recsweep.atomic import write_atomically
from recsweep.errors import UserError
from recsweep.sampling import UserItems
from recsweep.vectors.exact import top_k
from recsweep.vectors.export import Embeddings

KINDS = re.compile(r"Flat|HNSW(?P<links>\d{1,3})|IVF(?P<cells>\d{1,7}),Flat")
CELLS_PER_PROBE = 8
BREADTH = 128
USERS_AT_ONCE = 64

Index = Any  # of faiss, which is optional


def open_index(folder: Path, factory: str, item: Tensor, say: Callable[[str], None]) -> Index:
    """The index `factory` over `item` [n_items, d] float32, from `folder`; built and saved at first use.

    Args:
        factory: faiss's own name of an index: `Flat` (exact), `HNSW32` (a graph of 32 links), `IVF64,Flat` (64 cells).
        say: shows the user a line about what is built.

    Raises:
        UserError: no such index, more cells than items, faiss missing, or a file that is not of these vectors.
    """
    check_index(factory, len(item))
    path = folder / f"{factory}.faiss"
    if path.is_file():
        return load_index(path, item)
    index = build_index(factory, item)
    save_index(index, path)
    say(f"built {path}")
    return index


def check_index(factory: str, n_items: int) -> None:
    """`UserError` for an index that cannot be built; faiss itself ends the whole process on some."""
    kind = KINDS.fullmatch(factory)
    if kind is None or (kind["links"] and int(kind["links"]) < 2) or (kind["cells"] and int(kind["cells"]) < 1):
        raise UserError(f"index={factory}: allowed are Flat, HNSW2 to HNSW999, and IVF1,Flat upwards")
    if kind["cells"] and int(kind["cells"]) > n_items:
        raise UserError(f"index={factory}: more cells than the {n_items} items; allowed: up to IVF{n_items},Flat")


def build_index(factory: str, item: Tensor) -> Index:
    """The index over `item` [n_items, d] float32, by dot product; the same at every call."""
    faiss = _faiss()
    index = faiss.index_factory(item.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    if isinstance(index, faiss.IndexIVF):
        index.cp.min_points_per_centroid = 1  # else it warns on standard error
        index.nprobe = -(-index.nlist // CELLS_PER_PROBE)
    index.train(item.numpy())
    index.add(item.numpy())
    return index


def save_index(index: Index, path: Path) -> None:
    """Writes the file whole or not at all."""
    with write_atomically(path) as partial:
        _faiss().write_index(index, str(partial))


def load_index(path: Path, item: Tensor) -> Index:
    """A saved index; `UserError` where it is none, or not of the vectors `item` [n_items, d]."""
    again = "delete it, and it will be built again"
    try:
        index = _faiss().read_index(str(path))
        if (index.ntotal, index.d) != item.shape:
            raise UserError(
                f"{path}: an index of {index.ntotal} vectors of {index.d} numbers, but item_embeddings.npy holds "
                f"{len(item)} of {item.shape[1]}: {again}"
            )
        if not _holds(index, item):
            raise UserError(f"{path}: an index of other vectors than item_embeddings.npy: {again}")
    except (RuntimeError, MemoryError, IndexError):  # what damaged bytes lead to, in reading or at the first search
        raise UserError(f"{path}: not an index of faiss: {again}") from None
    return index


def _holds(index: Index, item: Tensor) -> bool:
    """Whether the scores that the index gives are the dot products, tried on a few vectors."""
    query = item[:USERS_AT_ONCE]
    score, found = (values[:, 0] for values in _nearest(index, query, 1))
    query, other, score = query[found >= 0], item[found[found >= 0]], score[found >= 0]
    return bool(((query * other).sum(1) - score).abs().le(1e-4 * query.norm(dim=1) * other.norm(dim=1)).all())


def search_index(index: Index, query: Tensor, user: Tensor, seen: UserItems, k: int) -> tuple[Tensor, Tensor]:
    """The k best items [B, k] that users [B] have not seen, best first, and their scores [B, k].

    A user's seen items may all rank first, so the index is asked for that many more.

    Args:
        query: [B, d] float32 vectors of the users.
        user: [B] int64.
        seen: of every user, the items that are left out.
        k: at most the number of items that any of the users has not seen.

    Returns:
        Item -1 with score -inf stands where the index finds fewer than k.
    """
    wanted = k + seen.start.diff()[user]
    items, scores = torch.full((len(user), k), -1), torch.full((len(user), k), -torch.inf)
    for rows in wanted.argsort().split(USERS_AT_ONCE):  # by length, since a call gives all its users the same
        score, item = _nearest(index, query[rows], int(wanted[rows[-1]]))
        place, known = seen.of(user[rows])
        pair = torch.arange(len(rows))[:, None] * index.ntotal + item
        left_out = (item < 0) | torch.isin(pair, place * index.ntotal + known)
        best = score.masked_fill(left_out, -torch.inf).topk(k)
        scores[rows] = best.values
        items[rows] = item.gather(1, best.indices).masked_fill(best.values == -torch.inf, -1)
    return items, scores


def _nearest(index: Index, query: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Scores and items [B, n] of the largest dot products with `query` [B, d]; item -1 where there are fewer."""
    faiss = _faiss()
    breadth = faiss.SearchParametersHNSW(efSearch=max(n, BREADTH)) if isinstance(index, faiss.IndexHNSW) else None
    score, item = index.search(query.numpy(), n, params=breadth)
    return torch.from_numpy(score), torch.from_numpy(item)


class Agreement(NamedTuple):
    """What `search_index` found, [B, k] each, its recall of the exact best, and seconds a user of both searches."""

    items: Tensor
    scores: Tensor
    recall: float
    seconds: float
    exact_seconds: float


def compare_with_exact(index: Index, vectors: Embeddings, user: Tensor, seen: UserItems, k: int) -> Agreement:
    """`search_index` for users [B] beside exact search; `UserError` where one has fewer than k unseen items."""
    start = time.perf_counter()
    exact, _ = top_k(vectors.score_all, user, seen, len(vectors.item), k)
    middle = time.perf_counter()
    items, scores = search_index(index, vectors.user[user], user, seen, k)
    end = time.perf_counter()
    return Agreement(items, scores, recall(items, exact), (end - middle) / len(user), (middle - start) / len(user))


def recall(found: Tensor, exact: Tensor) -> float:
    """Share of the exact best items [B, k] that stand among the found ones [B, k], where -1 is none.

    >>> recall(torch.tensor([[4, 2], [3, -1]]), torch.tensor([[2, 4], [5, 3]]))
    0.75
    """
    row = torch.arange(len(exact))[:, None] * (max(int(found.max()), int(exact.max())) + 2)
    return torch.isin(row + exact, row + found).double().mean().item()


def _faiss() -> ModuleType:
    try:
        import faiss
    except ImportError:
        raise UserError("index= needs faiss: pip install 'recsweep[ann]', or leave index= out") from None
    faiss.omp_set_num_threads(1)  # beside torch's own threads; and a graph that several build differs every time
    return faiss
