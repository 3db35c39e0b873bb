"""The content of comparison.json: its keys, and who wins."""

import json

import pytest

from recsweep.runs.comparison import Curve, comparison

CURVE = Curve([4.0, 3.5, 3.25], [0.25, 0.5, 0.375])
METRICS = {"val/recall@10": 0.5, "test/recall@10": 0.375, "val/ndcg@10": 0.25, "test/ndcg@10": 0.125}
POPULARITY = {"val/recall@10": 0.25, "test/recall@10": 0.75, "val/ndcg@10": 0.5, "test/ndcg@10": 0.5}
EASE = {"val/recall@10": 0.5, "test/recall@10": 0.5, "val/ndcg@10": 0.25, "test/ndcg@10": 0.75}


def test_all_keys() -> None:
    """EASE is the best baseline on validation, not on test; the model loses to it by 0.5 - 0.375 = 1/8 on test."""
    content = comparison({"dim": 8}, CURVE, METRICS, {"popularity": POPULARITY, "ease": EASE}, "recall@10", "max")
    assert content == {
        "objective": "recall@10",
        "model_config": {"dim": 8},
        "training": {"train_losses": [4.0, 3.5, 3.25], "val_recalls": [0.25, 0.5, 0.375]},
        "best_recall": 0.5,
        "final_recall": 0.375,
        "baselines": {
            "popularity": {"test/recall@10": 0.75, "test/ndcg@10": 0.5},
            "ease": {"test/recall@10": 0.5, "test/ndcg@10": 0.75},
        },
        "baseline_best": "ease",
        "baseline_best_recall": 0.5,
        "margin": -1 / 8,
    }
    assert json.loads(json.dumps(content)) == content


def test_keys_are_named_after_the_objective() -> None:
    """By ndcg@10 on validation popularity is the better baseline."""
    content = comparison({}, CURVE, METRICS, {"popularity": POPULARITY, "ease": EASE}, "ndcg@10", "max")
    assert content["training"]["val_ndcgs"] == [0.25, 0.5, 0.375]
    assert (content["best_ndcg"], content["final_ndcg"]) == (0.25, 0.125)
    assert (content["baseline_best"], content["baseline_best_ndcg"]) == ("popularity", 0.5)
    assert content["margin"] == pytest.approx(0.125 - 0.5)
    assert not any("recall" in name for name in content)


def test_a_single_baseline() -> None:
    content = comparison({}, CURVE, METRICS, {"popularity": POPULARITY}, "recall@10", "max")
    assert content["margin"] == 0.375 - 0.75


def test_a_lower_error_is_better() -> None:
    """The error of the means is the lower one on validation, and on test 0.25 above that of the model."""
    baselines = {"means": {"val/mse": 1.5, "test/mse": 1.0}, "guess": {"val/mse": 2.0, "test/mse": 0.75}}
    content = comparison({}, CURVE, {"val/mse": 0.5, "test/mse": 0.75}, baselines, "mse", "min")
    assert (content["baseline_best"], content["baseline_best_mse"], content["margin"]) == ("means", 1.0, 0.25)
