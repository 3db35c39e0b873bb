"""The one protocol that judges every model: who is ranked against what, under which mask and tie rule.

A module's validation, the final test and the `evaluate` verb walk the same `batches` through the same
`update`, so they give the same numbers to the last digit.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple, Protocol

import torch
from pydantic import Field
from torch import Tensor
from torchmetrics import Metric

from recsweep.data.schema import Interactions
from recsweep.errors import UserError
from recsweep.metrics import ranking
from recsweep.metrics.rating import mae, mse, rmse
from recsweep.sampling import group_items, sample_negatives
from recsweep.seeding import Seed

MAX_SCORES = 2**24  # of one batch of a ranking: 64 MiB of float32


class Scorer(Protocol):
    """What every model family, baselines included, is to the evaluation. Higher is better."""

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """Score [B] of each pair (user [B], item [B])."""

    def score_all(self, user: Tensor) -> Tensor:
        """Score [B, n_items] of every item for each user [B]."""


class Target(NamedTuple):
    """What is judged.

    Args:
        data: the interactions.
        seen: [S] rows of `data` that the model may know; a ranking leaves their items out for their user.
        held_out: [H] rows of `data` to predict; an item both seen and held out for a user is held out.
        candidates: [H, n] item ids, the published negatives of each held-out row; None where there are none.
    """

    data: Interactions
    seen: Tensor
    held_out: Tensor
    candidates: Tensor | None = None


class RatingEvaluation(Metric):
    """Error of predicted ratings, each clipped to the data's rating scale.

    Args:
        objective: the metric that selects the model.
        batch_size: pairs scored at once.
    """

    full_state_update = False
    mode = "min"
    squared_error: Tensor
    absolute_error: Tensor
    count: Tensor

    def __init__(
        self, objective: Literal["mse", "rmse", "mae"], batch_size: Annotated[int, Field(gt=0, lt=2**31)]
    ) -> None:
        super().__init__()
        self.objective = objective
        self.batch_size = batch_size
        for name in ("squared_error", "absolute_error", "count"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def batches(self, target: Target, device: torch.device) -> Iterator[tuple[Any, ...]]:
        """(user [B], item [B], rating [B], rating_scale) of the held-out rows, in their order."""
        _check_not_empty(target)
        for row in torch.split(target.held_out, self.batch_size):
            columns = (target.data.user[row], target.data.item[row], target.data.rating[row])
            yield *(column.to(device) for column in columns), target.data.rating_scale

    def update(
        self, scorer: Scorer, user: Tensor, item: Tensor, rating: Tensor, rating_scale: tuple[float, float]
    ) -> None:
        """Adds one batch of `batches`; `UserError` where a score is NaN."""
        predicted = _without_nan(scorer.score(user, item)).double().clamp(*rating_scale)
        error = predicted - rating.double()
        self.squared_error = self.squared_error + error.square().sum()
        self.absolute_error = self.absolute_error + error.abs().sum()
        self.count = self.count + len(error)

    def compute(self) -> dict[str, Tensor]:
        """{"mse", "rmse", "mae"}, float64."""
        return {
            "mse": mse(self.squared_error, self.count),
            "rmse": rmse(self.squared_error, self.count),
            "mae": mae(self.absolute_error, self.count),
        }


class RankingEvaluation(Metric):
    """Place of the held-out items among the items that their user has not seen.

    Full ranking (`n_negatives=None`): one list a user, the catalogue without the user's seen items; all the
    user's held-out items are relevant. Sampled ranking: one list a held-out row, that item and its
    negatives, which the data set publishes or which are drawn from what the user has neither seen nor
    held out. Averages run over lists; users without held-out rows have none.

    Args:
        n_negatives: None ranks the catalogue.
        ks: cut-offs.
        objective: the metric that selects the model, such as "ndcg@10".
        seed: of the sampled negatives; the same for every model, so that all face the same lists.
        batch_size: lists ranked at once; fewer where they would exceed `MAX_SCORES`.
    """

    full_state_update = False
    mode = "max"
    totals: Tensor
    n_lists: Tensor
    best_place: Tensor

    def __init__(
        self,
        n_negatives: Annotated[int, Field(gt=0)] | None,
        ks: Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=1)],
        objective: str,
        seed: Seed,
        batch_size: Annotated[int, Field(gt=0, lt=2**31)],
    ) -> None:
        super().__init__()
        self.n_negatives = n_negatives
        self.ks = tuple(ks)
        self.objective = objective
        self.seed = seed
        self.batch_size = batch_size
        self.names = tuple(ranking.per_list(torch.empty(0, 1), torch.empty(0, dtype=torch.int64), self.ks))
        choices = (*self.names, *(f"coverage@{k}" for k in self.ks))
        if objective not in choices:
            raise UserError(f"evaluation.objective={objective} is not computed: choose from {', '.join(choices)}")
        self.add_state("totals", torch.zeros(len(self.names), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("n_lists", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self._count_items(0)

    def batches(self, target: Target, device: torch.device) -> Iterator[tuple[Tensor, ...]]:
        """What `update` takes after the scorer; the same on every call, so a list of it serves every epoch."""
        _check_not_empty(target)
        n_items = target.data.n_items
        n_candidates = n_items if self.n_negatives is None else 1 + self.n_negatives
        if max(self.ks) > n_candidates:
            raise UserError(
                f"evaluation.ks={list(self.ks)}: k={max(self.ks)} exceeds the {n_candidates} candidates of a "
                f"list (the catalogue has {n_items} items)"
            )
        if len(self.best_place) != n_items:
            self._count_items(n_items)
        batch_size = max(1, min(self.batch_size, MAX_SCORES // n_candidates))
        if self.n_negatives is None:
            batches = _catalogue_batches(target, batch_size)
        else:
            batches = _sampled_batches(target, batch_size, self.n_negatives, self.seed)
        for batch in batches:
            yield tuple(column.to(device) for column in batch)

    def update(self, scorer: Scorer, *batch: Tensor) -> None:
        """Adds one batch of `batches`; `UserError` where a score is NaN."""
        score = _score_catalogue if self.n_negatives is None else _score_candidates
        lists = score(scorer, *batch)
        limit = max(self.ks)
        relevant = lists.relevant.topk(min(limit, lists.relevant.shape[1]))
        others = lists.others.topk(min(limit, lists.others.shape[1]))
        rank, place = ranking.ranks(relevant.values, others.values)
        # Beyond the limit `ranks` is only a bound, and mrr asks for the first rank wherever it is.
        first = 1 + (lists.others >= relevant.values[:, :1]).sum(1, keepdim=True)
        rank = torch.cat([first.double(), rank[:, 1:]], 1)
        values = ranking.per_list(rank, (lists.relevant > -torch.inf).sum(1), self.ks)
        self.totals = self.totals + torch.stack([values[name].sum() for name in self.names])
        self.n_lists = self.n_lists + len(rank)
        items = torch.cat(
            [lists.relevant_item.gather(1, relevant.indices), lists.other_item.gather(1, others.indices)], 1
        )
        places = torch.cat([rank, place], 1)
        self.best_place = self.best_place.scatter_reduce(0, items.flatten(), places.flatten(), "amin")

    def compute(self) -> dict[str, Tensor]:
        """Mean over lists of every metric, and coverage@k, float64."""
        metrics = dict(zip(self.names, self.totals / self.n_lists, strict=True))
        return metrics | {f"coverage@{k}": ranking.coverage(self.best_place, k) for k in self.ks}

    def _count_items(self, n_items: int) -> None:
        unseen = torch.full((n_items,), torch.inf, dtype=torch.float64, device=self.device)
        self.add_state("best_place", unseen, dist_reduce_fx="min")


Evaluation = RatingEvaluation | RankingEvaluation


@torch.inference_mode()
def evaluate(scorer: Scorer, evaluation: Evaluation, target: Target) -> dict[str, float]:
    """Every metric of `scorer` on `target`, by name, scored on the evaluation's device.

    A scorer with dropout must be in eval mode already.

    Raises:
        UserError: nothing is held out, a score is NaN, a cut-off exceeds the candidates, or a user has too
            few items to sample negatives from.
    """
    evaluation.reset()
    for batch in evaluation.batches(target, evaluation.device):
        evaluation.update(scorer, *batch)
    return {name: value.item() for name, value in evaluation.compute().items()}


class _Lists(NamedTuple):
    """Scores of a batch of lists; -inf stands for no candidate.

    Args:
        relevant: [L, R]; relevant_item: [L, R] item ids.
        others: [L, C]; other_item: [L, C] item ids.
    """

    relevant: Tensor
    relevant_item: Tensor
    others: Tensor
    other_item: Tensor


def _catalogue_batches(target: Target, batch_size: int) -> Iterator[tuple[Tensor, ...]]:
    """(user [L], then as pairs (list, item): relevant [P], [P] and seen [S], [S]), a list a user."""
    data = target.data
    users, relevant_list = torch.unique(data.user[target.held_out], return_inverse=True)
    relevant = group_items(relevant_list, data.item[target.held_out], len(users), data.n_items)
    seen = group_items(*_seen_pairs(target, users), len(users), data.n_items)
    for first in range(0, len(users), batch_size):
        last = min(first + batch_size, len(users))
        yield users[first:last], *relevant.between(first, last), *seen.between(first, last)


def _sampled_batches(target: Target, batch_size: int, n_negatives: int, seed: int) -> Iterator[tuple[Tensor, ...]]:
    """(user [L], candidates [L, 1 + n] with the held-out item first), a list a held-out row."""
    data = target.data
    user, item = data.user[target.held_out], data.item[target.held_out]
    negatives = target.candidates
    if negatives is None:
        users, row = torch.unique(user, return_inverse=True)
        seen_row, seen_item = _seen_pairs(target, users)
        known_row, known_item = torch.cat([seen_row, row]), torch.cat([seen_item, item])
        known = group_items(known_row, known_item, len(users), data.n_items)
        generator = torch.Generator().manual_seed(seed)
        negatives = sample_negatives(row, n_negatives, known, data.n_items, generator)
    elif negatives.shape[1] != n_negatives:
        raise UserError(
            f"evaluation.n_negatives={n_negatives}, but {data.name} publishes {negatives.shape[1]} "
            "negatives a row: set it to that"
        )
    candidates = torch.cat([item[:, None], negatives], 1)
    yield from zip(torch.split(user, batch_size), torch.split(candidates, batch_size), strict=True)


def _seen_pairs(target: Target, users: Tensor) -> tuple[Tensor, Tensor]:
    """(place in `users`, item) of each seen row whose user is among the ascending `users`."""
    place = torch.full((target.data.n_users,), -1)
    place[users] = torch.arange(len(users))
    row = place[target.data.user[target.seen]]
    kept = row >= 0
    return row[kept], target.data.item[target.seen][kept]


def _score_catalogue(
    scorer: Scorer, user: Tensor, row: Tensor, item: Tensor, seen_row: Tensor, seen_item: Tensor
) -> _Lists:
    scores = _finite(scorer.score_all(user))
    n_relevant = torch.bincount(row, minlength=len(user))
    column = torch.arange(len(row), device=row.device) - (n_relevant.cumsum(0) - n_relevant)[row]
    shape = (len(user), int(n_relevant.max()))
    relevant = scores.new_full(shape, -torch.inf).index_put((row, column), scores[row, item])
    relevant_item = item.new_zeros(shape).index_put((row, column), item)
    known = torch.cat([row, seen_row]), torch.cat([item, seen_item])
    others = scores.index_put(known, scores.new_tensor(-torch.inf))
    other_item = torch.arange(scores.shape[1], device=row.device).expand_as(scores)
    return _Lists(relevant, relevant_item, others, other_item)


def _score_candidates(scorer: Scorer, user: Tensor, candidates: Tensor) -> _Lists:
    n_candidates = candidates.shape[1]
    scores = _finite(scorer.score(user.repeat_interleave(n_candidates), candidates.flatten())).view_as(candidates)
    return _Lists(scores[:, :1], candidates[:, :1], scores[:, 1:], candidates[:, 1:])


def _finite(scores: Tensor) -> Tensor:
    """Scores with -inf raised to the lowest finite number: -inf is for the mask."""
    return _without_nan(scores).clamp(min=torch.finfo(scores.dtype).min)


def _without_nan(scores: Tensor) -> Tensor:
    if scores.isnan().any():
        raise UserError("the model returned NaN scores: training diverged; lower the learning rate")
    return scores


def _check_not_empty(target: Target) -> None:
    if len(target.held_out) == 0:
        raise UserError(f"nothing to evaluate: no row of {target.data.name} is held out")
