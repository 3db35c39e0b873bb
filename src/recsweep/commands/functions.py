"""The verb `train` as functions: `recsweep.train` and `recsweep.compose`."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from omegaconf import DictConfig, OmegaConf

from recsweep.api.run import Run
from recsweep.commands import compose as composition
from recsweep.commands.train import start_run
from recsweep.errors import UserError
from recsweep.runs.provenance import describe_command
from recsweep.runs.record import read_record
from recsweep.runs.recorded import Recorded


def compose(overrides: Sequence[str] = (), config_dir: str | Path | None = None) -> DictConfig:
    """The checked configuration of one run, as `recsweep train OVERRIDES --cfg job` prints it.

    Args:
        overrides: such as `["model=ease", "data=ml_100k"]`.
        config_dir: a folder with choices of your own.

    Raises:
        UserError: an override is wrong, or stands for several values.
    """
    return OmegaConf.create(composition.prepare_run(_to_arguments(overrides, config_dir)).config)


def train(overrides: Sequence[str] = (), config_dir: str | Path | None = None) -> Run:
    """Trains one run, as `recsweep train OVERRIDES` does: the same folder, record and lines on the terminal.

    Args:
        overrides: such as `["model=ease", "data=ml_100k", "hydra.run.dir=outputs/mine"]`.
        config_dir: a folder with choices of your own.

    Raises:
        UserError: an override is wrong, training diverged, or the folder holds a run already.
    """
    arguments = _to_arguments(overrides, config_dir)
    with _keep_process():
        folder = start_run(arguments, describe_command(["train", *arguments]))
    origin = Recorded(f"run={folder}", read_record(folder), is_trusted=True)
    return Run(folder, origin, origin.build())


def _to_arguments(overrides: Sequence[str], config_dir: str | Path | None) -> list[str]:
    """The arguments of the verb; `UserError` for what does not describe one new run."""
    if isinstance(overrides, str):
        raise UserError(f"{overrides}: give a list of overrides, such as ['model=ease', 'seed=1']")
    for word in overrides:
        if word.startswith("-"):
            raise UserError(f"{word}: a flag of the command line; give overrides, such as model=ease")
        if word.startswith(("run=", "sweep.resume=")):
            raise UserError(f"{word}: only the command line goes on from another run or sweep: recsweep train {word}")
    return [*([f"--config-dir={config_dir}"] if config_dir else []), *overrides]


@contextmanager
def _keep_process() -> Iterator[None]:
    """Undoes what Hydra and a training change for the process: arguments, logging and warnings."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    environment = {"HYDRA_FULL_ERROR": "1"}  # Hydra raises exceptions instead of ending the program
    with warnings.catch_warnings(), patch.object(sys, "argv", sys.argv), patch.dict(os.environ, environment):
        try:
            yield
        finally:
            logging.captureWarnings(False)
            for handler in set(root.handlers) - set(handlers):
                handler.close()  # run.log
            root.handlers[:], root.level = handlers, level
