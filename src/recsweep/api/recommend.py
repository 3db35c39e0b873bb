"""The best items of users, of a run or new ones, as a function from users to a data frame."""

from collections.abc import Callable
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from recsweep.api.diversity import Choose, count_candidates
from recsweep.api.histories import read_histories
from recsweep.api.tables import tabulate_recommendations
from recsweep.cache import fingerprint
from recsweep.data.schema import Interactions
from recsweep.errors import UserError
from recsweep.evaluation.protocol import Scorer
from recsweep.models.base import RecModule
from recsweep.models.baselines import Baseline
from recsweep.runs.memory import explain_memory
from recsweep.sampling import UserItems, group_items
from recsweep.vectors.exact import best_items, copy_scores, multiply_vectors
from recsweep.vectors.export import Embedded


class Known(NamedTuple):
    """Users to recommend to: their rows, the items that each has, and what scores items for them."""

    rows: Interactions
    seen: UserItems
    scorer: Scorer


def fold_in_histories(
    model: RecModule | Baseline, histories: pd.DataFrame, data: Interactions, train: Interactions
) -> Known:
    """New users, by their rows.

    Args:
        data: all rows of the run, for the ids of items.
        train: the rows that the model learned from.
    """
    rows = read_histories(histories, data)
    seen = group_items(rows.user, rows.item, rows.n_users, rows.n_items)
    with explain_memory():
        return Known(rows, seen, model.fold_in(rows, train))


def make_recommender(
    known: Known,
    k: int,
    is_allowed: Tensor,
    device: torch.device,
    *,
    choose: Choose | None = None,
    skips_constant: bool = False,
) -> Callable[[Tensor], pd.DataFrame]:
    """A function from users [B] to the table of their k best items, without those that they have.

    Args:
        is_allowed: [n_items], which items may be recommended.
        choose: makes lists of k from more candidates; without it the best ones are the list.
        skips_constant: leaves out users for whom all items have the same score; else they are a `UserError`.
    """
    check_k(k)
    k = min(k, known.rows.n_items)
    n_candidates = k if choose is None else count_candidates(k, known.rows.n_items)
    rows, left_out = known.rows, (~is_allowed).nonzero()[:, 0].to(device)
    scorer = known.scorer
    write = multiply_vectors(scorer) if isinstance(scorer, Embedded) else copy_scores(scorer.score_all)

    def write_scores(user: Tensor, scores: Tensor) -> None:
        """Scores of users [B] into [B, n_items]; -inf for items that are left out, and for all of a skipped user."""
        write(user, scores)
        is_constant = _find_constant(scores)
        if len(is_constant) and not skips_constant:
            first = rows.user_ids.decode(user[is_constant])[0]
            reason = "the model gives every item the same score: it has learned nothing about this user"
            raise UserError(f"user={first}: {reason}")
        scores[is_constant] = -torch.inf
        scores.index_fill_(1, left_out, -torch.inf)

    def recommend(user: Tensor) -> pd.DataFrame:
        with explain_memory():
            items, scores = best_items(write_scores, user.to(device), known.seen, rows.n_items, n_candidates)
            if choose is not None:
                items, scores = choose(items, scores, k)
        return tabulate_recommendations(rows, user, items, scores)

    return recommend


def _find_constant(scores: Tensor) -> Tensor:
    """The rows of [B, n_items] whose scores are all the same; few are read in full."""
    row = (scores[:, 0] == scores[:, -1]).nonzero()[:, 0]
    return row[(scores[row] == scores[row, :1]).all(1)]


def describe_request(
    folder: Path, k: int, filter_seen: bool | None, diversity: float, *tensors: Tensor
) -> dict[str, Any]:
    """What the recommendations of a run depend on, as JSON.

    Args:
        folder: of the run.
        tensors: users, and the items that they may get.
    """
    checkpoints = sorted((folder / "checkpoints").iterdir())
    return {
        "run": str(folder.resolve()),
        "checkpoints": [[path.name, path.stat().st_mtime_ns] for path in checkpoints],
        "settings": fingerprint(*tensors).hex(),
        "k": k,
        "filter_seen": filter_seen,
        "diversity": diversity,
    }


def drop_items(items: UserItems) -> UserItems:
    """No items, for the same users."""
    return UserItems(items.item[:0], torch.zeros_like(items.start))


def check_k(k: int) -> None:
    """`UserError` unless k is a whole number, 1 or more."""
    if not isinstance(k, Integral) or k < 1:
        raise UserError(f"k={k}: a whole number from 1 on")
