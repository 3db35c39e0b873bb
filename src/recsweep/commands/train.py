"""`recsweep train`: one run, or with -m a sweep of them."""

import gc
import logging
import math
import os
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
from rich.console import Console

from recsweep.atomic import write_json
from recsweep.commands import compose, replay, report
from recsweep.config import check_config
from recsweep.errors import UserError
from recsweep.models.base import RecModule
from recsweep.models.baselines import Baseline
from recsweep.runs import build, exports
from recsweep.runs.callbacks import Pruned
from recsweep.runs.fit import fit
from recsweep.runs.folder import check_size, facts, judge, oracle
from recsweep.sweeps import jobs, progress
from recsweep.sweeps.share import Share, gpu

log = logging.getLogger(__name__)


def run(words: list[str]) -> None:
    """One run or a sweep, a new one, one with changes to an earlier run, or one that was interrupted.

    `train [-m] [overrides]`, the same with run=DIR; `train run=DIR resume=true`, `train sweep.resume=DIR`
    """
    begun = compose.take(words, "sweep.resume")
    if begun is not None:
        _resume_sweep(Path(begun), words)
    elif compose.flags(words).multirun:
        asked, origin = _understood(words)
        jobs.begin(asked.folder, jobs.Asked(words, asked.jobs))
        _sweep(asked, origin)
    elif "resume=true" in words and any(word.startswith("run=") for word in words):
        compose.launch(_resumed(words), train)
    else:
        words, origin = replay.replayed(words)
        compose.check_free(words)
        compose.launch(words, partial(train, origin=origin))


def _resume_sweep(folder: Path, words: list[str]) -> None:
    if changed := [word for word in words if word not in ("-m", "--multirun")]:
        raise UserError(f"{changed[0]}: a resumed sweep goes on as it was asked for; start another to change something")
    before = jobs.asked_before(folder)
    asked, origin = _understood(before.words, folder)
    jobs.check_unchanged(folder, before, asked.jobs)
    _sweep(asked, origin)


def _understood(words: list[str], folder: Path | None = None) -> tuple[compose.Sweep, Path | None]:
    """The sweep that the words ask for, and the run that it changes something of."""
    words, origin = replay.replayed(words)
    return compose.sweep(words, folder), origin


def _sweep(asked: compose.Sweep, origin: Path | None) -> None:
    """Runs the jobs that are not completed, then shows the table; `UserError` where some did not complete."""
    gc.freeze()  # what is imported stays; looking for garbage after each job is then a matter of milliseconds
    goes_on = f"recsweep train sweep.resume={asked.folder}"
    try:
        with progress.shown(asked.folder, asked.n_jobs):
            compose.hand_over(asked.words, partial(_job, share=asked.share, origin=origin, here=Path.cwd()))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(goes_on) from None
    except UserError:
        raise
    except Exception as error:  # a launcher's own
        raise UserError(f"the launcher gave up ({jobs.one_line(error)}); {goes_on} goes on") from None
    if jobs.folders(asked.folder):  # of a search, other workers may have made all trials
        report.run([str(asked.folder)])
    if asked.search:
        from recsweep.sweeps import conclusion  # Optuna takes a second

        conclusion.show(asked.search, asked.folder)
    failed = [job for job in jobs.folders(asked.folder) if (jobs.outcome(job) or {}).get("status") == "failed"]
    if failed:
        again = "" if asked.search else f"; {goes_on} tries them again"  # a search has learned from them
        raise UserError(f"{len(failed)} of {asked.n_jobs} jobs failed, as listed above{again}")


def _job(cfg: DictConfig, share: Share, origin: Path | None, here: Path) -> float:
    """One job of a sweep, in this process or another: whatever goes wrong is recorded, and the others go on.

    Where it is completed already, the sweep was interrupted and goes on. Who was interrupted may have left processes
    that still work: the lock waits for them.
    """
    os.chdir(here)  # the words may name files from here
    folder = Path(HydraConfig.get().runtime.output_dir)
    with jobs.lock(folder):
        before = jobs.outcome(folder)
        if before and before["status"] == "completed":
            return before["objective"]["value"]
        if before:
            jobs.start_over(folder)
        _take(share)
        try:
            if origin:
                replay.changes(cfg, origin, folder)
            cfg.callbacks.progress = False  # the sweep shows its own
            check_config(cfg)  # what a search proposes, nobody has seen before
            n_threads = max(1, min(cfg.trainer.threads, share.cores // cfg.trainer.processes))
            return _completed(cfg, folder, n_threads)["objective"]["value"]
        except Pruned as reason:
            write_json(folder / "metrics.json", {"status": "pruned", "error": str(reason)})
            return float("nan")
        except Exception as error:  # of whatever kind: a sweep outlives its jobs
            log.info("The job failed.", exc_info=True)
            jobs.fail(folder, error)
            return float("nan")


def _take(share: Share) -> None:
    """Of several GPUs, this job's; a process that used one already stays with it."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    visible = named.split(",") if named else list(map(str, range(torch.cuda.device_count())))
    if share.gpus_go_round and visible:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu(HydraConfig.get().job.num, visible)


def _resumed(words: list[str]) -> list[str]:
    folder = compose.run_folder(words)
    if words != ["resume=true"]:
        words.remove("resume=true")
        raise UserError(f"{words[0]}: a resumed run goes on as it was asked for; start another one to change something")
    if (jobs.outcome(folder) or {}).get("status") == "completed":
        raise UserError(f"run={folder}: already completed; `recsweep evaluate run={folder}` shows its metrics")
    return [*compose.saved_words(folder), f"hydra.run.dir={folder}"]


def train(cfg: DictConfig, origin: Path | None = None) -> float:
    """One run, where `origin` is given one that changes something of that. The objective's value."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    if origin:
        replay.show(replay.changes(cfg, origin, folder))
    try:
        outcome = _completed(cfg, folder, cfg.trainer.threads)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"recsweep train run={folder} resume=true") from None
    except UserError as error:
        jobs.fail(folder, error)
        raise
    _say(cfg, folder, outcome)
    return outcome["objective"]["value"]


def _completed(cfg: DictConfig, folder: Path, n_threads: int) -> dict[str, Any]:
    """Data, model, training, judgement; what metrics.json then says."""
    _send_to_log()
    torch.set_num_threads(n_threads)
    outcome = _trained(cfg, folder)
    write_json(folder / "metrics.json", outcome)
    gc.collect()  # the engine's cycles hold the job's tensors, and Python counts objects, not bytes
    return outcome


def _trained(cfg: DictConfig, folder: Path) -> dict[str, Any]:
    start = time.perf_counter()
    data = build.data(cfg)
    model = build.model(cfg, data)
    check_size(model, data, cfg.callbacks.checkpoint.max_mb)
    for asked in cfg.callbacks.compare_with:
        exports.rival(cfg, asked, data)  # whatever is wrong with it is said before training
    known = facts(cfg, data, model)
    read = time.perf_counter()
    logger = TensorBoardLogger(folder, "tb", "", default_hp_metric=False) if cfg.logger.tensorboard else None
    fit(cfg, data, model, folder / "checkpoints", logger, _watchers())
    fitted = time.perf_counter()
    truth = oracle(cfg, data)
    metrics = judge(cfg, data, folder)
    if cfg.callbacks.embeddings:
        exports.vectors(cfg, data, folder, logger)
    if cfg.callbacks.compare_with:
        exports.baselines(cfg, data, model, metrics, folder)
    end = time.perf_counter()
    if logger:
        final = {f"best/{name}" if name.startswith("val/") else name: value for name, value in metrics.items()}
        exports.hyperparameters(logger, _hyperparameters(cfg), final)  # val/… itself is the curve
        logger.finalize("success")
    objective = build.evaluation(cfg).objective
    selected = f"val/{objective}"
    if math.isnan(metrics[selected]):
        raise UserError(f"{selected} is NaN, nothing to select by: choose another evaluation.objective, or log more")
    return {
        "status": "completed",
        "objective": {"name": selected, "value": metrics[selected], "mode": build.evaluation(cfg).mode},
        "metrics": metrics,
        "oracle": truth,
        "training": _training(model),
        "seconds": {"data": read - start, "fit": fitted - read, "test": end - fitted, "total": end - start},
        **known,
    }


def _watchers() -> list[Callback]:
    """What tells a search how the run goes, where it is a trial that may be pruned."""
    node = HydraConfig.get()
    if node.sweeper.get("trial") is None or node.sweeper.pruner == "none":
        return []
    from recsweep.sweeps.search import pruning  # Optuna takes a second

    return [pruning(node)]


def _training(model: RecModule | Baseline) -> dict[str, float]:
    """Means over the batches of the chosen epoch, by their names in TensorBoard; empty for a model without epochs."""
    if isinstance(model, Baseline):
        return {}
    return model.epochs[model.chosen_epoch]


def _send_to_log() -> None:
    """What libraries say goes to run.log; the terminal is for progress and results."""
    logging.captureWarnings(True)
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True


def _hyperparameters(cfg: DictConfig) -> dict[str, Any]:
    """What may change a result: the configuration as flat `group.key` values, and the name of each group's choice."""
    without = ("callbacks.checkpoint", "callbacks.progress", "logger", "paths", "name")
    choices = {group: name for group, name in HydraConfig.get().runtime.choices.items() if "/" not in group}
    settings = {
        key: value if isinstance(value, bool | int | float) else str(value)
        for key, value in replay.flat(OmegaConf.to_container(cfg, resolve=True)).items()
        if not key.endswith(("_target_", "_partial_")) and not key.startswith(without)
    }
    for group in ("callbacks", "logger", "search", "trainer"):  # their choices say nothing that their values do not
        choices.pop(group)
    return settings | {group: str(name) for group, name in choices.items()}


def _say(cfg: DictConfig, folder: Path, outcome: Mapping[str, Any]) -> None:
    """One line a run: where it is, how long it took, what it reached."""
    objective = build.evaluation(cfg).objective
    shown = "  ".join(f"{part}/{objective} {outcome['metrics'][f'{part}/{objective}']:.4f}" for part in ("val", "test"))
    line = f"{folder}  {cfg.name} seed {cfg.seed}  {outcome['seconds']['total']:.1f} s  {shown}"
    Console(soft_wrap=True).print(line, markup=False, highlight=False)
