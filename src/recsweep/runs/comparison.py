"""What a training came to, beside the baselines: the content of `comparison.json`."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Curve(NamedTuple):
    """A value an epoch: the mean training loss, and the objective on validation."""

    train_losses: Sequence[float]
    val_objectives: Sequence[float]


def comparison(
    model_config: Mapping[str, Any],
    curve: Curve,
    metrics: Mapping[str, float],
    baselines: Mapping[str, Mapping[str, float]],
    objective: str,
    mode: str,
) -> dict[str, Any]:
    """The model's settings, its curve, and its objective beside that of each baseline.

    Keys are named after the objective, here recall@10: `best_recall` is that of the epoch which validation chose, on
    validation; `final_recall` is that of the final model on test, and so are the baselines'. `margin` is how much
    better `final_recall` is than `baseline_best_recall`, negative where a baseline wins.

    Args:
        model_config: what the model was built with.
        curve: of the training.
        metrics: `val/…` and `test/…` of the run, by name.
        baselines: name -> the same metrics of each baseline, one at least; only `test/…` is kept.
        objective: name of the metric, such as "recall@10".
        mode: "max" where higher is better, "min" where lower is.

    >>> rivals = {"popularity": {"test/recall@10": 0.25}, "ease": {"test/recall@10": 0.75}}
    >>> mine = {"val/recall@10": 0.5, "test/recall@10": 0.5}
    >>> found = comparison({}, Curve([2.0], [0.5]), mine, rivals, "recall@10", "max")
    >>> found["baseline_best"], found["baseline_best_recall"], found["margin"]
    ('ease', 0.75, -0.25)
    """
    name, on_test = objective.partition("@")[0], f"test/{objective}"
    better = 1 if mode == "max" else -1
    best = max(baselines, key=lambda baseline: better * baselines[baseline][on_test])
    return {
        "objective": objective,
        "model_config": dict(model_config),
        "training": {"train_losses": list(curve.train_losses), f"val_{name}s": list(curve.val_objectives)},
        f"best_{name}": metrics[f"val/{objective}"],
        f"final_{name}": metrics[on_test],
        "baselines": {baseline: _test_only(values) for baseline, values in baselines.items()},
        "baseline_best": best,
        f"baseline_best_{name}": baselines[best][on_test],
        "margin": better * (metrics[on_test] - baselines[best][on_test]),
    }


def _test_only(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name.startswith("test/")}
