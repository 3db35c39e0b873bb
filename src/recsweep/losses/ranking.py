"""Losses of rankings: a positive's logit against those of the items that it competes with.

The losses are pure functions: `bpr`, `softmax`, `full_softmax`. Which items compete is a choice of its own, which the
model carries out; the classes below name the choices, and each is a loss together with its competition.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus


def bpr(positive: Tensor, negative: Tensor) -> Tensor:
    """Bayesian personalised ranking: mean of -log σ(s⁺ - s⁻) over all pairs (Rendle et al., UAI 2009).

    Args:
        positive: [B] logits of the positives.
        negative: [B, C] logits of the items that each competes with.

    >>> import torch
    >>> bpr(torch.tensor([1.0]), torch.tensor([[1.0, 1.0]])).exp()  # each pair is even: -log ½
    tensor(2.)
    """
    return softplus(negative - positive[:, None]).mean()


def softmax(positive: Tensor, negative: Tensor) -> Tensor:
    """Cross entropy of the positive among its competitors: mean of -log(e^s⁺ / (e^s⁺ + Σ e^s⁻)).

    With a single competitor this is `bpr`.

    Args:
        positive: [B] logits of the positives.
        negative: [B, C] logits of the items that each competes with; one that is very low does not compete.

    >>> import torch
    >>> softmax(torch.tensor([1.0]), torch.tensor([[1.0, 1.0, -1e30]])).exp()  # one of three: -log ⅓
    tensor(3.)
    """
    return softplus(negative.logsumexp(1) - positive).mean()


def full_softmax(logits: Tensor, row: Tensor, item: Tensor) -> Tensor:
    """Cross entropy of positives among the whole catalogue: mean of logsumexp(logits of the row) - logit of the item.

    Positives of the same user share their logits.

    Args:
        logits: [U, n_items].
        row: [B] place of each positive's user among the U.
        item: [B].

    >>> import torch
    >>> full_softmax(torch.zeros(2, 3), torch.tensor([0, 0]), torch.tensor([1, 2])).exp()  # one of three: -log ⅓
    tensor(3.)
    """
    return (logits.logsumexp(1)[row] - logits[row, item]).mean()


@dataclass(frozen=True)
class Sampled:
    """Every row competes with items of its own, drawn uniformly from those that its user does not have.

    Args:
        function: softmax, or bpr for pairs.
        n_negatives: items drawn a row, distinct.
    """

    function: Literal["softmax", "bpr"]
    n_negatives: Annotated[int, Field(ge=1, le=10_000)]

    def __call__(self, positive: Tensor, negative: Tensor) -> Tensor:
        return (softmax if self.function == "softmax" else bpr)(positive, negative)


@dataclass(frozen=True)
class InBatch:
    """Every row competes with the positives of other users in its batch, and with items that all of them share.

    Items stand in a batch as often as they are popular. With `log_q`, log q(item) is subtracted from every logit, where
    q is the probability of a place in the competition to hold the item (Yi et al., RecSys 2019, equation 3; with shared
    items, mixed negative sampling: Yang et al., WWW 2020, section 3.3).

    Args:
        n_shared: items drawn uniformly for the batch.
        log_q: correct for how often an item competes.
    """

    n_shared: Annotated[int, Field(ge=0, le=1_000_000)]
    log_q: bool

    def __call__(self, positive: Tensor, negative: Tensor) -> Tensor:
        return softmax(positive, negative)


@dataclass(frozen=True)
class Full:
    """Every row competes with the whole catalogue."""

    def __call__(self, logits: Tensor, row: Tensor, item: Tensor) -> Tensor:
        return full_softmax(logits, row, item)


Competition = Sampled | InBatch | Full
