"""The comparison with baselines, under the names of its document."""

import json

import pytest

from recsweep.runs.comparison import Curve, comparison

CURVE = Curve([4.0, 3.5, 3.25], [0.25, 0.5, 0.375])
METRICS = {"val/recall@10": 0.5, "test/recall@10": 0.375, "val/ndcg@10": 0.25, "test/ndcg@10": 0.125}
POPULARITY = {"val/recall@10": 0.9, "test/recall@10": 0.25, "test/ndcg@10": 0.5}
EASE = {"val/recall@10": 0.1, "test/recall@10": 0.5, "test/ndcg@10": 0.25}


def test_every_name_of_the_document() -> None:
    """The best epoch reached 0.5 on validation; on test the model loses to EASE by 0.5 - 0.375 = 1/8."""
    found = comparison({"dim": 8}, CURVE, METRICS, {"popularity": POPULARITY, "ease": EASE}, "recall@10", "max")
    assert found == {
        "objective": "recall@10",
        "model_config": {"dim": 8},
        "training": {"train_losses": [4.0, 3.5, 3.25], "val_recalls": [0.25, 0.5, 0.375]},
        "best_recall": 0.5,
        "final_recall": 0.375,
        "baselines": {
            "popularity": {"test/recall@10": 0.25, "test/ndcg@10": 0.5},
            "ease": {"test/recall@10": 0.5, "test/ndcg@10": 0.25},
        },
        "baseline_best": "ease",
        "baseline_best_recall": 0.5,
        "margin": -1 / 8,
    }
    assert json.loads(json.dumps(found)) == found


def test_another_objective_gives_other_names() -> None:
    """By ndcg@10 popularity is the better baseline."""
    found = comparison({}, CURVE, METRICS, {"popularity": POPULARITY, "ease": EASE}, "ndcg@10", "max")
    assert found["training"]["val_ndcgs"] == [0.25, 0.5, 0.375]
    assert (found["best_ndcg"], found["final_ndcg"]) == (0.25, 0.125)
    assert (found["baseline_best"], found["baseline_best_ndcg"]) == ("popularity", 0.5)
    assert found["margin"] == pytest.approx(0.125 - 0.5)
    assert not any("recall" in name for name in found)


def test_a_model_that_wins() -> None:
    found = comparison({}, CURVE, METRICS, {"popularity": POPULARITY}, "recall@10", "max")
    assert found["margin"] == 0.375 - 0.25


def test_an_error_is_better_where_it_is_lower() -> None:
    """The means are off by 0.25 less than the others, and by 0.25 more than the model."""
    rivals = {"means": {"test/mse": 1.0}, "guess": {"test/mse": 1.25}}
    found = comparison({}, CURVE, {"val/mse": 0.5, "test/mse": 0.75}, rivals, "mse", "min")
    assert (found["baseline_best"], found["baseline_best_mse"], found["margin"]) == ("means", 1.0, 0.25)
