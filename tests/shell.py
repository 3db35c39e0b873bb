"""The program in this process, or in one of its own: its commands, and the library calls behind them."""

import io
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from omegaconf import DictConfig
from torch import Tensor

from recsweep.cli import main
from recsweep.config import compose_config
from recsweep.models.base import RecModule
from recsweep.models.baselines import Baseline
from recsweep.runs import build
from recsweep.runs.fit import fit

SYNTHETIC = ("data.n_users=60", "data.n_items=100", "data.n_interactions=1200")
TINY = (*SYNTHETIC, "trainer.max_epochs=2", "trainer.batch_size=64", "logger=none")
QUIET = ("logger=none", "callbacks.progress=false")
TINY_BANDIT = (
    "data.base.n_users=60",
    "data.base.n_items=100",
    "data.base.n_interactions=1200",
    "data.logging_policy.n_pairs=200",
    "data.logging_policy.epochs=2",
    "data.simulator.epochs=1",
    "data.ranker.epochs=1",
    "data.val_users=20",
    "data.threshold=0.5",
    *QUIET,
)

PROCESSES = get_context("forkserver")
PROCESSES.set_forkserver_preload(["recsweep.commands.train", "recsweep.report.html", "recsweep.sweeps.search"])


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


def start_program(folder: Path, *words: str) -> ForkServerProcess:
    """`recsweep WORDS` in a process that may be killed; what it says goes to `said` in the folder.

    It is forked from one that has imported everything, and therefore begins at once.
    """
    process = PROCESSES.Process(target=_main, args=(folder, words), daemon=True)
    process.start()
    return process


def _main(folder: Path, words: tuple[str, ...]) -> None:
    os.chdir(folder)
    said = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit it ignored
    sys.argv = ["recsweep", *words]
    sys.exit(main())


def wait_for(what: Callable[[], object], *running: ForkServerProcess) -> None:
    """Until the call gives something true, two minutes at most, while these processes run."""
    end = time.monotonic() + 120
    while not what():
        assert time.monotonic() < end and all(process.is_alive() for process in running)
        time.sleep(0.01)


def train_run(folder: Path, *words: str) -> Path:
    """The folder of the run that `recsweep train WORDS` makes."""
    made = folder / f"run_{len(list(folder.glob('run_*')))}"
    outcome = recsweep(folder, "train", *words, f"hydra.run.dir={made}")
    assert outcome.status == 0, outcome.err
    return made


def read_metrics(run: Path) -> dict[str, Any]:
    """What a run's metrics.json says."""
    return json.loads((run / "metrics.json").read_text())


def weights(checkpoint: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, read as untrusted."""
    return torch.load(checkpoint, weights_only=True)["state_dict"]


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    """Whether two models are equal bit for bit."""
    return left.keys() == right.keys() and all(torch.equal(tensor, right[name]) for name, tensor in left.items())


def fit_model(cfg: DictConfig, checkpoints: Path) -> RecModule | Baseline:
    """The model as it is when training ends; it goes on from `checkpoints` where there are some."""
    data = build.data(cfg)
    model = build.model(cfg, data)
    fit(cfg, data, model, checkpoints, None)
    return model.eval()


def tiny(*words: str) -> DictConfig:
    """The configuration of a small silent run."""
    return compose_config([*TINY, "callbacks.progress=false", *words])
