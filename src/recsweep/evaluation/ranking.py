"""Rankings: who is ranked against what, under which mask and tie rule."""

from collections.abc import Callable, Iterator
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor
from torchmetrics import Metric

from recsweep.data.logged import BanditLog
from recsweep.errors import UserError
from recsweep.evaluation.protocol import MAX_SCORES, Scorer, Target, check_not_empty, without_nan
from recsweep.metrics import ranking
from recsweep.sampling import CACHED_ROWS, group_items, sample_negatives, unseen
from recsweep.seeding import Seed

EVERY_RANK = "mrr_all"


class RankingEvaluation(Metric):
    """Place of the held-out items among the items that their user has not seen.

    Full ranking (`n_negatives=None`): one list a user, the catalogue without the user's seen items; all the
    user's held-out items are relevant. Sampled ranking: one list a held-out row, that item and its
    negatives, which the data set publishes or which are drawn. Averages run over lists; users without
    held-out rows have none.

    Args:
        n_negatives: None ranks the catalogue.
        negatives: what is drawn: "exact" from what the user has neither seen nor held out; "reference", as the code
            that DRR is compared with, from what he has not held out, so that items he has seen count as misses.
        ks: cut-offs.
        objective: the metric that selects the model, such as "ndcg@10". "mrr_all" is computed only where it is the
            objective: it asks for the place of every held-out item, however low.
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
        negatives: Literal["exact", "reference"],
        ks: Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=1)],
        objective: str,
        seed: Seed,
        batch_size: Annotated[int, Field(gt=0, lt=2**31)],
    ) -> None:
        super().__init__()
        self.n_negatives = n_negatives
        self.negatives = negatives
        self.ks = tuple(ks)
        self.objective = objective
        self.seed = seed
        self.batch_size = batch_size
        self.names = tuple(ranking.per_list(torch.empty(0, 1), torch.empty(0, dtype=torch.int64), self.ks))
        self.choices = (*self.names, EVERY_RANK, *(f"coverage@{k}" for k in self.ks))
        if objective not in self.choices:
            raise UserError(f"evaluation.objective={objective} is not computed: choose from {', '.join(self.choices)}")
        if objective == EVERY_RANK:
            self.names = (*self.names, EVERY_RANK)
        self.add_state("totals", torch.zeros(len(self.names), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("n_lists", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self._count_items(0)

    def batches(self, target: Target, device: torch.device) -> Iterator[tuple[Tensor, ...]]:
        """What `update` takes after the scorer; the same on every call, so a list of it serves every epoch."""
        if isinstance(target.data, BanditLog):
            raise UserError(
                f"what {target.data.name} showed is not what users like: use evaluation=two_stage or off_policy"
            )
        check_not_empty(target)
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
            judged = target._replace(seen=target.seen[:0]) if self.negatives == "reference" else target
            batches = _sampled_batches(judged, batch_size, self.n_negatives, self.seed)
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
        first = 1 + (lists.others >= relevant.values[:, :1]).sum(1, keepdim=True, dtype=torch.int32)
        rank = torch.cat([first.double(), rank[:, 1:]], 1)
        n_relevant = (lists.relevant > -torch.inf).sum(1)
        values = ranking.per_list(rank, n_relevant, self.ks)
        if EVERY_RANK in self.names:
            values[EVERY_RANK] = ranking.mean_reciprocal_rank(_every_rank(lists), n_relevant)
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
    if target.candidates is None:
        draw = _negatives_drawn(target, n_negatives, seed)
    elif target.candidates.shape[1] == n_negatives:
        draw = target.candidates.__getitem__
    else:
        raise UserError(
            f"evaluation.n_negatives={n_negatives}, but {data.name} publishes {target.candidates.shape[1]} "
            "negatives a row: set it to that"
        )
    for rows in torch.arange(len(user)).split(CACHED_ROWS):  # all at once would take gigabytes for a million users
        candidates = torch.cat([item[rows, None], draw(rows)], 1)
        yield from zip(user[rows].split(batch_size), candidates.split(batch_size), strict=True)


def _negatives_drawn(target: Target, n_negatives: int, seed: int) -> Callable[[Tensor], Tensor]:
    """Draws negatives [L, n] of held-out rows [L], named by their place; the same where asked in the same order."""
    data = target.data
    users, row = torch.unique(data.user[target.held_out], return_inverse=True)
    seen_row, seen_item = _seen_pairs(target, users)
    known_row, known_item = torch.cat([seen_row, row]), torch.cat([seen_item, data.item[target.held_out]])
    known = unseen(group_items(known_row, known_item, len(users), data.n_items), data.n_items)
    generator = torch.Generator().manual_seed(seed)
    return lambda rows: sample_negatives(row[rows], n_negatives, known, generator)


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


def _every_rank(lists: _Lists) -> Tensor:
    """[L, R] exact places of all relevant items, ascending, inf for no item; a row of others a relevant item."""
    scores = lists.relevant.sort(1, descending=True).values
    row, place = (scores > -torch.inf).nonzero(as_tuple=True)
    at_once = max(1, MAX_SCORES // lists.others.shape[1])
    chunks = zip(row.split(at_once), scores[row, place].split(at_once), strict=True)
    above = torch.cat([(lists.others[some] >= score[:, None]).sum(1) for some, score in chunks])
    nowhere = torch.full_like(scores, torch.inf, dtype=torch.float64)
    return nowhere.index_put((row, place), (1 + place + above).double())


def _score_candidates(scorer: Scorer, user: Tensor, candidates: Tensor) -> _Lists:
    n_candidates = candidates.shape[1]
    scores = _finite(scorer.score(user.repeat_interleave(n_candidates), candidates.flatten())).view_as(candidates)
    return _Lists(scores[:, :1], candidates[:, :1], scores[:, 1:], candidates[:, 1:])


def _finite(scores: Tensor) -> Tensor:
    """Scores with -inf raised to the lowest finite number: -inf is for the mask."""
    return without_nan(scores).clamp(min=torch.finfo(scores.dtype).min)
