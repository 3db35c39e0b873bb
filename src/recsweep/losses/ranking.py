"""Ranking losses: the logit of a positive against those of its competitors.

`bpr`, `softmax`, `gbce`, `full_softmax` and `full_softmax_of_products` are pure functions. A `RankingLoss` applies one
of them to its kind of competitors: items drawn for each row, the other positives of the batch, or the whole catalogue.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Protocol, cast

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus

ROWS_AT_ONCE = 256
"""Rows of a softmax over the catalogue that are computed at once: so few that their logits stay in the CPU cache."""


def bpr(positive: Tensor, negative: Tensor) -> Tensor:
    """Bayesian personalised ranking: mean of -log σ(s⁺ - s⁻) over all pairs (Rendle et al., UAI 2009).

    Args:
        positive: [B] logits of the positives.
        negative: [B, C] logits of each row's competitors.

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
        negative: [B, C] logits of each row's competitors; the lowest number of the type masks one out.

    >>> import torch
    >>> softmax(torch.tensor([1.0]), torch.tensor([[1.0, 1.0, -1e30]])).exp()  # one of three: -log ⅓
    tensor(3.)
    """
    return softplus(negative.logsumexp(1) - positive).mean()


def gbce(positive: Tensor, negative: Tensor, sampling_rate: float, calibration: float) -> Tensor:
    """Generalised binary cross entropy (gBCE): mean of -(β log σ(s⁺) + Σ log(1 - σ(s⁻))) / (1 + C) over rows.

    Of few negatives, binary cross entropy learns probabilities that are too high; β = α (t (1 - 1/α) + 1/α) lowers the
    positive's weight, α being `sampling_rate` and t `calibration` (Petrov and Macdonald, "gSASRec", RecSys 2023). t = 0
    is binary cross entropy; with t = 1 the learned probabilities are calibrated.

    Args:
        positive: [B] logits of the positives.
        negative: [B, C] logits of each row's negatives.
        sampling_rate: α in (0, 1], C's share of the items that could be drawn.
        calibration: t in [0, 1].

    >>> import torch
    >>> gbce(torch.zeros(1), torch.zeros(1, 1), 0.5, 1).exp() ** 4  # (½ log 2 + log 2) / 2, times 4: log 8
    tensor(8.)
    """
    beta = sampling_rate * (calibration * (1 - 1 / sampling_rate) + 1 / sampling_rate)
    return (beta * softplus(-positive) + softplus(negative).sum(1)).mean() / (1 + negative.shape[1])


def full_softmax(logits: Tensor, user_index: Tensor, item: Tensor) -> Tensor:
    """Cross entropy of positives among the whole catalogue: mean of logsumexp(user's logits) - the item's logit.

    Positives of the same user share their logits.

    Args:
        logits: [U, n_items] of the batch's distinct users.
        user_index: [B] position of each positive's user among the U.
        item: [B] the positives.

    >>> import torch
    >>> full_softmax(torch.zeros(2, 3), torch.tensor([0, 0]), torch.tensor([1, 2])).exp()  # one of three: -log ⅓
    tensor(3.)
    """
    return (logits.logsumexp(1)[user_index] - logits[user_index, item]).mean()


def full_softmax_of_products(vectors: Tensor, items: Tensor, item: Tensor) -> Tensor:
    """`full_softmax` where the logits are dot products and each positive has its own, without a matrix of all of them.

    Computes the gradient with the loss, for so few rows at once that their logits stay in the cache, and keeps none of
    them for a backward pass; `benchmarks/bench_sequences.py` times a training step with it.

    Args:
        vectors: [B, d], whose products with `items` are the logits of a row.
        items: [n_items, d].
        item: [B] the positives.

    >>> import torch
    >>> full_softmax_of_products(torch.zeros(2, 4), torch.ones(3, 4), torch.tensor([1, 2])).exp()  # as above
    tensor(3.)
    """
    return cast(Any, SoftmaxOfProducts).apply(vectors.float(), items.float(), item)


class SoftmaxOfProducts(torch.autograd.Function):
    """The function behind `full_softmax_of_products`."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, items: Tensor, item: Tensor) -> Tensor:
        gradient, items_gradient = torch.empty_like(vectors), torch.zeros_like(items)
        buffers = vectors.new_empty(2, ROWS_AT_ONCE, len(items))
        log_probability = vectors.new_zeros(())
        with torch.autocast(vectors.device.type, enabled=False):
            for first in range(0, len(vectors), ROWS_AT_ONCE):
                rows = slice(first, first + ROWS_AT_ONCE)
                column = item[rows, None]
                logits, probabilities = buffers[:, : len(column)]
                torch.mm(vectors[rows], items.T, out=logits)
                torch.softmax(logits, 1, out=probabilities)
                logsumexp = logits.amax(1) - probabilities.amax(1).log()  # without another exponential
                log_probability += (logits.gather(1, column)[:, 0] - logsumexp).sum()
                probabilities.scatter_add_(1, column, probabilities.new_full(column.shape, -1))
                torch.mm(probabilities, items, out=gradient[rows])
                items_gradient.addmm_(probabilities.T, vectors[rows])
        ctx.save_for_backward(gradient / len(vectors), items_gradient / len(vectors))
        return -log_probability / len(vectors)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        of_vectors, of_items = ctx.saved_tensors
        return of_vectors * gradient, of_items * gradient, None


class CatalogueVectors(NamedTuple):
    """Vectors whose dot products are the logits of a batch's positives for all items.

    Args:
        users: [U, d] of the distinct users, or [B, d] of the positives where each has its own.
        items: [n_items, d].
        user_index: [B] index of each positive's user in `users`; None where each has its own.
        item: [B] the positives.
    """

    users: Tensor
    items: Tensor
    user_index: Tensor | None
    item: Tensor


class BatchLogits(Protocol):
    """The logits that a model computes for a batch of B positives, against the competitors that a loss asks for."""

    @property
    def n_items(self) -> int:
        """The size of the catalogue."""

    def against_negatives(self, n: int) -> tuple[Tensor, Tensor]:
        """Logits of the positives [B], and of `n` negatives for each row [B, n].

        Negatives are distinct items that the row's user does not have, drawn uniformly.
        """

    def against_shared(self, n: int) -> tuple[Tensor, Tensor]:
        """Logits of the positives [B], and of `n` negatives that all rows share [B, n].

        Negatives are distinct items, drawn uniformly from the catalogue; a row's own item is masked by the type's
        lowest number.
        """

    def against_batch(self, n_shared: int, log_q: bool) -> tuple[Tensor, Tensor]:
        """Logits of the positives [B], and of the row's competitors [B, C], for a softmax.

        These are the positives of the batch and `n_shared` uniform draws from the catalogue: each in a column of its
        own, or in one column for an item, with the logarithm of their number added. The row's own item and positives of
        the same user are masked by the type's lowest number. With `log_q`, log q(item) is subtracted from every logit,
        where q is the probability that a competitor is that item.
        """

    def against_catalogue(self) -> CatalogueVectors:
        """Vectors that give the logits of the whole catalogue."""


class RankingLoss(ABC):
    """A scalar loss of a batch of positives; it also chooses their competitors."""

    compares_rows: ClassVar[bool] = False
    """Whether the rows of a batch compete with each other; a batch must then mix users."""

    @abstractmethod
    def __call__(self, batch: BatchLogits) -> Tensor:
        """The loss of a batch, a scalar."""


NNegatives = Annotated[int, Field(ge=1, le=10_000)]


def draw_negatives(batch: BatchLogits, n: int, shared: bool) -> tuple[Tensor, Tensor]:
    """Logits of the positives [B] and of `n` negatives [B, n], each row's own or shared by all."""
    return batch.against_shared(n) if shared else batch.against_negatives(n)


@dataclass(frozen=True)
class Sampled(RankingLoss):
    """Each row has its own negatives, drawn uniformly from the items that its user does not have, or shares them.

    Args:
        function: softmax, or bpr for pairs.
        n_negatives: distinct negatives drawn for a row.
        shared: whether they are drawn once for the whole batch, from the whole catalogue.
    """

    function: Literal["softmax", "bpr"]
    n_negatives: NNegatives
    shared: bool = False

    def __call__(self, batch: BatchLogits) -> Tensor:
        logits = draw_negatives(batch, self.n_negatives, self.shared)
        return (softmax if self.function == "softmax" else bpr)(*logits)


@dataclass(frozen=True)
class Calibrated(RankingLoss):
    """`gbce`; each row has its own negatives, drawn uniformly from items that its user does not have, or shares them.

    Args:
        n_negatives: distinct negatives drawn for a row.
        calibration: t; 0 is binary cross entropy, 1 calibrates the predicted probabilities fully.
        shared: whether negatives are drawn once for the whole batch, from the whole catalogue.
    """

    n_negatives: NNegatives
    calibration: Annotated[float, Field(ge=0, le=1)]
    shared: bool = False

    def __call__(self, batch: BatchLogits) -> Tensor:
        logits = draw_negatives(batch, self.n_negatives, self.shared)
        return gbce(*logits, min(1.0, self.n_negatives / (batch.n_items - 1)), self.calibration)


@dataclass(frozen=True)
class InBatch(RankingLoss):
    """In-batch softmax: a row competes with the positives of other users in the batch, and with shared negatives.

    Popular items compete more often. With `log_q`, log q(item) is subtracted from every logit, where q is the
    probability that a competitor is that item (Yi et al., RecSys 2019, equation 3; with shared negatives this is mixed
    negative sampling: Yang et al., WWW 2020, section 3.3).

    Args:
        n_shared: negatives drawn uniformly for the batch.
        log_q: whether to correct for how often an item competes.
    """

    n_shared: Annotated[int, Field(ge=0, le=1_000_000)]
    log_q: bool

    compares_rows: ClassVar[bool] = True

    def __call__(self, batch: BatchLogits) -> Tensor:
        return softmax(*batch.against_batch(self.n_shared, self.log_q))


@dataclass(frozen=True)
class Full(RankingLoss):
    """Each row competes with the whole catalogue."""

    def __call__(self, batch: BatchLogits) -> Tensor:
        users, items, user_index, item = batch.against_catalogue()
        if user_index is None:
            return full_softmax_of_products(users, items, item)
        return full_softmax(users @ items.T, user_index, item)
