"""The evaluation protocols that every model family shares.

Validation, the final test and the `evaluate` verb pass the same `batches` to the same `measure` and add the results by
`update`, so their numbers agree to the last digit. `evidence` is what a run leaves of these results. A model that is
judged, not only validated, also gets those of `supplements`.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Any

import torch

from recsweep import processes
from recsweep.evaluation.binary import BinaryEvaluation
from recsweep.evaluation.joint import JointEvaluation
from recsweep.evaluation.off_policy import OffPolicyEvaluation
from recsweep.evaluation.protocol import Evidence, RatingScorer, Rows, Scorer, Target, Unit, join_evidence
from recsweep.evaluation.ranking import RankingEvaluation
from recsweep.evaluation.rating import RatingEvaluation
from recsweep.evaluation.sessions import SessionEvaluation
from recsweep.evaluation.supplements import Supplement, build_supplements
from recsweep.evaluation.two_stage import TwoStageEvaluation
from recsweep.terminal import show_progress

__all__ = [
    "BinaryEvaluation",
    "Evaluation",
    "Evidence",
    "JointEvaluation",
    "OffPolicyEvaluation",
    "RankingEvaluation",
    "RatingEvaluation",
    "RatingScorer",
    "Rows",
    "Scorer",
    "SessionEvaluation",
    "Target",
    "TwoStageEvaluation",
    "Unit",
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
def evaluate(
    scorer: Scorer, evaluation: Evaluation, target: Target, keep: Callable[[Evidence], None] | None = None
) -> dict[str, float]:
    """Every metric of `scorer` on `target`, by name, computed on the evaluation's device.

    A scorer with dropout must be in eval mode.

    Args:
        keep: takes the evidence of each batch.

    Raises:
        UserError: nothing is held out, a score is NaN, a cut-off exceeds the candidates, or a user has too few unseen
            items to sample negatives from.
    """
    batches: Iterable[tuple[Any, ...]] = evaluation.batches(target, evaluation.device)
    if isinstance(evaluation, RankingEvaluation):
        batches = show_progress(batches, lambda batch: len(batch[0]), evaluation.count_lists(target), "lists ranked")
    return evaluate_batches(scorer, evaluation, batches, keep, build_supplements(evaluation, target))


@torch.inference_mode()
def evaluate_batches(
    scorer: Scorer,
    evaluation: Evaluation,
    batches: Iterable[tuple[Any, ...]],
    keep: Callable[[Evidence], None] | None = None,
    supplements: Sequence[Supplement] = (),
) -> dict[str, float]:
    """`evaluate` on the batches of an earlier `evaluation.batches`; each of several processes scores its share.

    Args:
        keep: takes the evidence of each batch.
        supplements: further metrics, without batches, of what the evaluation measures.
    """
    evaluation.reset()
    for batch in processes.share(batches):
        measured: Any = evaluation.measure(scorer, *batch)
        evaluation.update(measured)
        takers: list[Any] = [supplement for supplement in supplements if isinstance(measured, supplement.takes)]
        added = [taker.add(measured) for taker in takers]
        if keep:
            keep(reduce(join_evidence, added, evaluation.evidence(measured)))
    metrics = [metric.compute() for metric in (evaluation, *supplements)]
    return {name: value.item() for values in metrics for name, value in values.items()}
