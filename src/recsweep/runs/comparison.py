"""A trained model compared with baselines: the content of `comparison.json`."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Curve(NamedTuple):
    """One value per epoch: the mean training loss, and the objective on validation."""

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

    Keys are named after the objective, here recall@10. `best_recall` is the chosen epoch's value on validation.
    `final_recall` is the final model's value on test, like those of the baselines. `margin` is how much better
    `final_recall` is than `baseline_best_recall`, negative where a baseline wins.

    Args:
        model_config: settings that the model was built with.
        curve: of the training.
        metrics: `val/…` and `test/…` of the run, by name.
        baselines: name -> the same metrics of each baseline, at least one baseline; only `test/…` is kept.
        objective: name of the metric, such as "recall@10".
        mode: "max" where higher is better, "min" where lower is.

    >>> baselines = {"popularity": {"val/recall@10": 0.5, "test/recall@10": 0.25}}
    >>> baselines["ease"] = {"val/recall@10": 0.625, "test/recall@10": 0.75}
    >>> metrics = {"val/recall@10": 0.5, "test/recall@10": 0.5}
    >>> content = comparison({}, Curve([2.0], [0.5]), metrics, baselines, "recall@10", "max")
    >>> content["baseline_best"], content["baseline_best_recall"], content["margin"]
    ('ease', 0.75, -0.25)
    """
    name, on_val, on_test = objective.partition("@")[0], f"val/{objective}", f"test/{objective}"
    sign = 1 if mode == "max" else -1
    best = max(baselines, key=lambda baseline: sign * baselines[baseline][on_val])
    return {
        "objective": objective,
        "model_config": dict(model_config),
        "training": {"train_losses": list(curve.train_losses), f"val_{name}s": list(curve.val_objectives)},
        f"best_{name}": metrics[on_val],
        f"final_{name}": metrics[on_test],
        "baselines": {baseline: _test_metrics(values) for baseline, values in baselines.items()},
        "baseline_best": best,
        f"baseline_best_{name}": baselines[best][on_test],
        "margin": sign * (metrics[on_test] - baselines[best][on_test]),
    }


def _test_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name.startswith("test/")}
