"""What a policy earns in sessions of held-out items."""

from collections.abc import Iterator
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torchmetrics import Metric

from recsweep.data.splits import position_in_group
from recsweep.evaluation.protocol import Evidence, PairScorer, Rows, Target, check_not_empty, check_scores
from recsweep.sampling import group_items, sample_others, unseen_items
from recsweep.seeding import Seed, generator


class SessionEvaluation(Metric):
    """One session a user with held-out items, like those of DRR's environment in training.

    The action set holds the user's P held-out items and P others, drawn from what they have neither seen nor held out;
    these are distinct, unless there are fewer than P.
    The model recommends P of these by descending score and earns 1 for each held-out one. Scores stay fixed during a
    session: the model learns nothing of the test part.

    Args:
        objective: the metric that selects the model.
        seed: of the sampled items; the same for every model.
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
        """(session [P], user [P], held-out item [P], sampled item [P]), the rows of a session one after another."""
        check_not_empty(target)
        data = target.data
        user, item = data.user[target.held_out], data.item[target.held_out]
        row = torch.cat([target.seen, target.held_out])
        excluded = group_items(data.user[row], data.item[row], data.n_users, data.n_items)
        unseen = unseen_items(excluded, data.n_items)
        relevant = group_items(user, item, data.n_users, data.n_items)
        users = user.unique()
        count = relevant.start.diff()[users]
        sampled = sample_others(users, count, unseen, generator("action sets", self.seed))
        lengths = [int(counts.sum()) for counts in count.split(self.batch_size)]
        for batch, others in zip(users.split(self.batch_size), sampled.split(lengths), strict=True):
            session, liked = relevant.pairs_of(batch)
            yield tuple(column.to(device) for column in (session, batch[session], liked, others))

    def measure(self, scorer: PairScorer, session: Tensor, user: Tensor, liked: Tensor, sampled: Tensor) -> Rows:
        """The rewards of every session in one batch of `batches`; `UserError` if a score is NaN."""
        scores = check_scores(scorer.score(user.repeat(2), torch.cat([sampled, liked])), 2 * len(user), 1)
        earned, length = session_earnings(scores, session)
        first_row = (length.cumsum(0) - length).long()
        return Rows(user[first_row], {"reward": earned / length, "session_reward": earned})

    def update(self, rows: Rows) -> None:
        """Adds what `measure` found."""
        self.totals = self.totals + torch.stack([values.sum() for values in rows.values.values()])
        self.n_sessions = self.n_sessions + len(rows.user)

    def evidence(self, rows: Rows) -> Evidence:
        """The rewards of every user's session."""
        return {"user": rows}

    def compute(self) -> dict[str, Tensor]:
        """ "reward", the mean share of the largest possible one, and "session_reward", the mean sum, float64."""
        share, earned = self.totals / self.n_sessions
        return {"reward": share, "session_reward": earned}


def session_earnings(scores: Tensor, session: Tensor) -> tuple[Tensor, Tensor]:
    """Reward of each session, and the largest possible one.

    Args:
        scores: [2 P] of the sampled items, then of the liked items.
        session: [P] int64, the sessions of the sampled items and of the liked items; numbered from 0 without gaps.

    Returns:
        Liked items among the first n recommendations of each session, and n, its number of liked items: [S] float64
        each. Ties favour sampled items.

    >>> session_earnings(torch.tensor([0.5, 0.1, 0.9, 0.9, 0.2, 0.9]), torch.tensor([0, 0, 1]))
    (tensor([1., 0.], dtype=torch.float64), tensor([2., 1.], dtype=torch.float64))
    """
    length = torch.bincount(session)
    by_score = scores.argsort(descending=True, stable=True)
    session = session.repeat(2)
    order = by_score[session[by_score].argsort(stable=True)]
    position = position_in_group(session, order, len(length))
    is_liked = torch.arange(len(scores), device=scores.device) >= len(scores) // 2
    is_hit = is_liked & (position < length[session])
    return torch.bincount(session, is_hit.double(), len(length)), length.double()
