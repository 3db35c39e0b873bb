"""Several models as one `Scorer`, and weights that validation chooses."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from recsweep.evaluation import Evaluation, RankingEvaluation, Scorer, Target, evaluate_batches
from recsweep.evaluation.protocol import MAX_SCORES, check_scores

MAX_KEPT = 2**25
"""Scores of one configuration that are kept to choose weights: 128 MiB of float32."""

ROUNDS = 100
PATIENCE = 10


class Standardized:
    """A `Scorer` whose scores are z-scores: each user's scores of the whole catalogue have mean 0 and deviation 1.

    So no model of an ensemble outweighs another by the scale of its scores, which means nothing to a ranking. A user
    to whom all items score the same has zeros.
    """

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer

    def score_all(self, user: Tensor) -> Tensor:
        """z-scores [B, n_items], float32."""
        scores = check_scores(self.scorer.score_all(user), len(user), 2).float()
        deviation, mean = torch.std_mean(scores, 1, correction=0, keepdim=True)
        return torch.where(deviation > 0, (scores - mean) / deviation, 0.0)

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """z-scores [B] of pairs, float32; the whole catalogue is scored for each of the users."""
        users, index = user.unique(return_inverse=True)
        scores = torch.empty(len(user), device=user.device)
        n_users = max(1, MAX_SCORES // self.score_all(users[:1]).shape[1])
        for first in range(0, len(users), n_users):
            row = ((index >= first) & (index < first + n_users)).nonzero()[:, 0]
            scores[row] = self.score_all(users[first : first + n_users])[index[row] - first, item[row]]
        return scores


class Mixture:
    """The weighted sum of several scorers' scores.

    Args:
        members: scorers and their weights.
    """

    def __init__(self, members: Sequence[tuple[Scorer, float]]) -> None:
        self.members = members

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """Scores [B] of pairs, float64."""
        return torch.stack([weight * member.score(user, item).double() for member, weight in self.members]).sum(0)

    def score_all(self, user: Tensor) -> Tensor:
        """Scores [B, n_items] of the whole catalogue, in the members' precision."""
        (first, weight), *others = self.members
        total = weight * first.score_all(user)
        for member, weight in others:
            total = total + weight * member.score_all(user)
        return total


class Held(NamedTuple):
    """Batches of an evaluation whose scores are kept."""

    evaluation: Evaluation
    batches: list[tuple[Any, ...]]

    def record(self, scorer: Scorer) -> list[Tensor]:
        """The scores that the evaluation asks for, a tensor a batch."""
        recorder = _Recorder(scorer)
        with torch.inference_mode():
            for batch in self.batches:
                self.evaluation.measure(recorder, *batch)
        return recorder.scores

    def judge(self, scores: Iterable[Tensor]) -> float:
        """The objective of such scores."""
        return evaluate_batches(_Replay(iter(scores)), self.evaluation, self.batches)[self.evaluation.objective]


class _Recorder:
    """Keeps what a scorer returns."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self.scores: list[Tensor] = []

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        self.scores.append(self.scorer.score(user, item))
        return self.scores[-1]

    def score_all(self, user: Tensor) -> Tensor:
        self.scores.append(self.scorer.score_all(user))
        return self.scores[-1]


class _Replay:
    """Returns recorded scores in their order, whatever is asked for: the batches are those of the recording."""

    def __init__(self, scores: Iterator[Tensor]) -> None:
        self.scores = scores

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return next(self.scores)

    def score_all(self, user: Tensor) -> Tensor:
        return next(self.scores)


def hold_batches(evaluation: Evaluation, target: Target) -> Held:
    """The batches of all users of the target, or of as many, drawn at random, as `MAX_KEPT` scores allow."""
    users = target.data.user[target.held_out].unique()
    if isinstance(evaluation, RankingEvaluation):
        n_lists = len(users) if evaluation.n_negatives is None else len(target.held_out)
        n_scores = n_lists * (evaluation.n_negatives or target.data.n_items)
    else:
        n_scores = len(target.held_out)
    if n_scores > MAX_KEPT:
        order = torch.randperm(len(users), generator=torch.Generator().manual_seed(0))
        drawn = users[order[: max(1, len(users) * MAX_KEPT // n_scores)]]
        target = target._replace(held_out=target.held_out[torch.isin(target.data.user[target.held_out], drawn)])
    return Held(evaluation, list(evaluation.batches(target, evaluation.device)))


def average(scores: Iterable[Sequence[Tensor]]) -> list[Tensor]:
    """The mean over models of their scores, a tensor a batch."""
    totals: list[Tensor] = []
    n_models = 0
    for batches in scores:
        totals = [total + batch for total, batch in zip(totals, batches, strict=True)] if totals else list(batches)
        n_models += 1
    return [total / n_models for total in totals]


def choose_weights(
    scores: Sequence[Sequence[Tensor]], judge: Callable[[Iterable[Tensor]], float], mode: Literal["min", "max"]
) -> list[float]:
    """Weights of models by greedy selection with replacement (Caruana et al., ICML 2004).

    Each round adds to the ensemble, a mean, the model that makes it best. After `PATIENCE` rounds without a better one
    the best ensemble of all rounds counts; a weight is the share of a model in it.

    Args:
        scores: of each model, a tensor a batch.
        judge: the objective of such scores.
        mode: whether lower or higher is better.

    Returns:
        a weight a model; they add up to 1, and none is negative.
    """
    sign = 1 if mode == "max" else -1
    counts = [0] * len(scores)
    totals = [torch.zeros_like(batch) for batch in scores[0]]
    best, best_value, best_round = counts, -float("inf"), 0
    for number in range(1, ROUNDS + 1):
        values = [
            sign * judge((total + batch) / number for total, batch in zip(totals, batches, strict=True))
            for batches in scores
        ]
        chosen = values.index(max(values))
        counts = [count + (index == chosen) for index, count in enumerate(counts)]
        totals = [total + batch for total, batch in zip(totals, scores[chosen], strict=True)]
        if values[chosen] > best_value:
            best, best_value, best_round = counts, values[chosen], number
        elif number - best_round >= PATIENCE:
            break
    return [count / best_round for count in best]
