"""Logged bandit feedback: which item a known policy showed to whom, with what probability and to what reward."""

from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor, nn

from recsweep.data.schema import Interactions, Truth


class DotScorer(nn.Module):
    """Scores ⟨user vector, item vector⟩, from vectors [n_users, d] and [n_items, d] that no checkpoint needs."""

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
    """The truth as a scorer, 1 for what is relevant and 0 for the rest, and as a policy.

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
        """Log-probabilities [B, n_items]: any of what is rewarded, or any item where nothing is."""
        rewarded = self.reward[user].float()
        chosen = rewarded + (rewarded.sum(1, keepdim=True) == 0)
        return (chosen / chosen.sum(1, keepdim=True)).log()


@dataclass(frozen=True, kw_only=True)
class BanditLog(Interactions):
    """Interactions that a policy logged: `rating` is the reward, in {0, 1} where a simulator gave it.

    Args:
        propensity: [N] float32 in (0, 1], probability with which the policy showed the item.
        recurring: whether users come back, so that a vector of their own can be learned; False where every row is a
            context of its own, described by its features alone.
        ranker: the second stage, logits of a reward learned from the log's training rows; None where there is none.
        reward: [n_users, n_items] bool, the reward of every pair; None where nobody knows it.
        relevant: [n_users, n_items] bool, what a ranking should find; None where nobody knows it.
    """

    propensity: Tensor
    recurring: bool
    ranker: Truth | DotScorer | None = None
    reward: Tensor | None = None
    relevant: Tensor | None = None

    def take(self, rows: Tensor) -> Self:
        """The same log with these rows only."""
        return replace(super().take(rows), propensity=self.propensity[rows])

    def ideal(self) -> "BanditLog":
        """The same log, whose ranker is the truth: what an oracle in both stages is judged on."""
        assert self.truth is not None
        return replace(self, ranker=self.truth)
