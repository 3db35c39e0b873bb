"""Full and sampled rankings: mask and tie rule."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor
from torchmetrics import Metric

from recsweep.data.logged import BanditLog
from recsweep.errors import UserError
from recsweep.evaluation.candidates import candidate_batches, catalogue_batches
from recsweep.evaluation.protocol import MAX_SCORES, Evidence, Rows, Scorer, Target, check_not_empty, check_scores
from recsweep.metrics import ranking
from recsweep.seeding import Seed

MRR_ALL = "mrr_all"
CPU_SCORES = 2**20  # scores that a CPU masks and sorts at once: 4 MiB of float32


class RankingEvaluation(Metric):
    """Ranks of the held-out items among the items that their user has not seen, or among all items.

    Full ranking (`n_negatives=None`): one list a user, the catalogue without the user's seen items; all the user's
    held-out items are relevant, each once, also those that were seen before. Sampled ranking: one list a held-out row,
    that item and its negatives, which the data set publishes or which are drawn. Metrics are means over lists; users
    without held-out rows have none.

    Args:
        n_negatives: None ranks the catalogue.
        negatives: what is drawn: "exact" from what the user has neither seen nor held out; "reference", as in the code
            that DRR is compared with, from what the user has not held out, so seen items can be negatives.
        ks: cut-offs.
        objective: the metric that selects the model, such as "ndcg@10". "mrr_all" is only computed if it is the
            objective, since it needs the exact rank of every held-out item.
        seed: of the sampled negatives; every model is ranked on the same lists.
        batch_size: lists ranked at once; fewer if they would exceed `MAX_SCORES`.
        mask_seen: whether a full ranking leaves the user's seen items out. Where it does not, as is usual for repeated
            consumption, they compete with those held out. Negatives of sampled rankings depend on `negatives` instead.
    """

    full_state_update = False
    mode = "max"
    totals: Tensor
    n_lists: Tensor
    best_rank: Tensor

    def __init__(
        self,
        n_negatives: Annotated[int, Field(gt=0)] | None,
        negatives: Literal["exact", "reference"],
        ks: Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=1)],
        objective: str,
        seed: Seed,
        batch_size: Annotated[int, Field(gt=0, lt=2**31)],
        mask_seen: bool = True,  # of runs before there was a choice
    ) -> None:
        super().__init__()
        self.n_negatives = n_negatives
        self.negatives = negatives
        self.ks = tuple(ks)
        self.objective = objective
        self.seed = seed
        self.batch_size = batch_size
        self.mask_seen = mask_seen
        if n_negatives is not None and not mask_seen:
            raise UserError(
                "evaluation.mask_seen=false is for full rankings: in sampled ones evaluation.negatives=reference draws "
                "seen items, too"
            )
        self.names = tuple(ranking.per_list(torch.empty(0, 1), torch.empty(0, dtype=torch.int64), self.ks))
        self.choices = (*self.names, MRR_ALL, *(f"coverage@{k}" for k in self.ks))
        if objective not in self.choices:
            raise UserError(f"evaluation.objective={objective} is not computed: choose from {', '.join(self.choices)}")
        if objective == MRR_ALL:
            self.names = (*self.names, MRR_ALL)
        self.add_state("totals", torch.zeros(len(self.names), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("n_lists", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self._reset_coverage(0)

    def batches(self, target: Target, device: torch.device) -> Iterator[tuple[Any, ...]]:
        """What `update` takes after the scorer; the same on every call, so one list of batches serves every epoch."""
        if isinstance(target.data, BanditLog):
            raise UserError(
                f"{target.data.name} tells what was shown, not what users like: use evaluation=two_stage or off_policy"
            )
        check_not_empty(target)
        n_items = target.data.n_items
        n_candidates = n_items if self.n_negatives is None else 1 + self.n_negatives
        if max(self.ks) > n_candidates:
            raise UserError(
                f"evaluation.ks={list(self.ks)}: k={max(self.ks)} exceeds the {n_candidates} candidates of a "
                f"list (the catalogue has {n_items} items)"
            )
        if len(self.best_rank) != n_items:
            self._reset_coverage(n_items)
        batch_size = max(1, min(self.batch_size, MAX_SCORES // n_candidates))
        target_without_seen = target._replace(seen=target.seen[:0])
        if self.n_negatives is None:
            batches = catalogue_batches(target if self.mask_seen else target_without_seen, batch_size)
        else:
            negatives_target = target_without_seen if self.negatives == "reference" else target
            batches = candidate_batches(negatives_target, batch_size, self.n_negatives, self.seed)
        for batch in batches:
            yield tuple(column.to(device) if isinstance(column, Tensor) else column for column in batch)

    def count_lists(self, target: Target) -> int:
        """The number of lists in all `batches`."""
        return len(target.data.user[target.held_out].unique() if self.n_negatives is None else target.held_out)

    def measure(self, scorer: Scorer, *batch: Any) -> "RankedLists":
        """The metrics of every list in one batch of `batches`; `UserError` if a score is NaN."""
        score = _score_catalogue if self.n_negatives is None else _score_candidates
        parts = [self._rank(lists) for lists in score(scorer, *batch)]
        ranks = _Ranks(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))
        values = ranking.per_list(ranks.relevant, ranks.n_relevant, self.ks)
        if MRR_ALL in self.names:
            values[MRR_ALL] = ranking.mean_reciprocal_rank(ranks.all_relevant, ranks.n_relevant)
        items = torch.cat([ranks.relevant_item, ranks.irrelevant_item], 1)
        rank = torch.cat([ranks.relevant, ranks.irrelevant], 1)
        return RankedLists(Rows(batch[0], values), items, rank, ranks.relevant.shape[1])

    def _rank(self, lists: "_Lists") -> "_Ranks":
        limit = max(self.ks)
        relevant = lists.relevant.topk(min(limit, lists.relevant.shape[1]))
        irrelevant = lists.irrelevant.topk(min(limit, lists.irrelevant.shape[1]))
        rank, irrelevant_rank = ranking.ranks(relevant.values, irrelevant.values)
        # `ranks` is only a bound beyond the limit, but mrr needs the exact rank of the first relevant item.
        first = 1 + (lists.irrelevant >= relevant.values[:, :1]).sum(1, keepdim=True, dtype=torch.int32)
        return _Ranks(
            torch.cat([first.double(), rank[:, 1:]], 1),
            irrelevant_rank,
            lists.relevant_item.gather(1, relevant.indices),
            lists.irrelevant_item.gather(1, irrelevant.indices),
            (lists.relevant > -torch.inf).sum(1),
            _all_ranks(lists) if MRR_ALL in self.names else rank[:, :0],
        )

    def update(self, ranked: "RankedLists") -> None:
        """Adds what `measure` found."""
        values = ranked.lists.values
        self.totals = self.totals + torch.stack([values[name].sum() for name in self.names])
        self.n_lists = self.n_lists + len(ranked.lists.user)
        self.best_rank = self.best_rank.scatter_reduce(0, ranked.item.flatten(), ranked.rank.flatten(), "amin")

    def evidence(self, ranked: "RankedLists") -> Evidence:
        """The metrics of every list, and the held-out items among its first k; coverage is no mean over lists.

        k is that of the objective, or the largest of `ks` if the objective has none.
        """
        k = int(self.objective.partition("@")[2] or max(self.ks))
        list_index, column = (ranked.rank[:, : ranked.n_relevant] <= k).nonzero(as_tuple=True)
        found = {f"recall@{k}": torch.ones(len(column), dtype=torch.float64, device=column.device)}
        hits = Rows(ranked.lists.user[list_index], found, ranked.item[list_index, column])
        return {"user" if self.n_negatives is None else "list": ranked.lists, "hit": hits}

    def compute(self) -> dict[str, Tensor]:
        """Mean over lists of every metric, and coverage@k, float64."""
        metrics = dict(zip(self.names, self.totals / self.n_lists, strict=True))
        return metrics | {f"coverage@{k}": ranking.coverage(self.best_rank, k) for k in self.ks}

    def _reset_coverage(self, n_items: int) -> None:
        infinite = torch.full((n_items,), torch.inf, dtype=torch.float64, device=self.device)
        self.add_state("best_rank", infinite, dist_reduce_fx="min")


class RankedLists(NamedTuple):
    """A batch of ranked lists.

    Args:
        lists: the metrics of each list, float64.
        item, rank: [L, n] the first items of each list and their ranks, float64.
        n_relevant: so many columns hold the relevant items, which come first; their rank is inf for no item.
    """

    lists: Rows
    item: Tensor
    rank: Tensor
    n_relevant: int


class _Lists(NamedTuple):
    """Scores of a batch of lists; -inf stands for no candidate.

    Args:
        relevant: [L, R] scores of relevant_item: [L, R].
        irrelevant: [L, C] scores of irrelevant_item: [L, C].
    """

    relevant: Tensor
    relevant_item: Tensor
    irrelevant: Tensor
    irrelevant_item: Tensor


class _Ranks(NamedTuple):
    """Ranks in a batch of lists.

    Args:
        relevant: [L, R'] ranks of relevant_item: [L, R'], the best ones.
        irrelevant: [L, C'] ranks of irrelevant_item: [L, C'], the best ones.
        n_relevant: [L].
        all_relevant: [L, R] exact ranks of all relevant items; [L, 0] where no metric needs them.
    """

    relevant: Tensor
    irrelevant: Tensor
    relevant_item: Tensor
    irrelevant_item: Tensor
    n_relevant: Tensor
    all_relevant: Tensor


def _score_catalogue(
    scorer: Scorer, user: Tensor, user_index: Tensor, item: Tensor, seen_index: Tensor, seen_item: Tensor, most: int
) -> Iterator[_Lists]:
    """The lists of a batch, in parts that are small on a CPU: what is copied there stays in the cache.

    A CPU's allocator keeps freed blocks below 32 MiB, while larger ones come anew from the system, page by page.
    """
    scores = check_scores(scorer.score_all(user), len(user), 2)
    n_items = scores.shape[1]
    first_pair = torch.searchsorted(user_index, torch.arange(len(user), device=item.device))
    column = torch.arange(len(item), device=item.device) - first_pair[user_index]
    shape = (len(user), most)
    relevant = _clamp(scores[user_index, item])
    relevant = relevant.new_full(shape, -torch.inf).index_put((user_index, column), relevant)
    relevant_item = item.new_zeros(shape).index_put((user_index, column), item)
    masked_index, order = torch.cat([user_index, seen_index]).sort()
    masked_item = torch.cat([item, seen_item])[order]
    n_lists = max(1, CPU_SCORES // n_items) if scores.device.type == "cpu" else len(user)
    n_masked = torch.bincount(masked_index // n_lists).tolist() if n_lists < len(user) else [len(order)]
    first = range(0, len(user), n_lists)
    for start, index, masked in zip(first, masked_index.split(n_masked), masked_item.split(n_masked), strict=True):
        rows = slice(start, start + n_lists)
        irrelevant = _clamp(scores[rows])
        irrelevant[index - start, masked] = -torch.inf
        irrelevant_item = torch.arange(n_items, device=item.device).expand_as(irrelevant)
        yield _Lists(relevant[rows], relevant_item[rows], irrelevant, irrelevant_item)


def _all_ranks(lists: _Lists) -> Tensor:
    """[L, R] exact ranks of all relevant items, ascending; inf for no item."""
    scores = lists.relevant.sort(1, descending=True).values
    list_index, column = (scores > -torch.inf).nonzero(as_tuple=True)
    at_once = max(1, MAX_SCORES // lists.irrelevant.shape[1])
    chunks = zip(list_index.split(at_once), scores[list_index, column].split(at_once), strict=True)
    n_above = torch.cat([(lists.irrelevant[index] >= score[:, None]).sum(1) for index, score in chunks])
    infinite = torch.full_like(scores, torch.inf, dtype=torch.float64)
    return infinite.index_put((list_index, column), (1 + column + n_above).double())


def _score_candidates(scorer: Scorer, user: Tensor, candidates: Tensor) -> Iterator[_Lists]:
    n_candidates = candidates.shape[1]
    scores = scorer.score(user.repeat_interleave(n_candidates), candidates.flatten())
    scores = _clamp(check_scores(scores, candidates.numel(), 1)).view_as(candidates)
    yield _Lists(scores[:, :1], candidates[:, :1], scores[:, 1:], candidates[:, 1:])


def _clamp(scores: Tensor) -> Tensor:
    """A copy with -inf raised to the lowest finite number, since -inf marks what is masked."""
    return scores.clamp(min=torch.finfo(scores.dtype).min)
