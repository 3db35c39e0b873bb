"""Two losses in one: how that of the ranking, such as BPR, and that of the rating, MSE, are weighed against each other.

The losses themselves are in `losses/ranking.py` and `losses/rating.py`; the classes below are the choices of a balance.
Each is a module, for a balance may have something to learn. A pair of losses or weights is [2], the ranking's first.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from recsweep.errors import UserError
from recsweep.losses.ranking import Competition

Weight = Annotated[float, Field(ge=0, le=1e6)]
LEAST_WEIGHT = 1e-4  # of GradNorm: no task is ever switched off


def uncertainty(losses: Tensor, log_variance: Tensor) -> Tensor:
    """Σ of -log likelihoods whose noise is learned: L_F / σ_F² + log σ_F + L_R / 2σ_R² + log σ_R, a scalar.

    The ranking's is the likelihood of a choice, softened by σ_F²; MSE that of a number with Gaussian noise (Kendall,
    Gal and Cipolla, CVPR 2018, equations 7 and 10).

    Args:
        losses: [2], the ranking's and MSE.
        log_variance: [2], log σ².

    >>> uncertainty(torch.tensor([0.5, 4.0]), torch.tensor([1.0, 4.0]).log())  # 1/2 + 4/8 + log 2
    tensor(1.6931)
    """
    return (confidence(log_variance) * losses + log_variance / 2).sum()


def confidence(log_variance: Tensor) -> Tensor:
    """[2], what `uncertainty` multiplies each loss by: 1 / σ_F² and 1 / 2σ_R².

    >>> confidence(torch.zeros(2))
    tensor([1.0000, 0.5000])
    """
    return (-log_variance).exp() * log_variance.new_tensor([1.0, 0.5])


def gradnorm(weight: Tensor, norm: Tensor, progress: Tensor, alpha: float | Tensor) -> Tensor:
    """Gradient [2] of GradNorm's loss Σ |w_i n_i - G r_i^α| for the weights (Chen et al., ICML 2018, equation 2).

    w_i n_i is the norm of the weighted loss's gradient in what both tasks share, G their mean, and r_i how slowly a
    task learns beside the other: its progress L_i / L_i(0) divided by the mean progress. The target G r_i^α is taken
    as constant, so the gradient is sign(w_i n_i - G r_i^α) n_i, and needs no second derivative.

    Args:
        weight: [2] w, at least 0.
        norm: [2] n, of the unweighted losses' gradients.
        progress: [2] L_i / L_i(0).
        alpha: how strongly the slower task is favoured, at least 0.

    >>> even = torch.ones(2)
    >>> gradnorm(even, torch.tensor([1.0, 3.0]), even, 1.5)  # G = 2: one norm is below, the other above
    tensor([-1.,  3.])
    """
    grown = weight * norm
    target = grown.mean() * (progress / progress.mean()) ** alpha
    return (grown - target).sign() * norm


class Fixed(nn.Module):
    """The weights stay as they are.

    Args:
        factorization_weight, regression_weight: of the ranking's loss and of MSE, not both 0.
        ranking: the loss of the ranking, BPR or another of `losses/ranking.py`.
    """

    weight: Tensor

    def __init__(self, factorization_weight: Weight, regression_weight: Weight, ranking: Competition) -> None:
        super().__init__()
        if factorization_weight == regression_weight == 0:
            raise UserError(
                "loss.factorization_weight=0 and loss.regression_weight=0 leave nothing to learn: raise one of them"
            )
        self.ranking = ranking
        self.register_buffer("weight", torch.tensor([factorization_weight, regression_weight]), persistent=False)

    def forward(self, losses: Tensor, shared: Tensor) -> tuple[Tensor, Tensor]:
        """The balanced loss, a scalar, and the weights [2] in force.

        Args:
            losses: [2], the ranking's and MSE.
            shared: vectors that both depend on; only `GradNorm` asks for them.
        """
        return (self.weight * losses).sum(), self.weight


class Uncertainty(nn.Module):
    """Each task's noise is learned with the model, and weighs its loss (see `uncertainty`); both start at σ² = 1.

    Weight decay, where there is some, pulls them back there.

    Args:
        ranking: the loss of the ranking, BPR or another of `losses/ranking.py`.
    """

    def __init__(self, ranking: Competition) -> None:
        super().__init__()
        self.ranking = ranking
        self.log_variance = nn.Parameter(torch.zeros(2))

    def forward(self, losses: Tensor, shared: Tensor) -> tuple[Tensor, Tensor]:
        """As in `Fixed`."""
        return uncertainty(losses, self.log_variance), confidence(self.log_variance.detach())


class GradNorm(nn.Module):
    """Weights move so that both losses pull at the shared vectors as hard as each other; their sum stays 2.

    Chen et al., ICML 2018, algorithm 1, with plain gradient steps of the weights, each kept above `LEAST_WEIGHT`.

    Args:
        alpha: how strongly the task that learns more slowly is favoured; 0 only evens out the pulls.
        lr: learning rate of the weights.
        ranking: the loss of the ranking, BPR or another of `losses/ranking.py`.
    """

    weight: Tensor
    first: Tensor
    alpha: Tensor
    lr: Tensor

    def __init__(self, alpha: Weight, lr: Annotated[float, Field(gt=0, le=1)], ranking: Competition) -> None:
        super().__init__()
        self.ranking = ranking
        self.register_buffer("weight", torch.ones(2))
        self.register_buffer("first", torch.zeros(2))  # L(0); 0 until there is one
        self.register_buffer("alpha", torch.tensor(alpha), persistent=False)
        self.register_buffer("lr", torch.tensor(lr), persistent=False)

    def forward(self, losses: Tensor, shared: Tensor) -> tuple[Tensor, Tensor]:
        """As in `Fixed`; afterwards the weights move by one step."""
        weight = self.weight
        slopes = [torch.autograd.grad(loss, shared, retain_graph=True)[0] for loss in losses]
        with torch.no_grad():
            norm = torch.stack([slope.norm() for slope in slopes])
            self.first = torch.where(self.first > 0, self.first, losses.clamp(min=torch.finfo(losses.dtype).tiny))
            step = self.lr * gradnorm(weight, norm, losses / self.first, self.alpha)
            moved = (weight - step).clamp(min=LEAST_WEIGHT)
            self.weight = 2 * moved / moved.sum()
        return (weight * losses).sum(), weight


Balance = Fixed | Uncertainty | GradNorm
