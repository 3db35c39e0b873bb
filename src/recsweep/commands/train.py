"""`recsweep train`: one run, or with -m a sweep of them."""

import gc
import json
import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from recsweep import build, exports, runs
from recsweep.commands import compose, report
from recsweep.errors import UserError
from recsweep.fit import fit
from recsweep.models.base import RecModule
from recsweep.models.baselines import Baseline

log = logging.getLogger(__name__)


def run(words: list[str]) -> None:
    """`train [overrides]`, `train -m [overrides]`, or `train run=DIR resume=true`."""
    if compose.flags(words).multirun:
        _sweep(words)
        return
    if any(word.startswith("run=") for word in words):
        words = _resumed(words)
    compose.launch(words, train)


def _sweep(words: list[str]) -> None:
    words, folder = compose.spelled_out(words)
    gc.freeze()  # what is imported stays; looking for garbage after each job is then a matter of milliseconds
    compose.launch(words, train)
    report.run([str(folder)])
    states = [json.loads(path.read_text()) for path in sorted(folder.glob("*/metrics.json"))]
    failed = [state["error"] for state in states if state["status"] == "failed"]
    if failed:
        raise UserError(f"{len(failed)} of {len(states)} jobs failed, the first with: {failed[0]}")


def _resumed(words: list[str]) -> list[str]:
    folder = compose.run_folder(words)
    if compose.take(words, "resume") != "true":
        raise UserError(f"run={folder}: add resume=true to go on with it")
    if words:
        raise UserError(f"{words[0]}: a resumed run goes on as it was asked for; start another one to change something")
    state = folder / "metrics.json"
    if state.is_file() and json.loads(state.read_text())["status"] == "completed":
        raise UserError(f"run={folder}: already completed; `recsweep evaluate run={folder}` shows its metrics")
    return [*compose.saved_overrides(folder), f"hydra.run.dir={folder}"]


def train(cfg: DictConfig) -> float:
    """One job: data, model, training, judgement. The objective's value, for sweepers."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    _send_to_log()
    torch.set_num_threads(cfg.trainer.threads)
    try:
        outcome = _trained(cfg, folder)
    except UserError as error:
        runs.write_json(folder / "metrics.json", {"status": "failed", "error": str(error)})
        if HydraConfig.get().mode is not RunMode.MULTIRUN:
            raise
        Console(stderr=True, soft_wrap=True).print(f"{folder}: failed: {error}", markup=False, highlight=False)
        return float("nan")
    runs.write_json(folder / "metrics.json", outcome)
    gc.collect()  # the engine's cycles hold the job's tensors, and Python counts objects, not bytes
    _say(cfg, folder, outcome)
    return outcome["objective"]["value"]


def _trained(cfg: DictConfig, folder: Path) -> dict[str, Any]:
    start = time.perf_counter()
    data = build.data(cfg)
    model = build.model(cfg, data)
    runs.check_size(model, data, cfg.callbacks.checkpoint.max_mb)
    for asked in cfg.callbacks.compare_with:
        exports.rival(cfg, asked, data)  # whatever is wrong with it is said before training
    known = runs.facts(cfg, data, model)
    read = time.perf_counter()
    logger = TensorBoardLogger(folder, "tb", "", default_hp_metric=False) if cfg.logger.tensorboard else None
    fit(cfg, data, model, folder / "checkpoints", logger)
    fitted = time.perf_counter()
    truth = runs.oracle(cfg, data)
    metrics = runs.judge(cfg, data, folder)
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
    flat: dict[str, Any] = {}

    def add(prefix: str, node: Any) -> None:
        if isinstance(node, Mapping):
            for key, value in node.items():
                add(f"{prefix}.{key}" if prefix else key, value)
        elif not prefix.endswith(("_target_", "_partial_")) and not prefix.startswith(without):
            flat[prefix] = node if isinstance(node, bool | int | float) else str(node)

    add("", OmegaConf.to_container(cfg, resolve=True))
    for group in ("callbacks", "logger", "trainer"):  # their choices say nothing that their values do not
        choices.pop(group)
    return flat | {group: str(name) for group, name in choices.items()}


def _say(cfg: DictConfig, folder: Path, outcome: Mapping[str, Any]) -> None:
    """One line a run: where it is, how long it took, what it reached."""
    objective = build.evaluation(cfg).objective
    shown = "  ".join(f"{part}/{objective} {outcome['metrics'][f'{part}/{objective}']:.4f}" for part in ("val", "test"))
    line = f"{folder}  {cfg.name} seed {cfg.seed}  {outcome['seconds']['total']:.1f} s  {shown}"
    Console(soft_wrap=True).print(line, markup=False, highlight=False)
