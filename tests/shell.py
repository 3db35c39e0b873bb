"""The program in this process: its commands, and the library calls behind them."""

import io
import json
import os
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from omegaconf import DictConfig
from torch import Tensor

from recsweep import build
from recsweep.cli import main
from recsweep.config import composed
from recsweep.fit import fit
from recsweep.models.base import RecModule
from recsweep.models.baselines import Baseline

SYNTHETIC = ("data.n_users=60", "data.n_items=100", "data.n_interactions=1200")
TINY = (*SYNTHETIC, "trainer.max_epochs=2", "trainer.batch_size=64", "logger=none")


class Outcome(NamedTuple):
    """What a command left behind."""

    status: int
    out: str
    err: str


def recsweep(folder: Path, *words: str) -> Outcome:
    """Runs `recsweep WORDS` in `folder`."""
    out, err = io.StringIO(), io.StringIO()
    with (
        chdir(folder),
        patch.object(sys, "argv", ["recsweep", *words]),
        patch.dict(os.environ, {"COLUMNS": "200"}),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            status = main()
        except SystemExit as end:  # Hydra's own --help ends the program
            status = int(end.code or 0)
    return Outcome(status, out.getvalue(), err.getvalue())


def trained(folder: Path, *words: str) -> Path:
    """The folder of the run that `recsweep train WORDS` makes."""
    made = folder / f"run_{len(list(folder.glob('run_*')))}"
    outcome = recsweep(folder, "train", *words, f"hydra.run.dir={made}")
    assert outcome.status == 0, outcome.err
    return made


def saved(run: Path) -> dict[str, Any]:
    """What a run's metrics.json says."""
    return json.loads((run / "metrics.json").read_text())


def weights(checkpoint: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, read as untrusted."""
    return torch.load(checkpoint, weights_only=True)["state_dict"]


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    """Whether two models are equal bit for bit."""
    return left.keys() == right.keys() and all(torch.equal(tensor, right[name]) for name, tensor in left.items())


def fitted(cfg: DictConfig, checkpoints: Path) -> RecModule | Baseline:
    """The model as it is when training ends; it goes on from `checkpoints` where there are some."""
    data = build.data(cfg)
    model = build.model(cfg, data)
    fit(cfg, data, model, checkpoints, None)
    return model.eval()


def tiny(*words: str) -> DictConfig:
    """The configuration of a small silent run."""
    return composed([*TINY, "callbacks.progress=false", *words])
