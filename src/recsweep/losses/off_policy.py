"""Off-policy losses: learn a policy from the log of another one. Each is a scalar to minimise.

In all of them π = softmax(logits) is the policy to learn, β the logging policy, and a the logged item (see
`OffPolicyLoss`). The keyword-only numbers may also be scalar tensors.
"""

from typing import Annotated, Protocol

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax, softmax

from recsweep.sampling import sample_slates

CACHED_NUMBERS = 2**18
"""Size of a block of 2-IPS on the CPU, in numbers: the fastest of those tried."""

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1, le=4096)]


class OffPolicyLoss(Protocol):
    """A scalar loss of logged rows. It declares the arguments that it needs; its settings are keyword-only."""

    def __call__(
        self,
        logits: Tensor,
        action: Tensor,
        propensity: Tensor = ...,
        reward: Tensor = ...,
        ranker_logits: Tensor = ...,
        predicted_reward: Tensor = ...,
        generator: torch.Generator = ...,
    ) -> Tensor:
        """What a model passes to a loss that declares it.

        Args:
            logits: [B, n_items] of π.
            action: [B] int64, the logged items.
            propensity: [B] in (0, 1], β(a).
            reward: [B] of the logged items. A loss without this argument only gets rows of reward 1, and needs a log
                whose rewards are 0 and 1.
            ranker_logits: [B, n_items] of the second stage.
            predicted_reward: [B, n_items] of a reward model.
            generator: for random draws, on the device of `logits`.
        """


def ce(logits: Tensor, action: Tensor) -> Tensor:
    """Cross entropy: the mean of -log π(a).

    >>> ce(torch.zeros(1, 2), torch.tensor([1]))  # log 2
    tensor(0.6931)
    """
    return cross_entropy(logits, action)


def ips_1(
    logits: Tensor, action: Tensor, propensity: Tensor, *, max_weight: Positive, min_weight: NotNegative
) -> Tensor:
    """Inverse propensity scoring in one stage (1-IPS): the mean of -w log π(a).

    w = clip(π(a) / β(a), min_weight, max_weight), divided by its mean over the batch. No gradient flows through w: the
    loss has the gradient of REINFORCE, since that of π is π times that of log π (Ma et al., "Off-policy
    Learning in Two-stage Recommender Systems", WWW 2020, doi 10.1145/3366423.3380130, the one-stage method).

    >>> ips_1(torch.zeros(1, 2), torch.tensor([1]), torch.tensor([0.3]), max_weight=10, min_weight=0.01)  # w = 1
    tensor(0.6931)
    """
    log_pi = _action_values(action, log_softmax(logits, 1))
    return -(_batch_weights(log_pi.detach(), propensity, max_weight, min_weight) * log_pi).mean()


def ips_2(
    logits: Tensor,
    action: Tensor,
    propensity: Tensor,
    ranker_logits: Tensor,
    generator: torch.Generator,
    *,
    alpha: NotNegative,
    n_slates: Count,
    slate_size: Count,
    temperature: Positive,
    max_weight: Positive,
    min_weight: NotNegative,
) -> Tensor:
    """Inverse propensity scoring in two stages (2-IPS): 1-IPS that accounts for the ranker after the nominator.

    A slate s is a set: `slate_size` draws from softmax(logits / temperature), and the logged item. P(s) is the logged
    item's share of the softmax of the ranker's logits over s. With w as in `ips_1` and means over the slates, the
    loss is the batch's mean of

        -w mean[P(s)] log π(a) - alpha w mean[P(s) Σ log π(j) over the items j of s other than a]

    (Ma et al., WWW 2020, doi 10.1145/3366423.3380130, the two-stage method). No gradient flows through w, P and the
    draws: the loss is -Σ credit(j) log π(j) with a constant credit for each item, and only this sum needs autograd.

    Args:
        ranker_logits: [B, n_items] of the second stage.
        generator: draws the slates; on the device of `logits`.
    """
    log_probs = log_softmax(logits, 1)
    with torch.no_grad():
        weight = _batch_weights(_action_values(action, log_probs), propensity, max_weight, min_weight)
        row_size = max(logits.shape[1], n_slates * slate_size)
        n_rows = max(1, CACHED_NUMBERS // row_size) if logits.is_cpu else len(logits)
        columns = (log_probs, action, weight, ranker_logits.to(weight.dtype))  # bfloat16 in mixed precision
        blocks = zip(*(x.split(n_rows) for x in columns), strict=True)
        credits = []
        for block_log_probs, actions, weights, block_logits in blocks:
            slates = sample_slates(softmax(block_log_probs / temperature, 1), n_slates, slate_size, generator)
            credits.append(_credit(slates, actions, weights, block_logits, alpha))
    return -torch.dot(torch.cat(credits).flatten(), log_probs.flatten()) / len(logits)


def snips(logits: Tensor, action: Tensor, propensity: Tensor, reward: Tensor, *, max_weight: Positive) -> Tensor:
    """Self-normalised inverse propensity scoring: -Σ w r / Σ w over the batch, w = min(π(a) / β(a), max_weight).

    The batch holds rows of all rewards, and gradients flow through both sums: a policy gains nothing by avoiding
    all logged items (Swaminathan and Joachims, "The Self-Normalized Estimator for Counterfactual
    Learning", NIPS 2015). The shares w / Σ w are a softmax of log w, so they are finite where all w are 0 in floats.

    >>> even = torch.tensor([0.5, 0.5])  # w = 1 and 1, rewards 1 and 0
    >>> snips(torch.zeros(2, 2), torch.tensor([0, 1]), even, torch.tensor([1.0, 0.0]), max_weight=100)
    tensor(-0.5000)
    """
    log_weight = _action_values(action, log_softmax(logits, 1)) - propensity.log()
    limit = torch.as_tensor(max_weight, dtype=log_weight.dtype).log()
    return -(softmax(log_weight.clamp(max=limit), 0) * reward).sum()


def dr(
    logits: Tensor,
    action: Tensor,
    propensity: Tensor,
    reward: Tensor,
    predicted_reward: Tensor,
    *,
    max_weight: Positive,
) -> Tensor:
    """Doubly robust: the mean of -(Σ π(j) q(j) over all items j + w (r - q(a))), w = min(π(a) / β(a), max_weight).

    Unbiased if either the propensities or the predicted rewards q are right. Gradients flow through π and w
    (Dudík, Langford and Li, "Doubly Robust Policy Evaluation and Learning", ICML 2011).

    Args:
        predicted_reward: [B, n_items], q.

    >>> q = torch.tensor([[0.5, 0.0]])  # 1/2 · 1/2 + 1 · (1 - 1/2)
    >>> dr(torch.zeros(1, 2), torch.tensor([0]), torch.tensor([0.5]), torch.tensor([1.0]), q, max_weight=100)
    tensor(-0.7500)
    """
    log_probs = log_softmax(logits, 1)
    weight = _ratio(_action_values(action, log_probs), propensity).clamp(max=max_weight)
    direct = (log_probs.exp() * predicted_reward).sum(1)
    return -(direct + weight * (reward - _action_values(action, predicted_reward))).mean()


def top_k(
    logits: Tensor, action: Tensor, propensity: Tensor, *, k: Count, max_weight: Positive, min_weight: NotNegative
) -> Tensor:
    """Top-K off-policy correction: the mean of -w λ log π(a), λ = k (1 - π(a))^(k - 1).

    λ is the derivative in π(a) of the probability that a is among k draws: once a is likely to be shown, it gains less.
    w is the weight of `ips_1`: clipped, then divided by its mean over the batch. λ is neither clipped nor normalised,
    so k = 1 is `ips_1`. No gradient flows through w and λ (Chen et al., "Top-K Off-Policy
    Correction for a REINFORCE Recommender System", WSDM 2019, doi 10.1145/3289600.3290999, equations 6 to 8).

    >>> top_k(torch.zeros(1, 2), torch.tensor([1]), torch.tensor([0.3]), k=3, max_weight=10, min_weight=0)  # 3/4 log 2
    tensor(0.5199)
    """
    log_pi = _action_values(action, log_softmax(logits, 1))
    weight = _batch_weights(log_pi.detach(), propensity, max_weight, min_weight)
    return -(weight * k * (1 - log_pi.detach().exp()) ** (k - 1) * log_pi).mean()


def _action_values(action: Tensor, table: Tensor) -> Tensor:
    """Each row's value at its logged item, [B]."""
    return table.gather(1, action[:, None])[:, 0]


def _ratio(log_pi: Tensor, propensity: Tensor) -> Tensor:
    return log_pi.exp() / propensity


def _batch_weights(log_pi: Tensor, propensity: Tensor, max_weight: Positive, min_weight: NotNegative) -> Tensor:
    """Importance weights [B], clipped, then divided by their mean; all 0 if they are all 0."""
    weight = _ratio(log_pi, propensity).clamp(min=min_weight).clamp(max=max_weight)
    return weight / weight.mean().clamp(min=torch.finfo(weight.dtype).tiny)


def _credit(slates: Tensor, action: Tensor, weight: Tensor, ranker_logits: Tensor, alpha: NotNegative) -> Tensor:
    """[B, n_items]: w mean[P(s)] at the logged item, elsewhere alpha w mean[P(s) where the item is in s, else 0].

    The odds exp(item's logit - logged item's logit) over the other items of s add up to 1 / P(s) - 1.
    """
    slates = slates.mT
    row = torch.arange(len(slates), dtype=torch.int32, device=slates.device)
    cell_index = (slates + (row * ranker_logits.shape[1])[:, None, None]).flatten()
    odds = (ranker_logits - ranker_logits.gather(1, action[:, None])).clamp_(max=80).exp_()  # keeps the sum finite
    odds[row, action] = 0
    is_first = torch.ones_like(slates, dtype=odds.dtype)
    is_first[:, 1:] = slates.diff(dim=1).clamp_(max=1)  # 0 for a repeated item: a slate is sorted
    total = odds.flatten().index_select(0, cell_index).view_as(slates).mul_(is_first).sum(1)
    share = weight[:, None] / (1 + total) / slates.shape[2]
    credit = torch.zeros_like(odds)
    credit.view(-1).scatter_add_(0, cell_index.long(), is_first.mul_(alpha * share[:, None]).flatten())
    credit[row, action] = share.sum(1)
    return credit
