"""Logged bandit feedback: which item a known policy showed to whom, with what probability and to what reward."""

from dataclasses import dataclass, replace
from typing import Protocol

from torch import Tensor

from recsweep.data.schema import Interactions


class Ranker(Protocol):
    """The second stage: orders what the first nominates."""

    def score_all(self, user: Tensor) -> Tensor:
        """Logits [B, n_items] of a reward, for users [B]."""


@dataclass(frozen=True, kw_only=True)
class BanditLog(Interactions):
    """Interactions that a policy logged: `rating` is the reward, in {0, 1} where a simulator gave it.

    Args:
        propensity: [N] float32 in (0, 1], probability with which the policy showed the item.
        recurring: whether users come back, so that a vector of their own can be learned; False where every row is a
            context of its own, described by its features alone.
        ranker: second stage, trained on the log's training rows; None where there is none.
        reward: [n_users, n_items] bool, the reward of every pair; None where nobody knows it.
        relevant: [n_users, n_items] bool, what a ranking should find; None where nobody knows it.
    """

    propensity: Tensor
    recurring: bool
    ranker: Ranker | None = None
    reward: Tensor | None = None
    relevant: Tensor | None = None

    def take(self, rows: Tensor) -> "BanditLog":
        """The same log with these rows only."""
        return replace(super().take(rows), propensity=self.propensity[rows])

    def ideal(self) -> "BanditLog":
        """The same log, whose ranker is the truth: what an oracle in both stages is judged on."""
        assert self.truth is not None
        return replace(self, ranker=self.truth)
