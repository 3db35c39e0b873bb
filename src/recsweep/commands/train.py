"""`recsweep train`: one run, or with -m a sweep of them."""

import gc
import logging
import math
import os
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig, OmegaConf

from recsweep.atomic import name_folder, write_json
from recsweep.commands import compose, replay, report, summary, sweep
from recsweep.commands.flags import parse_flags, pop_option
from recsweep.commands.sweep import Sweep
from recsweep.commands.unused import check_overrides
from recsweep.errors import UserError, summarize_error
from recsweep.models.base import RecModule
from recsweep.models.baselines import Baseline
from recsweep.runs import build, exports
from recsweep.runs.callbacks import Pruned
from recsweep.runs.fit import fit
from recsweep.runs.folder import check_size, describe_epochs, describe_run, judge, oracle_metrics
from recsweep.runs.loggers import log_results, name_run, open_loggers
from recsweep.runs.memory import explain_memory
from recsweep.runs.provenance import Command, describe_command, describe_start
from recsweep.runs.record import Record, freeze, read_record, read_start, write_record, write_start
from recsweep.runs.recorded import Recorded
from recsweep.sweeps import jobs
from recsweep.sweeps.request import check_complete, read_request, write_request
from recsweep.sweeps.share import Share, gpu
from recsweep.sweeps.splits import check_splits
from recsweep.sweeps.variation import name_job, read_varied_keys
from recsweep.terminal import announce, print_line, send_logs_to_file

log = logging.getLogger(__name__)


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
        compose.pop_plugins(arguments)
        record = compose.prepare_run(arguments)
        with _claim(arguments):
            compose.run_hydra(arguments, lambda _: train(record, OmegaConf.create(record.config), command))


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

    def task(_: DictConfig) -> None:
        target = Path(HydraConfig.get().runtime.output_dir)
        replay.print_changes(replay.record_changes(origin.record.config, record.config, folder, target))
        train(record, cfg, command)
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
        compose.run_hydra([target], lambda _: train(origin.record, cfg, command))


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
    try:
        with summary.show_sweep(sweep):
            job = partial(_run_job, share=sweep.share, command=command, plugins=sweep.plugins, moved=sweep.moved)
            compose.run_hydra(sweep.arguments, job)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{error}; {resume} goes on") from None
    except Exception as error:  # of the launcher itself
        raise UserError(f"the launcher gave up ({summarize_error(error)}); {resume} goes on") from None


def _run_job(
    _: DictConfig, share: Share, command: Command, plugins: tuple[str, ...] | None, moved: tuple[str, ...]
) -> float:
    """Runs one job of a sweep, in this process or another, and returns its objective; NaN where it failed.

    Its settings are those of its record, which a search writes before; a grid has them in sweep.json. Errors are
    recorded, and the other jobs go on. A completed job of a resumed sweep is not run again. Processes of an interrupted
    sweep may still be at work on the job: the lock waits for them.
    """
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
            request = read_request(folder.parent)
            record = request.records[int(folder.name)] if request.search is None else read_record(folder)
            if request.origin:
                origin = read_record(Path(request.origin)).config
                replay.record_changes(origin, record.config, Path(request.origin), folder)
            cfg = Recorded(str(folder), record, plugins or (), is_trusted=plugins is None).change(moved).build()
            cfg.callbacks.progress = False  # the sweep shows its own
            n_threads = max(1, min(cfg.trainer.threads, share.cores // cfg.trainer.processes))
            return _train_and_record(record, cfg, folder, n_threads, provenance)["objective"]["value"]
        except Pruned as reason:
            content = {"status": "pruned", "error": str(reason), **reason.epochs, **provenance}
            write_json(folder / "metrics.json", content)
            return float("nan")
        except Exception as error:  # of any kind: one job must not end the sweep
            log.info("The job failed.", exc_info=True)
            jobs.record_failure(folder, error)
            return float("nan")
        finally:
            gc.collect()  # Lightning's reference cycles hold the job's tensors, and Python counts objects, not bytes
            torch.cuda.empty_cache()  # jobs of other processes share the GPU


def _choose_gpu(share: Share) -> None:
    """Assigns one of several GPUs to this job; a process that has used one already stays with it."""
    devices = os.environ.get("CUDA_VISIBLE_DEVICES")
    visible = devices.split(",") if devices else list(map(str, range(torch.cuda.device_count())))
    if share.gpus_round_robin and visible:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu(HydraConfig.get().job.num, visible)


def train(record: Record, cfg: DictConfig, command: Command) -> None:
    """Trains one run.

    Args:
        record: of what was asked for; written to the folder unless one is there.
        cfg: its configuration.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    with jobs.hold(folder, wait=False):
        try:
            outcome = _train_and_record(record, cfg, folder, cfg.trainer.threads, {**command, **describe_start()})
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"recsweep train run={folder} resume=true") from None
        except Exception as error:
            jobs.record_failure(folder, error)
            raise
    summary.print_outcome(cfg, folder, outcome)


def _train_and_record(
    record: Record, cfg: DictConfig, folder: Path, n_threads: int, provenance: Mapping[str, Any]
) -> dict[str, Any]:
    """Trains and judges a run, writes its metrics.json, `provenance` included, and returns the content."""
    objectives = HydraConfig.get().sweeper.get("objectives")
    write_record(folder, record.model_copy(update={"objectives": objectives and list(objectives)}))
    send_logs_to_file()
    torch.set_num_threads(n_threads)
    with name_folder(folder), explain_memory():
        outcome = _train_and_judge(record, cfg, folder, provenance)
    write_json(folder / "metrics.json", outcome)
    return outcome


def _train_and_judge(record: Record, cfg: DictConfig, folder: Path, provenance: Mapping[str, Any]) -> dict[str, Any]:
    start = time.perf_counter()
    data = build.data(cfg)
    model = build.model(cfg, data)
    check_size(model, data, cfg.callbacks.checkpoint.max_mb)
    for node in cfg.callbacks.compare_with:
        exports.build_baseline(cfg, node, data)  # so that mistakes show before training
    description = describe_run(cfg, data, model)
    start_record = {**provenance, "versions": description["versions"], "data": description["data"]}
    write_start(folder, start_record)
    if cfg.callbacks.progress:
        summary.print_start(cfg, folder)
    data_end = time.perf_counter()
    varied_keys = read_varied_keys(folder)
    curves = folder / "tb" / name_job(record.overrides, varied_keys)
    with open_loggers(cfg, folder, name_run(record.overrides, folder), curves) as loggers:
        fit(cfg, data, model, folder / "checkpoints", loggers, _pruning_callbacks())
        fit_end = time.perf_counter()
        oracle = oracle_metrics(cfg, data)
        metrics = judge(cfg, data, folder, cfg.callbacks.get("evidence", True))
        if cfg.callbacks.embeddings:
            exports.write_vectors(cfg, data, folder, loggers)
        if cfg.callbacks.compare_with:
            exports.write_comparison(cfg, data, model, metrics, folder)
        end = time.perf_counter()
        objective, epochs = build.evaluation(cfg).objective, describe_epochs(model)
        settings = replay.describe_settings(cfg, record.choices)
        columns = replay.choose_columns(settings, record.overrides, varied_keys)
        log_results(loggers, settings, columns, metrics, objective, epochs)
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
        "tags": list(cfg.get("tags", [])),
        **epochs,
        "training": _training_means(model),
        "seconds": {"data": data_end - start, "fit": fit_end - data_end, "test": end - fit_end, "total": end - start},
        **description,
        **provenance,
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
