"""Metrics: tensors in, tensors out."""

ERRORS = ("mse", "rmse", "mae", "log_loss")
"""Metrics of which lower is better."""
