"""Binary classification: AUC and log loss."""

from collections.abc import Iterator
from typing import Annotated, Literal, Protocol, runtime_checkable

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torchmetrics import Metric
from torchmetrics.functional.classification import binary_auroc
from torchmetrics.utilities import dim_zero_cat

from recsweep.errors import UserError
from recsweep.evaluation.protocol import Evidence, Rows, Scorer, Target, check_not_empty, check_scores


@runtime_checkable
class TimedScorer(Protocol):
    """A model whose score of a pair depends on the time."""

    def score_at(self, user: Tensor, item: Tensor, timestamp: Tensor) -> Tensor:
        """Logits [B] of pairs at `timestamp` [B], in seconds."""


class BinaryEvaluation(Metric):
    """Area under the ROC curve and log loss of held-out rows. Ratings are labels, 0 or 1, and scores are logits.

    Args:
        objective: the metric that selects the model.
        batch_size: rows scored at once.
    """

    full_state_update = False
    logits: list[Tensor]
    labels: list[Tensor]

    def __init__(
        self, objective: Literal["auc", "log_loss"], batch_size: Annotated[int, Field(gt=0, lt=2**31)]
    ) -> None:
        super().__init__()
        self.objective = objective
        self.mode = "max" if objective == "auc" else "min"
        self.batch_size = batch_size
        self.add_state("logits", [], dist_reduce_fx="cat")
        self.add_state("labels", [], dist_reduce_fx="cat")

    def reset(self) -> None:
        """Forgets all batches."""
        super().reset()
        for state in (self.logits, self.labels):  # sets the dtype in a process without batches
            state.append(torch.empty(0, dtype=torch.float64, device=self.device))

    def batches(self, target: Target, device: torch.device) -> Iterator[tuple[Tensor, ...]]:
        """(user [B], item [B], timestamp [B], label [B]) of the held-out rows; timestamps are 0 if the data has none.

        Raises:
            UserError: the labels are not 0 and 1 with both present, so the AUC is undefined.
        """
        check_not_empty(target)
        data = target.data
        labels = data.rating[target.held_out].unique().tolist()
        if labels != [0, 1]:
            raise UserError(
                f"held-out labels of {data.name} must be 0 and 1, both present: they are {labels[:5]}; "
                "change the threshold above which a rating or a probability is positive, or hold out more"
            )
        for row in torch.split(target.held_out, self.batch_size):
            yield tuple(column[row].to(device) for column in (data.user, data.item, data.seconds, data.rating))

    def measure(self, scorer: Scorer, user: Tensor, item: Tensor, timestamp: Tensor, label: Tensor) -> Rows:
        """Logits and labels of one batch of `batches`; `UserError` if a score is NaN."""
        logits = scorer.score_at(user, item, timestamp) if isinstance(scorer, TimedScorer) else scorer.score(user, item)
        return Rows(user, {"logit": check_scores(logits, len(user), 1).double(), "label": label.double()}, item)

    def update(self, rows: Rows) -> None:
        """Adds what `measure` found."""
        self.logits.append(rows.values["logit"])
        self.labels.append(rows.values["label"])

    def evidence(self, rows: Rows) -> Evidence:
        """The cross-entropy of every held-out row, whose mean is the log loss; the AUC is no mean over rows."""
        logits, labels = rows.values["logit"], rows.values["label"]
        cross_entropy = binary_cross_entropy_with_logits(logits, labels, reduction="none")
        return {"row": rows._replace(values={"cross_entropy": cross_entropy})}

    def compute(self) -> dict[str, Tensor]:
        """{"auc", "log_loss"}."""
        logits, labels = dim_zero_cat(self.logits), dim_zero_cat(self.labels)
        rank = logits.unique(return_inverse=True)[1].double() / len(logits)  # sigmoids of large logits are all 1
        return {
            "auc": binary_auroc(rank, labels.long()),
            "log_loss": binary_cross_entropy_with_logits(logits, labels),
        }
