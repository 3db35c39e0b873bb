"""`recsweep recommend`: the best unseen items of users, by the model of a finished run."""

from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from recsweep.commands import compose
from recsweep.commands.flags import pop_option
from recsweep.data.logged import BanditLog
from recsweep.data.schema import Interactions
from recsweep.errors import UserError
from recsweep.evaluation import Scorer
from recsweep.runs import build
from recsweep.runs.folder import load_final_model
from recsweep.runs.memory import explain_memory
from recsweep.sampling import UserItems, group_items
from recsweep.seeding import generator
from recsweep.terminal import cell, print_line
from recsweep.vectors.approximate import compare_with_exact, open_index
from recsweep.vectors.exact import top_k
from recsweep.vectors.export import load_vectors_for

SAMPLE = 1000  # users on whom an index is compared with exact search


def run(arguments: list[str]) -> None:
    """`recommend run=DIR user=ID[,ID…] k=10 index=HNSW32`, with raw ids as in the data set.

    Items that a user has are left out, unless the run's evaluation ranks them, too (`evaluation.mask_seen=false`).
    """
    folder, origin = compose.pop_run(arguments)
    users, k = pop_option(arguments, "user"), pop_option(arguments, "k")
    if users is None:
        raise UserError("for whom? give user=ID, or several separated by commas")
    k = "10" if k is None else k
    if not k.isdecimal() or int(k) < 1:
        raise UserError(f"k={k}: a whole number from 1 on")
    factory = pop_option(arguments, "index")
    raw_users = list(dict.fromkeys(users.split(",")))
    _, cfg = compose.build_config(origin, arguments)
    data = build.data(cfg)
    user = data.data.user_ids.encode(raw_users)
    rows = data.train.take(data.train.rating.nonzero()[:, 0]) if isinstance(data.data, BanditLog) else data.data
    rows = rows if cfg.evaluation.get("mask_seen", True) else rows.take(torch.arange(0))
    seen = group_items(rows.user, rows.item, rows.n_users, rows.n_items)
    if factory is None:
        with explain_memory():
            model = load_final_model(cfg, data, folder)
            _check_scores(model, raw_users, user.to(build.device(cfg)))
            items, scores = top_k(model.score_all, user.to(build.device(cfg)), seen, rows.n_items, int(k))
    else:
        items, scores = _search_index(factory, folder / "embeddings", data.data, user, seen, int(k))
    _print_tables(data.data, raw_users, items, scores)


@torch.inference_mode()
def _check_scores(model: Scorer, raw_users: list[str], user: Tensor) -> None:
    """Raises `UserError` for a user whose items all have the same score: their order would be arbitrary."""
    scores = model.score_all(user)
    for raw_user, is_constant in zip(raw_users, scores.amax(1) == scores.amin(1), strict=True):
        if is_constant:
            raise UserError(
                f"user={raw_user}: the model gives every item the same score: it has learned nothing about this user"
            )


def _search_index(
    factory: str, folder: Path, data: Interactions, user: Tensor, seen: UserItems, k: int
) -> tuple[Tensor, Tensor]:
    """Items and scores [B, k] from an index over the exported vectors; prints its recall and speed."""
    vectors = load_vectors_for(data, folder)
    index = open_index(folder, factory, vectors.item, print_line)
    result = compare_with_exact(index, vectors, user, seen, k)
    eligible = (data.n_items - seen.start.diff() >= k).nonzero()[:, 0]
    sample_users = eligible[torch.randperm(len(eligible), generator=generator("recall"))[:SAMPLE]]
    sample = compare_with_exact(index, vectors, sample_users, seen, k)
    print_line(
        f"{factory}: recall@{k} against exact search: {result.recall:.4f} for these users, {sample.recall:.4f} for "
        f"{len(sample_users)} random users; a search takes {1e3 * sample.seconds:.3f} ms a user, exact search "
        f"{1e3 * sample.exact_seconds:.3f} ms"
    )
    return result.items, result.scores


def _print_tables(data: Interactions, raw_users: list[str], items: Tensor, scores: Tensor) -> None:
    """A table for each user.

    Args:
        items: [B, k], -1 where an index finds fewer than k.
        scores: [B, k].
    """
    for raw_user, slate, score in zip(raw_users, items.cpu(), scores.cpu(), strict=True):
        item = slate[slate >= 0]
        columns = {"": [str(rank) for rank in range(1, len(item) + 1)], "item": data.item_ids.decode(item)}
        if data.item_titles:
            columns["title"] = [data.item_titles[index] for index in item.tolist()]
        columns["score"] = [f"{value:.4f}" for value in score[: len(item)].tolist()]
        table = Table(*columns, title=cell(f"user {raw_user}"))
        for row in zip(*columns.values(), strict=True):
            table.add_row(*(cell(str(value)) for value in row))
        Console().print(table)
