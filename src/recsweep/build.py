"""Turns a composed configuration into objects: the only place that does."""

from functools import partial
from typing import Any

import torch
from hydra.utils import instantiate
from lightning import seed_everything
from omegaconf import DictConfig
from torch import nn
from torch.optim import SparseAdam
from torch.optim.lr_scheduler import ReduceLROnPlateau

from recsweep.data.datamodules import InteractionData
from recsweep.evaluation import Evaluation
from recsweep.models.base import RecModule, Regularization, Training


def evaluation(cfg: DictConfig) -> Evaluation:
    """The protocol that selects and judges."""
    return instantiate(cfg.evaluation)


def device(cfg: DictConfig) -> torch.device:
    """Where a run trains and scores."""
    wanted = cfg.trainer.accelerator
    return torch.device("cuda" if wanted == "cuda" or (wanted == "auto" and torch.cuda.is_available()) else "cpu")


def data(cfg: DictConfig) -> InteractionData:
    """The data set, read and split, batched as the model wants it."""
    model = instantiate(cfg.model).func
    return InteractionData(
        instantiate(cfg.data),
        instantiate(cfg.split),
        getattr(model, "columns", None),
        batch_size=cfg.trainer.batch_size,
        steps=cfg.trainer.steps_per_call,
        limit=cfg.trainer.limit_batches,
        seed=cfg.seed,
    )


def model(cfg: DictConfig, data: InteractionData) -> nn.Module:
    """The model for the data's training part: a `RecModule` to be trained by steps, or a baseline with `fit`."""
    seed_everything(cfg.seed, verbose=False)
    architecture: partial[nn.Module] = instantiate(cfg.model)
    if issubclass(architecture.func, RecModule):
        return architecture(data.train, training(cfg))
    return architecture(data.train)


def training(cfg: DictConfig) -> Training:
    """Loss, regularisers, optimizer and schedule; what depends on another group is filled in here."""
    protocol = evaluation(cfg)
    optimizer: partial[Any] = instantiate(cfg.optimizer)
    if optimizer.func is not SparseAdam:
        optimizer = partial(optimizer, weight_decay=cfg.regularization.weight_decay)
    scheduler: partial[Any] = instantiate(cfg.scheduler)
    if scheduler.func is ReduceLROnPlateau:
        scheduler = partial(scheduler, mode=protocol.mode)
    return Training(
        loss=instantiate(cfg.loss),
        regularization=Regularization(**cfg.regularization),
        optimizer=optimizer,
        scheduler=scheduler,
        evaluation=protocol,
        max_epochs=cfg.trainer.max_epochs,
        seed=cfg.seed,
    )
