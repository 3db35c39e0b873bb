"""`recsweep train`: one run, or with -m a sweep of them."""

import gc
import logging
import math
import os
import threading
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig, OmegaConf

from recsweep.atomic import name_folder, write_json
from recsweep.commands import compose, replay, report
from recsweep.config import check_config
from recsweep.errors import UserError, summarize_error
from recsweep.models.base import RecModule
from recsweep.models.baselines import Baseline
from recsweep.runs import build, exports
from recsweep.runs.callbacks import Pruned
from recsweep.runs.fit import fit
from recsweep.runs.folder import check_size, describe_epochs, describe_run, judge, oracle_metrics
from recsweep.runs.provenance import Command, describe_command, describe_start
from recsweep.sweeps import jobs, progress
from recsweep.sweeps.share import Share, gpu
from recsweep.terminal import print_line

log = logging.getLogger(__name__)
logging.raiseExceptions = False  # on a full disk each message that run.log cannot take would print a traceback


def run(arguments: list[str]) -> None:
    """Starts, repeats with changes, or resumes a run or a sweep.

    `train [-m] [overrides]`, the same with run=DIR; `train run=DIR resume=true`, `train sweep.resume=DIR`
    """
    command = describe_command(["train", *arguments])
    sweep_folder = compose.pop_option(arguments, "sweep.resume")
    if sweep_folder is not None:
        _resume_sweep(Path(sweep_folder), arguments, command)
    elif compose.parse_flags(arguments).multirun:
        sweep, origin = _prepare_sweep(arguments)
        jobs.write_request(sweep.folder, jobs.SweepRequest(arguments, sweep.jobs))
        _run_sweep(sweep, origin, command)
    elif "resume=true" in arguments and any(argument.startswith("run=") for argument in arguments):
        folder, arguments = _resume_arguments(arguments)
        compose.launch(arguments, partial(train, command=command), jobs.hold(folder, wait=False))
    else:
        arguments, origin = replay.expand_run(arguments)
        named = compose.check_run_dir(arguments)
        claim = jobs.hold(named, wait=False) if named else None
        compose.launch(arguments, partial(train, command=command, origin=origin), claim)


def _resume_sweep(folder: Path, arguments: list[str], command: Command) -> None:
    if extra := [argument for argument in arguments if argument not in ("-m", "--multirun")]:
        raise UserError(f"{extra[0]}: a resumed sweep keeps its settings; start another to change something")
    request = jobs.read_request(folder)
    sweep, origin = _prepare_sweep(request.arguments, folder)
    jobs.check_same_jobs(folder, request, sweep.jobs)
    _run_sweep(sweep, origin, command)


def _prepare_sweep(arguments: list[str], folder: Path | None = None) -> tuple[compose.Sweep, Path | None]:
    """The sweep that the arguments describe, and the run that `run=DIR` names."""
    arguments, origin = replay.expand_run(arguments)
    return compose.prepare_sweep(arguments, folder), origin


def _run_sweep(sweep: compose.Sweep, origin: Path | None, command: Command) -> None:
    """Runs the jobs that are not completed, then prints the table; `UserError` where a job failed."""
    gc.freeze()  # modules stay in memory anyway; without them a collection after each job takes milliseconds
    resume = f"recsweep train sweep.resume={sweep.folder}"
    try:
        _run_jobs(sweep, origin, command, resume)
        if jobs.folders(sweep.folder):  # a search has none where other workers ran all trials
            report.run([str(sweep.folder)])
        if sweep.search:
            from recsweep.sweeps import conclusion  # importing Optuna takes a second

            conclusion.show(sweep.search, sweep.folder)
        else:
            jobs.check_complete(sweep.folder, sweep.n_jobs)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(resume) from None
    failed = [job for job in jobs.folders(sweep.folder) if (jobs.outcome(job) or {}).get("status") == "failed"]
    if failed:
        advice = "" if sweep.search else f"; {resume} tries them again"  # a search has learned from them
        raise UserError(f"{len(failed)} of {sweep.n_jobs} jobs failed, as listed above{advice}")


def _run_jobs(sweep: compose.Sweep, origin: Path | None, command: Command, resume: str) -> None:
    try:
        with progress.show_progress(sweep.folder, sweep.n_jobs):
            job = partial(_run_job, share=sweep.share, origin=origin, command=command, cwd=Path.cwd())
            compose.run_hydra(sweep.arguments, job)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{error}; {resume} goes on") from None
    except Exception as error:  # of the launcher itself
        raise UserError(f"the launcher gave up ({summarize_error(error)}); {resume} goes on") from None


def _run_job(cfg: DictConfig, share: Share, origin: Path | None, command: Command, cwd: Path) -> float:
    """Runs one job of a sweep, in this process or another, and returns its objective; NaN where it failed.

    Errors are recorded, and the other jobs go on. A completed job of a resumed sweep is not run again. Processes of an
    interrupted sweep may still be at work on the job: the lock waits for them.
    """
    os.chdir(cwd)  # arguments may name files relative to it
    folder = Path(HydraConfig.get().runtime.output_dir)
    with jobs.hold(folder, wait=True):
        previous = jobs.outcome(folder)
        if previous and previous["status"] == "completed":
            return previous["objective"]["value"]
        if previous:
            jobs.start_over(folder)
        _choose_gpu(share)
        provenance = {**command, **describe_start()}
        try:
            if origin:
                replay.record_changes(cfg, origin, folder)
            cfg.callbacks.progress = False  # the sweep shows its own
            check_config(cfg)  # the trials of a search are not checked before they start
            n_threads = max(1, min(cfg.trainer.threads, share.cores // cfg.trainer.processes))
            return _train_and_record(cfg, folder, n_threads, provenance)["objective"]["value"]
        except Pruned as reason:
            content = {"status": "pruned", "error": str(reason), **reason.epochs, **provenance}
            write_json(folder / "metrics.json", content)
            return float("nan")
        except Exception as error:  # of any kind: one job must not end the sweep
            log.info("The job failed.", exc_info=True)
            jobs.record_failure(folder, error)
            return float("nan")


def _choose_gpu(share: Share) -> None:
    """Assigns one of several GPUs to this job; a process that has used one already stays with it."""
    devices = os.environ.get("CUDA_VISIBLE_DEVICES")
    visible = devices.split(",") if devices else list(map(str, range(torch.cuda.device_count())))
    if share.gpus_round_robin and visible:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu(HydraConfig.get().job.num, visible)


def _resume_arguments(arguments: list[str]) -> tuple[Path, list[str]]:
    """The folder of `run=DIR`, and the arguments that resume its run: its own, and the folder."""
    folder = compose.pop_run(arguments)
    if arguments != ["resume=true"]:
        arguments.remove("resume=true")
        raise UserError(f"{arguments[0]}: a resumed run keeps its settings; start another one to change something")
    if (jobs.read_outcome(folder) or {}).get("status") == "completed":
        raise UserError(f"run={folder}: already completed; `recsweep evaluate run={folder}` shows its metrics")
    return folder, [*compose.load_arguments(folder), f"hydra.run.dir={folder}"]


def train(cfg: DictConfig, command: Command, origin: Path | None = None) -> float:
    """Trains one run, with changes to the run `origin` where that is given, and returns the objective's value."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    with jobs.hold(folder, wait=False):
        if origin:
            replay.print_changes(replay.record_changes(cfg, origin, folder))
        try:
            provenance = {**command, **describe_start()}
            outcome = _train_and_record(cfg, folder, cfg.trainer.threads, provenance)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"recsweep train run={folder} resume=true") from None
        except Exception as error:
            jobs.record_failure(folder, error)
            raise
    _print_outcome(cfg, folder, outcome)
    return outcome["objective"]["value"]


def _train_and_record(cfg: DictConfig, folder: Path, n_threads: int, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Trains and judges a run, writes its metrics.json, `provenance` included, and returns the content."""
    _redirect_logs()
    torch.set_num_threads(n_threads)
    with name_folder(folder):
        outcome = {**_train_and_judge(cfg, folder), **provenance}
    write_json(folder / "metrics.json", outcome)
    gc.collect()  # Lightning's reference cycles hold the job's tensors, and Python counts objects, not bytes
    return outcome


def _train_and_judge(cfg: DictConfig, folder: Path) -> dict[str, Any]:
    start = time.perf_counter()
    data = build.data(cfg)
    model = build.model(cfg, data)
    check_size(model, data, cfg.callbacks.checkpoint.max_mb)
    for node in cfg.callbacks.compare_with:
        exports.build_baseline(cfg, node, data)  # so that mistakes show before training
    description = describe_run(cfg, data, model)
    data_end = time.perf_counter()
    logger = TensorBoardLogger(folder, "tb", "", default_hp_metric=False) if cfg.logger.tensorboard else None
    fit(cfg, data, model, folder / "checkpoints", logger, _pruning_callbacks())
    fit_end = time.perf_counter()
    oracle = oracle_metrics(cfg, data)
    metrics = judge(cfg, data, folder)
    if cfg.callbacks.embeddings:
        exports.write_vectors(cfg, data, folder, logger)
    if cfg.callbacks.compare_with:
        exports.write_comparison(cfg, data, model, metrics, folder)
    end = time.perf_counter()
    if logger:
        final = {f"best/{name}" if name.startswith("val/") else name: value for name, value in metrics.items()}
        exports.log_hyperparameters(logger, _hyperparameters(cfg), final)  # val/… itself is the curve
        logger.finalize("success")
    objective = build.evaluation(cfg).objective
    objective_key = f"val/{objective}"
    if math.isnan(metrics[objective_key]):
        raise UserError(
            f"{objective_key} is NaN, nothing to select by: choose another evaluation.objective, or log more"
        )
    return {
        "status": "completed",
        "objective": {"name": objective_key, "value": metrics[objective_key], "mode": build.evaluation(cfg).mode},
        "metrics": metrics,
        "oracle": oracle,
        **describe_epochs(model),
        "training": _training_means(model),
        "seconds": {"data": data_end - start, "fit": fit_end - data_end, "test": end - fit_end, "total": end - start},
        **description,
    }


def _pruning_callbacks() -> list[Callback]:
    """What reports to a search after each epoch and may prune the run; empty outside of a search that prunes."""
    node = HydraConfig.get()
    if node.sweeper.get("trial") is None or node.sweeper.pruner == "none":
        return []
    from recsweep.sweeps.search import pruning_callback  # importing Optuna takes a second

    return [pruning_callback(node)]


def _training_means(model: RecModule | Baseline) -> dict[str, float]:
    """Means over the batches of the chosen epoch, by TensorBoard tag; empty for a model without epochs."""
    if isinstance(model, Baseline):
        return {}
    return model.epochs[model.best_epoch]


def _redirect_logs() -> None:
    """Sends the messages of libraries to run.log; the terminal is for progress and results."""
    logging.captureWarnings(True)
    threading.excepthook = _log_thread_error
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True


def _log_thread_error(thread: threading.ExceptHookArgs) -> None:
    """Keeps off the terminal what ends TensorBoard's thread; its next call raises the same error in the main thread."""
    if isinstance(thread.exc_value, OSError):
        log.info("A thread ended.", exc_info=thread.exc_value)
    else:
        threading.__excepthook__(thread)


def _hyperparameters(cfg: DictConfig) -> dict[str, Any]:
    """What may change a result: the configuration as `group.key` values, and the choice of each group."""
    neutral_keys = ("callbacks.checkpoint", "callbacks.progress", "logger", "paths", "name")
    choices = {group: name for group, name in HydraConfig.get().runtime.choices.items() if "/" not in group}
    settings = {
        key: value if isinstance(value, bool | int | float) else str(value)
        for key, value in replay.flatten(OmegaConf.to_container(cfg, resolve=True)).items()
        if not key.endswith(("_target_", "_partial_")) and not key.startswith(neutral_keys)
    }
    for group in ("callbacks", "logger", "search", "trainer"):  # their values say it all
        choices.pop(group)
    return settings | {group: str(name) for group, name in choices.items()}


def _print_outcome(cfg: DictConfig, folder: Path, outcome: Mapping[str, Any]) -> None:
    """Prints one line: the run's folder, its seconds, its objective on validation and test."""
    objective, metrics = build.evaluation(cfg).objective, outcome["metrics"]
    values = "  ".join(f"{part}/{objective} {metrics[f'{part}/{objective}']:.4f}" for part in ("val", "test"))
    print_line(f"{folder}  {cfg.name} seed {cfg.seed}  {outcome['seconds']['total']:.1f} s  {values}")
