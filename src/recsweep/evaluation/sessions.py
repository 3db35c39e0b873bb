"""What a policy earns in sessions on held-out items."""

from collections.abc import Iterator
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torchmetrics import Metric

from recsweep.data.splits import place_in_group
from recsweep.evaluation.protocol import PairScorer, Target, check_not_empty, without_nan
from recsweep.sampling import group_items, sample_negatives, unseen
from recsweep.seeding import Seed


class SessionEvaluation(Metric):
    """A session for every user with held-out items, as DRR's environment has them in training.

    Its action set is the user's P held-out items and as many others, each drawn from what he has neither seen nor held
    out. P of them are recommended by descending score, and each that is held out earns 1. What is liked does not change
    the scorer: nothing of the test part becomes known to it.

    Args:
        objective: the metric that selects the model.
        seed: of the others; the same for every model.
        batch_size: users at once.
    """

    full_state_update = False
    mode = "max"
    totals: Tensor
    n_sessions: Tensor

    def __init__(
        self,
        objective: Literal["reward", "session_reward"],
        seed: Seed,
        batch_size: Annotated[int, Field(gt=0, lt=2**31)],
    ) -> None:
        super().__init__()
        self.objective, self.seed, self.batch_size = objective, seed, batch_size
        self.add_state("totals", torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("n_sessions", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def batches(self, target: Target, device: torch.device) -> Iterator[tuple[Tensor, ...]]:
        """Pairs in some order of sessions: (session [P], user [P], held-out item [P], other item [P])."""
        check_not_empty(target)
        data, generator = target.data, torch.Generator().manual_seed(self.seed)
        user, item = data.user[target.held_out], data.item[target.held_out]
        known = torch.cat([target.seen, target.held_out])
        allowed = unseen(group_items(data.user[known], data.item[known], data.n_users, data.n_items), data.n_items)
        relevant = group_items(user, item, data.n_users, data.n_items)
        for users in user.unique().split(self.batch_size):
            session, liked = relevant.of(users)
            other = sample_negatives(users[session], 1, allowed, generator)[:, 0]
            yield tuple(column.to(device) for column in (session, users[session], liked, other))

    def update(self, scorer: PairScorer, session: Tensor, user: Tensor, liked: Tensor, other: Tensor) -> None:
        """Adds one batch of `batches`; `UserError` where a score is NaN."""
        scores = without_nan(scorer.score(user.repeat(2), torch.cat([other, liked])))
        earned, length = earned_in_sessions(scores, session)
        self.totals = self.totals + torch.stack([(earned / length).sum(), earned.sum()])
        self.n_sessions = self.n_sessions + len(length)

    def compute(self) -> dict[str, Tensor]:
        """ "reward", the mean share of the best possible, and "session_reward", the mean of what is earned, float64."""
        share, earned = self.totals / self.n_sessions
        return {"reward": share, "session_reward": earned}


def earned_in_sessions(scores: Tensor, session: Tensor) -> tuple[Tensor, Tensor]:
    """What each session earns, and what it could at best.

    Args:
        scores: [2 P] of the other and then of the liked items.
        session: [P] int64 from 0 on without a gap, the session of an other and of a liked item.

    Returns:
        Likes among the first n recommendations of each session, and n, its number of liked items: [S] float64 each.
        Where scores are equal, others come first.

    >>> earned_in_sessions(torch.tensor([0.5, 0.1, 0.9, 0.9, 0.2, 0.9]), torch.tensor([0, 0, 1]))
    (tensor([1., 0.], dtype=torch.float64), tensor([2., 1.], dtype=torch.float64))
    """
    length = torch.bincount(session)
    by_score = scores.argsort(descending=True, stable=True)
    both = session.repeat(2)
    order = by_score[both[by_score].argsort(stable=True)]
    place = place_in_group(both, order, len(length))
    liked = torch.arange(len(both), device=both.device) >= len(session)
    chosen = liked & (place < length[both])
    return torch.bincount(both, chosen.double(), len(length)), length.double()
