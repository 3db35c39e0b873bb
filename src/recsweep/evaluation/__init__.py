"""The evaluation protocols that every model family shares.

Validation, the final test and the `evaluate` verb pass the same `batches` to the same `update`, so their numbers agree
to the last digit.
"""

from collections.abc import Iterable
from typing import Any

import torch

from recsweep import processes
from recsweep.evaluation.binary import BinaryEvaluation
from recsweep.evaluation.joint import JointEvaluation
from recsweep.evaluation.off_policy import OffPolicyEvaluation
from recsweep.evaluation.protocol import RatingScorer, Scorer, Target
from recsweep.evaluation.ranking import RankingEvaluation
from recsweep.evaluation.rating import RatingEvaluation
from recsweep.evaluation.sessions import SessionEvaluation
from recsweep.evaluation.two_stage import TwoStageEvaluation

__all__ = [
    "BinaryEvaluation",
    "Evaluation",
    "JointEvaluation",
    "OffPolicyEvaluation",
    "RankingEvaluation",
    "RatingEvaluation",
    "RatingScorer",
    "Scorer",
    "SessionEvaluation",
    "Target",
    "TwoStageEvaluation",
    "evaluate",
    "evaluate_batches",
]

Evaluation = (
    RatingEvaluation
    | RankingEvaluation
    | SessionEvaluation
    | JointEvaluation
    | BinaryEvaluation
    | OffPolicyEvaluation
    | TwoStageEvaluation
)


@torch.inference_mode()
def evaluate(scorer: Scorer, evaluation: Evaluation, target: Target) -> dict[str, float]:
    """Every metric of `scorer` on `target`, by name, computed on the evaluation's device.

    A scorer with dropout must be in eval mode.

    Raises:
        UserError: nothing is held out, a score is NaN, a cut-off exceeds the candidates, or a user has too few unseen
            items to sample negatives from.
    """
    return evaluate_batches(scorer, evaluation, evaluation.batches(target, evaluation.device))


@torch.inference_mode()
def evaluate_batches(scorer: Scorer, evaluation: Evaluation, batches: Iterable[tuple[Any, ...]]) -> dict[str, float]:
    """`evaluate` on the batches of an earlier `evaluation.batches`; each of several processes scores its share."""
    evaluation.reset()
    for batch in processes.share(batches):
        evaluation.update(scorer, *batch)
    return {name: value.item() for name, value in evaluation.compute().items()}
