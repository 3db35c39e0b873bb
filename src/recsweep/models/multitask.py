"""Ranking and rating in one network: a factorisation head and a regression head on shared or separate embeddings.

The factorisation head scores by <p_u, q_i> + b_i (a user bias would not change a user's ranking) and learns from a
ranking loss. The regression head predicts the rating as the training mean plus a perceptron on
p_u ⊕ q_i ⊕ (p_u ⊙ q_i), and learns by MSE. `conf/loss` balances the two losses.

TensorBoard logs each loss and its weight (`train/factorization_loss`, `train/regression_loss`,
`train/factorization_weight`, `train/regression_weight`), and the norms of the factorisation head's vectors.
"""

from typing import Annotated, Any, ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import pad

from recsweep.data.batches import Columns, Ratings, ratings
from recsweep.data.schema import Interactions
from recsweep.evaluation import JointEvaluation
from recsweep.losses.multitask import Balance
from recsweep.losses.rating import mse
from recsweep.models.base import Training
from recsweep.models.layers import Dimension, Dropout, Std, embedding, mlp
from recsweep.models.retrieval import Positives, Retrieval
from recsweep.seeding import generator
from recsweep.vectors.export import load_initial_vectors

TASKS = ("factorization", "regression")


class Multitask(Retrieval):
    """A factorisation head for ranking and a regression head for ratings.

    Args:
        embedding_dim: d of p_u and q_i.
        hidden: widths of the regression head's hidden layers.
        shared_embeddings: whether both heads use the same p_u and q_i; otherwise each has its own.
        init_std: standard deviation of the embeddings' initial values; biases start at zero.
        pretrained: folder of `embeddings/` that another run exported, trained on the same rows; its vectors become the
            initial ones of both heads, with users and items each scaled to a mean length of 1 over the training rows.
            None starts from noise.
    """

    losses: ClassVar[type] = Balance
    evaluations: ClassVar = (JointEvaluation,)
    sparse = False

    mean: Tensor

    def __init__(
        self,
        data: Interactions,
        training: Training,
        *,
        embedding_dim: Dimension,
        hidden: Annotated[list[Dimension], Field(min_length=1)],
        shared_embeddings: bool,
        init_std: Std,
        pretrained: str | None = None,
    ) -> None:
        super().__init__(data, training)
        self.balance = cast(Balance, training.loss)
        self.n_users, self.pretrained = data.n_users, pretrained
        draws = generator(training.seed)
        n_rows = data.n_users + data.n_items
        self.vectors = embedding(n_rows, embedding_dim, init_std, draws)
        self.item_bias = embedding(data.n_items, 1, 0, draws)
        self.own_vectors = None if shared_embeddings else embedding(n_rows, embedding_dim, init_std, draws)
        self.perceptron = mlp([3 * embedding_dim, *hidden, 1], draws)
        self.register_buffer("mean", data.rating.mean())
        self.dropout = Dropout(training.regularization.dropout)

    @torch.no_grad()
    def setup(self, stage: str) -> None:
        super().setup(stage)
        if self.pretrained:
            dim = self.vectors.embedding_dim
            vectors = torch.cat(load_initial_vectors(self.data.train, self.pretrained, dim))
            for table in (self.vectors, self.own_vectors):
                if table is not None:
                    table.weight.copy_(vectors)

    def columns(self, data: Interactions) -> Columns:
        return ratings(data)

    def encode_users(self, user: Tensor, first: Tensor, end: Tensor) -> Tensor:
        """p_u ⊕ 1, so that a dot product adds the item's bias."""
        return pad(self.dropout(self.vectors(user), self.generator), (0, 1), value=1.0)

    def encode_items(self, item: Tensor) -> Tensor:
        """q_i ⊕ b_i."""
        vectors = self.dropout(self.vectors(item + self.n_users), self.generator)
        return torch.cat([vectors, self.item_bias(item)], 1)

    def training_loss(self, batch: Any) -> Tensor:
        user, item, rating = cast(Ratings, batch)
        positives = Positives(user, item, self.start[user], self.start[user + 1])
        factorization = self.ranking_loss(positives, self.balance.ranking)
        losses = torch.stack([factorization, mse(self.rate(user, item), rating)])
        total, weights = self.balance(losses, self.vectors.weight)
        for task, loss, weight in zip(TASKS, losses.detach(), weights.detach(), strict=True):
            self.note(f"train/{task}_loss", loss)
            self.note(f"train/{task}_weight", weight)
        return total

    def rate(self, user: Tensor, item: Tensor) -> Tensor:
        """Predicted ratings [B] of pairs."""
        table = self.vectors if self.own_vectors is None else self.own_vectors
        p, q = self.dropout(table(torch.stack([user, item + self.n_users])), self.generator)
        return self.mean + self.perceptron(torch.cat([p, q, p * q], -1))[:, 0]
