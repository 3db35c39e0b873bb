"""The policy behind a log, estimated by its item frequencies, so that another log can estimate its value."""

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

    It depends on a context's position alone (`position` of `BanditTable`). A log without positions has a single one.

    Args:
        data: the log with the catalogue and the contexts to score.
        source: another log with the policy; its items and positions must be among those of `data`. None: `data` itself.
        smoothing: rows added to each count, so that every item has a positive probability.
    """

    evaluations = (OffPolicyEvaluation,)
    simple_baseline = False

    position: Tensor
    log_probability: Tensor

    def __init__(
        self, data: Interactions, *, source: BanditTable | None, smoothing: Annotated[float, Field(gt=0)]
    ) -> None:
        super().__init__()
        self.source = source
        self.smoothing = smoothing
        position, names = _read_positions(data)
        self.register_buffer("position", position, persistent=False)
        self.register_buffer("log_probability", torch.zeros(len(names), data.n_items))

    def fit(self, data: Interactions) -> None:
        log = data if self.source is None else self.source.read()
        position, names = _read_positions(log)
        try:
            item_index = data.item_ids.encode(log.item_ids.raw)
            position_index = _read_positions(data)[1].encode(names.raw)
        except UserError as error:
            raise UserError(f"model.source, whose items and positions must be among those of data: {error}") from None
        cell = position_index[position[log.user]] * data.n_items + item_index[log.item]
        n_cells = self.log_probability.numel()
        count = torch.bincount(cell, minlength=n_cells).view(-1, data.n_items).double() + self.smoothing
        self.log_probability = (count / count.sum(1, keepdim=True)).log().float()

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return self.log_probability[self.position[user], item]

    def score_all(self, user: Tensor) -> Tensor:
        return self.log_probability[self.position[user]]

    def log_policy(self, user: Tensor) -> Tensor:
        """Log-probabilities [B, n_items] of the items in contexts [B]."""
        return self.score_all(user)


def _read_positions(log: Interactions) -> tuple[Tensor, IdMap]:
    """The position [n_users] of each context, and the names of the positions."""
    features = log.user_features
    if features is None or POSITION not in features.labels:
        return torch.zeros(log.n_users, dtype=torch.int64), IdMap(np.array(["everywhere"]), "position")
    return features.columns[POSITION], IdMap(np.array(features.labels[POSITION]), "position")
