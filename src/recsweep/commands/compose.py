"""Between the command line and Hydra: checks before anything runs."""

import logging
import os
import re
import sys
import warnings
from argparse import Namespace
from collections.abc import Callable
from itertools import compress
from operator import not_
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.hydra import Hydra
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from recsweep.api.origin import change_settings, read_origin
from recsweep.commands.flags import parse_flags, pop_option, put_flags_first
from recsweep.commands.unused import check_overrides
from recsweep.config import check_config, compose_with_hydra, conf_dir, describe_error
from recsweep.config.files import search_path
from recsweep.config.overrides import check_single, parse_overrides
from recsweep.config.targets import check_plugins
from recsweep.errors import UserError
from recsweep.runs.record import Record, freeze
from recsweep.runs.recorded import Recorded, compose_today, key_of
from recsweep.sweeps import jobs

# Our launchers deliberately have the names of those that the plugins bring; Hydra warns about it in every process.
warnings.filterwarnings("ignore", r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema")

# Hydra composes every command once more to look for hydra.mode; None leaves the mode to the flag -m.
Hydra.get_mode = lambda self, config_name, overrides: None  # type: ignore[method-assign]

START_FROM = "trainer.start_from"
NO_RECORD = "hydra.output_subdir=null"  # we write it: Hydra would write it anew at every resume


def pop_run(arguments: list[str]) -> tuple[Path, Recorded]:
    """Removes `run=DIR` and `plugins=MODULE,…` from the arguments; returns the folder and what is recorded of its run.

    Raises:
        UserError: the folder is not a run's, or a module is not there.
    """
    value, plugins = pop_option(arguments, "run"), pop_plugins(arguments)
    if value is None:
        raise UserError("which run? give run=DIR, a folder that `recsweep train` wrote")
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":  # as in hydra.run.dir="résultats"
        value = value[1:-1]
    return Path(value), read_origin(Path(value), plugins, parse_flags(arguments).config_dir)


def build_config(origin: Recorded, arguments: list[str]) -> tuple[Recorded, DictConfig]:
    """An earlier run with the overrides among the arguments, and its configuration; `UserError` for a mistake in them.

    With `--cfg job` it is printed, and the program ends.
    """
    own, of_hydra = split_overrides(arguments)
    if of_hydra:
        raise UserError(f"{of_hydra[0]}: this verb starts no job; leave it out")
    if parse_flags(arguments).multirun:
        raise UserError("-m: this verb runs once; leave it out")
    changed, cfg = change_settings(origin, own)
    if asks_for_help(arguments):
        if parse_flags(arguments).cfg != "job":
            raise UserError("of Hydra's flags, this verb takes --cfg job and --config-dir")
        print(OmegaConf.to_yaml(cfg), end="")
        raise SystemExit
    logging.captureWarnings(True)  # libraries' warnings are not for the terminal
    return changed, cfg


def pop_plugins(arguments: list[str]) -> tuple[str, ...]:
    """Removes `plugins=MODULE,…` from the arguments and returns the modules; `UserError` where one is not there."""
    value = pop_option(arguments, "plugins")
    plugins = tuple(value.split(",")) if value is not None else ()
    check_plugins(plugins)
    return plugins


def is_place(override: str) -> bool:
    """Whether an override says where data are: a resume may need another place, and the fingerprint guards it."""
    return re.fullmatch(r"paths\.\w+|data(\.\w+)*\.(path|folder)", override.partition("=")[0]) is not None


def split_overrides(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The overrides among the arguments: those of the project, and those of Hydra."""
    overrides = parse_flags(arguments).overrides
    is_own = [not key_of(override).startswith(("hydra.", "hydra/")) for override in overrides]
    return list(compress(overrides, is_own)), list(compress(overrides, map(not_, is_own)))


def compose_record(overrides: list[str], flags: Namespace) -> Record:
    """The record of the run that these overrides describe; `UserError` for the first mistake in them."""
    cfg, choices = compose_today(overrides + search_path(flags.config_dir))
    check_config(cfg)
    from recsweep.runs.loggers import check_loggers  # it loads Lightning

    check_loggers(cfg)
    return Record(
        config=freeze(cfg), choices=choices, overrides=overrides, cwd=str(Path.cwd()), config_dir=flags.config_dir
    )


def check_run_dir(arguments: list[str]) -> Path | None:
    """The folder that the arguments name for a new run; `UserError` where it holds one, or a run is at work.

    None where they name none, or one that is known only later, such as one with the time in its name.
    """
    folder = None
    for override in parse_overrides(parse_flags(arguments).overrides):
        if override.key_or_group == "hydra.output_subdir":
            raise UserError("hydra.output_subdir: leave it out; a run is found again by its .hydra")
        if override.key_or_group != "hydra.run.dir":
            continue
        if not override.get_value_element_as_str().strip("'\""):
            raise UserError("hydra.run.dir is empty: name a folder, or leave it out")
        if "${" in str(override.value()):
            continue
        folder = Path(str(override.value()))
        if (folder / "checkpoints").is_dir():
            jobs.check_unheld(folder)
            raise UserError(
                f"{folder}: holds a run already; name another hydra.run.dir, or go on with it: "
                f"recsweep train run={folder} resume=true"
            )
    return folder


def asks_for_help(arguments: list[str]) -> bool:
    """Whether a flag among the arguments makes Hydra print something instead of running."""
    flags = parse_flags(arguments)
    return bool(flags.cfg or flags.help or flags.hydra_help or flags.info or flags.shell_completion)


def check_start(record: Record) -> None:
    """Raises `UserError` where `trainer.start_from` is no run, one of another model, or one without a checkpoint."""
    start = record.config["trainer"].get("start_from")
    if not start or "${" in start:
        return
    before = read_origin(Path(start), key=START_FROM).record
    name, here = (of.choices.get("model") or of.config["model"]["_target_"] for of in (before, record))
    if before.config["model"]["_target_"] != record.config["model"]["_target_"]:
        raise UserError(f"{START_FROM}={start}: a run of model {name}, not of {here}; the models must be the same")
    from recsweep.runs.folder import BEST  # it loads torch and Lightning

    if not (Path(start) / "checkpoints" / BEST).is_file():
        raise UserError(f"{START_FROM}={start}: no checkpoints/{BEST}: the run did not finish, or somebody deleted it")


def prepare_run(arguments: list[str]) -> Record:
    """The record of the one run that the arguments describe; `UserError` for the first mistake in them."""
    flags = parse_flags(arguments)
    own, _ = split_overrides(arguments)
    check_single(flags.overrides)
    record = compose_record(own, flags)
    check_overrides(own, record)
    check_start(record)
    keys = {key_of(override) for override in own}
    if "search" in keys:
        space = compose_with_hydra(own + search_path(flags.config_dir)).hydra.sweeper.params or {}
        for key in space.keys() - keys:
            raise UserError(f"{key} is searched: -m starts the search; one run takes {key}=VALUE")
    return record


def quote(value: Any) -> str:
    """A value in Hydra's grammar."""
    if isinstance(value, str):
        return QuotedString(value, Quote.single).with_quotes()
    if isinstance(value, list):
        return f"[{','.join(map(quote, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def run_hydra(arguments: list[str], task: Callable[[DictConfig], Any]) -> None:
    """Hands checked arguments to Hydra, which makes the folder and its run.log for each job, and calls `task`."""
    logging.captureWarnings(True)  # libraries' warnings go to run.log, not to the terminal
    mistakes: list[UserError | OSError | MemoryError] = []
    cwd = Path.cwd()

    def run_task(cfg: DictConfig) -> Any:
        os.chdir(cwd)  # hydra.job.chdir: arguments may name files relative to it
        try:
            return task(cfg)
        except (UserError, OSError, MemoryError) as error:  # raised in here, Hydra would print a line of its own
            mistakes.append(error)

    sys.argv = ["recsweep", *put_flags_first(arguments), NO_RECORD]
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(run_task)()
    except (HydraException, OmegaConfBaseException, RecursionError) as error:
        raise UserError(describe_error(error)) from None
    if mistakes:
        raise mistakes[0]
