"""`recsweep report DIR compare=3,7`: what two configurations recommend to the users who gain or lose most."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recsweep.commands import compose
from recsweep.data.logged import BanditLog
from recsweep.data.schema import Interactions
from recsweep.errors import UserError
from recsweep.models.base import RecModule
from recsweep.models.baselines import Baseline
from recsweep.report.collect import Runs
from recsweep.report.pair import Example, Item, Pair
from recsweep.runs import build
from recsweep.runs.folder import load_final_model
from recsweep.runs.memory import explain_memory
from recsweep.sampling import group_items
from recsweep.vectors.exact import top_k

N_USERS = 3
"""Users with the largest gains, and with the largest losses."""

K = 5
"""Items of each list; fewer where a user has fewer unseen ones."""

ERRORS = ("mse", "rmse", "mae")
"""Metrics of which an example shows ratings and their predictions."""


def find_examples(pair: Pair, runs: Runs) -> tuple[list[Example], str]:
    """Users who gain most and who lose most, with what was held out and what each configuration puts on top.

    By one run of each configuration, whose checkpoint and data must still be there.

    Returns:
        the examples, and why there are none: a sentence, empty if there are some.
    """
    positions = np.concatenate(pair.extreme_users(N_USERS))
    if not len(positions):
        return [], "No examples: no user gains or loses."
    try:
        with explain_memory():
            return _rank_items(pair, runs, positions), ""
    except (UserError, OSError, MemoryError) as error:
        return [], f"No examples: {error}"


def _rank_items(pair: Pair, runs: Runs, positions: np.ndarray) -> list[Example]:
    folders = [_find_run(pair, runs, label) for label in (pair.left, pair.right)]
    configs = [compose.build_config(compose.pop_run([f"run={folder}"])[1], [])[1] for folder in folders]
    data = build.data(configs[0])
    rows = data.data
    if isinstance(rows, BanditLog):
        raise UserError("the rows of a log do not say what users like")
    models = [load_final_model(cfg, data, folder) for cfg, folder in zip(configs, folders, strict=True)]
    target = data.target("val" if pair.comparison.metric.startswith("val/") else "test")
    masked = target.seen if configs[0].evaluation.get("mask_seen", True) else target.seen[:0]
    key = rows.user * rows.n_items + rows.item
    masked = masked[~torch.isin(key[masked], key[target.held_out])]  # a seen item may be held out as well
    seen = group_items(rows.user[masked], rows.item[masked], rows.n_users, rows.n_items)
    user = rows.user_ids.encode(list(map(str, pair.users[positions])))
    device = build.device(configs[0])
    k = min(K, rows.n_items - int(seen.start.diff()[user].max()))
    left, right = (top_k(model.score_all, user.to(device), seen, rows.n_items, k)[0].cpu() for model in models)
    has_errors = pair.comparison.metric.rpartition("/")[2] in ERRORS
    examples = []
    for number, position in enumerate(positions.tolist()):
        held_out = target.held_out[rows.user[target.held_out] == user[number]]
        item = rows.item[held_out]
        if has_errors:
            held_out_items = _describe_ratings(rows, held_out, models, device)
        else:
            distinct = torch.unique(item)
            is_found = torch.isin(distinct, torch.cat([left[number], right[number]]))
            held_out_items = _name_items(rows, torch.cat([distinct[is_found], distinct[~is_found]]), item[:0])
        lists = (_name_items(rows, of_model[number], item) for of_model in (left, right))
        n_more = max(0, len(held_out_items) - K)
        examples.append(Example(position, held_out_items[:K], n_more, *lists))
    return examples


def _find_run(pair: Pair, runs: Runs, label: str) -> Path:
    """The configuration's run of the first repetition that both have, or its first run if all give the same."""
    rows = pair.comparison.rows(label)
    same = rows[rows["seed"].astype(str) == pair.seeds[0]]
    return runs.runs[(same if len(same) else rows).index[0]].folder


def _name_items(rows: Interactions, item: Tensor, held_out: Tensor) -> list[Item]:
    """The items [n] in words, and whether each is among those held out."""
    names = [rows.item_titles[index] for index in item.tolist()] if rows.item_titles else rows.item_ids.decode(item)
    return [Item(str(name), hit) for name, hit in zip(names, torch.isin(item, held_out).tolist(), strict=True)]


@torch.inference_mode()
def _describe_ratings(
    rows: Interactions, held_out: Tensor, models: list[RecModule | Baseline], device: torch.device
) -> list[Item]:
    """The held-out items of one user with their ratings and what the two models predict, most different first."""
    user, item, rating = rows.user[held_out], rows.item[held_out], rows.rating[held_out]
    predicted = [model.score(user.to(device), item.to(device)).cpu().clamp(*rows.rating_scale) for model in models]
    order = (predicted[0] - predicted[1]).abs().argsort(descending=True)
    columns = zip(
        _name_items(rows, item[order], item[:0]), *(of[order].tolist() for of in (rating, *predicted)), strict=True
    )
    return [
        Item(f"{name} (rated {true:g}, predicted {left:.1f} and {right:.1f})")
        for (name, _), true, left, right in columns
    ]
