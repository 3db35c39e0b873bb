"""What every evaluation expects of a model and of the data."""

from typing import Literal, NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from recsweep.data.schema import Interactions
from recsweep.errors import UserError

Unit = Literal["user", "list", "row", "hit", "logged row"]
"""What a value belongs to: a user, one of the user's lists or held-out rows, a held-out item found, a row of a log."""

MAX_SCORES = 2**24  # scores in one batch of a ranking: 64 MiB of float32


class PairScorer(Protocol):
    """A model that scores pairs. Higher is better."""

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """Score [B] of each pair (user [B], item [B])."""


class Scorer(PairScorer, Protocol):
    """The interface of every model family, baselines included, to the evaluation."""

    def score_all(self, user: Tensor) -> Tensor:
        """Score [B, n_items] of every item for each user [B]."""


@runtime_checkable
class RatingScorer(Scorer, Protocol):
    """A model whose scores rank items and which also predicts ratings."""

    def rate(self, user: Tensor, item: Tensor) -> Tensor:
        """Predicted rating [B] of each pair (user [B], item [B])."""


class Target(NamedTuple):
    """The rows to evaluate on.

    Args:
        data: the interactions.
        seen: [S] rows of `data` that the model may know; rankings mask these items for their users, unless told not to.
        held_out: [H] rows of `data` to predict; a user's item that is both seen and held out counts as held out.
        candidates: [H, n] item ids, the published negatives of each held-out row, or None.
    """

    data: Interactions
    seen: Tensor
    held_out: Tensor
    candidates: Tensor | None = None


class Rows(NamedTuple):
    """What an evaluation measured, a row a `Unit`.

    Args:
        user: [R] int64.
        values: name -> [R].
        item: [R] int64 if the unit belongs to an item, else None.
    """

    user: Tensor
    values: dict[str, Tensor]
    item: Tensor | None = None


Evidence = dict[Unit, Rows]
"""What the metrics of a batch are means or sums of."""


def check_scores(scores: Tensor, n_rows: int, n_dims: Literal[1, 2]) -> Tensor:
    """The scores themselves; `UserError` if one is NaN, or if they are not [n_rows], or [n_rows, n_items]."""
    if scores.dim() != n_dims or len(scores) != n_rows:
        expected = f"[{n_rows}]" if n_dims == 1 else f"[{n_rows}, n_items]"
        raise UserError(f"the model returned scores of shape {list(scores.shape)}, where {expected} is expected")
    if scores.numel() and scores.amax().isnan():  # ten times as fast as scores.isnan().any()
        raise UserError("the model returned NaN scores: training diverged; lower the learning rate")
    return scores


def check_not_empty(target: Target) -> None:
    """`UserError` if no row is held out."""
    if len(target.held_out) == 0:
        raise UserError(f"nothing to evaluate: no row of {target.data.name} is held out")


def join_evidence(first: Evidence, second: Evidence) -> Evidence:
    """The values of both, whose rows of a unit are the same ones."""
    joined = {**first, **second}
    for unit in first.keys() & second.keys():
        joined[unit] = first[unit]._replace(values={**first[unit].values, **second[unit].values})
    return joined
