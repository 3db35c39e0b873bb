"""`recsweep recommend`: the best unseen items of users, by a finished run's model."""

from pathlib import Path

import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from torch import Tensor

from recsweep.commands import compose
from recsweep.data.logged import BanditLog
from recsweep.data.schema import Interactions
from recsweep.errors import UserError
from recsweep.evaluation import Scorer
from recsweep.runs import build
from recsweep.runs.folder import final_model
from recsweep.sampling import UserItems, group_items
from recsweep.seeding import generator
from recsweep.vectors.approximate import compare_with_exact, open_index
from recsweep.vectors.exact import top_k
from recsweep.vectors.export import load_vectors_for

SAMPLE = 1000  # users, beside those who are asked for, that an index is compared with exact search on


def run(words: list[str]) -> None:
    """`recommend run=DIR user=ID[,ID…] k=10 index=HNSW32`, with raw ids as the data set writes them."""
    folder = compose.run_folder(words)
    users, k = compose.take(words, "user"), compose.take(words, "k") or "10"
    if users is None:
        raise UserError("for whom? give user=ID, or several separated by commas")
    if not k.isdecimal() or int(k) < 1:
        raise UserError(f"k={k}: a whole number from 1 on")
    factory = compose.take(words, "index")
    distinct = list(dict.fromkeys(users.split(",")))

    def task(cfg: DictConfig) -> None:
        data = build.data(cfg)
        user = data.data.user_ids.encode(distinct)
        known = data.train.take(data.train.rating.nonzero()[:, 0]) if isinstance(data.data, BanditLog) else data.data
        seen = group_items(known.user, known.item, known.n_users, known.n_items)
        if factory is None:
            model = final_model(cfg, data, folder)
            _check_known(model, distinct, user.to(build.device(cfg)))
            items, scores = top_k(model.score_all, user.to(build.device(cfg)), seen, known.n_items, int(k))
        else:
            items, scores = _by_index(factory, folder / "embeddings", data.data, user, seen, int(k))
        _show(data.data, distinct, items, scores)

    compose.launch([*compose.saved_words(folder), *words, *compose.LEAVES_NOTHING], task)


@torch.inference_mode()
def _check_known(model: Scorer, names: list[str], user: Tensor) -> None:
    scores = model.score_all(user)
    for name, same in zip(names, scores.amax(1) == scores.amin(1), strict=True):
        if same:
            raise UserError(f"user={name}: the model scores every item alike, for it knows nothing of this user")


def _by_index(
    factory: str, folder: Path, data: Interactions, user: Tensor, seen: UserItems, k: int
) -> tuple[Tensor, Tensor]:
    """What an index over a run's exported vectors finds; says how far exact search agrees and how long both take."""
    vectors = load_vectors_for(data, folder)
    index = open_index(folder, factory, vectors.item, _say)
    asked = compare_with_exact(index, vectors, user, seen, k)
    able = (data.n_items - seen.start.diff() >= k).nonzero()[:, 0]
    drawn = able[torch.randperm(len(able), generator=generator("recall"))[:SAMPLE]]
    sample = compare_with_exact(index, vectors, drawn, seen, k)
    _say(
        f"{factory}: recall@{k} against exact search {asked.recall:.4f} for the users asked, {sample.recall:.4f} for "
        f"{len(drawn)} drawn at random, where a user takes {1e3 * sample.seconds:.3f} ms, "
        f"exactly {1e3 * sample.exact_seconds:.3f} ms"
    )
    return asked.items, asked.scores


def _say(line: str) -> None:
    Console(soft_wrap=True).print(line, markup=False, highlight=False)


def _show(data: Interactions, users: list[str], items: Tensor, scores: Tensor) -> None:
    for user, chosen, score in zip(users, items.cpu(), scores.cpu(), strict=True):
        table = Table("", "item", "title", "score", title=f"user {user}")
        found = chosen[chosen >= 0]  # an index may find fewer than k
        titles = [data.item_titles[item] if data.item_titles else "" for item in found.tolist()]
        rows = zip(data.item_ids.decode(found), titles, score[: len(found)].tolist(), strict=True)
        for place, (item, title, value) in enumerate(rows, start=1):
            table.add_row(str(place), str(item), title, f"{value:.4f}")
        Console().print(table)
