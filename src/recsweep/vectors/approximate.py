"""Approximate nearest neighbours by faiss (optional extra `ann`): finds items with large dot products quickly.

Departures from faiss's defaults, which find far less: an IVF index searches an eighth of its cells instead of one, and
an HNSW index keeps as many candidates as are requested, at least `BREADTH`, instead of 16.
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
    """The index `factory` over `item` [n_items, d] float32, loaded from `folder`; built and saved at first use.

    Args:
        factory: faiss's name of an index: `Flat` (exact), `HNSW32` (a graph of 32 links), `IVF64,Flat` (64 cells).
        say: shows the user a line if an index is built.

    Raises:
        UserError: there is no such index, it has more cells than items, faiss is missing, or the file is damaged or
            of other vectors.
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
    """`UserError` for an index that cannot be built; on some of these faiss would crash the process."""
    kind = KINDS.fullmatch(factory)
    if kind is None or (kind["links"] and int(kind["links"]) < 2) or (kind["cells"] and int(kind["cells"]) < 1):
        raise UserError(f"index={factory}: allowed are Flat, HNSW2 to HNSW999, and IVF1,Flat upwards")
    if kind["cells"] and int(kind["cells"]) > n_items:
        raise UserError(f"index={factory}: more cells than the {n_items} items; allowed: up to IVF{n_items},Flat")


def build_index(factory: str, item: Tensor) -> Index:
    """A deterministic index over `item` [n_items, d] float32, by dot product."""
    faiss = _import_faiss()
    index = faiss.index_factory(item.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    if isinstance(index, faiss.IndexIVF):
        index.cp.min_points_per_centroid = 1  # silences a warning on stderr
        index.nprobe = -(-index.nlist // CELLS_PER_PROBE)
    index.train(item.numpy())
    index.add(item.numpy())
    return index


def save_index(index: Index, path: Path) -> None:
    """Writes the file atomically; faiss's own writing would not say that the disk is full."""
    content = _import_faiss().serialize_index(index)
    with write_atomically(path) as partial:
        partial.write_bytes(content.tobytes())


def load_index(path: Path, item: Tensor) -> Index:
    """A saved index; `UserError` if the file is damaged, or an index of other vectors than `item` [n_items, d]."""
    remedy = "delete it, and it will be built again"
    try:
        index = _import_faiss().read_index(str(path))
        if (index.ntotal, index.d) != item.shape:
            raise UserError(
                f"{path}: an index of {index.ntotal} vectors of {index.d} numbers, but item_embeddings.npy holds "
                f"{len(item)} of {item.shape[1]}: {remedy}"
            )
        if not _holds(index, item):
            raise UserError(f"{path}: an index of other vectors than item_embeddings.npy: {remedy}")
    except (RuntimeError, MemoryError, IndexError):  # raised for damaged bytes, by reading or by the first search
        raise UserError(f"{path}: not an index of faiss: {remedy}") from None
    return index


def _holds(index: Index, item: Tensor) -> bool:
    """Whether the index returns true dot products of `item`, tested with a few of these vectors as queries."""
    query = item[:USERS_AT_ONCE]
    score, nearest = (values[:, 0] for values in _search_nearest(index, query, 1))
    query, neighbour, score = query[nearest >= 0], item[nearest[nearest >= 0]], score[nearest >= 0]
    return bool(((query * neighbour).sum(1) - score).abs().le(1e-4 * query.norm(dim=1) * neighbour.norm(dim=1)).all())


def search_index(index: Index, query: Tensor, user: Tensor, seen: UserItems, k: int) -> tuple[Tensor, Tensor]:
    """The k best items [B, k] that users [B] have not seen, best first, and their scores [B, k].

    Requests k items plus the number of the user's seen ones, since those may all rank first.

    Args:
        query: [B, d] float32 vectors of the users.
        user: [B] int64.
        seen: the items of each user to leave out.
        k: at most the number of unseen items of each user.

    Returns:
        Item -1 with score -inf pads rows in which the index finds fewer than k.
    """
    n_requested = k + seen.start.diff()[user]
    items, scores = torch.full((len(user), k), -1), torch.full((len(user), k), -torch.inf)
    for rows in n_requested.argsort().split(USERS_AT_ONCE):  # sorted, since one call requests the same number for all
        score, item = _search_nearest(index, query[rows], int(n_requested[rows[-1]]))
        seen_index, seen_item = seen.pairs_of(user[rows])
        pair = torch.arange(len(rows))[:, None] * index.ntotal + item
        is_masked = (item < 0) | torch.isin(pair, seen_index * index.ntotal + seen_item)
        best = score.masked_fill(is_masked, -torch.inf).topk(k)
        scores[rows] = best.values
        items[rows] = item.gather(1, best.indices).masked_fill(best.values == -torch.inf, -1)
    return items, scores


def _search_nearest(index: Index, query: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Scores and items [B, n] of the largest dot products with `query` [B, d], padded with item -1."""
    faiss = _import_faiss()
    breadth = faiss.SearchParametersHNSW(efSearch=max(n, BREADTH)) if isinstance(index, faiss.IndexHNSW) else None
    score, item = index.search(query.numpy(), n, params=breadth)
    return torch.from_numpy(score), torch.from_numpy(item)


class Agreement(NamedTuple):
    """Result of `search_index`, [B, k] each, its recall of the exact best, and seconds a user of both searches."""

    items: Tensor
    scores: Tensor
    recall: float
    seconds: float
    exact_seconds: float


def compare_with_exact(index: Index, vectors: Embeddings, user: Tensor, seen: UserItems, k: int) -> Agreement:
    """Runs `search_index` and exact search for users [B]; `UserError` if one has fewer than k unseen items."""
    start = time.perf_counter()
    exact, _ = top_k(vectors.score_all, user, seen, len(vectors.item), k)
    middle = time.perf_counter()
    items, scores = search_index(index, vectors.user[user], user, seen, k)
    end = time.perf_counter()
    return Agreement(items, scores, recall(items, exact), (end - middle) / len(user), (middle - start) / len(user))


def recall(items: Tensor, exact: Tensor) -> float:
    """Share of the exact best items [B, k] that are among `items` [B, k], in which -1 is none.

    >>> recall(torch.tensor([[4, 2], [3, -1]]), torch.tensor([[2, 4], [5, 3]]))
    0.75
    """
    offset = torch.arange(len(exact))[:, None] * (max(int(items.max()), int(exact.max())) + 2)
    return torch.isin(offset + exact, offset + items).double().mean().item()


def _import_faiss() -> ModuleType:
    try:
        import faiss
    except ImportError:
        raise UserError("index= needs faiss: pip install 'recsweep[ann]', or leave index= out") from None
    faiss.omp_set_num_threads(1)  # more would compete with torch's threads and build a different graph each time
    return faiss
