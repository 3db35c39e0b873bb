"""Gradients of several small batches make the step of a large one, against a plain loop over large ones."""

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
"""Of training, in `tiny_config`: 15 batches of 64."""

MODELS = {"biased_mf": ["model=biased_mf"], "bpr_mf": ["model=bpr_mf", "loss=full_softmax"]}
"""Their losses are means over rows, and nothing in them is drawn."""


@pytest.fixture
def rates() -> Iterator[list[float]]:
    """The learning rate of every optimizer step that is made."""
    made: list[float] = []

    def note(optimizer: Optimizer, *_: object) -> None:
        made.append(float(optimizer.param_groups[0]["lr"]))

    handle = register_optimizer_step_post_hook(note)
    yield made
    handle.remove()


def by_a_plain_loop(size: int, one_cycle: bool, *words: str) -> dict[str, Tensor]:
    """The weights after all steps on batches of `size`."""
    cfg = tiny_config(*words)
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


@pytest.mark.parametrize("scheduler", ["none", "one_cycle"])
@pytest.mark.parametrize(("accumulate", "size", "per_call"), [(3, 64, 1), (4, 64, 2), (16, 64, 64), (2, 400, 1)])
@pytest.mark.parametrize("words", MODELS.values(), ids=MODELS.keys())
def test_steps_are_those_of_large_batches(
    words: list[str], accumulate: int, size: int, per_call: int, scheduler: str, rates: list[float], tmp_path: Path
) -> None:
    """Also where the epoch's last group has fewer batches than the others: 15 = 3 · 4 + 3, and 15 < 16."""
    words = [*words, "regularization=none", "optimizer=sgd", f"optimizer.lr={RATE}", f"scheduler={scheduler}"]
    small = [f"trainer.accumulate={accumulate}", f"trainer.batch_size={size}", f"trainer.steps_per_call={per_call}"]
    found = fit_model(tiny_config(*words, *small), tmp_path).state_dict()
    made = rates.copy()
    rates.clear()
    expected = by_a_plain_loop(accumulate * size, scheduler == "one_cycle", *words)
    assert len(made) == EPOCHS * -(-N_ROWS // (accumulate * size))
    assert made == pytest.approx(rates)
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, rtol=0, atol=1e-6)
