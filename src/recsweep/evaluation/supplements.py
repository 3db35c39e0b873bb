"""Metrics beside a protocol's own, only where a model is judged: they select nothing and would slow each epoch down.

Of full rankings: `beyond/…`, what the recommended items are like. Of predicted ratings and probabilities:
`calibration/…`. A sampled ranking has none: which items stand in its lists depends on the sampler. Nor has a log, whose
rows tell what a policy showed and not what is popular.
"""

from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from recsweep.evaluation.binary import BinaryEvaluation
from recsweep.evaluation.joint import JointEvaluation
from recsweep.evaluation.protocol import Evidence, Rows, Target
from recsweep.evaluation.ranking import RankedLists, RankingEvaluation
from recsweep.evaluation.rating import RatingEvaluation
from recsweep.metrics import beyond, calibration


class RecommendedItems(Metric):
    """Novelty, popularity, share of the long tail, diversity and Gini of the first k items of each list.

    An item's popularity is its number of seen rows. Features are the items' categories and vectors; numbers, such as a
    year, have no similarity without a scale. Diversity is left out where there are none, or if k is 1.

    Args:
        target: the rows to evaluate on.
        k: cut-off, at least 1.
        device: where the lists are.
    """

    full_state_update = False
    takes: ClassVar[type] = RankedLists
    totals: Tensor
    n_lists: Tensor
    exposure: Tensor

    def __init__(self, target: Target, k: int, device: torch.device) -> None:
        super().__init__()
        self.k = k
        data = target.data
        count = torch.bincount(data.item[target.seen], minlength=data.n_items).to(device)
        self.value_of_item = {
            f"beyond/novelty@{k}": beyond.self_information(count),
            f"beyond/popularity@{k}": count,
            f"beyond/long_tail@{k}": beyond.in_long_tail(count),
        }
        columns = data.item_features.columns.values() if data.item_features and k > 1 else ()
        self.features = [column.to(device) for column in columns if column.dim() == 2 or not column.is_floating_point()]
        self.names = (*self.value_of_item, *([f"beyond/diversity@{k}"] if self.features else []))
        self.add_state("totals", torch.zeros(len(self.names), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("n_lists", torch.zeros(len(self.names), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("exposure", torch.zeros(data.n_items, dtype=torch.int64), dist_reduce_fx="sum")

    def add(self, ranked: RankedLists) -> Evidence:
        """Adds a batch, and returns the metrics of each list; a list of one item has no diversity, NaN."""
        first = ranked.rank.topk(self.k, largest=False)
        item, is_listed = ranked.item.gather(1, first.indices), first.values <= self.k
        values = {name: beyond.list_mean(value, item, is_listed) for name, value in self.value_of_item.items()}
        if self.features:
            values[f"beyond/diversity@{self.k}"] = beyond.diversity(self.features, item, is_listed)
        self.update(torch.stack(list(values.values())), item[is_listed])
        return {"user": Rows(ranked.lists.user, values)}

    def update(self, values: Tensor, item: Tensor) -> None:
        """Adds the metrics [M, L] of L lists, and the items [N] of all of them."""
        self.totals = self.totals + values.nansum(1)
        self.n_lists = self.n_lists + (~values.isnan()).sum(1)
        self.exposure = self.exposure + torch.bincount(item, minlength=len(self.exposure))

    def compute(self) -> dict[str, Tensor]:
        """Mean over lists of every metric, and the Gini index of all recommendations, float64."""
        means = dict(zip(self.names, self.totals / self.n_lists, strict=True))
        return {**means, f"beyond/gini@{self.k}": beyond.gini(self.exposure)}


class RatingCalibration(Metric):
    """Mean error of predicted ratings, and the slope of the ratings on them."""

    full_state_update = False
    takes: ClassVar[type] = Rows
    predicted: list[Tensor]
    rating: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("predicted", "rating"):
            self.add_state(name, [], dist_reduce_fx="cat")
            getattr(self, name).append(torch.empty(0, dtype=torch.float64))  # for a process without batches

    def add(self, rows: Rows) -> Evidence:
        """Adds a batch, and returns the error of each row."""
        predicted, rating = rows.values["predicted"], rows.values["rating"].double()
        self.update(predicted, rating)
        return {"row": Rows(rows.user, {"error": predicted - rating})}

    def update(self, predicted: Tensor, rating: Tensor) -> None:
        """Adds predicted ratings and ratings [B]."""
        self.predicted.append(predicted)
        self.rating.append(rating)

    def compute(self) -> dict[str, Tensor]:
        """{"calibration/bias", "calibration/slope"}, float64."""
        predicted, rating = dim_zero_cat(self.predicted), dim_zero_cat(self.rating)
        return {
            "calibration/bias": calibration.bias(predicted, rating),
            "calibration/slope": calibration.slope(predicted, rating),
        }


class ProbabilityCalibration(Metric):
    """Expected calibration error of predicted probabilities."""

    full_state_update = False
    takes: ClassVar[type] = Rows
    probabilities: list[Tensor]
    labels: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("probabilities", "labels"):
            self.add_state(name, [], dist_reduce_fx="cat")
            getattr(self, name).append(torch.empty(0, dtype=torch.float64))  # for a process without batches

    def add(self, rows: Rows) -> Evidence:
        """Adds a batch; the error is no mean over rows, so it has no evidence."""
        self.update(rows.values["logit"].sigmoid(), rows.values["label"])
        return {}

    def update(self, probability: Tensor, label: Tensor) -> None:
        """Adds probabilities and labels [B]."""
        self.probabilities.append(probability)
        self.labels.append(label)

    def compute(self) -> dict[str, Tensor]:
        """{"calibration/ece"}, float64."""
        probability, label = dim_zero_cat(self.probabilities), dim_zero_cat(self.labels)
        return {"calibration/ece": calibration.expected_calibration_error(probability, label)}


Supplement = RecommendedItems | RatingCalibration | ProbabilityCalibration


def build_supplements(evaluation: Metric, target: Target) -> tuple[Supplement, ...]:
    """The supplements of an evaluation on `target`, on its device, without batches.

    The cut-off k is that of the objective, or the largest of `evaluation.ks` if the objective has none.
    """
    supplements: tuple[Supplement, ...] = ()
    match evaluation:
        case JointEvaluation():
            supplements = _of_lists(target, evaluation, evaluation.ranking.ks), RatingCalibration()
        case RankingEvaluation(n_negatives=None):
            supplements = (_of_lists(target, evaluation, evaluation.ks),)
        case RatingEvaluation():
            supplements = (RatingCalibration(),)
        case BinaryEvaluation():
            supplements = (ProbabilityCalibration(),)
    return tuple(supplement.to(evaluation.device) for supplement in supplements)


def _of_lists(target: Target, evaluation: JointEvaluation | RankingEvaluation, ks: tuple[int, ...]) -> RecommendedItems:
    k = evaluation.objective.partition("@")[2]
    return RecommendedItems(target, int(k) if k else max(ks), evaluation.device)
