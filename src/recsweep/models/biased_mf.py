"""Rating prediction: biased matrix factorisation, its implicit-feedback variant SVD++, and a neural one.

All three predict r = mu + b_u + b_i + f(p_u, q_i), where mu is the training mean (Koren, Bell and Volinsky 2009,
equation 4). They differ in f and in how they represent a user.

Regularisers, each a key of `conf/regularization`: dropout and Gaussian noise on the embeddings of a batch, Gaussian
noise on its ratings, L2 on the embeddings of its users and items, and augmentation: random pairs labelled by the shrunk
user and item means, which pull the predictions of unrated pairs towards those means.

TensorBoard shows histograms of the norms of user and item vectors (`norm of vectors/…`) and of the biases.
"""

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import pad

from recsweep.data.batches import Ratings, ratings
from recsweep.data.schema import Interactions
from recsweep.evaluation import RankingEvaluation, RatingEvaluation, Scorer
from recsweep.losses import rating as rating_losses
from recsweep.models.base import RecModule, Training
from recsweep.models.baselines import shrunk_means
from recsweep.models.layers import Dimension, Dropout, FeatureSum, GaussianNoise, NeighbourSum, PairTable, Std, mlp
from recsweep.models.new_users import NewUsers, check_ratings, fit_gaussian, refuse_new_users, solve_ridge
from recsweep.models.regularization import Regularization
from recsweep.seeding import generator

ROWS_AT_ONCE = 2**16


class BiasedMF(RecModule):
    """f is the dot product <p_u, q_i>.

    Args:
        embedding_dim: d of p_u and q_i.
        init_std: standard deviation of their initial values; biases start at zero.
    """

    losses: ClassVar = rating_losses.RatingLoss
    evaluations: ClassVar = (RatingEvaluation, RankingEvaluation)
    sparse = True

    mean: Tensor
    l2: Tensor
    l2_bias: Tensor
    global_offset: Tensor
    user_offset: Tensor
    item_offset: Tensor

    def __init__(self, data: Interactions, training: Training, *, embedding_dim: Dimension, init_std: Std) -> None:
        super().__init__(data, training)
        draws = generator(training.seed)
        self.table = PairTable(data.n_users, data.n_items, embedding_dim, init_std, draws, training.sparse)
        self.register_buffer("mean", data.rating.mean())
        self._regularise(data, training.regularization)

    def _regularise(self, data: Interactions, strength: Regularization) -> None:
        self.dropout = Dropout(strength.dropout)
        self.embedding_noise = GaussianNoise(strength.embedding_noise)
        self.rating_noise = GaussianNoise(strength.rating_noise)
        self.has_l2 = strength.l2 > 0 or strength.l2_bias > 0
        self.register_buffer("l2", torch.tensor(strength.l2), persistent=False)
        self.register_buffer("l2_bias", torch.tensor(strength.l2_bias), persistent=False)
        self.augmentation = strength.augmentation
        if self.augmentation:
            offsets = shrunk_means(data, user_shrinkage=5, item_shrinkage=5)
            for name, offset in zip(("global", "user", "item"), offsets, strict=True):
                self.register_buffer(f"{name}_offset", offset, persistent=False)

    def columns(self, data: Interactions) -> Ratings:
        return ratings(data)

    def training_factors(
        self, vectors: Tensor, user: Tensor, item: Tensor, rated: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """p_u and q_i of a batch in training.

        Args:
            vectors: [2, B, d] embeddings of users and items.
            user, item: [B] ids.
            rated: [B] 1 where the pair is a training row, 0 where augmentation added it.

        Returns:
            [2, B, d], and the embeddings that L2 applies to, [B, d] each.
        """
        return vectors, vectors.unbind()

    def user_factors(self, user: Tensor) -> Tensor:
        """p_u of users [B] when scoring: [B, d]."""
        return self.table.users()[0][user]

    def item_factors(self) -> Tensor:
        """q_i of all items when scoring: [n_items, d]."""
        return self.table.items()[0]

    def interaction(self, p: Tensor, q: Tensor) -> Tensor:
        """f(p, q) of user and item vectors, each [B, d]: [B]."""
        return (p * q).sum(-1)

    def training_loss(self, batch: Ratings) -> Tensor:
        (user, item, rating), rated = self._augment(batch)
        vectors, biases = self.table(user, item)
        factors, embeddings = self.training_factors(vectors, user, item, rated)
        p, q = self.embedding_noise(self.dropout(factors, self.generator), self.generator).unbind()
        prediction = self.mean + biases.sum(0) + self.interaction(p, q)
        loss = self.training_setup.loss(prediction, self.rating_noise(rating, self.generator))
        if self.has_l2:
            loss = loss + self.l2 * rating_losses.l2(*embeddings) + self.l2_bias * rating_losses.l2(*biases)
        return loss

    def _augment(self, batch: Ratings) -> tuple[Ratings, Tensor]:
        """Appends random pairs with the ratings of the means; also returns 1 for the batch's own rows, 0 for them."""
        rated = batch.rating.new_ones(1).expand_as(batch.rating)
        n_extra = round(self.augmentation * len(rated))
        if not n_extra:
            return batch, rated
        user, item = (
            torch.randint(len(offsets), (n_extra,), generator=self.generator, device=offsets.device)
            for offsets in (self.user_offset, self.item_offset)
        )
        extra = Ratings(user, item, self.global_offset + self.user_offset[user] + self.item_offset[item])
        augmented = Ratings(*(torch.cat(pair) for pair in zip(batch, extra, strict=True)))
        return augmented, torch.cat([rated, rated.new_zeros(n_extra)])

    def histograms(self) -> dict[str, Tensor]:
        tables = {"user": self.table.users(), "item": self.table.items()}
        norms = {f"norm of vectors/{kind}": vectors.norm(dim=1) for kind, (vectors, _) in tables.items()}
        return norms | {f"bias/{kind}": biases for kind, (_, biases) in tables.items()}

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        biases = self.table.users()[1][user] + self.table.items()[1][item]
        return self.mean + biases + self.interaction(self.user_factors(user), self.item_factors()[item])

    def score_all(self, user: Tensor) -> Tensor:
        biases = self.table.users()[1][user, None] + self.table.items()[1]
        return self.mean + biases + self.user_factors(user) @ self.item_factors().T

    def own_factors(self) -> Tensor:
        """What p_u of every user is without the items that the user rated: [n_users, d]."""
        return self.table.users()[0]

    def history_factors(self, history: Interactions) -> tuple[Tensor, Tensor]:
        """What the items add to p_u: of each new user [n_users, d], and for each row of `history` without it [N, d]."""
        zeros = self.table.items()[0].new_zeros(1, self.table.dim)
        return zeros.expand(history.n_users, -1), zeros.expand(len(history), -1)

    @torch.no_grad()
    def fold_in(self, history: Interactions, train: Interactions) -> Scorer:
        """By ridge regression of a user's ratings on the items' vectors, which has p_u and b_u as its solution.

        The penalty is the distance to the users in training, as their mean and covariance measure it, and it weighs as
        much as the mean squared error of the training rows says that a rating is worth.
        """
        check_ratings(history)
        device = self.mean.device
        user, item, rating = (column.to(device) for column in (history.user, history.item, history.rating))
        has_rows = torch.bincount(train.user, minlength=train.n_users).to(device) > 0
        own = torch.cat([self.own_factors(), self.table.users()[1][:, None]], 1)[has_rows]
        q, bias = self.item_factors(), self.table.items()[1]
        added, added_to_row = self.history_factors(history)
        rest = rating - self.mean - bias[item] - (added_to_row * q[item]).sum(1)
        features = pad(q, (0, 1), value=1.0)[item]
        noise, prior = self._mean_squared_error(train), fit_gaussian(own)
        solution = solve_ridge(user, features, rest, history.n_users, noise, prior)
        p, offset = solution[:, :-1] + added, solution[:, -1:]
        return NewUsers(lambda user: self.mean + offset[user] + bias + p[user] @ q.T)

    def _mean_squared_error(self, data: Interactions) -> float:
        device = self.mean.device
        errors = [
            (self.score(user.to(device), item.to(device)).cpu() - rating).square().sum()
            for user, item, rating in zip(
                *(column.split(ROWS_AT_ONCE) for column in (data.user, data.item, data.rating)), strict=True
            )
        ]
        return max(float(torch.stack(errors).sum()) / len(data), 1e-9)


class SVDpp(BiasedMF):
    """SVD++ (Koren 2008, equation 15), optionally on both sides and with side features.

    The items that a user rated add to the user's vector, p_u + |N(u)|^-1/2 Σ_{j in N(u)} y_j. With `item_side`, the
    users who rated an item add to the item's, q_i + |N(i)|^-1/2 Σ_{v in N(i)} z_v ("flipped" SVD++, Rendle, Zhang and
    Koren 2019). With features, each feature value adds a vector. In training, the sums of a pair leave out the pair
    itself, because a pair to predict is not in them either.

    Args:
        item_side: whether items are also represented by their raters.
        user_features, item_features: names of feature columns of the data; [] for none.
    """

    sparse = False
    mixed_precision = False  # torch multiplies its sparse matrices in 32 bits only

    def __init__(
        self,
        data: Interactions,
        training: Training,
        *,
        embedding_dim: Dimension,
        init_std: Std,
        item_side: bool,
        user_features: list[str],
        item_features: list[str],
    ) -> None:
        super().__init__(data, training, embedding_dim=embedding_dim, init_std=init_std)
        draws = generator(training.seed, 1)
        self.rated_items = NeighbourSum(
            data.user, data.item, data.n_users, data.n_items, embedding_dim, init_std, draws
        )
        self.raters = (
            NeighbourSum(data.item, data.user, data.n_items, data.n_users, embedding_dim, init_std, draws)
            if item_side
            else None
        )
        size = (embedding_dim, init_std, draws)
        self.user_features = FeatureSum(data.user_features, user_features, "user", *size) if user_features else None
        self.item_features = FeatureSum(data.item_features, item_features, "item", *size) if item_features else None

    def training_factors(
        self, vectors: Tensor, user: Tensor, item: Tensor, rated: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        p_u, q_i = vectors.unbind()
        y_i = self.rated_items.vectors(item)
        p = self._add_features(p_u + self.rated_items(user, rated, y_i), self.user_features, user)
        q = self._add_features(q_i, self.item_features, item)
        if self.raters is None:
            return torch.stack([p, q]), (p_u, q_i, y_i)
        z_u = self.raters.vectors(user)
        return torch.stack([p, q + self.raters(item, rated, z_u)]), (p_u, q_i, y_i, z_u)

    def user_factors(self, user: Tensor) -> Tensor:
        return self._add_features(super().user_factors(user) + self.rated_items(user), self.user_features, user)

    def own_factors(self) -> Tensor:
        vectors = super().own_factors()
        return self._add_features(vectors, self.user_features, torch.arange(len(vectors), device=vectors.device))

    def history_factors(self, history: Interactions) -> tuple[Tensor, Tensor]:
        y = self.rated_items.vectors.weight
        user, item = history.user.to(y.device), history.item.to(y.device)
        total = y.new_zeros(history.n_users, y.shape[1]).index_add(0, user, y[item])
        count = torch.bincount(user, minlength=history.n_users)[:, None]
        without = (total[user] - y[item]) * (count[user] - 1).clamp(min=1).rsqrt()
        return total * count.clamp(min=1).rsqrt(), without

    def item_factors(self) -> Tensor:
        vectors = super().item_factors()
        item = torch.arange(len(vectors), device=vectors.device)
        vectors = self._add_features(vectors, self.item_features, item)
        return vectors if self.raters is None else vectors + self.raters(item)

    @staticmethod
    def _add_features(vectors: Tensor, features: FeatureSum | None, entity: Tensor) -> Tensor:
        return vectors if features is None else vectors + features()[entity]


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

    def fold_in(self, history: Interactions, train: Interactions) -> Scorer:
        raise refuse_new_users(self)

    def score_all(self, user: Tensor) -> Tensor:
        n_items = len(self.item_factors())
        items = torch.arange(n_items, device=user.device)
        pairs_at_once = 1 << 18
        chunks = torch.split(user, max(1, pairs_at_once // n_items))
        scores = [self.score(part.repeat_interleave(n_items), items.repeat(len(part))) for part in chunks]
        return torch.cat(scores).view(len(user), n_items)
