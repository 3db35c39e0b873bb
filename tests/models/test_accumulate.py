"""Accumulated gradients of small batches equal the steps of a plain loop over large batches."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from shell import fit_model, tiny_config
from torch import Tensor
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import ConstantLR, OneCycleLR
from torch.optim.optimizer import register_optimizer_step_post_hook

from recsweep.data.batches import Batches
from recsweep.models.base import RecModule
from recsweep.runs import build

N_ROWS, EPOCHS, RATE = 960, 2, 0.5
"""Training rows and epochs of `tiny_config`, with 15 batches of 64, and the learning rate."""

MODELS = {"biased_mf": ["model=biased_mf"], "bpr_mf": ["model=bpr_mf", "loss=full_softmax"]}
"""Their losses are means over rows, without random draws."""


@pytest.fixture
def rates() -> Iterator[list[float]]:
    """Collects the learning rate of every optimizer step."""
    rates: list[float] = []

    def record(optimizer: Optimizer, *_: object) -> None:
        rates.append(float(optimizer.param_groups[0]["lr"]))

    handle = register_optimizer_step_post_hook(record)
    yield rates
    handle.remove()


def train_by_a_plain_loop(size: int, one_cycle: bool, *overrides: str) -> dict[str, Tensor]:
    """The weights after all steps on batches of `size`."""
    cfg = tiny_config(*overrides)
    data = build.data(cfg)
    model = build.model(cfg, data)
    assert isinstance(model, RecModule) and len(data.train) == N_ROWS
    batches = Batches(model.columns(data.train), size, steps=1, seed=0)
    optimizer, steps = SGD(model.parameters(), lr=RATE), EPOCHS * len(batches)
    schedule = (
        OneCycleLR(optimizer, RATE, steps, cycle_momentum=False) if one_cycle else ConstantLR(optimizer, factor=1)
    )
    for epoch in range(EPOCHS):
        for index in range(len(batches)):
            optimizer.zero_grad()
            model.training_loss(batches.group(epoch, index)[0]).backward()
            optimizer.step()
            schedule.step()
    return model.state_dict()


@pytest.mark.parametrize(
    ("model", "accumulate", "size", "per_call", "scheduler"),
    [
        ("biased_mf", 3, 64, 1, "one_cycle"),
        ("biased_mf", 4, 64, 2, "none"),
        ("biased_mf", 16, 64, 64, "one_cycle"),
        ("biased_mf", 3, 200, 1, "none"),
        ("bpr_mf", 3, 64, 1, "none"),
        ("bpr_mf", 4, 64, 2, "one_cycle"),
        ("bpr_mf", 16, 64, 64, "none"),
        ("bpr_mf", 3, 200, 1, "one_cycle"),
    ],
)
def test_steps_are_those_of_large_batches(
    model: str, accumulate: int, size: int, per_call: int, scheduler: str, rates: list[float], tmp_path: Path
) -> None:
    """Also where an epoch's last group has fewer batches (15 = 3 · 4 + 3, and 15 < 16) or a smaller one.

    That is the case of 200 rows a batch: 960 = 4 · 200 + 160.
    """
    common = [*MODELS[model], "regularization=none", "optimizer=sgd", f"optimizer.lr={RATE}", f"scheduler={scheduler}"]
    small = [f"trainer.accumulate={accumulate}", f"trainer.batch_size={size}", f"trainer.steps_per_call={per_call}"]
    weights = fit_model(tiny_config(*common, *small), tmp_path).state_dict()
    rates_of_steps = rates.copy()
    rates.clear()
    expected = train_by_a_plain_loop(accumulate * size, scheduler == "one_cycle", *common)
    assert len(rates_of_steps) == EPOCHS * -(-N_ROWS // (accumulate * size))
    assert rates_of_steps == pytest.approx(rates)
    for name, values in expected.items():
        torch.testing.assert_close(weights[name], values, rtol=0, atol=1e-6)
