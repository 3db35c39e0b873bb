"""A sweep before it starts: composed and checked, or read from its sweep.json."""

import importlib
import re
from argparse import Namespace
from functools import cache
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from recsweep.commands import compose
from recsweep.commands.compose_jobs import compose_jobs
from recsweep.commands.flags import parse_flags
from recsweep.commands.unused import check_sweep_overrides, merge_jobs
from recsweep.config import compose_with_hydra, resolve
from recsweep.config.files import search_path
from recsweep.config.overrides import check_single, parse_overrides
from recsweep.config.shape import MAX_WORKERS
from recsweep.errors import UserError
from recsweep.runs.record import Record, check_files, freeze
from recsweep.runs.recorded import Recorded, key_of
from recsweep.sweeps import grid, jobs
from recsweep.sweeps.request import Request, read_request
from recsweep.sweeps.share import Share, cores, share
from recsweep.terminal import print_line

if TYPE_CHECKING:
    from recsweep.sweeps.plan import Plan

NAMES = ("partition", "qos", "account", "constraint")  # settings of a launcher that a file may hold as text
WORD = re.compile(r"[\w.-]+")
_ABSENT = object()


class Sweep(NamedTuple):
    """A sweep, composed, checked and ready to start.

    Args:
        arguments: what Hydra gets; settings that the configuration adds are spelled out.
        folder: of the sweep.
        request: what its sweep.json says.
        n_jobs: how many jobs there will be.
        share: what each job may use of its machine.
        search: what proposes the jobs; None for a grid.
        plugins: modules that the user trusts besides the project's own; None: any, for the user wrote it all just now.
        moved: overrides that say where the data are now.
    """

    arguments: list[str]
    folder: Path
    request: Request
    n_jobs: int
    share: Share
    search: "Plan | None"
    plugins: tuple[str, ...] | None
    moved: tuple[str, ...]


def prepare_sweep(arguments: list[str]) -> Sweep:
    """Composes and checks the sweep that the arguments describe; `UserError` for the first mistake.

    The sweep of an experiment file (`hydra.sweeper.params`) is spelled out key by key, so that the command line
    replaces what the file says. Where several experiments are swept, each brings its own.
    """
    words, arguments = list(arguments), list(arguments)
    folder_of_origin, origin = None, None
    if any(argument.startswith("run=") for argument in arguments):
        folder_of_origin, origin = compose.pop_run(arguments)
    compose.pop_plugins(arguments)
    flags = parse_flags(arguments)
    typed = parse_overrides(flags.overrides)
    if any(override.key_or_group in ("hydra.sweep.subdir", "hydra.output_subdir") for override in typed):
        raise UserError("hydra.sweep.dir alone may be set: the folders of a sweep's jobs are named by their numbers")
    own, of_hydra = compose.split_overrides(arguments)
    check_single(of_hydra)
    if origin:
        origin.print_drift()
    searched = [override for override in own if key_of(override) == "search"]
    nodes = [_hydra_node([*(searched if origin else job), *of_hydra], flags) for job in _experiments(own)]
    spelled = _spell_out(nodes)
    folder = Path(nodes[0].sweep.dir)
    if not nodes[0].sweep.dir:
        raise UserError("hydra.sweep.dir is empty: name a folder, or leave it out")
    search = None
    if "n_trials" in nodes[0].sweeper:
        search = [*own, *_own_sweep(nodes[0], own)]
        overrides = [_first_of(search)]
    else:
        overrides = _split_into_jobs(own, nodes)
    composed = compose_jobs(overrides, lambda job: _record(job, flags, origin))
    check_sweep_overrides(parse_overrides(own), composed, is_search=search is not None)
    records = merge_jobs(composed, lambda job: _record(job, flags, origin))
    for record in records:
        compose.check_start(record)
    source = str(folder_of_origin) if folder_of_origin else None
    request = Request(words=words, hydra=spelled, search=search, origin=source, records=records)
    kept = [
        o
        for o in of_hydra
        if not key_of(o).startswith(("hydra/launcher", "hydra.launcher", "hydra/sweeper", "hydra.sweep"))
    ]
    flag_arguments = [argument for argument in arguments if argument not in flags.overrides]
    plugins = origin.plugins if origin and search is not None else None  # a grid's jobs have been checked
    return _plan(folder, request, [*flag_arguments, *kept], plugins)


def resume_sweep(folder: Path, arguments: list[str]) -> Sweep:
    """The sweep in this folder, as its sweep.json says; the arguments may choose a launcher, or name `plugins`."""
    arguments = list(arguments)
    plugins = compose.pop_plugins(arguments)
    overrides = parse_flags(arguments).overrides
    moved = tuple(override for override in overrides if compose.is_place(override))
    for override in overrides:
        is_launcher = key_of(override).startswith(("hydra/launcher", "hydra.launcher.", "hydra.sweeper.storage"))
        if not (is_launcher or override in moved):
            raise UserError(f"{override}: a resumed sweep keeps its settings; start another to change something")
    parse_overrides(overrides)
    overrides = [override for override in overrides if override not in moved]
    request = read_request(folder)
    check_files(folder)
    keys = {key_of(override) for override in overrides}
    hydra = [override for override in request.hydra if key_of(override) not in keys and _is_harmless(override)]
    if "hydra/launcher" in keys:
        hydra = [override for override in hydra if not key_of(override).startswith("hydra.launcher")]
    if request.search is not None:
        _check_storage(request, keys)
    for number, record in enumerate(request.records):
        if request.search is not None or (jobs.outcome(folder / str(number)) or {}).get("status") != "completed":
            Recorded(f"sweep.resume={folder}, job {number}", record, plugins).change(moved).build()
    Recorded(f"sweep.resume={folder}", request.records[0]).print_drift()
    request = request.model_copy(update={"hydra": [*hydra, *overrides]})
    return _plan(folder, request, ["-m"], plugins, moved)


def _plan(
    folder: Path,
    request: Request,
    arguments: list[str],
    plugins: tuple[str, ...] | None,
    moved: tuple[str, ...] = (),
) -> Sweep:
    """The sweep with its share of the machine, and a search's plan."""
    node = _hydra_node(request.hydra)
    _check_launcher(node)
    batch = node.sweeper.get("max_batch_size")
    if batch is not None and not (isinstance(batch, int) and batch > 0):
        raise UserError(f"hydra.sweeper.max_batch_size={batch}: give a number of jobs, or null for all at once")
    extra = [f"hydra.sweep.dir={compose.quote(str(folder.absolute()))}", "hydra.sweeper.params=null"]
    if node.launcher._target_.endswith(".LocalLauncher") and batch is None and "max_batch_size" in node.sweeper:
        batch = cores()
        extra.append(f"hydra.sweeper.max_batch_size={batch}")
    is_chosen = any(key_of(override) == "hydra.launcher.submitit_folder" for override in request.hydra)
    if plugins is not None and "submitit_folder" in node.launcher and not is_chosen:
        own = folder.absolute() / ".submitit" / token_hex(4) / "%j"  # submitit unpickles what it finds there
        extra.append(f"hydra.launcher.submitit_folder={compose.quote(str(own))}")
    arguments = [*arguments, *(o for o in request.hydra if key_of(o) not in map(key_of, extra)), *extra]
    job_share = share(node.launcher, batch, cores())
    if request.search is None:
        return Sweep(arguments, folder, request, len(request.records), job_share, None, plugins, moved)
    base = Recorded(f"sweep.resume={folder}", request.records[0], plugins or (), is_trusted=plugins is None)
    base = base.change(moved)
    search = _prepare_search(node, request.search, base)
    return Sweep(arguments, folder, request, search.n_trials, job_share, search, plugins, moved)


def _prepare_search(node: DictConfig, overrides: list[str], base: Recorded) -> "Plan":
    """The search that the overrides describe, checked at the ends of its space; each trial is checked when it starts.

    Args:
        node: `hydra` of the composed configuration.
        base: the settings that the trials change.
    """
    try:
        from recsweep.sweeps import study  # importing Optuna takes a second
        from recsweep.sweeps.plan import PROTOCOL, plan_search
    except ModuleNotFoundError:
        raise UserError("a guided search needs Optuna: pip install 'recsweep[search]'") from None

    settings = cast(dict[str, Any], resolve(node.sweeper))
    plan = plan_search(settings, parse_overrides(overrides), base)
    probes = [base.change(plan.space.overrides_at(point)).build() for point in plan.space.probes()]
    for group in PROTOCOL:
        first, *rest = (cfg.get(group) for cfg in probes)
        if any(other != first for other in rest):
            raise UserError(f"a search must not change {group}: its trials could not be compared")
    if plan.settings.storage:
        study.open_study(plan, plan.settings.storage)  # fails before anything is written
    return plan


def _check_launcher(node: DictConfig) -> None:
    """Raises `UserError` where the package behind the launcher is missing, or for too many processes."""
    if (n_jobs := node.launcher.get("n_jobs", 1)) > MAX_WORKERS:
        raise UserError(f"hydra.launcher.n_jobs={n_jobs}: at most {MAX_WORKERS} processes")
    launcher, module = node.runtime.choices["hydra/launcher"], node.launcher._target_.rpartition(".")[0]
    try:
        importlib.import_module(module)
    except ImportError:
        extra = "slurm" if launcher.startswith("submitit") else launcher
        raise UserError(f"hydra/launcher={launcher} is not installed: pip install 'recsweep[{extra}]'") from None


def _check_storage(request: Request, keys: set[str]) -> None:
    """Raises `UserError` where the trials are in a database that only the file names."""
    recorded = [o for o in request.hydra if key_of(o) == "hydra.sweeper.storage" and not o.endswith("=null")]
    if recorded and "hydra.sweeper.storage" not in keys:
        raise UserError(f"the trials of this search are in a database of their own: give it again, {recorded[0]}")


def _is_harmless(override: str) -> bool:
    """Whether an override of a sweep.json may count: names of launcher and sweeper, numbers, plain words."""
    key, _, value = override.partition("=")
    if key in ("hydra/launcher", "hydra/sweeper"):
        return WORD.fullmatch(value) is not None
    if key.startswith("hydra.launcher."):
        is_number = re.fullmatch(r"-?\d+(\.\d+)?|true|false|null", value) is not None
        return is_number or (key.rpartition(".")[2] in NAMES and WORD.fullmatch(value.strip("'")) is not None)
    return key.startswith("hydra.sweeper.") and key.rpartition(".")[2] not in ("storage", "_target_", "params")


def _hydra_node(overrides: list[str], flags: Namespace | None = None) -> DictConfig:
    return compose_with_hydra(overrides + search_path(flags.config_dir if flags else None)).hydra


def _countable(overrides: list[Override]) -> list[Override]:
    return [override for override in overrides if not override.is_sweep_override() or override.is_discrete_sweep()]


def _first_of(overrides: list[str]) -> list[str]:
    """The first value of every key; ranges of a search are left out."""
    return grid.first_job(_countable(parse_overrides(overrides)))


def _experiments(own: list[str]) -> list[list[str]]:
    """The first job's overrides for every experiment that is swept."""
    first = _first_of(own)
    swept = [o for o in parse_overrides(own) if o.key_or_group == "experiment" and o.is_sweep_override()]
    if not swept:
        return [first]
    rest = [override for override in first if key_of(override) != "experiment"]
    return [[*rest, f"experiment={name}"] for name in swept[-1].sweep_string_iterator()]


def _own_sweep(node: DictConfig, own: list[str]) -> list[str]:
    """The sweep that an experiment file brings, without the keys that the command line sets."""
    keys = {key_of(override) for override in own}
    params = node.sweeper.get("params") or {}
    return [f"{key}={values}" for key, values in params.items() if key not in keys]


def _split_into_jobs(own: list[str], nodes: list[DictConfig]) -> list[list[str]]:
    """The overrides of every job. Experiments that bring sweeps of their own follow each other."""
    sweeps = [_own_sweep(node, own) for node in nodes]
    if len(nodes) == 1 or not any(sweeps):
        return grid.split_into_jobs(parse_overrides([*own, *sweeps[0]]))
    names = [node.runtime.choices["experiment"] for node in nodes]
    described = "; ".join(f"{name}: {' '.join(sweep) or 'none'}" for name, sweep in zip(names, sweeps, strict=True))
    print_line(f"each experiment with the sweep that its file brings ({described})", stderr=True)
    rest = [override for override in own if key_of(override) != "experiment"]
    return [
        job
        for name, sweep in zip(names, sweeps, strict=True)
        for job in grid.split_into_jobs(parse_overrides([f"experiment={name}", *rest, *sweep]))
    ]


def _record(job: list[str], flags: Namespace, origin: Recorded | None) -> Record:
    """The record of a job, checked; `UserError` for the first mistake in it."""
    if origin is None:
        return compose.compose_record(job, flags)
    changed = origin.change(job)
    return changed.record.model_copy(update={"config": freeze(changed.build())})


def _spell_out(nodes: list[DictConfig]) -> list[str]:
    """Launcher and sweeper as overrides of Hydra.

    Args:
        nodes: `hydra` of the configuration, for every experiment that is swept. Where they bring different launchers,
            Hydra's own counts.
    """
    node = nodes[0]
    launchers = {str(other.runtime.choices["hydra/launcher"]): other for other in nodes}
    if len(launchers) > 1:
        names = ", ".join(f"{other.runtime.choices['experiment']}: {name}" for name, other in launchers.items())
        print_line(f"the experiments bring different launchers ({names}): hydra/launcher=basic is taken", stderr=True)
        launcher = ["hydra/launcher=basic"]
    else:
        name = node.runtime.choices["hydra/launcher"]
        settings = cast(dict[str, Any], OmegaConf.to_container(node.launcher))
        launcher = [f"hydra/launcher={name}", *_differences("hydra.launcher", settings, _default_launcher(name))]
    sweeper = node.runtime.choices["hydra/sweeper"]
    sweeper = "grid" if sweeper == "basic" else sweeper  # in config.yaml it would override what search=NAME chooses
    settings = cast(dict[str, Any], resolve(node.sweeper))
    return [*launcher, f"hydra/sweeper={sweeper}", *_differences("hydra.sweeper", settings, {})]


@cache
def _default_launcher(name: str) -> dict[str, Any]:
    """The settings of a launcher that nobody changed."""
    return cast(dict[str, Any], OmegaConf.to_container(_hydra_node([f"hydra/launcher={name}"]).launcher))


def _differences(prefix: str, node: dict[str, Any], plain: dict[str, Any]) -> list[str]:
    """Settings that differ, as overrides."""
    overrides = []
    for key, value in node.items():
        before = plain.get(key, {} if isinstance(value, dict) else _ABSENT)
        if key in ("_target_", "params") or value == before:
            continue
        if isinstance(value, dict):
            overrides += _differences(f"{prefix}.{key}", value, before)
        else:
            overrides.append(f"{prefix}.{key}={compose.quote(value)}")
    return overrides
