"""Balances of two losses: a ranking loss such as BPR, and MSE of the ratings.

The losses themselves are in `losses/ranking.py` and `losses/rating.py`. A `Balance` is a module, since it may learn its
weights. Pairs of losses or weights are [2], the ranking's first.
"""

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from recsweep.errors import UserError
from recsweep.losses.ranking import RankingLoss

Weight = Annotated[float, Field(ge=0, le=1e6)]
MIN_WEIGHT = 1e-4  # of GradNorm, so that no task is switched off


def uncertainty(losses: Tensor, log_variance: Tensor) -> Tensor:
    """Sum of negative log-likelihoods with learned noise: L_F / σ_F² + log σ_F + L_R / 2σ_R² + log σ_R, a scalar.

    The ranking's likelihood is a softmax with temperature σ_F², the rating's is Gaussian (Kendall, Gal and Cipolla,
    CVPR 2018, equations 7 and 10).

    Args:
        losses: [2], the ranking's and MSE.
        log_variance: [2], log σ².

    >>> uncertainty(torch.tensor([0.5, 4.0]), torch.tensor([1.0, 4.0]).log())  # 1/2 + 4/8 + log 2
    tensor(1.6931)
    """
    return (confidence(log_variance) * losses + log_variance / 2).sum()


def confidence(log_variance: Tensor) -> Tensor:
    """The weights [2] of the losses in `uncertainty`: 1 / σ_F² and 1 / 2σ_R².

    >>> confidence(torch.zeros(2))
    tensor([1.0000, 0.5000])
    """
    weights = (-log_variance).exp()
    return torch.cat([weights[:1], weights[1:] / 2])


def gradnorm(weight: Tensor, norm: Tensor, progress: Tensor, alpha: float | Tensor) -> Tensor:
    """Gradient [2] in the weights of GradNorm's loss Σ |w_i n_i - G r_i^α| (Chen et al., ICML 2018, equation 2).

    w_i n_i is the gradient norm of task i's weighted loss in the shared vectors, and G the mean of these norms. r_i is
    the task's relative training rate: L_i / L_i(0) divided by its mean over the tasks. The target G r_i^α counts as a
    constant, so the gradient is sign(w_i n_i - G r_i^α) n_i; no second derivative is needed.

    Args:
        weight: [2] w, at least 0.
        norm: [2] n, of the unweighted losses' gradients.
        progress: [2] L_i / L_i(0).
        alpha: how strongly the slower task gains weight, at least 0.

    >>> even = torch.ones(2)
    >>> gradnorm(even, torch.tensor([1.0, 3.0]), even, 1.5)  # G = 2: one norm is below, one above
    tensor([-1.,  3.])
    """
    weighted_norm = weight * norm
    target = weighted_norm.mean() * (progress / progress.mean()) ** alpha
    return (weighted_norm - target).sign() * norm


class Balance(nn.Module, ABC):
    """Weighs a ranking loss against MSE.

    Args:
        ranking: the ranking loss, BPR or another of `losses/ranking.py`.
    """

    shares_vectors: ClassVar[bool] = False
    """Whether it compares the losses' gradients in vectors that both tasks share. Then the model must share them, and
    training must run in one process, which sees all batches."""

    def __init__(self, ranking: RankingLoss) -> None:
        super().__init__()
        self.ranking = ranking

    @abstractmethod
    def forward(self, losses: Tensor, shared: Tensor) -> tuple[Tensor, Tensor]:
        """The balanced loss, a scalar, and the weights [2] in force.

        Args:
            losses: [2], the ranking's and MSE.
            shared: the embeddings that both losses depend on.
        """


class Fixed(Balance):
    """Constant weights.

    Args:
        factorization_weight, regression_weight: weights of the ranking loss and of MSE, not both 0.
        ranking: as in `Balance`.
    """

    weight: Tensor

    def __init__(self, factorization_weight: Weight, regression_weight: Weight, ranking: RankingLoss) -> None:
        super().__init__(ranking)
        if factorization_weight == regression_weight == 0:
            raise UserError(
                "loss.factorization_weight=0 and loss.regression_weight=0 leave nothing to learn: raise one of them"
            )
        self.register_buffer("weight", torch.tensor([factorization_weight, regression_weight]), persistent=False)

    def forward(self, losses: Tensor, shared: Tensor) -> tuple[Tensor, Tensor]:
        return (self.weight * losses).sum(), self.weight


class Uncertainty(Balance):
    """Learns the noise σ² of each task, which sets its weight (see `uncertainty`); σ² starts at 1.

    Weight decay pulls σ² back to 1.

    Args:
        ranking: as in `Balance`.
    """

    def __init__(self, ranking: RankingLoss) -> None:
        super().__init__(ranking)
        self.log_variance = nn.Parameter(torch.zeros(2))

    def forward(self, losses: Tensor, shared: Tensor) -> tuple[Tensor, Tensor]:
        return uncertainty(losses, self.log_variance), confidence(self.log_variance.detach())


class GradNorm(Balance):
    """Moves the weights until both losses have gradients of the same size in the shared vectors; their sum stays 2.

    Chen et al., ICML 2018, algorithm 1, with plain gradient steps of the weights, each kept above `MIN_WEIGHT`.

    Args:
        alpha: how strongly the slower task gains weight; 0 only equalises the gradients.
        lr: learning rate of the weights.
        ranking: as in `Balance`.
    """

    shares_vectors: ClassVar[bool] = True

    weight: Tensor
    first: Tensor
    alpha: Tensor
    lr: Tensor

    def __init__(self, alpha: Weight, lr: Annotated[float, Field(gt=0, le=1)], ranking: RankingLoss) -> None:
        super().__init__(ranking)
        self.register_buffer("weight", torch.ones(2))
        self.register_buffer("first", torch.zeros(2))  # L(0); 0 before the first batch
        self.register_buffer("alpha", torch.tensor(alpha), persistent=False)
        self.register_buffer("lr", torch.tensor(lr), persistent=False)

    def forward(self, losses: Tensor, shared: Tensor) -> tuple[Tensor, Tensor]:
        """As in `Balance`; then moves the weights by one step."""
        weight = self.weight
        gradients = [torch.autograd.grad(loss, shared, retain_graph=True)[0] for loss in losses]
        with torch.no_grad():
            norm = torch.stack([gradient.norm() for gradient in gradients])
            self.first = torch.where(self.first > 0, self.first, losses.clamp(min=torch.finfo(losses.dtype).tiny))
            step = self.lr * gradnorm(weight, norm, losses / self.first, self.alpha)
            new_weight = (weight - step).clamp(min=MIN_WEIGHT)
            self.weight = 2 * new_weight / new_weight.sum()
        return (weight * losses).sum(), weight
