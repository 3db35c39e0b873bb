"""`recsweep train`: one run, or with -m a sweep of them."""

import gc
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from recsweep.commands import compose, replay, report, summary, sweep
from recsweep.commands.flags import parse_flags, pop_option
from recsweep.commands.sweep import Sweep
from recsweep.commands.unused import check_overrides
from recsweep.errors import UserError, summarize_error
from recsweep.runs.provenance import Command, describe_command
from recsweep.runs.record import Record, freeze, read_start
from recsweep.sweeps import jobs
from recsweep.sweeps.request import check_complete, write_request
from recsweep.terminal import announce, print_line


def run(arguments: list[str]) -> None:
    """Starts, repeats with changes, or resumes a run or a sweep.

    `train [-m] [overrides]`, the same with run=DIR; `train run=DIR resume=true`, `train sweep.resume=DIR`
    """
    command = describe_command(["train", *arguments])
    sweep_folder = pop_option(arguments, "sweep.resume")
    if sweep_folder is not None:
        _run_sweep(sweep.resume_sweep(Path(sweep_folder), arguments), command)
    elif parse_flags(arguments).multirun:
        with announce("recsweep: checking the jobs …"):
            new_sweep = sweep.prepare_sweep(arguments)
        from recsweep.sweeps.splits import check_splits  # it loads torch and Lightning

        check_splits(new_sweep.request.records)
        write_request(new_sweep.folder, new_sweep.request)
        _run_sweep(new_sweep, command)
    elif "resume=true" in arguments and any(argument.startswith("run=") for argument in arguments):
        _resume_run(arguments, command)
    elif any(argument.startswith("run=") for argument in arguments):
        _repeat_run(arguments, command)
    elif compose.asks_for_help(arguments):
        compose.run_hydra(arguments, lambda cfg: None)
    else:
        start_run(arguments, command)


def start_run(arguments: list[str], command: Command) -> Path:
    """Trains one new run and returns its folder."""
    folders: list[Path] = []

    def task(_: DictConfig) -> None:
        folders.append(Path(HydraConfig.get().runtime.output_dir))
        _train(record, OmegaConf.create(record.config), command)

    compose.pop_plugins(arguments)
    with announce("recsweep: checking the settings …"):
        record = compose.prepare_run(arguments)
    with _claim(arguments):
        compose.run_hydra(arguments, task)
    return folders[0]


def _claim(arguments: list[str]) -> AbstractContextManager[None]:
    """The lock of the folder that the arguments name for a new run, where they name one."""
    folder = compose.check_run_dir(arguments)
    return jobs.hold(folder, wait=False) if folder else nullcontext()


def _repeat_run(arguments: list[str], command: Command) -> None:
    """A new run with the settings of an earlier one, some of them changed; it shows what changed."""
    folder, origin = compose.pop_run(arguments)
    own, of_hydra = compose.split_overrides(arguments)
    if not [*own, *of_hydra]:
        raise UserError(f"run={folder}: say what to change, such as seed=1, or add resume=true to go on with it")
    changed, cfg = compose.build_config(origin, [argument for argument in arguments if argument not in of_hydra])
    record = changed.record.model_copy(update={"config": freeze(cfg), "cwd": str(Path.cwd())})
    check_overrides(own, record)
    compose.check_start(record)

    def task(_: DictConfig) -> None:
        target = Path(HydraConfig.get().runtime.output_dir)
        replay.print_changes(replay.record_changes(origin.record.config, record.config, folder, target))
        _train(record, cfg, command)
        before, after = read_start(folder), read_start(target)
        if before and after and before["data"].get("fingerprint") not in (None, after["data"]["fingerprint"]):
            print_line(f"data: other rows than run={folder} had")

    with _claim(arguments):
        compose.run_hydra([f"name={compose.quote(cfg.name)}", *of_hydra], task)


def _resume_run(arguments: list[str], command: Command) -> None:
    """Goes on with an interrupted run, from its record and its last checkpoint."""
    folder, origin = compose.pop_run(arguments)
    arguments.remove("resume=true")
    for argument in arguments:
        if not compose.is_place(argument):
            raise UserError(f"{argument}: a resumed run keeps its settings; start another one to change something")
    _, cfg = compose.build_config(origin, arguments)
    if (jobs.read_outcome(folder) or {}).get("status") == "completed":
        raise UserError(f"run={folder}: {replay.describe_completed(folder, cfg)}")
    with jobs.hold(folder, wait=False):
        target = f"hydra.run.dir={compose.quote(str(folder))}"
        compose.run_hydra([target], lambda _: _train(origin.record, cfg, command))


def _train(record: Record, cfg: DictConfig, command: Command) -> None:
    from recsweep.commands.job import train  # it loads torch and Lightning

    train(record, cfg, command)


def _run_sweep(sweep: Sweep, command: Command) -> None:
    """Runs the jobs that are not completed, then prints the table; `UserError` where a job failed."""
    gc.freeze()  # modules stay in memory anyway; without them a collection after each job takes milliseconds
    resume = f"recsweep train sweep.resume={sweep.folder}"
    try:
        _run_jobs(sweep, command, resume)
        if jobs.folders(sweep.folder):  # a search has none where other workers ran all trials
            report.run([str(sweep.folder)])
        if sweep.search:
            from recsweep.sweeps import conclusion  # importing Optuna takes a second

            conclusion.show(sweep.search, sweep.folder)
        else:
            check_complete(sweep.folder, sweep.n_jobs)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(resume) from None
    failed = [job for job in jobs.folders(sweep.folder) if (jobs.outcome(job) or {}).get("status") == "failed"]
    if failed:
        advice = "" if sweep.search else f"; {resume} tries them again"  # a search has learned from them
        raise UserError(f"{len(failed)} of {sweep.n_jobs} jobs failed, as listed above{advice}")


def _run_jobs(sweep: Sweep, command: Command, resume: str) -> None:
    from recsweep.commands.job import run_job  # it loads torch and Lightning

    try:
        with summary.show_sweep(sweep):
            task = partial(run_job, share=sweep.share, command=command, plugins=sweep.plugins, moved=sweep.moved)
            compose.run_hydra(sweep.arguments, task)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{error}; {resume} goes on") from None
    except Exception as error:  # of the launcher itself
        raise UserError(f"the launcher gave up ({summarize_error(error)}); {resume} goes on") from None
