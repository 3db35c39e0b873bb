"""Ranking and rating in one network: a factorisation head and a regression head on common embeddings, or on their own.

The factorisation head scores by <p_u, q_i> + b_u + b_i and learns by BPR that what a user turned to stands above what
he did not; b_u is the same for all of a user's items, so it stays 0. The regression head predicts the rating, the
training mean plus a perceptron on p_u ⊕ q_i ⊕ (p_u ⊙ q_i), and learns by MSE. `conf/loss` balances the two losses.

TensorBoard shows both losses and their weights apart (`train/factorization_loss`, `train/regression_loss`,
`train/factorization_weight`, `train/regression_weight`), and the lengths of the vectors of either head.
"""

from typing import Annotated, ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor

from recsweep.data.batches import Ratings, ratings
from recsweep.data.schema import Interactions
from recsweep.evaluation import JointEvaluation
from recsweep.layers import Dimension, Dropout, PairTable, Std, embedding, mlp
from recsweep.losses import multitask as balances
from recsweep.losses.ranking import bpr
from recsweep.losses.rating import mse
from recsweep.models.base import RecModule, Training
from recsweep.sampling import Unseen, check_negatives, group_items, sample_negatives, unseen
from recsweep.seeding import generator

TASKS = ("factorization", "regression")


class Multitask(RecModule):
    """Two heads, two tasks.

    Args:
        embedding_dim: d of p_u and q_i.
        hidden: widths of the regression head's hidden layers.
        shared_embeddings: both heads read the same p_u and q_i; else each has its own.
        init_std: standard deviation of their first values; biases start at zero.
    """

    losses: ClassVar = balances
    evaluations: ClassVar = (JointEvaluation,)
    sparse = False

    mean: Tensor
    seen: Tensor
    seen_start: Tensor

    def __init__(
        self,
        data: Interactions,
        training: Training,
        *,
        embedding_dim: Dimension,
        hidden: Annotated[list[Dimension], Field(min_length=1)],
        shared_embeddings: bool,
        init_std: Std,
    ) -> None:
        super().__init__(data, training)
        self.balance = cast(balances.Balance, training.loss)
        draws = generator(training.seed)
        n_rows = data.n_users + data.n_items
        self.table = PairTable(data.n_users, data.n_items, embedding_dim, init_std, draws, sparse=False)
        self.own_rows = None if shared_embeddings else embedding(n_rows, embedding_dim, init_std, draws)
        self.perceptron = mlp([3 * embedding_dim, *hidden, 1], draws)
        self.register_buffer("mean", data.rating.mean())
        self.dropout = Dropout(training.regularization.dropout)
        allowed = unseen(group_items(data.user, data.item, data.n_users, data.n_items), data.n_items)
        check_negatives(self.balance.n_negatives, allowed, data)
        self.n_users, self.n_items = data.n_users, data.n_items
        self.register_buffer("seen", allowed.key, persistent=False)
        self.register_buffer("seen_start", allowed.start, persistent=False)

    def columns(self, data: Interactions) -> Ratings:
        return ratings(data)

    def training_loss(self, batch: Ratings) -> Tensor:
        user, item, rating = batch
        allowed = Unseen(self.seen, self.seen_start, self.n_items)
        negative = sample_negatives(user, self.balance.n_negatives, allowed, self.generator)
        pair = torch.stack([user, item + self.n_users], 1)
        rows = self.table.rows(torch.cat([pair, negative + self.n_users], 1))
        vectors, biases = self.dropout(rows[..., :-1], self.generator), rows[..., -1]
        shared, others = vectors.split((2, self.balance.n_negatives), 1)
        p, q = shared.unbind(1)
        positive_logit = (p * q).sum(-1) + biases[:, 1]
        negative_logit = (p[:, None] * others).sum(-1) + biases[:, 2:]
        if self.own_rows is not None:
            p, q = self.dropout(self.own_rows(pair), self.generator).unbind(1)
        losses = torch.stack([bpr(positive_logit, negative_logit), mse(self._rating(p, q), rating)])
        total, weights = self.balance(losses, shared)
        for task, loss, weight in zip(TASKS, losses.detach(), weights.detach(), strict=True):
            self.note(f"train/{task}_loss", loss)
            self.note(f"train/{task}_weight", weight)
        return total

    def _rating(self, p: Tensor, q: Tensor) -> Tensor:
        return self.mean + self.perceptron(torch.cat([p, q, p * q], -1))[:, 0]

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        (p, b_u), (q, b_i) = self.table.users(), self.table.items()
        return (p[user] * q[item]).sum(-1) + b_u[user] + b_i[item]

    def score_all(self, user: Tensor) -> Tensor:
        (p, b_u), (q, b_i) = self.table.users(), self.table.items()
        return p[user] @ q.T + b_u[user, None] + b_i

    def rate(self, user: Tensor, item: Tensor) -> Tensor:
        """Predicted ratings [B] of pairs."""
        if self.own_rows is not None:
            return self._rating(self.own_rows(user), self.own_rows(item + self.n_users))
        return self._rating(self.table.users()[0][user], self.table.items()[0][item])
