"""Between a verb's words and Hydra: what is checked before anything runs, and how a run's own words come back."""

import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from recsweep.config import composed, conf_dir, one_line
from recsweep.errors import UserError

ONLY_SHOWS = (
    "--cfg",
    "-c",
    "--help",
    "-h",
    "--hydra-help",
    "--info",
    "-i",
    "--shell-completion",
    "-sc",
    "--version",
)

LEAVES_NOTHING = ["hydra.run.dir=.", "hydra.output_subdir=null", "hydra/job_logging=none"]


def is_sweep(words: list[str]) -> bool:
    """Whether Hydra is asked for a multirun."""
    return "-m" in words or "--multirun" in words


def take(words: list[str], key: str) -> str | None:
    """Removes `key=value` from the words and gives the value; None where it is not there."""
    for word in words:
        if word.startswith(f"{key}="):
            words.remove(word)
            return word.removeprefix(f"{key}=")
    return None


def run_folder(words: list[str]) -> Path:
    """The run that `run=DIR` names, checked to be one."""
    given = take(words, "run")
    if given is None:
        raise UserError("which run? give run=DIR, a folder that `recsweep train` made")
    folder = Path(given)
    if not (folder / ".hydra" / "overrides.yaml").is_file():
        raise UserError(f"run={given}: no run of recsweep (it has no .hydra/overrides.yaml)")
    return folder


def saved_overrides(folder: Path) -> list[str]:
    """The overrides that made a run, as they were given."""
    return list(OmegaConf.load(folder / ".hydra" / "overrides.yaml"))


def check_jobs(words: list[str]) -> None:
    """Composes and checks every job that the words ask for, before any of them starts."""
    overrides = [word for word in words if not word.startswith("-")]
    try:
        parsed = OverridesParser.create().parse_overrides(overrides)
        jobs = BasicSweeper.split_arguments(parsed, max_batch_size=None)[0] if is_sweep(words) else [overrides]
    except HydraException as error:
        raise UserError(one_line(error)) from None
    for job in jobs:
        composed([word for word in job if not word.startswith("hydra.")])


def launch(words: list[str], task: Callable[[DictConfig], Any]) -> None:
    """Hands the words to Hydra, which composes each job and calls `task` with its configuration."""
    if not any(word in ONLY_SHOWS for word in words):
        check_jobs(words)
    mistakes: list[UserError] = []

    def guarded(cfg: DictConfig) -> Any:
        try:
            return task(cfg)
        except UserError as error:  # raised from here, Hydra would print a line of its own
            mistakes.append(error)

    sys.argv = ["recsweep", *words]
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(guarded)()
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(one_line(error)) from None
    if mistakes:
        raise mistakes[0]


def stamp() -> str:
    """Now, as a folder's name."""
    return datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
