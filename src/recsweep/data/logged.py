"""Logged bandit feedback: item shown, propensity under the logging policy, and reward."""

from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor, nn

from recsweep.data.schema import Interactions, Truth


class DotScorer(nn.Module):
    """Scores ⟨user vector, item vector⟩ from vectors [n_users, d] and [n_items, d]; checkpoints do not store them."""

    users: Tensor
    items: Tensor

    def __init__(self, users: Tensor, items: Tensor) -> None:
        super().__init__()
        self.register_buffer("users", users, persistent=False)
        self.register_buffer("items", items, persistent=False)

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """Scores [B] of pairs."""
        return (self.users[user] * self.items[item]).sum(-1)

    def score_all(self, user: Tensor) -> Tensor:
        """Scores [B, n_items] of users [B]."""
        return self.users[user] @ self.items.T


@dataclass(frozen=True)
class Relevance:
    """The true relevance as a scorer (1 for relevant items, else 0) and as a policy.

    Args:
        relevant, reward: [n_users, n_items] bool, as in `BanditLog`.
    """

    relevant: Tensor
    reward: Tensor

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """Scores [B] of pairs."""
        return self.relevant[user, item].float()

    def score_all(self, user: Tensor) -> Tensor:
        """Scores [B, n_items] of users [B]."""
        return self.relevant[user].float()

    def log_policy(self, user: Tensor) -> Tensor:
        """Log-probabilities [B, n_items]: uniform over a user's rewarded items, or all items if there are none."""
        rewarded = self.reward[user].float()
        chosen = rewarded + (rewarded.sum(1, keepdim=True) == 0)
        return (chosen / chosen.sum(1, keepdim=True)).log()


@dataclass(frozen=True, kw_only=True)
class BanditLog(Interactions):
    """Interactions logged by a policy. `rating` is the reward, in {0, 1} if a simulator produced it.

    Args:
        propensity: [N] float32 in (0, 1], probability with which the policy showed the item.
        recurring: whether a user can have several rows, so that an embedding per user can be learned. False if each row
            is a separate context, described by its features only.
        logging_policy: scores whose softmax over all items is the policy that showed the items; None where only the
            probabilities of what was shown are known.
        ranker: the second stage: logits of the reward, learned from the training rows; None if there is no ranker.
        reward: [n_users, n_items] bool, the reward of every pair; None if unknown.
        relevant: [n_users, n_items] bool, the items that a ranking should find; None if unknown.
    """

    propensity: Tensor
    recurring: bool
    logging_policy: DotScorer | None = None
    ranker: Truth | DotScorer | None = None
    reward: Tensor | None = None
    relevant: Tensor | None = None

    def take(self, rows: Tensor) -> Self:
        """The same log with these rows only."""
        return replace(super().take(rows), propensity=self.propensity[rows])

    def with_true_ranker(self) -> "BanditLog":
        """The same log with the truth as its ranker, to evaluate an oracle in both stages."""
        assert self.truth is not None
        return replace(self, ranker=self.truth)
