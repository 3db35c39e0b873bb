"""Scorers that look their scores up, data to evaluate them on, and metrics from their definitions."""

from math import log2

import numpy as np
import torch
from torch import Tensor

from recsweep.data.logged import BanditLog, DotScorer, Relevance
from recsweep.data.schema import IdMap, Interactions
from recsweep.evaluation import OffPolicyEvaluation, RankingEvaluation, Target, TwoStageEvaluation, evaluate_batches

LogRow = tuple[int, int, float, float]
"""User, item, reward, propensity."""


class ScoreTable:
    """A scorer that looks its scores [n_users, n_items] up."""

    def __init__(self, scores) -> None:
        self.scores = torch.as_tensor(scores, dtype=torch.float32)

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return self.scores[user, item]

    def score_all(self, user: Tensor) -> Tensor:
        return self.scores[user]


class PolicyTable(ScoreTable):
    """A policy that looks its probabilities [n_users, n_items] up."""

    def __init__(self, probabilities) -> None:
        self.scores = torch.tensor(probabilities, dtype=torch.float64)

    def log_policy(self, user: Tensor) -> Tensor:
        return self.scores[user].log()


def own_metrics(scorer, evaluation, target: Target) -> dict[str, float]:
    """The evaluation's own metrics, without supplements, as each epoch has them."""
    return evaluate_batches(scorer, evaluation, evaluation.batches(target, evaluation.device))


def full_ranking(ks=(1, 2, 3), objective="mrr", batch_size=2) -> RankingEvaluation:
    return RankingEvaluation(None, "exact", list(ks), objective, seed=0, batch_size=batch_size)


def sampled_ranking(n_negatives, ks=(1, 2), seed=0, batch_size=2, negatives="exact") -> RankingEvaluation:
    return RankingEvaluation(n_negatives, negatives, list(ks), "mrr", seed, batch_size)


def two_stage(slate_size, ks=(1, 2), objective="two_stage/value", batch_size=100) -> TwoStageEvaluation:
    return TwoStageEvaluation(slate_size, list(ks), objective, batch_size)


def off_policy(max_weight=None, batch_size=100, objective="snips") -> OffPolicyEvaluation:
    return OffPolicyEvaluation(objective, max_weight, batch_size)


def pair_target(seen, held_out, n_users, n_items, candidates=None, ratings=None) -> Target:
    """Seen and held-out (user, item) pairs, whose ratings are 1 by default."""
    user, item = torch.tensor([*seen, *held_out], dtype=torch.int64).reshape(-1, 2).T
    data = Interactions(
        name="toy",
        user=user,
        item=item,
        rating=torch.ones(len(user)) if ratings is None else torch.tensor(ratings),
        timestamp=None,
        user_ids=IdMap(np.arange(n_users), "user"),
        item_ids=IdMap(np.arange(n_items), "item"),
        rating_scale=(1.0, 5.0),
    )
    rows = torch.arange(len(user))
    candidates = None if candidates is None else torch.tensor(candidates)
    return Target(data, rows[: len(seen)], rows[len(seen) :], candidates)


def random_pairs(n_users=40, n_items=60, seed=0) -> tuple[ScoreTable, Target]:
    """Distinct scores, about ten seen and five held-out items a user."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(n_users, n_items, generator=generator).argsort(1)
    part = torch.rand(n_users, n_items, generator=generator)
    seen, held_out = (part < 1 / 6).nonzero().tolist(), (part > 11 / 12).nonzero().tolist()
    return ScoreTable(scores), pair_target(seen, held_out, n_users, n_items)


def pairs_of_rows(target: Target, rows: Tensor) -> list[tuple[int, int]]:
    """(user, item) of rows of the data."""
    return list(zip(target.data.user[rows].tolist(), target.data.item[rows].tolist(), strict=True))


def log_target(
    seen: list[LogRow], held_out: list[LogRow], n_users, n_items, ranker=None, relevant=None, reward=None
) -> Target:
    """Seen and held-out rows of a log; scores of the ranker, and flags `relevant` and `reward`, [n_users][n_items]."""
    user, item, rating, propensity = zip(*seen, *held_out, strict=True)
    relevant = None if relevant is None else torch.tensor(relevant, dtype=torch.bool)
    log = BanditLog(
        name="toy",
        user=torch.tensor(user),
        item=torch.tensor(item),
        rating=torch.tensor(rating),
        timestamp=None,
        user_ids=IdMap(np.arange(n_users), "user"),
        item_ids=IdMap(np.arange(n_items), "item"),
        rating_scale=(0.0, 1.0),
        truth=None if relevant is None else Relevance(relevant, relevant),
        propensity=torch.tensor(propensity),
        recurring=True,
        ranker=None if ranker is None else DotScorer(torch.tensor(ranker, dtype=torch.float32), torch.eye(n_items)),
        reward=None if reward is None else torch.tensor(reward, dtype=torch.bool),
        relevant=relevant,
    )
    rows = torch.arange(len(log))
    return Target(log, rows[: len(seen)], rows[len(seen) :])


# Rows of three users of four, in no order; user 3 has no held-out rows.
POLICY = [[0.5, 0.25, 0.25, 0.0], [0.1, 0.2, 0.3, 0.4], [0.0, 0.0, 0.5, 0.5], [0.25] * 4]
SEEN = [(0, 1, 1.0, 0.5), (3, 1, 0.0, 0.25), (1, 0, 1.0, 0.25), (2, 2, 0.0, 0.5)]
HELD_OUT = [(2, 3, 1.0, 0.125), (0, 0, 0.0, 0.5), (2, 2, 0.0, 0.75), (1, 3, 1.0, 0.05), (0, 2, 1.0, 0.2)]
RANKER = [[1.0, -1.0, 0.5, 2.0], [0.0, 3.0, -2.0, 1.0], [-1.0, 0.25, 0.75, 0.0], [1.0] * 4]
REWARD = [[0, 1, 1, 0], [1, 0, 0, 1], [1, 0, 1, 1], [1, 1, 1, 1]]


def list_metrics(ranks: list[int], n_relevant: int, ks) -> dict[str, float]:
    """Metrics of one list from their definitions; `ranks` are those of its relevant items, ascending."""
    values = {"mrr": 1 / ranks[0] if ranks else 0.0}
    for k in ks:
        top, n_best = [rank for rank in ranks if rank <= k], min(n_relevant, k)
        values[f"hit_rate@{k}"] = float(len(top) > 0)
        values[f"precision@{k}"] = len(top) / k
        values[f"recall@{k}"] = len(top) / n_relevant
        values[f"map@{k}"] = sum(n_hits / rank for n_hits, rank in enumerate(top, start=1)) / n_best
        ideal = sum(1 / log2(1 + rank) for rank in range(1, n_best + 1))
        values[f"ndcg@{k}"] = sum(1 / log2(1 + rank) for rank in top) / ideal
    return values
