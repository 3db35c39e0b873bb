"""For tests of resuming: an interruption, and what must be the same as without it."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from shell import equal_weights, fit_model, weights

from recsweep.runs import build
from recsweep.runs.folder import describe_epochs, judge

NOISE = [
    "regularization.dropout=0.2",
    "regularization.rating_noise=0.1",
    "regularization.embedding_noise=0.1",
    "regularization.augmentation=0.3",
]


class Interrupted(Exception):
    """Stands for a machine that goes down."""


def train_and_judge(cfg: DictConfig, folder: Path) -> dict[str, Any]:
    """Trains or resumes a run; its checkpoints, objectives, metrics, and what metrics.json says about its epochs."""
    data = build.data(cfg)
    model = fit_model(cfg, folder / "checkpoints", data)
    tensors = {path.name: weights(path) for path in (folder / "checkpoints").glob("*.ckpt")}
    metrics = judge(cfg, data, folder)
    epochs = describe_epochs(model)
    return {"checkpoints": tensors, "objectives": model.objectives, "metrics": metrics, "epochs": epochs}


def assert_same(outcome: dict[str, Any], expected: dict[str, Any]) -> None:
    """Fails where two outcomes of `train_and_judge` differ in a single bit."""
    assert outcome["objectives"] == expected["objectives"]
    assert outcome["metrics"] == expected["metrics"]
    assert outcome["epochs"] == expected["epochs"]
    assert outcome["checkpoints"].keys() == expected["checkpoints"].keys()
    for name, tensors in expected["checkpoints"].items():
        assert equal_weights(outcome["checkpoints"][name], tensors), name
