"""The policy behind a log, as its item frequencies: to be valued by another log where nothing else of it is known."""

from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from recsweep.data.bandit_table import POSITION, BanditTable
from recsweep.data.schema import IdMap, Interactions
from recsweep.errors import UserError
from recsweep.evaluation import OffPolicyEvaluation
from recsweep.models.baselines import Baseline


class LoggedPolicy(Baseline):
    """π(a | position) = (n(a, position) + smoothing) / (n(position) + n_items · smoothing), where n counts logged rows.

    Of a context it knows the position alone, the category that `BanditTable` calls so; without one, there is one place.

    Args:
        data: the log whose catalogue and contexts are scored.
        source: the log whose policy is meant, where that is another one; `data` has its items and positions too.
        smoothing: rows added to each count, so that no item is impossible.
    """

    evaluations = (OffPolicyEvaluation,)

    position: Tensor
    log_probability: Tensor

    def __init__(
        self, data: Interactions, *, source: BanditTable | None, smoothing: Annotated[float, Field(gt=0)]
    ) -> None:
        super().__init__()
        self.source = source
        self.smoothing = smoothing
        position, positions = _positions(data)
        self.register_buffer("position", position, persistent=False)
        self.register_buffer("log_probability", torch.zeros(len(positions), data.n_items))

    def fit(self, data: Interactions) -> None:
        log = data if self.source is None else self.source.read()
        position, positions = _positions(log)
        try:
            item, place = data.item_ids.encode(log.item_ids.raw), _positions(data)[1].encode(positions.raw)
        except UserError as error:
            raise UserError(f"model.source, whose items and positions must be among those of data: {error}") from None
        cell = place[position[log.user]] * data.n_items + item[log.item]
        n_cells = self.log_probability.numel()
        count = torch.bincount(cell, minlength=n_cells).view(-1, data.n_items).double() + self.smoothing
        self.log_probability = (count / count.sum(1, keepdim=True)).log().float()

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return self.log_probability[self.position[user], item]

    def score_all(self, user: Tensor) -> Tensor:
        return self.log_probability[self.position[user]]

    def log_policy(self, user: Tensor) -> Tensor:
        """Log-probabilities [B, n_items] of showing each item in contexts [B]."""
        return self.score_all(user)


def _positions(log: Interactions) -> tuple[Tensor, IdMap]:
    """The position [n_users] of each context, and what the positions are called."""
    features = log.user_features
    if features is None or POSITION not in features.labels:
        return torch.zeros(log.n_users, dtype=torch.int64), IdMap(np.array(["everywhere"]), "position")
    return features.columns[POSITION], IdMap(np.array(features.labels[POSITION]), "position")
