"""Trains one run, of a sweep or by itself: this is where torch and Lightning are loaded."""

import gc
import logging
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig

from recsweep.atomic import name_folder, write_json
from recsweep.commands import replay, summary
from recsweep.errors import UserError
from recsweep.models.base import RecModule
from recsweep.models.baselines import Baseline
from recsweep.runs import build, exports
from recsweep.runs.callbacks import Pruned
from recsweep.runs.fit import fit
from recsweep.runs.folder import check_size, describe_epochs, describe_run, judge, oracle_metrics
from recsweep.runs.loggers import log_results, name_run, open_loggers
from recsweep.runs.memory import explain_memory
from recsweep.runs.provenance import Command, describe_start
from recsweep.runs.record import Record, read_record, write_record, write_start
from recsweep.runs.recorded import Recorded
from recsweep.sweeps import jobs
from recsweep.sweeps.request import read_request
from recsweep.sweeps.share import Share, gpu
from recsweep.sweeps.variation import name_job, read_varied_keys
from recsweep.terminal import send_logs_to_file

log = logging.getLogger(__name__)


def run_job(
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
        columns = replay.choose_columns(settings, record.overrides, varied_keys, model.find_ignored(cfg.model))
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
