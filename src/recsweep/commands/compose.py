"""Between a verb's words and Hydra: what is checked before anything runs, and how a run's own words come back."""

import logging
import sys
from argparse import Namespace
from collections.abc import Callable
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import hydra
from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from recsweep.config import composed, conf_dir, one_line, with_hydra
from recsweep.errors import UserError

LEAVES_NOTHING = ["hydra.run.dir=.", "hydra.output_subdir=null", "hydra/job_logging=none"]


def flags(words: list[str]) -> Namespace:
    """The words as Hydra's own parser reads them; `UserError` for a flag that it does not have."""
    with redirect_stderr(StringIO()) as said:
        try:
            asked = get_args_parser().parse_args(words)
        except SystemExit:
            raise UserError(said.getvalue().rpartition("error: ")[2].strip()) from None
    if asked.multirun and (asked.cfg or asked.info or asked.shell_completion):
        raise UserError("-m runs a sweep; leave it out with --cfg, --info or --shell-completion")
    return asked


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


def spelled_out(words: list[str]) -> tuple[list[str], Path]:
    """The words of a sweep with what the configuration adds to them, and the sweep's folder.

    That is the folder itself, whose name holds the time, and the sweep that an experiment file brings
    (`hydra.sweeper.params`): spelled out, what the user gives replaces what the file says, key by key.
    """
    overrides = _parsed(flags(words).overrides)
    given = {override.key_or_group for override in overrides}
    node = with_hydra(_jobs(overrides)[0]).hydra
    added = [] if "hydra.sweep.dir" in given else [f"hydra.sweep.dir={node.sweep.dir}"]
    if node.sweeper.get("params"):
        added += [f"{key}={values}" for key, values in node.sweeper.params.items() if key not in given]
        added.append("hydra.sweeper.params=null")
    return [*words, *added], Path(node.sweep.dir)


def _parsed(overrides: list[str]) -> list[Override]:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        choices = GlobalHydra.instance().config_loader()  # for sweeps such as experiment=glob(rating_*)
    try:
        return OverridesParser.create(choices).parse_overrides(overrides)
    except HydraException as error:
        raise UserError(one_line(error)) from None


def _jobs(overrides: list[Override]) -> list[list[str]]:
    return BasicSweeper.split_arguments(overrides, max_batch_size=None)[0]


def _check_jobs(words: list[str]) -> None:
    """Composes and checks every job that the words ask for, before any of them starts."""
    asked = flags(words)
    overrides = _parsed(asked.overrides)
    elsewhere = [f"hydra.searchpath=[file://{Path(asked.config_dir).resolve()}]"] if asked.config_dir else []
    for job in _jobs(overrides) if asked.multirun else [asked.overrides]:
        composed([word for word in job if not word.startswith("hydra.")] + elsewhere)


def launch(words: list[str], task: Callable[[DictConfig], Any]) -> None:
    """Hands the words to Hydra, which composes each job and calls `task` with its configuration."""
    asked = flags(words)
    if not (asked.cfg or asked.help or asked.hydra_help or asked.info or asked.shell_completion):
        _check_jobs(words)
    logging.captureWarnings(True)  # libraries' warnings go to run.log, not between a user's lines
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
