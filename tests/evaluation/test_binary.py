"""AUC and log loss of labels."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from evaluation_cases import ScoreTable, log_target, own_metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from recsweep.errors import UserError
from recsweep.evaluation import BinaryEvaluation, Target, evaluate


def label_target(logits: list[float], labels: list[int]) -> tuple[ScoreTable, Target]:
    """One user; all items are held out, with these scores and labels."""
    rows = [(0, item, float(label), 0.5) for item, label in enumerate(labels)]
    return ScoreTable([logits]), log_target([], rows, 1, len(labels))


BINARY = st.lists(
    st.tuples(st.sampled_from([-800.0, -1.0, 0.0, 0.5, 40.0, 50.0]), st.integers(0, 1)), min_size=2, max_size=12
).filter(lambda rows: {label for _, label in rows} == {0, 1})


@settings(deadline=None)
@given(rows=BINARY, batch_size=st.integers(1, 13))
def test_auc_is_the_share_of_pairs_in_order(rows, batch_size):
    logits, labels = zip(*rows, strict=True)
    scorer, target = label_target(list(logits), list(labels))
    got = own_metrics(scorer, BinaryEvaluation("auc", batch_size), target)
    pairs = list(product(*([logit for logit, label in rows if label == value] for value in (1, 0))))
    ordered = sum((high > low) + (high == low) / 2 for high, low in pairs)
    logits, labels = (torch.tensor(column, dtype=torch.float64) for column in (logits, labels))
    expected = {
        "auc": ordered / len(pairs),
        "log_loss": binary_cross_entropy_with_logits(logits, labels).item(),
    }
    assert got == pytest.approx(expected, abs=1e-6)


def test_log_loss_by_hand():
    # Probabilities 3/4 and 1/2 of the actual labels.
    scorer, target = label_target([np.log(3.0), 0.0], [1, 0])
    got = evaluate(scorer, BinaryEvaluation("log_loss", 1), target)
    assert got["log_loss"] == pytest.approx((np.log(4 / 3) + np.log(2)) / 2, abs=1e-6)


class FallingScores(ScoreTable):
    """Scores of a table at time 0, falling by one a second."""

    def score_at(self, user: Tensor, item: Tensor, timestamp: Tensor) -> Tensor:
        return self.score(user, item) - timestamp


def test_a_time_aware_scorer_gets_the_times_of_the_rows():
    # At time 0 item 1 scores higher; two seconds later its score is -1, below item 0.
    _, target = label_target([0.0, 1.0], [0, 1])
    later = target._replace(data=replace(target.data, timestamp=torch.tensor([0, 2])))
    scorer, evaluation = FallingScores([[0.0, 1.0]]), BinaryEvaluation("auc", 1)
    assert (evaluate(scorer, evaluation, target)["auc"], evaluate(scorer, evaluation, later)["auc"]) == (1, 0)


@pytest.mark.parametrize("labels", [[1, 1], [0, 0], [0, 5]])
def test_labels_must_be_both_0_and_1(labels):
    scorer, target = label_target([0.0, 1.0], labels)
    with pytest.raises(UserError, match=r"held-out labels of toy must be 0 and 1, both present: they are \[") as error:
        evaluate(scorer, BinaryEvaluation("log_loss", 2), target)
    assert "\n" not in str(error.value)
