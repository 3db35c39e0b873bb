"""Between the command line and Hydra: checks before anything runs, and the arguments of an earlier run."""

import importlib
import logging
import sys
import warnings
from argparse import Namespace
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import hydra
from hydra import initialize_config_dir
from hydra._internal.hydra import Hydra
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from recsweep.config import check_choices, compose_config, compose_with_hydra, conf_dir, describe_error, resolve
from recsweep.config.files import search_path
from recsweep.errors import UserError
from recsweep.parse import read_yaml
from recsweep.sweeps import grid, jobs
from recsweep.sweeps.share import Share, cores, share

if TYPE_CHECKING:
    from recsweep.sweeps.plan import Plan

# Our launchers deliberately have the names of those that the plugins bring; Hydra warns about it in every process.
warnings.filterwarnings("ignore", r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema")

# Hydra composes every command once more to look for hydra.mode; None leaves the mode to the flag -m.
Hydra.get_mode = lambda self, config_name, overrides: None  # type: ignore[method-assign]

NO_OUTPUT = ["hydra.run.dir=.", "hydra.output_subdir=null", "hydra/job_logging=none"]


def parse_flags(arguments: list[str]) -> Namespace:
    """The arguments as Hydra's own parser reads them; `UserError` for a flag that it does not have."""
    with redirect_stderr(StringIO()) as errors:
        try:
            flags = get_args_parser().parse_intermixed_args(arguments)
        except SystemExit as end:
            if not end.code:  # --version has printed its answer
                raise
            raise UserError(errors.getvalue().rpartition("error: ")[2].strip()) from None
    if flags.multirun and (flags.cfg or flags.info or flags.help or flags.hydra_help or flags.shell_completion):
        raise UserError("-m runs a sweep; leave it out with --help, --hydra-help, --cfg, --info or --shell-completion")
    search_path(flags.config_dir)
    if any(override.lstrip("+").startswith("hydra.mode=") for override in flags.overrides):
        raise UserError("hydra.mode: leave it out; -m runs a sweep, and without -m it is one run")
    return flags


def _put_flags_first(arguments: list[str]) -> list[str]:
    """The same arguments, flags before overrides: Hydra's parser wants all overrides in one place."""
    overrides = parse_flags(arguments).overrides
    return [*(argument for argument in arguments if argument not in overrides), *overrides]


def pop_option(arguments: list[str], key: str) -> str | None:
    """Removes `key=value` from the arguments and returns the value; None without one."""
    for argument in arguments:
        if argument.startswith(f"{key}="):
            arguments.remove(argument)
            return argument.removeprefix(f"{key}=")
    return None


def pop_run(arguments: list[str]) -> Path:
    """Removes `run=DIR` from the arguments and returns the folder; `UserError` where it is not a run's."""
    value = pop_option(arguments, "run")
    if value is None:
        raise UserError("which run? give run=DIR, a folder that `recsweep train` wrote")
    folder = Path(value)
    if not (folder / ".hydra" / "overrides.yaml").is_file():
        raise UserError(f"run={value}: no run of recsweep (it has no .hydra/overrides.yaml)")
    return folder


def load_arguments(folder: Path) -> list[str]:
    """The arguments that a run was started with: --config-dir where it had one, and its overrides."""
    try:
        overrides, hydra = (read_yaml(folder / ".hydra" / f"{name}.yaml") for name in ("overrides", "hydra"))
        if not (isinstance(overrides, list) and all(isinstance(override, str) for override in overrides)):
            raise UserError("overrides.yaml is no list of overrides")
        sources = hydra["hydra"]["runtime"]["config_sources"]
        config_dirs = [f"--config-dir={source['path']}" for source in sources if source["provider"] == "command-line"]
        return [*config_dirs, *overrides]
    except UserError as error:
        raise UserError(f"run={folder}: .hydra is not what Hydra wrote ({error})") from None
    except (LookupError, TypeError):
        raise UserError(f"run={folder}: .hydra is not what Hydra wrote (hydra.yaml has no config_sources)") from None


class Sweep(NamedTuple):
    """A sweep, composed, checked and ready to start.

    Args:
        arguments: what Hydra gets; settings that the configuration adds are spelled out.
        folder: of the sweep.
        jobs: the overrides of each job; empty for a search, which proposes its jobs.
        n_jobs: how many jobs there will be.
        share: what each job may use of its machine.
        search: what proposes the jobs; None for a grid.
    """

    arguments: list[str]
    folder: Path
    jobs: list[list[str]]
    n_jobs: int
    share: Share
    search: "Plan | None"


def prepare_sweep(arguments: list[str], folder: Path | None = None) -> Sweep:
    """Composes and checks the sweep that the arguments describe; `UserError` for the first mistake.

    The arguments get the folder itself, because its default name holds the time, and the sweep of an experiment file
    (`hydra.sweeper.params`) key by key, so that the command line replaces what the file says.

    Args:
        folder: of the sweep; None takes the one that the configuration names.
    """
    arguments = _put_flags_first(arguments)
    flags = parse_flags(arguments)
    overrides = _parse_overrides(flags.overrides)
    keys = {override.key_or_group for override in overrides}
    countable = [override for override in overrides if not override.is_sweep_override() or override.is_discrete_sweep()]
    node = compose_with_hydra(grid.first_job(countable) + _search_path(flags)).hydra
    _check_launcher(node)
    if any(key in ("hydra.sweep.subdir", "hydra.output_subdir") for key in keys):
        raise UserError("hydra.sweep.dir alone may be set: the folders of a sweep's jobs are named by their numbers")
    if not node.sweep.dir:
        raise UserError("hydra.sweep.dir is empty: name a folder, or leave it out")
    folder = folder or Path(node.sweep.dir)
    extra = [f"hydra.sweep.dir={QuotedString(str(folder.absolute()), Quote.single).with_quotes()}"]
    if node.runtime.choices["hydra/sweeper"] == "basic":
        extra.append("hydra/sweeper=grid")  # in config.yaml it would override what search=NAME chooses
    if node.sweeper.get("params"):
        extra += [f"{key}={values}" for key, values in node.sweeper.params.items() if key not in keys]
        extra.append("hydra.sweeper.params=null")
    batch = node.sweeper.get("max_batch_size")
    if batch is not None and not (isinstance(batch, int) and batch > 0):
        raise UserError(f"hydra.sweeper.max_batch_size={batch}: give a number of jobs, or null for all at once")
    if node.launcher._target_.endswith(".LocalLauncher") and batch is None and "max_batch_size" in node.sweeper:
        batch = cores()
        extra.append(f"hydra.sweeper.max_batch_size={batch}")
    arguments = [argument for argument in arguments if not argument.startswith("hydra.sweep.dir=")] + extra
    job_share = share(node.launcher, batch, cores())
    if "n_trials" in node.sweeper:
        search = _prepare_search(node, arguments)
        return Sweep(arguments, folder, [], search.n_trials, job_share, search)
    jobs = _compose_jobs(arguments)
    return Sweep(arguments, folder, jobs, len(jobs), job_share, None)


def _prepare_search(node: DictConfig, arguments: list[str]) -> "Plan":
    """The search that the arguments describe, checked at the ends of its space; each trial is checked when it starts.

    Args:
        node: `hydra` of the composed configuration.
    """
    try:
        from recsweep.sweeps import study  # importing Optuna takes a second
        from recsweep.sweeps.plan import PROTOCOL, plan_search
    except ModuleNotFoundError:
        raise UserError("a guided search needs Optuna: pip install 'recsweep[search]'") from None

    flags = parse_flags(arguments)
    overrides = [override for override in _parse_overrides(flags.overrides) if not override.is_hydra_override()]
    settings = cast(dict[str, Any], resolve(node.sweeper))
    plan = plan_search(settings, overrides, lambda job: compose_config(job + _search_path(flags)))
    probes = [plan.space.job_overrides(point) for point in plan.space.probes()]
    first, *rest = (compose_config(job + _search_path(flags)) for job in probes)
    for group in PROTOCOL:
        if any(cfg[group] != first[group] for cfg in rest):
            raise UserError(f"a search must not change {group}: its trials could not be compared")
    if plan.settings.storage:
        study.open_study(plan, plan.settings.storage)  # fails before anything is written
    return plan


def _check_launcher(node: DictConfig) -> None:
    """Raises `UserError` where the package behind the launcher is missing."""
    launcher, module = node.runtime.choices["hydra/launcher"], node.launcher._target_.rpartition(".")[0]
    try:
        importlib.import_module(module)
    except ImportError:
        extra = "slurm" if launcher.startswith("submitit") else launcher
        raise UserError(f"hydra/launcher={launcher} is not installed: pip install 'recsweep[{extra}]'") from None


def _parse_overrides(overrides: list[str]) -> list[Override]:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        choices = GlobalHydra.instance().config_loader()  # for sweeps such as experiment=glob(rating_*)
    try:
        parsed = OverridesParser.create(choices).parse_overrides(overrides)
    except HydraException as error:
        raise UserError(describe_error(error)) from None
    check_choices(parsed)
    return parsed


def _search_path(flags: Namespace) -> list[str]:
    return search_path(flags.config_dir)


def _compose_jobs(arguments: list[str]) -> list[list[str]]:
    """The overrides of every job; each is composed and checked before any of them starts."""
    flags = parse_flags(arguments)
    overrides = _parse_overrides(flags.overrides)
    for override in overrides:
        if override.is_sweep_override() and not flags.multirun:
            raise UserError(f"{override.input_line}: several values: add -m for a sweep, or write a list as [a,b]")
    jobs = grid.split_into_jobs(overrides) if flags.multirun else [flags.overrides]
    jobs = [[override for override in job if not override.startswith(("hydra.", "hydra/"))] for job in jobs]
    for job in jobs:
        compose_config(job + _search_path(flags))
    return jobs


def check_run_dir(arguments: list[str]) -> Path | None:
    """The folder that the arguments name for a new run; `UserError` where it holds one, or a run is at work.

    None where they name none, or one that is known only later, such as one with the time in its name.
    """
    folder = None
    for override in _parse_overrides(parse_flags(arguments).overrides):
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


def launch(
    arguments: list[str], task: Callable[[DictConfig], Any], claim: AbstractContextManager[None] | None = None
) -> None:
    """Checks the arguments of one job and hands them to Hydra, which calls `task` with the configuration.

    Args:
        claim: entered before Hydra writes anything: the lock of the folder that it writes to.
    """
    arguments = _put_flags_first(arguments)
    flags = parse_flags(arguments)
    if flags.cfg or flags.help or flags.hydra_help or flags.info or flags.shell_completion:
        run_hydra(arguments, task)
        return
    _compose_jobs(arguments)
    _check_search_values(flags)
    with claim or nullcontext():
        run_hydra(arguments, task)


def _check_search_values(flags: Namespace) -> None:
    """Raises `UserError` where one run gets `search=NAME`, but not a value for every key of that search."""
    keys = {override.key_or_group for override in _parse_overrides(flags.overrides)}
    if "search" in keys:
        space = compose_with_hydra(flags.overrides + _search_path(flags)).hydra.sweeper.params or {}
        for key in space.keys() - keys:
            raise UserError(f"{key} is searched: -m starts the search; one run takes {key}=VALUE")


def run_hydra(arguments: list[str], task: Callable[[DictConfig], Any]) -> None:
    """Hands checked arguments to Hydra, which composes each job and calls `task` with its configuration."""
    logging.captureWarnings(True)  # libraries' warnings go to run.log, not to the terminal
    mistakes: list[UserError | OSError] = []

    def run_task(cfg: DictConfig) -> Any:
        try:
            return task(cfg)
        except (UserError, OSError) as error:  # raised in here, Hydra would print a line of its own
            mistakes.append(error)

    sys.argv = ["recsweep", *arguments]
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(run_task)()
    except (HydraException, OmegaConfBaseException, RecursionError) as error:
        raise UserError(describe_error(error)) from None
    if mistakes:
        raise mistakes[0]
