"""`recsweep recommend`: the best unseen items of users, by a finished run's model."""

import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from torch import Tensor

from recsweep import build, runs
from recsweep.commands import compose
from recsweep.data.logged import BanditLog
from recsweep.data.schema import Interactions
from recsweep.errors import UserError
from recsweep.evaluation import Scorer


def run(words: list[str]) -> None:
    """`recommend run=DIR user=ID[,ID…] k=10`, with raw ids as the data set writes them."""
    folder = compose.run_folder(words)
    users, k = compose.take(words, "user"), compose.take(words, "k") or "10"
    if users is None:
        raise UserError("for whom? give user=ID, or several separated by commas")
    if not k.isdecimal() or int(k) < 1:
        raise UserError(f"k={k}: a whole number from 1 on")
    distinct = list(dict.fromkeys(users.split(",")))

    def task(cfg: DictConfig) -> None:
        data = build.data(cfg)
        user = data.data.user_ids.encode(distinct)
        model = runs.final_model(cfg, data, folder)
        known = data.train.take(data.train.rating.nonzero()[:, 0]) if isinstance(data.data, BanditLog) else data.data
        items, scores = top_k(model, known, user.to(build.device(cfg)), int(k))
        _show(data.data, distinct, items, scores)

    compose.launch([*compose.saved_overrides(folder), *words, *compose.LEAVES_NOTHING], task)


@torch.inference_mode()
def top_k(model: Scorer, data: Interactions, user: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Items [B, k] that each of distinct users [B] has no interaction with, best first, and their scores [B, k].

    Raises:
        UserError: a user has fewer than k unseen items.
    """
    scores = model.score_all(user).float().clone()
    place = torch.full((data.n_users,), -1, device=user.device)
    place[user] = torch.arange(len(user), device=user.device)
    row = place[data.user.to(user.device)]
    scores[row[row >= 0], data.item.to(user.device)[row >= 0]] = -torch.inf
    fewest = int((scores > -torch.inf).sum(1).min())
    if k > fewest:
        raise UserError(f"k={k}: a user has only {fewest} unseen items of {data.n_items}")
    best = scores.topk(k)
    return best.indices, best.values


def _show(data: Interactions, users: list[str], items: Tensor, scores: Tensor) -> None:
    for user, chosen, score in zip(users, items.cpu(), scores.tolist(), strict=True):
        table = Table("", "item", "title", "score", title=f"user {user}")
        titles = [data.item_titles[item] if data.item_titles else "" for item in chosen.tolist()]
        rows = zip(data.item_ids.decode(chosen), titles, score, strict=True)
        for place, (item, title, value) in enumerate(rows, start=1):
            table.add_row(str(place), str(item), title, f"{value:.4f}")
        Console().print(table)
