"""What all models trained by gradient steps share: grouped optimizer steps, and selection by the one protocol.

TensorBoard tags: `train/loss`, the mean loss of the epoch's batches, and other means that a model family records;
`val/<metric>`, the protocol's metrics on the validation part; `lr`, the learning rate of the epoch; a family's
histograms; and before all of them `objective_tags`.
"""

import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, cast

import torch
from lightning import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.loggers import TensorBoardLogger
from pydantic import TypeAdapter
from torch import Tensor, nn
from torch.optim import Optimizer, SparseAdam
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from recsweep import processes
from recsweep.data.batches import Columns
from recsweep.data.datamodules import InteractionData
from recsweep.data.schema import Interactions
from recsweep.errors import UserError
from recsweep.evaluation import (
    Evaluation,
    JointEvaluation,
    RankingEvaluation,
    Scorer,
    SessionEvaluation,
    evaluate_batches,
)
from recsweep.models.identity import Identity, identity
from recsweep.models.new_users import refuse_new_users
from recsweep.models.regularization import Regularization
from recsweep.seeding import generator


def objective_tags(objective: str, value: float, best: float) -> dict[str, float]:
    """TensorBoard's scalars of the objective on validation: of an epoch, and the best so far.

    HParams shows the last value of each: of the best, that is the chosen epoch's. TensorBoard sorts by name, upper case
    first.
    """
    return {f"Objective/best val/{objective}": best, f"Objective/val/{objective}": value}


@dataclass(frozen=True)
class Training:
    """Everything that a module needs for training, besides its own architecture.

    Args:
        loss: of the kind that the model names in `losses`: a function of tensors, a `RankingLoss`, a `TemporalLoss`,
            or a `Balance`, which is a module and a part of the model.
        optimizer: parameters -> Optimizer.
        scheduler: Optimizer -> schedule; `OneCycleLR` also takes `total_steps`.
        evaluation: the protocol whose objective selects the best epoch.
        accumulate: batches in one optimizer step, which uses the mean gradient of all their rows; the last step of an
            epoch may have fewer.
        seed: of initialisation, dropout and noise.
        gradient_clip: largest norm of a step's gradient, or with `gradient_clip_by="value"` of each entry.
    """

    loss: Any
    regularization: Regularization
    optimizer: partial[Optimizer]
    scheduler: partial[Any]
    evaluation: Evaluation
    max_epochs: int
    accumulate: int
    seed: int
    gradient_clip: float | None = None
    gradient_clip_by: Literal["norm", "value"] = "norm"

    @property
    def sparse(self) -> bool:
        """Whether embeddings must give sparse gradients."""
        return self.optimizer.func is SparseAdam

    @property
    def schedule_by_step(self) -> bool:
        """Whether the schedule steps with every batch, not with every epoch."""
        return self.scheduler.func is OneCycleLR


class RecModule(LightningModule):
    """A `Scorer` that learns by gradient steps.

    One call of `training_step` trains on a whole group of batches, so that Lightning's overhead (0.6 ms a call and
    more) is spread over `trainer.steps_per_call` steps. With several processes, each trains on its share of a step's
    batches, and all make the same step. Only the last step of a group goes through Lightning's optimizer wrapper, which
    counts `global_step`. Results do not depend on the grouping.

    A subclass implements `columns`, `training_loss`, `score` and `score_all`, and sets `losses` (the kind of loss
    that fits it), `evaluations` and `sparse` (whether it can give sparse gradients).

    Args:
        data: the training rows, with sizes, rating scale and id maps.
        training: loss, regularisers, optimizer, schedule and protocol.
    """

    losses: ClassVar[type]
    evaluations: ClassVar[tuple[type[Evaluation], ...]]
    simple_baseline: ClassVar[bool] = False
    """Whether reports test other models against this one by default; metrics.json records it."""
    sparse: ClassVar[bool]
    mixed_precision: ClassVar[bool] = True
    """Whether torch has all of the model's operations in bfloat16."""
    ignores: ClassVar[tuple[str, ...]] = ()
    """Settings without effect on the model, such as `regularization.l2`: refused where somebody gives them."""
    data: InteractionData
    trained_on: Identity

    @classmethod
    def find_ignored(cls, settings: Mapping[str, Any]) -> tuple[str, ...]:
        """`ignores`, and what has no effect beside these settings of the model, by their names in `conf/model`."""
        return cls.ignores

    @abstractmethod
    def columns(self, data: Interactions) -> Columns:
        """The columns of the training rows that a batch holds."""

    def __init__(self, data: Interactions, training: Training) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.training_setup = training
        self.evaluation = training.evaluation
        self.generator = torch.Generator()
        self.epochs: list[dict[str, float]] = []
        self.objectives: list[float] = []
        self.notes: dict[str, list[Tensor]] = {}
        self.val_batches: list[tuple[Any, ...]] | None = None

    @abstractmethod
    def training_loss(self, batch: Any) -> Tensor:
        """The scalar loss of a batch, regularisers included."""

    @abstractmethod
    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """Scores [B] of pairs."""

    @abstractmethod
    def score_all(self, user: Tensor) -> Tensor:
        """Scores [B, n_items] of the whole catalogue."""

    def fold_in(self, history: Interactions, train: Interactions) -> Scorer:
        """The scores of users who were not in training, on the device of the model, which stays as it is.

        Args:
            history: their rows, in their order of time if they have no timestamps. Its users are the new ones; its
                items, with all else about them, those of the training rows. Ratings that nobody gave are NaN.
            train: the training rows.

        Raises:
            UserError: the model cannot, or the rows lack what it needs.
        """
        raise refuse_new_users(self)

    def setup(self, stage: str) -> None:
        self.data = cast(Any, self.trainer).datamodule
        self.trained_on = identity(self.data)

    def configure_optimizers(self) -> Any:
        setup = self.training_setup
        optimizer = setup.optimizer(self.parameters())
        if setup.schedule_by_step:
            steps = setup.max_epochs * -(-self.data.batches.n_batches // setup.accumulate)
            return [optimizer], [setup.scheduler(optimizer, total_steps=steps)]
        return [optimizer], [setup.scheduler(optimizer)]

    def training_step(self, _: int, index: int) -> None:
        """Makes the optimizer steps of the group `index`, one for every `accumulate` batches."""
        if index == 0:
            self._start_epoch()
        wrapped, schedule = cast(LightningOptimizer, self.optimizers()), cast(Any, self.lr_schedulers())
        optimizer, parameters = wrapped.optimizer, list(self.parameters())
        batches, accumulate = self.data.batches.group(self.current_epoch, index), self.training_setup.accumulate
        for first in range(0, len(batches), accumulate):
            step_batches = batches[first : first + accumulate]
            n_rows = sum(len(batch[0]) for batch in step_batches)
            for parameter in parameters:  # a quarter of the cost of optimizer.zero_grad()
                parameter.grad = None
            start = index * self.data.batches.steps + first
            for batch_number, batch in processes.share(enumerate(step_batches, start)):
                self._start_batch(batch_number)
                loss = self.training_loss(batch)
                (loss * (len(batch[0]) / n_rows)).backward()
                self.note("train/loss", loss.detach())
            processes.sum_gradients(parameters, self.training_setup.sparse)
            self._clip_gradients(parameters)
            (wrapped if first + accumulate >= len(batches) else optimizer).step()
            if self.training_setup.schedule_by_step:
                schedule.step()

    def _clip_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Clips the gradients of a step; Lightning's own setting knows steps that it makes itself only."""
        limit = self.training_setup.gradient_clip
        if limit is not None and self.training_setup.gradient_clip_by == "norm":
            nn.utils.clip_grad_norm_(parameters, limit)
        elif limit is not None:
            nn.utils.clip_grad_value_(parameters, limit)

    def _start_epoch(self) -> None:
        self.generator = generator("disturbance", self.training_setup.seed, self.current_epoch, device=self.device)
        self.notes = {}

    def _start_batch(self, number: int) -> None:
        """Seeds the generator by the batch's number: a batch has the same draws in any process."""
        if self.training_setup.accumulate > 1:
            key = ("disturbance", self.training_setup.seed, self.current_epoch, number)
            self.generator = generator(*key, device=self.device)

    def note(self, name: str, value: Tensor) -> None:
        """Records a scalar of a batch; its mean over the epoch goes to TensorBoard and to `epochs`."""
        self.notes.setdefault(name, []).append(value)

    def on_train_epoch_end(self) -> None:
        means = {name: float(values.mean()) for name, values in processes.gather(self.notes).items()}
        loss = means["train/loss"]
        if not math.isfinite(loss):
            raise UserError(
                f"training diverged: the loss of epoch {self.current_epoch + 1} is {loss}; "
                "lower optimizer.lr, or raise the regularisation"
            )
        self.epochs.append(means)
        self.log("step", float(self.current_epoch + 1))  # TensorBoard's horizontal axis
        self.log_dict(means)
        self.log("lr", _as_list(self.optimizers())[0].param_groups[0]["lr"])
        if len(self.data.split.val):
            self.eval()
            metrics = evaluate_batches(self, self.evaluation, self._val_batches())
            self.train()
            self.log_dict({f"val/{name}": value for name, value in metrics.items()})
            self.objectives.append(metrics[self.evaluation.objective])
            self._log_objective()
        self._step_schedule()

    def _log_objective(self) -> None:
        best = self.objectives[self.best_epoch]
        tags = objective_tags(self.evaluation.objective, self.objectives[-1], best)
        if isinstance(self.logger, TensorBoardLogger):
            self.logger.log_metrics(tags, self.current_epoch + 1)

    def _val_batches(self) -> Iterable[tuple[Any, ...]]:
        """The batches of validation; those of a ranking are built once for all epochs."""
        if self.val_batches is not None:
            return self.val_batches
        batches = self.evaluation.batches(self.data.target("val"), self.evaluation.device)
        if isinstance(self.evaluation, RankingEvaluation | SessionEvaluation | JointEvaluation):
            self.val_batches = list(batches)
            return self.val_batches
        return batches

    @property
    def best_epoch(self) -> int:
        """The first epoch, counted from 0, with the best validation objective.

        NaN is worse than anything. Objectives count as float32, like those that are logged and that stop early.
        """
        objectives = torch.tensor(self.objectives, dtype=torch.float32) * (1 if self.evaluation.mode == "max" else -1)
        worst = torch.tensor(-math.inf)
        return int(torch.where(objectives.isnan(), worst, objectives).argmax())

    def _step_schedule(self) -> None:
        for schedule in _as_list(self.lr_schedulers()):
            if isinstance(schedule, ReduceLROnPlateau):
                schedule.step(self.objectives[self.current_epoch])
            elif not self.training_setup.schedule_by_step:
                schedule.step()

    def on_train_end(self) -> None:
        self.val_batches = None
        if isinstance(self.logger, TensorBoardLogger):
            for tag, values in self.histograms().items():
                self.logger.experiment.add_histogram(tag, values, self.current_epoch)

    def histograms(self) -> dict[str, Tensor]:
        """Values of the trained model for TensorBoard's histograms, by tag; none by default."""
        return {}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["recsweep"] = {
            "trained_on": self.trained_on,
            "epochs": self.epochs,
            "objectives": self.objectives,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        saved = checkpoint["recsweep"]
        self.epochs = TypeAdapter(list[dict[str, float]]).validate_python(saved["epochs"], strict=True)
        self.objectives = TypeAdapter(list[float]).validate_python(saved["objectives"], strict=True)
        if not max(1, checkpoint["epoch"]) <= len(self.epochs) <= len(self.objectives):
            raise ValueError(
                f"{len(self.epochs)} of {checkpoint['epoch']} epochs, {len(self.objectives)} validation objectives"
            )


def _as_list(one_or_more: Any) -> list[Any]:
    """Lightning's optimizers or schedules as a list: it returns a single one without a list around it."""
    return one_or_more if isinstance(one_or_more, list) else [one_or_more]
