"""Metrics: tensors in, tensors out."""

LOWER_IS_BETTER = ("mse", "rmse", "mae", "log_loss", "ece", "popularity", "gini")
"""Metrics of which lower is better, without their cut-offs. All others count as higher is better."""


def lower_is_better(name: str) -> bool:
    """Whether lower values of a metric are better; its name may have a part, a group and a cut-off.

    >>> lower_is_better("val/beyond/gini@10"), lower_is_better("ndcg@10")
    (True, False)
    """
    return name.rpartition("/")[2].partition("@")[0] in LOWER_IS_BETTER
