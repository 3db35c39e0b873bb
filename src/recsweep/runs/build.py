"""Builds the objects of a run from its composed configuration."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from hydra.utils import get_class, instantiate
from lightning import seed_everything
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig
from torch.optim import SparseAdam
from torch.optim.lr_scheduler import ReduceLROnPlateau

from recsweep.data.datamodules import InteractionData
from recsweep.data.filters import Filtered
from recsweep.data.schema import Interactions, Source, Split
from recsweep.errors import UserError
from recsweep.evaluation import Evaluation
from recsweep.evaluation.joint import JointEvaluation
from recsweep.evaluation.rating import RatingEvaluation
from recsweep.losses.multitask import Balance
from recsweep.losses.rating import RatingLoss
from recsweep.models.base import RecModule, Training
from recsweep.models.baselines import Baseline
from recsweep.models.regularization import Regularization

# Adagrad with weight decay shrinks unused rows to subnormal numbers, which made its step nine times slower.
torch.set_flush_denormal(True)


def _build(node: DictConfig) -> Any:
    """The object that a node describes, with plain lists and dicts: OmegaConf's must not get into checkpoints.

    Hydra's partial looks up its target at every call, which costs 0.1 ms a training step; a plain one does not.
    """
    result = instantiate(node, _convert_="all")
    return partial(result.func, *result.args, **result.keywords) if isinstance(result, partial) else result


def evaluation(cfg: DictConfig) -> Evaluation:
    """The protocol that selects the epoch and judges the model."""
    return _build(cfg.evaluation)


def device(cfg: DictConfig) -> torch.device:
    """The device on which a run trains and scores."""
    accelerator = cfg.trainer.accelerator
    on_gpu = accelerator == "cuda" or (accelerator == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if on_gpu else "cpu")


def fast_dev_run(cfg: DictConfig) -> int:
    """The batches of a run that only tries whether everything works; 0 for a real one."""
    return int(cfg.trainer.get("fast_dev_run", 0))


def max_epochs(cfg: DictConfig) -> int:
    """The epochs that a training may have."""
    return 1 if fast_dev_run(cfg) else cfg.trainer.max_epochs


def callbacks(cfg: DictConfig) -> list[Callback]:
    """The callbacks of the user's own."""
    return [_build(node) for node in cfg.callbacks.get("extra", [])]


def source(cfg: DictConfig) -> Source:
    """The data set, not yet read, behind its filter, if there is one."""
    source = _build(cfg.data)
    return Filtered(source, _build(cfg.filter)) if "filter" in cfg and cfg.filter else source


def split(cfg: DictConfig) -> Callable[[Interactions, Source], Split]:
    """The split, not yet made."""
    return _build(cfg.split)


def data(cfg: DictConfig) -> InteractionData:
    """The data set, read and split."""
    overfit = cfg.trainer.get("overfit_batches")
    limits = [limit for limit in (cfg.trainer.limit_batches, overfit, fast_dev_run(cfg)) if limit]
    return InteractionData(
        source(cfg),
        split(cfg),
        batch_size=cfg.trainer.batch_size,
        steps=cfg.trainer.steps_per_call * cfg.trainer.accumulate,
        limit=min(limits, default=None),
        repeat=overfit is not None,
        seed=cfg.seed,
        shuffle=cfg.trainer.shuffle,
    )


def model(cfg: DictConfig, data: InteractionData) -> RecModule | Baseline:
    """The untrained model for the training part: a `RecModule`, trained by gradient steps, or a `Baseline`."""
    seed_everything(cfg.seed, verbose=False)
    architecture = _build(cfg.model)
    _check_ratings(data, architecture.func, get_class(cfg.evaluation._target_))
    if issubclass(architecture.func, RecModule):
        return architecture(data.train, training(cfg))
    baseline = architecture(data.train)
    return baseline.to(device(cfg)) if baseline.fits_on_device else baseline


def _check_ratings(data: InteractionData, model: type[RecModule | Baseline], evaluation: type) -> None:
    """Raises `UserError` for a model or an evaluation of predicted ratings where all ratings are the same."""
    learns_ratings = issubclass(model, RecModule) and model.losses in (RatingLoss, Balance)
    low, high = data.data.rating.aminmax()
    if low == high and (learns_ratings or evaluation in (RatingEvaluation, JointEvaluation)):
        raise UserError(
            f"every rating of {data.data.name} is {low:g}, so anything predicts it without error: "
            "evaluation=full_ranking, with a model that ranks, such as popularity or two_tower"
        )


def training(cfg: DictConfig) -> Training:
    """Loss, regularisers, optimizer and scheduler, with the arguments that come from other groups."""
    protocol = evaluation(cfg)
    optimizer: partial[Any] = _build(cfg.optimizer)
    if optimizer.func is not SparseAdam:
        optimizer = partial(optimizer, weight_decay=cfg.regularization.weight_decay)
    scheduler: partial[Any] = _build(cfg.scheduler)
    if scheduler.func is ReduceLROnPlateau:
        scheduler = partial(scheduler, mode=protocol.mode)
    return Training(
        loss=_build(cfg.loss),
        regularization=Regularization(**cfg.regularization),
        optimizer=optimizer,
        scheduler=scheduler,
        evaluation=protocol,
        max_epochs=max_epochs(cfg),
        accumulate=cfg.trainer.accumulate,
        seed=cfg.seed,
        gradient_clip=cfg.trainer.get("gradient_clip"),
        gradient_clip_by=cfg.trainer.get("gradient_clip_by", "norm"),
    )
