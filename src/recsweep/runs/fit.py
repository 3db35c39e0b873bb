"""Trains one model, by gradient steps or in closed form, and writes its checkpoints."""

import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from lightning import Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, Checkpoint, LambdaCallback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler
from omegaconf import DictConfig

from recsweep import processes
from recsweep.data.datamodules import InteractionData
from recsweep.errors import UserError, summarize_error
from recsweep.models.base import RecModule
from recsweep.models.baselines import Baseline
from recsweep.runs import build
from recsweep.runs.callbacks import EpochLines, EpochProgress, ResumePoint, SaveBest, StopEarly
from recsweep.runs.checkpoints import WholeCheckpoints, explain_checkpoint, read_checkpoint
from recsweep.runs.folder import BEST, LAST, REFIT, load_weights, save_weights
from recsweep.runs.warm_start import start_from
from recsweep.terminal import print_line

log = logging.getLogger(__name__)

PROFILERS: dict[str, type[Profiler]] = {
    "simple": SimpleProfiler,
    "advanced": AdvancedProfiler,
    "pytorch": PyTorchProfiler,
}


def fit(
    cfg: DictConfig,
    data: InteractionData,
    model: RecModule | Baseline,
    checkpoints: Path,
    loggers: Sequence[Logger],
    extra_callbacks: Sequence[Callback] = (),
) -> None:
    """Trains the model on train; with `trainer.refit`, then a fresh one on train + validation.

    Resumes from the checkpoints of an interrupted run. A refit trains for as many epochs as selection chose, and its
    scheduler sees the validation objectives of the first training again.

    Args:
        extra_callbacks: for the first training, not for the refit.
    """
    if isinstance(model, Baseline):
        if cfg.trainer.processes > 1:
            log.info(
                f"trainer.processes={cfg.trainer.processes}: {cfg.name} has no gradient steps, one process fits it"
            )
        model.fit(data.train)
        save_weights(checkpoints / BEST, model, data)
        if cfg.trainer.refit:
            refit_data = data.refit_data()
            model.fit(refit_data.train)
            save_weights(checkpoints / REFIT, model, refit_data)
        return
    arguments = (cfg, data, model, checkpoints, loggers, extra_callbacks)
    if cfg.trainer.processes > 1:
        backend = "nccl" if build.device(cfg).type == "cuda" else "gloo"
        processes.launch(cfg.trainer.processes, backend, _fit_by_steps, *arguments)
        checkpoint = read_checkpoint(checkpoints / LAST)
        with explain_checkpoint(checkpoints / LAST):
            model.load_state_dict(checkpoint["state_dict"])
            model.on_load_checkpoint(checkpoint)
    else:
        _fit_by_steps(*arguments)


def _fit_by_steps(
    cfg: DictConfig,
    data: InteractionData,
    model: RecModule,
    checkpoints: Path,
    loggers: Sequence[Logger],
    extra_callbacks: Sequence[Callback],
) -> None:
    """The training of one process; of several processes, only the first writes files and shows progress."""
    is_first = processes.rank() == 0
    if processes.count() > 1:  # the module logs values of all processes already
        warnings.filterwarnings("ignore", ".*sync_dist=True")
    _start(cfg, data, model, checkpoints / LAST, is_first)
    callbacks = _selection_callbacks(cfg, model, checkpoints)
    if is_first:
        callbacks += [*extra_callbacks, *build.callbacks(cfg)]
    _run_trainer(
        cfg,
        data,
        model,
        build.max_epochs(cfg),
        callbacks,
        checkpoints / LAST,
        loggers,
        _profiler(cfg, checkpoints.parent),
    )
    if cfg.trainer.refit:
        refit_data = data.refit_data()
        refit_model = build.model(cfg, refit_data)
        assert isinstance(refit_model, RecModule)
        refit_model.objectives = model.objectives
        refit_point = checkpoints / "refit_last.ckpt"
        _start(cfg, data, refit_model, refit_point, is_first=False)
        _run_trainer(cfg, refit_data, refit_model, model.best_epoch + 1, [], refit_point)
        if is_first:
            save_weights(checkpoints / REFIT, refit_model, refit_data)


def _start(cfg: DictConfig, data: InteractionData, model: RecModule, resume_point: Path, is_first: bool) -> None:
    """Takes over the weights of another run, if one is named and no training goes on."""
    folder = cfg.trainer.get("start_from")
    if folder and not resume_point.is_file():
        line = start_from(Path(folder), model, data)
        if is_first:
            log.info(line)
        if is_first and cfg.callbacks.progress:
            print_line(line, stderr=True)


def _selection_callbacks(cfg: DictConfig, module: RecModule, checkpoints: Path) -> list[Callback]:
    objective, mode = f"val/{module.evaluation.objective}", module.evaluation.mode
    stopping = cfg.callbacks.early_stopping
    save_best = SaveBest(checkpoints / BEST)
    if stopping.patience is None:
        return [save_best]
    stop = StopEarly(objective, stopping.min_delta, stopping.patience, mode=mode, check_on_train_epoch_end=True)
    return [stop, save_best]


def _profiler(cfg: DictConfig, folder: Path) -> Profiler | None:
    """What writes `fit-profile.txt`, and for PyTorch's a trace, into the run's folder."""
    name = cfg.trainer.get("profiler")
    return PROFILERS[name](folder, "profile") if name and processes.rank() == 0 else None


def _run_trainer(
    cfg: DictConfig,
    data: InteractionData,
    module: RecModule,
    n_epochs: int,
    callbacks: list[Callback],
    resume_point: Path,
    loggers: Sequence[Logger] = (),
    profiler: Profiler | None = None,
) -> None:
    device, is_first = build.device(cfg).type, processes.rank() == 0
    if is_first:
        mode, is_shown, is_terminal = module.evaluation.mode, cfg.callbacks.progress, sys.stderr.isatty()
        progress: list[Callback] = [EpochLines(mode, is_shown and not is_terminal)]
        if is_shown and is_terminal:
            progress.append(EpochProgress(cfg.name, mode))
        callbacks = [*callbacks, *progress, ResumePoint(resume_point, cfg.callbacks.checkpoint.every_seconds)]
    else:
        callbacks = [callback for callback in callbacks if not isinstance(callback, Checkpoint)]
    starts: list[Trainer] = []
    callbacks.append(LambdaCallback(on_train_start=lambda trainer, _: starts.append(trainer)))
    trainer = Trainer(
        max_epochs=n_epochs,
        accelerator=device,
        devices=[processes.rank()] if device == "cuda" else 1,
        logger=list(loggers) if is_first else False,
        callbacks=callbacks,
        precision=cfg.trainer.get("precision", "32-true"),
        profiler=profiler,
        fast_dev_run=build.fast_dev_run(cfg),
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=is_first,
        default_root_dir=resume_point.parent,
        plugins=[WholeCheckpoints()],
        log_every_n_steps=1,
    )
    checkpoint = resume_point if resume_point.is_file() else None
    if checkpoint:
        load_weights(checkpoint, module, data)  # a wrong checkpoint then raises a UserError
    try:
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    except SystemExit:  # Lightning raises it after Ctrl-C
        raise KeyboardInterrupt from None
    except (UserError, OSError):
        raise
    except MisconfigurationException as error:  # such as a callback that wants a logger
        raise UserError(summarize_error(error)) from None
    except Exception as error:
        if starts or not checkpoint:
            raise
        raise UserError(f"{checkpoint}: no training can go on from it ({summarize_error(error)})") from None
