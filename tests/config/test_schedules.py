"""Optimizers and schedules: every pair trains, and what other groups tell them reaches them."""

from math import cos, pi
from pathlib import Path

import pytest
import torch
from choices import names
from shell import fit_model, tiny_config

from recsweep.config import compose_config
from recsweep.runs import build
from recsweep.runs.folder import LAST


@pytest.mark.parametrize("scheduler", names("scheduler"))
@pytest.mark.parametrize("optimizer", names("optimizer"))
def test_optimizers_and_schedules_train(optimizer: str, scheduler: str, tmp_path: Path) -> None:
    cfg = tiny_config(f"optimizer={optimizer}", f"scheduler={scheduler}", "regularization=none")
    data = build.data(cfg)
    before = build.model(cfg, data).state_dict()
    after = fit_model(cfg, tmp_path, data).state_dict()
    assert after["table.rows.weight"].isfinite().all()
    assert not torch.equal(after["table.rows.weight"], before["table.rows.weight"])


LOWEST = 0.01 / 25 / 1e4
PAST_THE_CYCLE = LOWEST + (0.01 - LOWEST) * (1 + cos(pi * (60 - 17) / (59 - 17))) / 2
"""4 epochs of 960 / 64 batches: the cycle's top is at step 0.3 · 60 - 1, its end at 59, and 60 is never used."""


@pytest.mark.parametrize(
    ("words", "rate"),
    [
        (["scheduler=none"], 0.01),
        (["scheduler=step", "scheduler.step_size=1"], 0.01 * 0.5**4),
        (["scheduler=cosine"], 0.0),
        (["scheduler=cosine", "scheduler.T_max=8"], 0.01 / 2),  # half of half a wave
        (["scheduler=one_cycle"], PAST_THE_CYCLE),
    ],
)
def test_a_schedule_ends_where_it_should(words: list[str], rate: float, tmp_path: Path) -> None:
    """After four epochs."""
    fit_model(tiny_config("trainer.max_epochs=4", "optimizer.lr=0.01", *words), tmp_path)
    last = torch.load(tmp_path / LAST, weights_only=True)
    assert last["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(rate, rel=1e-6, abs=1e-15)


@pytest.mark.parametrize(("evaluation", "mode"), [("rating", "min"), ("full_ranking", "max")])
def test_what_groups_tell_each_other(evaluation: str, mode: str) -> None:
    """The plateau looks the way the objective improves, weight decay reaches the optimizer, the rate the schedule."""
    words = [f"evaluation={evaluation}", "regularization.weight_decay=0.5", "optimizer.lr=0.25"]
    training = build.training(compose_config(words))
    assert training.scheduler.keywords["mode"] == mode
    assert training.optimizer.keywords["weight_decay"] == 0.5
    one_cycle = build.training(compose_config([*words, "scheduler=one_cycle"]))
    assert one_cycle.scheduler.keywords["max_lr"] == 0.25
    cosine = build.training(compose_config([*words, "scheduler=cosine", "trainer.max_epochs=17"]))
    assert cosine.scheduler.keywords["T_max"] == 17


@pytest.mark.parametrize("start", [-0.6, 0.0, 0.6])
@pytest.mark.parametrize(("evaluation", "sign"), [("rating", -1), ("full_ranking", 1)])
def test_a_plateau_of_an_objective_of_any_sign(evaluation: str, sign: int, start: float) -> None:
    """Halves the rate after every 4 epochs without a better objective, and never while each epoch is a bit better."""
    training = build.training(compose_config([f"evaluation={evaluation}", "optimizer.lr=1"]))
    for gain, rate in ((0.0, 0.5**10), (-1e-5, 0.5**10), (1e-5, 1.0)):
        optimizer = training.optimizer([torch.nn.Parameter(torch.zeros(1))])
        schedule = training.scheduler(optimizer)
        for epoch in range(41):
            schedule.step(start + sign * gain * epoch)
        assert optimizer.param_groups[0]["lr"] == rate


def test_arguments_that_the_files_leave_out_reach_torch() -> None:
    words = ["+optimizer.amsgrad=true", "+scheduler.cooldown=2", "+scheduler.eps=0.01"]
    training = build.training(compose_config(words))
    optimizer = training.optimizer([torch.nn.Parameter(torch.zeros(1))])
    schedule = training.scheduler(optimizer)
    assert optimizer.defaults["amsgrad"] is True and optimizer.defaults["weight_decay"] == 1e-4
    assert (schedule.cooldown, schedule.eps) == (2, 0.01)
