"""Training of one model, by gradient steps or in closed form, up to its checkpoints."""

from collections.abc import Sequence
from pathlib import Path

from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig

from recsweep import build
from recsweep.callbacks import EpochProgress, ResumePoint, StopEarly, best_checkpoint
from recsweep.data.datamodules import InteractionData
from recsweep.models.base import RecModule
from recsweep.models.baselines import Baseline
from recsweep.runs import BEST, LAST, REFIT, load_weights, save_weights


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
        model.fit(data.train)
        save_weights(checkpoints / BEST, model, data)
        if cfg.trainer.refit:
            whole = data.whole()
            model.fit(whole.train)
            save_weights(checkpoints / REFIT, model, whole)
        return
    selecting = [*_selecting(cfg, model, checkpoints), *watchers]
    _take_steps(cfg, data, model, cfg.trainer.max_epochs, selecting, checkpoints / LAST, logger)
    if cfg.trainer.refit:
        whole = data.whole()
        again = build.model(cfg, whole)
        assert isinstance(again, RecModule)
        again.objectives = model.objectives
        _take_steps(cfg, whole, again, model.chosen_epoch + 1, [], checkpoints / "refit_last.ckpt", None)
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
    saving = ResumePoint(resume_point, cfg.callbacks.checkpoint.every_seconds)
    progress = [EpochProgress(cfg.name, module.evaluation.mode)] if cfg.callbacks.progress else []
    trainer = Trainer(
        max_epochs=n_epochs,
        accelerator=build.device(cfg).type,
        devices=1,
        logger=logger or False,
        callbacks=[*callbacks, *progress, saving],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=True,
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
