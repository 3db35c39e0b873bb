"""Training of one model, by gradient steps or in closed form, up to its checkpoints."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback, Checkpoint
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig

from recsweep import processes
from recsweep.data.datamodules import InteractionData
from recsweep.models.base import RecModule
from recsweep.models.baselines import Baseline
from recsweep.runs import build
from recsweep.runs.callbacks import EpochProgress, ResumePoint, StopEarly, best_checkpoint
from recsweep.runs.folder import BEST, LAST, REFIT, load_weights, save_weights

log = logging.getLogger(__name__)


def fit(
    cfg: DictConfig,
    data: InteractionData,
    model: RecModule | Baseline,
    checkpoints: Path,
    logger: TensorBoardLogger | None,
    watchers: Sequence[Callback] = (),
) -> None:
    """Trains the model on train; with `trainer.refit`, then a fresh one on train + validation.

    Goes on from the checkpoints of an interrupted run where there are any. A refit makes as many epochs as selection
    chose, and its schedule sees the validation objectives of the first training again. Watchers see the first alone.
    """
    if isinstance(model, Baseline):
        if cfg.trainer.processes > 1:
            log.info(f"trainer.processes={cfg.trainer.processes}: {cfg.name} has no steps, one process fits it")
        model.fit(data.train)
        save_weights(checkpoints / BEST, model, data)
        if cfg.trainer.refit:
            whole = data.whole()
            model.fit(whole.train)
            save_weights(checkpoints / REFIT, model, whole)
        return
    how = (cfg, data, model, checkpoints, logger, watchers)
    if cfg.trainer.processes > 1:
        backend = "nccl" if build.device(cfg).type == "cuda" else "gloo"
        processes.launch(cfg.trainer.processes, backend, _by_steps, *how)
        trained = torch.load(checkpoints / LAST, map_location="cpu", weights_only=True)
        model.load_state_dict(trained["state_dict"])
        model.on_load_checkpoint(trained)
    else:
        _by_steps(*how)


def _by_steps(
    cfg: DictConfig,
    data: InteractionData,
    model: RecModule,
    checkpoints: Path,
    logger: TensorBoardLogger | None,
    watchers: Sequence[Callback],
) -> None:
    """What each process does; of several, the first alone writes, shows and tells."""
    first = processes.rank() == 0
    if processes.count() > 1:  # what the module logs is of all processes already
        warnings.filterwarnings("ignore", ".*sync_dist=True")
    selecting = [*_selecting(cfg, model, checkpoints), *(watchers if first else ())]
    _take_steps(cfg, data, model, cfg.trainer.max_epochs, selecting, checkpoints / LAST, logger)
    if cfg.trainer.refit:
        whole = data.whole()
        again = build.model(cfg, whole)
        assert isinstance(again, RecModule)
        again.objectives = model.objectives
        _take_steps(cfg, whole, again, model.chosen_epoch + 1, [], checkpoints / "refit_last.ckpt", None)
        if first:
            save_weights(checkpoints / REFIT, again, whole)


def _selecting(cfg: DictConfig, module: RecModule, checkpoints: Path) -> list[Callback]:
    objective, mode = f"val/{module.evaluation.objective}", module.evaluation.mode
    stopping = cfg.callbacks.early_stopping
    keep = best_checkpoint(checkpoints, objective, mode)
    if stopping.patience is None:
        return [keep]
    stop = StopEarly(objective, stopping.min_delta, stopping.patience, mode=mode, check_on_train_epoch_end=True)
    return [stop, keep]


def _take_steps(
    cfg: DictConfig,
    data: InteractionData,
    module: RecModule,
    n_epochs: int,
    callbacks: list[Callback],
    resume_point: Path,
    logger: TensorBoardLogger | None,
) -> None:
    device, first = build.device(cfg).type, processes.rank() == 0
    if first:
        progress = [EpochProgress(cfg.name, module.evaluation.mode)] if cfg.callbacks.progress else []
        callbacks = [*callbacks, *progress, ResumePoint(resume_point, cfg.callbacks.checkpoint.every_seconds)]
    else:
        callbacks = [callback for callback in callbacks if not isinstance(callback, Checkpoint)]
    trainer = Trainer(
        max_epochs=n_epochs,
        accelerator=device,
        devices=[processes.rank()] if device == "cuda" else 1,
        logger=logger if logger and first else False,
        callbacks=callbacks,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=first,
        default_root_dir=resume_point.parent,
        log_every_n_steps=1,
    )
    resumed = resume_point if resume_point.is_file() else None
    if resumed:
        load_weights(resumed, module, data)  # what is wrong with it is then said in one line
    try:
        trainer.fit(module, datamodule=data, ckpt_path=resumed, weights_only=True)
    except SystemExit:  # how Lightning ends after Ctrl-C
        raise KeyboardInterrupt from None
