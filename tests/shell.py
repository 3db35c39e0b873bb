"""Runs the program, in this process or in one of its own, and the library calls behind it."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout
from copy import deepcopy
from functools import cache
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
from recsweep.data.datamodules import InteractionData
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
PROCESSES.set_forkserver_preload(
    ["recsweep.commands.job", "recsweep.commands.train", "recsweep.report.html", "recsweep.sweeps.search"]
)


class Outcome(NamedTuple):
    """Exit status and output of a command."""

    status: int
    out: str
    err: str


PROGRESS = re.compile(r"^(run:|curves:|sweep:|epoch \d).*\n", re.MULTILINE)
"""What stderr says of a run or a sweep besides messages, off a terminal."""


def recsweep(folder: Path, *arguments: str, with_progress: bool = False) -> Outcome:
    """Runs `recsweep ARGUMENTS` in `folder`; `err` is without lines of progress unless they are asked for."""
    out, err = io.StringIO(), io.StringIO()
    with (
        chdir(folder),
        patch.object(sys, "argv", ["recsweep", *arguments]),
        patch.dict(os.environ, {"COLUMNS": "200"}),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            status = main()
        except SystemExit as end:  # Hydra's own --help ends the program
            status = int(end.code or 0)
    messages = err.getvalue() if with_progress else PROGRESS.sub("", err.getvalue())
    return Outcome(status, out.getvalue(), messages)


def slow_imports(*commands: list[str]) -> tuple[str, list[str]]:
    """What `recsweep COMMAND`, one after another in a new interpreter, print, and which slow libraries they import."""
    slow = ("torch", "lightning", "pandas", "optuna", "matplotlib")
    code = "import sys\nfrom recsweep.cli import main\n"
    code += "".join(f"sys.argv = ['recsweep', *{arguments}]\nmain()\n" for arguments in commands)
    code += f"print('imports:', *[name for name in {slow} if name in sys.modules])"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    output, _, libraries = process.stdout.rpartition("imports:")
    return output.strip(), libraries.split()


def start_program(folder: Path, *arguments: str) -> ForkServerProcess:
    """Starts `recsweep ARGUMENTS` in a process that may be killed; its output goes to `output` in the folder.

    It is forked from a process that has imported everything, so it starts at once.
    """
    process = PROCESSES.Process(target=_main, args=(folder, arguments), daemon=True)
    process.start()
    return process


def _main(folder: Path, arguments: tuple[str, ...]) -> None:
    os.chdir(folder)
    output = os.open("output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore it
    sys.argv = ["recsweep", *arguments]
    sys.exit(main())


def wait_for(condition: Callable[[], object], *processes: ForkServerProcess) -> None:
    """Waits until the condition is true, for at most two minutes; fails where one of the processes ends before."""
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end and all(process.is_alive() for process in processes)
        time.sleep(0.01)


def train_run(folder: Path, *arguments: str) -> Path:
    """Runs `recsweep train ARGUMENTS` and returns the run's folder."""
    run = folder / f"run_{len(list(folder.glob('run_*')))}"
    outcome = recsweep(folder, "train", *arguments, f"hydra.run.dir={run}")
    assert outcome.status == 0, outcome.err
    return run


def read_metrics(run: Path) -> dict[str, Any]:
    """The content of a run's metrics.json."""
    return json.loads((run / "metrics.json").read_text())


def table_cells(output: str) -> list[list[str]]:
    """The rows of all tables in a command's output, each as its cells."""
    lines = [line for line in output.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines]


def modification_times(folder: Path) -> dict[Path, int]:
    """All files below a folder, with the times of their last change in nanoseconds."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def weights(checkpoint: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, loaded with weights_only=True."""
    return torch.load(checkpoint, weights_only=True)["state_dict"]


def equal_weights(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    """Whether the weights are equal bit for bit."""
    return left.keys() == right.keys() and all(torch.equal(tensor, right[name]) for name, tensor in left.items())


def fit_model(cfg: DictConfig, checkpoints: Path, data: InteractionData | None = None) -> RecModule | Baseline:
    """Trains a model, from `checkpoints` on where there are some, and returns it in eval mode."""
    data = data or build.data(cfg)
    model = build.model(cfg, data)
    checkpoints.parent.mkdir(parents=True, exist_ok=True)
    fit(cfg, data, model, checkpoints, [])
    return model.eval()


def tiny_config(*overrides: str) -> DictConfig:
    """The configuration of a small silent run."""
    return deepcopy(_compose_tiny(overrides))


@cache
def _compose_tiny(overrides: tuple[str, ...]) -> DictConfig:
    return compose_config([*TINY, "callbacks.progress=false", *overrides])
