"""Rating prediction: biased matrix factorisation, its implicit-feedback variant SVD++, and a neural one.

All three predict r = mu + b_u + b_i + f(p_u, q_i), where mu is the training mean (Koren, Bell and Volinsky 2009,
equation 4). They differ in f and in what stands for the user.

Regularisers, each a key of `conf/regularization`: dropout and Gaussian noise on the embeddings of a batch, Gaussian
noise on its ratings, L2 on the rows that it touches, and augmentation: random pairs labelled by the shrunk user and
item means, which pull the predictions of unrated pairs towards the safest guess.
"""

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from recsweep.data.batches import Ratings, ratings
from recsweep.data.schema import Interactions
from recsweep.evaluation import RankingEvaluation, RatingEvaluation
from recsweep.layers import Dropout, GaussianNoise, embedding, mlp
from recsweep.losses import rating as rating_losses
from recsweep.models.base import RecModule, Training
from recsweep.models.baselines import shrunk_means
from recsweep.seeding import generator

Dimension = Annotated[int, Field(ge=1, le=4096)]
Std = Annotated[float, Field(gt=0, le=1)]


class BiasedMF(RecModule):
    """f is the dot product <p_u, q_i>.

    Args:
        embedding_dim: d of p_u and q_i.
        init_std: standard deviation of their first values; biases start at zero.
    """

    losses: ClassVar = rating_losses
    evaluations: ClassVar = (RatingEvaluation, RankingEvaluation)
    sparse = True

    mean: Tensor
    global_offset: Tensor
    user_offset: Tensor
    item_offset: Tensor
    l2: Tensor

    def __init__(self, data: Interactions, training: Training, *, embedding_dim: Dimension, init_std: Std) -> None:
        super().__init__(data, training)
        draws, sparse = generator(training.seed), training.sparse
        self.user_factors = embedding(data.n_users, embedding_dim, init_std, draws, sparse)
        self.item_factors = embedding(data.n_items, embedding_dim, init_std, draws, sparse)
        self.user_bias = embedding(data.n_users, 1, 0.0, draws, sparse)
        self.item_bias = embedding(data.n_items, 1, 0.0, draws, sparse)
        self.register_buffer("mean", data.rating.mean())
        self._regularise(data, training)

    @staticmethod
    def columns(data: Interactions) -> Ratings:
        return ratings(data)

    def _regularise(self, data: Interactions, training: Training) -> None:
        strength = training.regularization
        self.dropout = Dropout(strength.dropout)
        self.embedding_noise = GaussianNoise(strength.embedding_noise)
        self.rating_noise = GaussianNoise(strength.rating_noise)
        self.register_buffer("l2", torch.tensor(strength.l2), persistent=False)
        self.augmentation = strength.augmentation
        if self.augmentation:
            offsets = shrunk_means(data, user_shrinkage=10, item_shrinkage=25)
            for name, offset in zip(("global", "user", "item"), offsets, strict=True):
                self.register_buffer(f"{name}_offset", offset, persistent=False)

    def user_vectors(self, user: Tensor) -> Tensor:
        """What stands for each user [B, d]."""
        return self.user_factors(user)

    def interaction(self, p: Tensor, q: Tensor) -> Tensor:
        """f of user and item vectors, each [B, d]: [B]."""
        return (p * q).sum(-1)

    def disturbed(self, vectors: Tensor) -> Tensor:
        """Embeddings as training sees them: with dropout and noise."""
        return self.embedding_noise(self.dropout(vectors, self.generator), self.generator)

    def training_loss(self, batch: Ratings) -> Tensor:
        user, item, rating = self._augmented(batch)
        p, q = self.user_vectors(user), self.item_factors(item)
        b_u, b_i = self.user_bias(user)[:, 0], self.item_bias(item)[:, 0]
        prediction = self.mean + b_u + b_i + self.interaction(self.disturbed(p), self.disturbed(q))
        loss = self.training_setup.loss(prediction, self.rating_noise(rating, self.generator))
        if self.training_setup.regularization.l2:
            loss = loss + self.l2 * rating_losses.l2(p, q, b_u, b_i)
        return loss

    def _augmented(self, batch: Ratings) -> Ratings:
        n_extra = round(self.augmentation * len(batch.user))
        if not n_extra:
            return batch
        user, item = (
            torch.randint(len(offsets), (n_extra,), generator=self.generator, device=offsets.device)
            for offsets in (self.user_offset, self.item_offset)
        )
        extra = Ratings(user, item, self.global_offset + self.user_offset[user] + self.item_offset[item])
        return Ratings(*(torch.cat(pair) for pair in zip(batch, extra, strict=True)))

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        biases = self.user_bias(user)[:, 0] + self.item_bias(item)[:, 0]
        return self.mean + biases + self.interaction(self.user_vectors(user), self.item_factors(item))

    def score_all(self, user: Tensor) -> Tensor:
        biases = self.user_bias(user) + self.item_bias.weight[:, 0]
        return self.mean + biases + self.user_vectors(user) @ self.item_factors.weight.T


class MLP(BiasedMF):
    """f is a perceptron on p_u ⊕ q_i ⊕ (p_u ⊙ q_i), as in neural collaborative filtering (He et al. 2017).

    Args:
        hidden: widths of the hidden layers.
    """

    sparse = False

    def __init__(
        self,
        data: Interactions,
        training: Training,
        *,
        embedding_dim: Dimension,
        init_std: Std,
        hidden: Annotated[list[Dimension], Field(min_length=1)],
    ) -> None:
        super().__init__(data, training, embedding_dim=embedding_dim, init_std=init_std)
        self.perceptron = mlp([3 * embedding_dim, *hidden, 1], generator(training.seed, 1))

    def interaction(self, p: Tensor, q: Tensor) -> Tensor:
        return self.perceptron(torch.cat([p, q, p * q], dim=-1))[:, 0]

    def score_all(self, user: Tensor) -> Tensor:
        n_items = len(self.item_factors.weight)
        items = torch.arange(n_items, device=user.device)
        pairs_at_once = 1 << 18
        chunks = torch.split(user, max(1, pairs_at_once // n_items))
        scores = [self.score(part.repeat_interleave(n_items), items.repeat(len(part))) for part in chunks]
        return torch.cat(scores).view(len(user), n_items)
