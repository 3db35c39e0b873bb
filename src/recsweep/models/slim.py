"""SLIM: sparse, nonnegative weights between items."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from recsweep.data.schema import Interactions
from recsweep.models.item_item import ItemItem

TOLERANCE = 1e-4
"""Of the two residuals, beside the norms of what they compare."""
OVER_RELAXATION = 1.7


class SLIM(ItemItem):
    """Sparse linear method (Ning and Karypis, ICDM 2011, equation 3), for all items at once.

    W ≥ 0 with a zero diagonal minimises 1/2 |X - XW|² + l2/2 |W|² + l1 |W|₁, where X holds 1 for each training pair.
    ADMM solves it (Steck et al., WSDM 2020): B has the zero diagonal, C ≥ 0 is sparse, U adds up B - C.

        P = (XᵀX + (l2 + ρ) I)⁻¹
        B = I + P (ρ (C - U) - diag(γ)), with the γ that gives it a zero diagonal
        B = 1.7 B - 0.7 C, over-relaxed
        C = max(0, B + U - l1 / ρ), which is W in the end
        U = U + B - C

    For quadratic problems, over-relaxation and ρ near √(l2 (l2 + |XᵀX|)) are fast (Ghadimi et al., IEEE TAC 2015). It
    stops once |B - C| and the change of C are small (Boyd et al. 2011, section 3.3), or after `max_iterations`. An
    iteration takes 2 n_items³ operations: on a CPU seconds for 3,000 items, minutes for 12,000.

    Args:
        l1: strength of the penalty that makes weights zero, in users.
        l2: strength of the ridge penalty, in users.
        max_iterations: the most iterations.
    """

    def __init__(
        self,
        data: Interactions,
        *,
        l1: Annotated[float, Field(ge=0)],
        l2: Annotated[float, Field(gt=0)],
        max_iterations: Annotated[int, Field(ge=1)],
    ) -> None:
        super().__init__(data)
        self.l1 = l1
        self.l2 = l2
        self.max_iterations = max_iterations

    def compute_weights(self, counts: Tensor) -> Tensor:
        rho = float((self.l2 * (self.l2 + counts.norm())).sqrt())
        counts.diagonal().add_(self.l2 + rho)
        inverse = torch.linalg.inv(counts).float()
        sparse, excess = torch.zeros_like(inverse), torch.zeros_like(inverse)
        for _ in range(self.max_iterations):
            dense = inverse @ (rho * (sparse - excess))
            dense -= inverse * ((1 + dense.diagonal()) / inverse.diagonal())
            dense.fill_diagonal_(0)
            excess += torch.lerp(sparse, dense, OVER_RELAXATION)
            previous, sparse = sparse, (excess - self.l1 / rho).clamp_(min=0)
            excess -= sparse
            is_feasible = torch.dist(dense, sparse) <= TOLERANCE * dense.norm()
            if is_feasible and torch.dist(sparse, previous) <= TOLERANCE * excess.norm():
                break
        return sparse
