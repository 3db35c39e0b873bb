"""What of Lightning does not work where one of its calls makes many optimizer steps, and is refused with the reason."""

from typing import Any, cast

import torch
from hydra.utils import get_object
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    Callback,
    GradientAccumulationScheduler,
    LearningRateFinder,
    StochasticWeightAveraging,
    WeightAveraging,
)
from omegaconf import DictConfig, OmegaConf

from recsweep.config.shape import check_node
from recsweep.errors import UserError
from recsweep.models.base import RecModule

BETWEEN_STEPS = (
    BatchSizeFinder,
    GradientAccumulationScheduler,
    LearningRateFinder,
    StochasticWeightAveraging,
    WeightAveraging,
)
"""Callbacks that must see every optimizer step."""


def has_own_steps(model: type[RecModule]) -> bool:
    """Whether the model does not train by `RecModule.training_step`."""
    return model.training_step is not RecModule.training_step


def check_engine(cfg: DictConfig, model: type[RecModule]) -> None:
    """Raises `UserError` for the first setting of Lightning that cannot work."""
    _check_precision(cfg.trainer.get("precision", "32-true"), model)
    if cfg.trainer.get("overfit_batches") and has_own_steps(model):
        raise UserError(f"trainer.overfit_batches: model {model.__name__} has no batches that could be repeated")
    if cfg.trainer.get("gradient_clip") and get_object(cfg.optimizer._target_) is torch.optim.SparseAdam:
        raise UserError(
            "trainer.gradient_clip: the gradients of SparseAdam hold some rows only; take another optimizer"
        )
    for number, node in enumerate(cfg.callbacks.get("extra", [])):
        _check_callback(f"callbacks.extra[{number}]", node)


def _check_precision(precision: str, model: type[RecModule]) -> None:
    setting = f"trainer.precision={precision}"
    if precision == "16-mixed":
        raise UserError(
            f"{setting}: Lightning scales the loss in every optimizer step that it makes itself, and of each "
            "trainer.steps_per_call it makes one only: take bf16-mixed, which needs no scaling"
        )
    if precision.endswith("-true") and precision != "32-true":
        raise UserError(f"{setting}: data, evaluation and checkpoints hold 32-bit numbers: take bf16-mixed or 32-true")
    if precision != "32-true" and (has_own_steps(model) or not model.mixed_precision):
        raise UserError(f"{setting}: model {model.__name__} computes with 32-bit numbers only: take 32-true")


def _check_callback(key: str, node: DictConfig) -> None:
    check_node(key, cast(dict[str, Any], OmegaConf.to_container(node, resolve=True)))
    target = get_object(node._target_)
    if not (isinstance(target, type) and issubclass(target, Callback)):
        raise UserError(f"{key}._target_={node._target_}: give a subclass of lightning.pytorch.callbacks.Callback")
    if issubclass(target, BETWEEN_STEPS):
        raise UserError(
            f"{key}: {target.__name__} must see every optimizer step, and Lightning sees one of each "
            "trainer.steps_per_call: leave it out"
        )
