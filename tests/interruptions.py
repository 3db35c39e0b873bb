"""What tests of resuming share: a machine that goes down, and what must be the same afterwards."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from shell import fit_model, same, weights

from recsweep.runs import build
from recsweep.runs.folder import judge

DISTURBED = [
    "regularization.dropout=0.2",
    "regularization.rating_noise=0.1",
    "regularization.embedding_noise=0.1",
    "regularization.augmentation=0.3",
]


class Interrupted(Exception):
    """Stands for the machine that goes down."""


def run(cfg: DictConfig, folder: Path) -> dict[str, Any]:
    """Trains, and what came of it: checkpoints, objectives, metrics."""
    model = fit_model(cfg, folder / "checkpoints")
    tensors = {path.name: weights(path) for path in (folder / "checkpoints").glob("*.ckpt")}
    metrics = judge(cfg, build.data(cfg), folder)
    return {"checkpoints": tensors, "objectives": model.objectives, "metrics": metrics}


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found["objectives"] == expected["objectives"]
    assert found["metrics"] == expected["metrics"]
    assert found["checkpoints"].keys() == expected["checkpoints"].keys()
    for name, tensors in expected["checkpoints"].items():
        assert same(found["checkpoints"][name], tensors), name
