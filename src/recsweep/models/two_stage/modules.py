"""The four models of two-stage recommendation, each trained alone on the rows of `data=bandit`.

Regularisers: dropout on the descriptions of users and items, and weight decay.
"""

import math
from copy import deepcopy
from functools import partial
from inspect import signature
from typing import Annotated, Any, ClassVar, NamedTuple, get_type_hints

import torch
from pydantic import Field
from torch import Tensor, nn

from recsweep.data.logged import BanditLog
from recsweep.data.schema import Interactions
from recsweep.errors import UserError
from recsweep.evaluation import BinaryEvaluation, OffPolicyEvaluation, TwoStageEvaluation
from recsweep.evaluation.off_policy import RewardModel, bandit_log
from recsweep.losses import binary, off_policy
from recsweep.models.base import RecModule, Training
from recsweep.models.layers import Dimension
from recsweep.models.regularization import regularizers_but
from recsweep.models.two_stage.nets import NominatorNet, RankerNet, SimulatorNet
from recsweep.models.two_stage.stages import (
    PAIRS_AT_ONCE,
    LabelColumns,
    TimeColumns,
    label_columns,
    mean_times,
    time_columns,
)
from recsweep.seeding import generator


class TimedModule(RecModule):
    """A model whose net takes (user, item, seconds) to logits of a label.

    `score` and `score_all` take the mean time of the user's training rows.
    """

    losses: ClassVar = binary.BinaryLoss
    sparse = False
    ignores = regularizers_but("dropout", "weight_decay")
    mean_time: Tensor
    net: nn.Module

    def __init__(self, data: Interactions, training: Training) -> None:
        super().__init__(data, training)
        self.register_buffer("mean_time", mean_times(data)[0].round().long(), persistent=False)

    def columns(self, data: Interactions) -> TimeColumns:
        return time_columns(data)

    def training_loss(self, batch: TimeColumns) -> Tensor:
        logits = self.net(batch.user, batch.item, batch.seconds, self.generator)
        return self.training_setup.loss(logits, batch.label)

    def score_at(self, user: Tensor, item: Tensor, timestamp: Tensor) -> Tensor:
        """Logits [B] of pairs at `timestamp` [B], in seconds."""
        return self.net(user, item, timestamp)

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return self.score_at(user, item, self.mean_time[user])


class Simulator(TimedModule):
    """Predicts whether a user would rate an item above `data.positive_above` at a time.

    Args:
        embedding_dim, feature_dim: sizes of the embeddings of ids and of each feature.
        hidden: widths of the hidden layers.
    """

    evaluations: ClassVar = (BinaryEvaluation,)
    rows: ClassVar = "ratings"
    net: SimulatorNet

    def __init__(
        self,
        data: Interactions,
        training: Training,
        *,
        embedding_dim: Dimension,
        feature_dim: Dimension,
        hidden: Annotated[list[Dimension], Field(min_length=1)],
    ) -> None:
        super().__init__(data, training)
        dropout = training.regularization.dropout
        self.net = SimulatorNet(data, embedding_dim, feature_dim, hidden, dropout, generator(training.seed))

    def score_all(self, user: Tensor) -> Tensor:
        chunks = user.split(PAIRS_AT_ONCE // len(self.net.items.codes) + 1)
        return torch.cat([self.net.item_logits(chunk, self.mean_time[chunk, None]) for chunk in chunks])


class LoggingPolicy(RecModule):
    """A nominator that learns the labels of random pairs; the log is drawn from its softmax.

    Args:
        embedding_dim, feature_dim: sizes of the embeddings of ids and of each feature.
    """

    losses: ClassVar = binary.BinaryLoss
    evaluations: ClassVar = (BinaryEvaluation,)
    rows: ClassVar = "pairs"
    sparse = False
    ignores = regularizers_but("dropout", "weight_decay")

    def __init__(
        self, data: Interactions, training: Training, *, embedding_dim: Dimension, feature_dim: Dimension
    ) -> None:
        super().__init__(data, training)
        dropout = training.regularization.dropout
        self.net = NominatorNet(data, embedding_dim, feature_dim, dropout, generator(training.seed))

    def columns(self, data: Interactions) -> LabelColumns:
        return label_columns(data)

    def training_loss(self, batch: LabelColumns) -> Tensor:
        return self.training_setup.loss(self.net(batch.user, batch.item, self.generator), batch.label)

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return self.net(user, item)

    def score_all(self, user: Tensor) -> Tensor:
        return self.net.item_logits(user)


class Ranker(TimedModule):
    """Predicts the reward of a logged item at a time.

    Scores take the mean time of the user's log rows; the ranker stage of `data=bandit` takes that of all their ratings.

    Args:
        embedding_dim, feature_dim: sizes of the embeddings of ids and of each feature.
    """

    evaluations: ClassVar = (TwoStageEvaluation, BinaryEvaluation)
    rows: ClassVar = "log"
    net: RankerNet

    def __init__(
        self, data: Interactions, training: Training, *, embedding_dim: Dimension, feature_dim: Dimension
    ) -> None:
        super().__init__(data, training)
        dropout = training.regularization.dropout
        self.net = RankerNet(data, embedding_dim, feature_dim, dropout, generator(training.seed))

    def score_all(self, user: Tensor) -> Tensor:
        return self.net.query(user, self.mean_time[user]) @ self.net.items.all_vectors().T


def _check_settings(settings: dict[str, Any], n_items: int) -> None:
    """`UserError` if settings of a loss contradict each other or exceed the catalogue."""
    for name in settings.keys() & {"k", "slate_size"}:
        if settings[name] > n_items:
            raise UserError(f"loss.{name}={settings[name]} exceeds the {n_items} items")
    if settings.get("min_weight", 0) > settings.get("max_weight", math.inf):
        raise UserError(f"loss.min_weight={settings['min_weight']} exceeds loss.max_weight={settings['max_weight']}")


def _check_rewards(log: BanditLog, loss: str) -> None:
    """`UserError` if there are other rewards than 0 and 1, for a loss that does not take rewards."""
    low, high = log.rating.aminmax()
    if not ((log.rating == 0) | (log.rating == 1)).all():
        raise UserError(
            f"loss={loss} knows rewards of 0 and 1 only, and those of {log.name} go from {low:g} to {high:g}: "
            "take loss=snips or loss=dr"
        )


class LogColumns(NamedTuple):
    """Rows of a bandit log: user [B] and item [B] int64, propensity [B] and reward [B] float32."""

    user: Tensor
    item: Tensor
    propensity: Tensor
    reward: Tensor


class Nominator(RecModule):
    """The first stage: a softmax policy over the catalogue, learned from a bandit log.

    A loss of `losses.off_policy` gets the tensors that its parameters name. Without a `reward` parameter it only sees
    rows with a reward, and the rewards must be 0 and 1.

    TensorBoard tags: `log10_weight`, log10 of the training rows' importance weights (policy / logging policy), and
    `confidence`, the policy's largest probability for the user of each training row.

    Args:
        embedding_dim, feature_dim: sizes of the embeddings of ids and of each feature.
    """

    losses: ClassVar = off_policy.OffPolicyLoss
    evaluations: ClassVar = (TwoStageEvaluation, OffPolicyEvaluation)
    rows: ClassVar = "log"
    sparse = False
    ignores = regularizers_but("dropout", "weight_decay")

    def __init__(
        self, data: Interactions, training: Training, *, embedding_dim: Dimension, feature_dim: Dimension
    ) -> None:
        super().__init__(data, training)
        log = bandit_log(data)
        dropout = training.regularization.dropout
        self.net = NominatorNet(log, embedding_dim, feature_dim, dropout, generator(training.seed))
        loss = training.loss
        settings = loss.keywords if isinstance(loss, partial) else {}
        self.loss = loss.func if isinstance(loss, partial) else loss
        _check_settings(settings, log.n_items)
        hints = get_type_hints(self.loss)
        self.integer_settings = {name: value for name, value in settings.items() if hints[name] is int}
        self.float_settings = [name for name in settings if name not in self.integer_settings]
        for name in self.float_settings:  # buffers, so that many configurations can train in one batched step
            self.register_buffer(f"loss_{name}", torch.tensor(float(settings[name])), persistent=False)
        self.loss_parameters = set(signature(self.loss).parameters)
        if "reward" not in self.loss_parameters:
            _check_rewards(log, self.loss.__name__)
        if "ranker_logits" in self.loss_parameters:
            if log.ranker is None:
                raise UserError(f"this loss needs a ranker, and {log.name} has none: use data=bandit")
            self.ranker = deepcopy(log.ranker)
        if "predicted_reward" in self.loss_parameters:
            self.reward_model = RewardModel(log)

    def columns(self, data: Interactions) -> LogColumns:
        log = bandit_log(data)
        if "reward" not in self.loss_parameters:
            log = log.take(log.rating.nonzero()[:, 0])
        if not log.rating.any():
            raise UserError(f"the training rows of {log.name} have no reward to learn from: hold out less, or log more")
        return LogColumns(log.user, log.item, log.propensity, log.rating)

    def training_loss(self, batch: LogColumns) -> Tensor:
        logits = self.net.item_logits(batch.user, self.generator)
        tensors = {
            "logits": logits,
            "action": batch.item,
            "propensity": batch.propensity,
            "reward": batch.reward,
            "generator": self.generator,
        }
        if "ranker_logits" in self.loss_parameters:
            tensors["ranker_logits"] = self.ranker.score_all(batch.user)
        if "predicted_reward" in self.loss_parameters:
            tensors["predicted_reward"] = self.reward_model(batch.user)
        floats = {name: getattr(self, f"loss_{name}") for name in self.float_settings}
        arguments = {name: tensors[name] for name in tensors.keys() & self.loss_parameters}
        return self.loss(**arguments, **floats, **self.integer_settings)

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return self.net(user, item)

    def score_all(self, user: Tensor) -> Tensor:
        return self.net.item_logits(user)

    def log_policy(self, user: Tensor) -> Tensor:
        """Log-probabilities [B, n_items] of users [B]."""
        return self.score_all(user).log_softmax(1)

    @torch.no_grad()
    def histograms(self) -> dict[str, Tensor]:
        log = bandit_log(self.data.train)
        rows = zip(
            *(column.to(self.device).split(1024) for column in (log.user, log.item, log.propensity)), strict=True
        )
        parts = []
        for user, item, propensity in rows:
            policy = self.log_policy(user)
            weight = policy.gather(1, item[:, None])[:, 0] - propensity.log()
            parts.append(torch.stack([weight / math.log(10), policy.amax(1).exp()]))
        weight, confidence = torch.cat(parts, 1)
        return {"log10_weight": weight, "confidence": confidence}
