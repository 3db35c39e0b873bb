"""Between a verb's words and Hydra: what is checked before anything runs, and how a run's own words come back."""

import importlib
import logging
import sys
import warnings
from argparse import Namespace
from collections.abc import Callable
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import hydra
from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from recsweep.config import compose_config, compose_with_hydra, conf_dir, describe_error
from recsweep.errors import UserError
from recsweep.sweeps.share import Share, cores, share

if TYPE_CHECKING:
    from recsweep.sweeps.plan import Plan

# Hydra warns, in every process, that our launchers bear the names of those that the plugins bring: they are meant to.
warnings.filterwarnings("ignore", r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema")

LEAVES_NOTHING = ["hydra.run.dir=.", "hydra.output_subdir=null", "hydra/job_logging=none"]


def flags(words: list[str]) -> Namespace:
    """The words as Hydra's own parser reads them; `UserError` for a flag that it does not have."""
    with redirect_stderr(StringIO()) as said:
        try:
            asked = get_args_parser().parse_args(words)
        except SystemExit as end:
            if not end.code:  # --version has been answered
                raise
            raise UserError(said.getvalue().rpartition("error: ")[2].strip()) from None
    if asked.multirun and (asked.cfg or asked.info or asked.help or asked.hydra_help or asked.shell_completion):
        raise UserError("-m runs a sweep; leave it out with --help, --hydra-help, --cfg, --info or --shell-completion")
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


def saved_words(folder: Path) -> list[str]:
    """The words that made a run, as they were given: its --config-dir where it had one, and its overrides."""
    try:
        overrides, hydra = (OmegaConf.load(folder / ".hydra" / f"{name}.yaml") for name in ("overrides", "hydra"))
        sources = hydra.hydra.runtime.config_sources
        return [*(f"--config-dir={at.path}" for at in sources if at.provider == "command-line"), *overrides]
    except (OSError, YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"run={folder}: .hydra is not what Hydra wrote ({describe_error(error)})") from None


class Sweep(NamedTuple):
    """A sweep that may start: everything in it was composed and checked.

    Args:
        words: what Hydra is handed, with what the configuration adds spelled out.
        folder: of the sweep.
        jobs: the overrides of each job; none where a search proposes them.
        n_jobs: how many there will be.
        share: what each job may use of its machine.
        search: what proposes the jobs; None where they are known.
    """

    words: list[str]
    folder: Path
    jobs: list[list[str]]
    n_jobs: int
    share: Share
    search: "Plan | None"


def sweep(words: list[str], folder: Path | None = None) -> Sweep:
    """The sweep that the words ask for, in the folder where one is given; `UserError` for whatever is wrong with it.

    The words get the folder itself, whose name holds the time, and the sweep that an experiment file brings
    (`hydra.sweeper.params`): spelled out, what the user gives replaces what the file says, key by key.
    """
    asked = flags(words)
    overrides = _parsed(asked.overrides)
    given = {override.key_or_group for override in overrides}
    countable = [override for override in overrides if not override.is_sweep_override() or override.is_discrete_sweep()]
    node = compose_with_hydra(_jobs(countable)[0] + _elsewhere(asked)).hydra
    _check_installed(node)
    if any(key in ("hydra.sweep.subdir", "hydra.output_subdir") for key in given):
        raise UserError("hydra.sweep.dir alone may be named: the folders of a sweep's jobs bear their numbers")
    folder = folder or Path(node.sweep.dir)
    added = [f"hydra.sweep.dir={QuotedString(str(folder.absolute()), Quote.single).with_quotes()}"]
    if node.runtime.choices["hydra/sweeper"] == "basic":
        added.append("hydra/sweeper=grid")  # in config.yaml it would win over what search=NAME chooses
    if node.sweeper.get("params"):
        added += [f"{key}={values}" for key, values in node.sweeper.params.items() if key not in given]
        added.append("hydra.sweeper.params=null")
    batch = node.sweeper.get("max_batch_size")
    if batch is not None and not (isinstance(batch, int) and batch > 0):
        raise UserError(f"hydra.sweeper.max_batch_size={batch}: give a number of jobs, or null for all at once")
    if node.launcher._target_.endswith(".LocalLauncher") and batch is None and "max_batch_size" in node.sweeper:
        batch = cores()
        added.append(f"hydra.sweeper.max_batch_size={batch}")
    words = [word for word in words if not word.startswith("hydra.sweep.dir=")] + added
    part = share(node.launcher, batch, cores())
    if "n_trials" in node.sweeper:
        plan = _planned(node, words)
        return Sweep(words, folder, [], plan.n_trials, part, plan)
    jobs = _checked(words)
    return Sweep(words, folder, jobs, len(jobs), part, None)


def _planned(node: DictConfig, words: list[str]) -> "Plan":
    """The search that the words ask for, composed and checked at the ends of its space; further jobs as they come."""
    try:
        from recsweep.sweeps import study  # Optuna takes a second
        from recsweep.sweeps.plan import PROTOCOL, planned
    except ModuleNotFoundError:
        raise UserError("a guided search needs Optuna: pip install 'recsweep[search]'") from None

    asked = flags(words)
    overrides = [override for override in _parsed(asked.overrides) if not override.is_hydra_override()]
    settings = cast(dict[str, Any], OmegaConf.to_container(node.sweeper, resolve=True))
    plan = planned(settings, overrides, lambda job: compose_config(job + _elsewhere(asked)))
    first, *others = (compose_config(plan.space.job(point) + _elsewhere(asked)) for point in plan.space.probes())
    for group in PROTOCOL:
        if any(other[group] != first[group] for other in others):
            raise UserError(f"what is searched must not change {group}, for it says what trials are compared by")
    if plan.settings.storage:
        study.opened(plan, plan.settings.storage)  # what is wrong with it is said before anything is written
    return plan


def _check_installed(node: DictConfig) -> None:
    """Raises `UserError` where the package behind the launcher is missing."""
    chosen, module = node.runtime.choices["hydra/launcher"], node.launcher._target_.rpartition(".")[0]
    try:
        importlib.import_module(module)
    except ImportError:
        extra = "slurm" if chosen.startswith("submitit") else chosen
        raise UserError(f"hydra/launcher={chosen} is not installed: pip install 'recsweep[{extra}]'") from None


def _parsed(overrides: list[str]) -> list[Override]:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        choices = GlobalHydra.instance().config_loader()  # for sweeps such as experiment=glob(rating_*)
    try:
        return OverridesParser.create(choices).parse_overrides(overrides)
    except HydraException as error:
        raise UserError(describe_error(error)) from None


def _jobs(overrides: list[Override]) -> list[list[str]]:
    for override in overrides:
        if override.is_interval_sweep():
            raise UserError(f"{override.input_line}: intervals are for a search: add hydra/sweeper=optuna")
    return BasicSweeper.split_arguments(overrides, max_batch_size=None)[0]


def _elsewhere(asked: Namespace) -> list[str]:
    """The override that stands for --config-dir."""
    return [f"hydra.searchpath=[file://{Path(asked.config_dir).resolve()}]"] if asked.config_dir else []


def _checked(words: list[str]) -> list[list[str]]:
    """The overrides of every job that the words ask for, composed and checked before any of them starts."""
    asked = flags(words)
    overrides = _parsed(asked.overrides)
    for override in overrides:
        if override.is_sweep_override() and not asked.multirun:
            raise UserError(f"{override.input_line}: several values: add -m for a sweep, or write a list as [a,b]")
    jobs = _jobs(overrides) if asked.multirun else [asked.overrides]
    jobs = [[word for word in job if not word.startswith(("hydra.", "hydra/"))] for job in jobs]
    for job in jobs:
        compose_config(job + _elsewhere(asked))
    return jobs


def check_free(words: list[str]) -> None:
    """Raises `UserError` where the words name a folder for a new run that holds one already."""
    for override in _parsed(flags(words).overrides):
        folder = Path(str(override.value()))
        if override.key_or_group == "hydra.run.dir" and (folder / "checkpoints").is_dir():
            raise UserError(
                f"{folder}: holds a run already; name another hydra.run.dir, or go on with it: "
                f"recsweep train run={folder} resume=true"
            )


def launch(words: list[str], task: Callable[[DictConfig], Any]) -> None:
    """Checks the words and hands them to Hydra, which composes one job and calls `task` with its configuration."""
    asked = flags(words)
    if not (asked.cfg or asked.help or asked.hydra_help or asked.info or asked.shell_completion):
        _checked(words)
        _check_not_searched(asked)
    hand_over(words, task)


def _check_not_searched(asked: Namespace) -> None:
    """Raises `UserError` where one run is given a search's space, and not the values to take from it."""
    overrides = _parsed(asked.overrides)
    given = {override.key_or_group for override in overrides}
    if "search" in given:
        searched = compose_with_hydra(asked.overrides + _elsewhere(asked)).hydra.sweeper.params or {}
        for key in searched.keys() - given:
            raise UserError(f"{key} is searched: -m starts the search; one run takes {key}=VALUE")


def hand_over(words: list[str], task: Callable[[DictConfig], Any]) -> None:
    """Hands checked words to Hydra, which composes each job and calls `task` with its configuration."""
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
        raise UserError(describe_error(error)) from None
    if mistakes:
        raise mistakes[0]
