"""Turns a composed configuration into the objects of a run."""

from functools import partial
from typing import Any

import torch
from hydra.utils import instantiate
from lightning import seed_everything
from omegaconf import DictConfig
from torch.optim import SparseAdam
from torch.optim.lr_scheduler import ReduceLROnPlateau

from recsweep.data.datamodules import InteractionData
from recsweep.data.schema import Source
from recsweep.evaluation import Evaluation
from recsweep.models.base import RecModule, Regularization, Training
from recsweep.models.baselines import Baseline

# Adagrad with weight decay shrinks unused rows until they are subnormal, which made its step nine times slower.
torch.set_flush_denormal(True)


def _built(node: DictConfig) -> Any:
    """What a node describes, from plain lists and dicts: OmegaConf's own must not get into checkpoints.

    Hydra's partial looks its target up again at every call, 0.1 ms a training step; a plain one does not.
    """
    made = instantiate(node, _convert_="all")
    return partial(made.func, *made.args, **made.keywords) if isinstance(made, partial) else made


def evaluation(cfg: DictConfig) -> Evaluation:
    """The protocol that selects and judges."""
    return _built(cfg.evaluation)


def device(cfg: DictConfig) -> torch.device:
    """Where a run trains and scores."""
    wanted = cfg.trainer.accelerator
    on_gpu = wanted == "cuda" or (wanted == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if on_gpu else "cpu")


def source(cfg: DictConfig) -> Source:
    """The data set, not yet read."""
    return _built(cfg.data)


def data(cfg: DictConfig) -> InteractionData:
    """The data set, read and split."""
    return InteractionData(
        source(cfg),
        _built(cfg.split),
        batch_size=cfg.trainer.batch_size,
        steps=cfg.trainer.steps_per_call * cfg.trainer.accumulate,
        limit=cfg.trainer.limit_batches,
        seed=cfg.seed,
        shuffle=cfg.trainer.shuffle,
    )


def model(cfg: DictConfig, data: InteractionData) -> RecModule | Baseline:
    """The model for the data's training part: a `RecModule` to be trained by steps, or a `Baseline` to be fitted."""
    seed_everything(cfg.seed, verbose=False)
    architecture = _built(cfg.model)
    if issubclass(architecture.func, RecModule):
        return architecture(data.train, training(cfg))
    return architecture(data.train)


def training(cfg: DictConfig) -> Training:
    """Loss, regularisers, optimizer and schedule; what depends on another group is filled in here."""
    protocol = evaluation(cfg)
    optimizer: partial[Any] = _built(cfg.optimizer)
    if optimizer.func is not SparseAdam:
        optimizer = partial(optimizer, weight_decay=cfg.regularization.weight_decay)
    scheduler: partial[Any] = _built(cfg.scheduler)
    if scheduler.func is ReduceLROnPlateau:
        scheduler = partial(scheduler, mode=protocol.mode)
    return Training(
        loss=_built(cfg.loss),
        regularization=Regularization(**cfg.regularization),
        optimizer=optimizer,
        scheduler=scheduler,
        evaluation=protocol,
        max_epochs=cfg.trainer.max_epochs,
        accumulate=cfg.trainer.accumulate,
        seed=cfg.seed,
    )
