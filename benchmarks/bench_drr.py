"""Training steps of DRR beside a naive version, with more and more transitions in the replay, and its full evaluation.

- recsweep: sessions of 64 users in parallel, prioritised replay, Ranger, one update of 512 transitions per step (as in
  `protocol: reference`) or per ten steps (as in `drr_ml_1m_best`);
- naive: the same step as one would write it without the project: one user at a time, action sets in lists, a replay
  that is a list of tuples sampled with NumPy's `choice`, the same networks and losses, three Rangers.

    python benchmarks/bench_drr.py [--rounds 3]

Data are synthetic, of MovieLens 1M's size. The naive version is timed with 3,000 transitions in its replay, and is
slower with more; recsweep with 3,000, 100,000 and 1,000,000. Printed are steps per second of the best round, on one
thread.
"""

import argparse
import random
import resource
import time
from itertools import product
from types import SimpleNamespace

import numpy as np
import torch
from pytorch_optimizer import Ranger
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from recsweep.config import compose_config
from recsweep.data.datamodules import InteractionData
from recsweep.evaluation import evaluate
from recsweep.models.drr.agent import DRR
from recsweep.models.drr.replay import Transitions
from recsweep.runs import build

BATCH, DIM, HIDDEN, N, GAMMA, TAU = 512, 8, 16, 5, 0.8, 1e-3
REPLAY_SIZES = (3_000, 100_000, 1_000_000)
RATIOS = (1.0, 0.1)
DRAWS = np.random.default_rng(0)
SIZES = ["data.base.n_users=6040", "data.base.n_items=3706", "data.base.n_interactions=1000000"]
SETTINGS = ["split.test_fraction=0.2", "split.cold_users=keep", "regularization=none", "optimizer=ranger"]


class Networks(nn.Module):
    """State module, actor and critic of the naive version, as in the paper."""

    def __init__(self, n_users: int, n_items: int) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(n_users, DIM), nn.Embedding(n_items + 1, DIM, padding_idx=n_items)
        self.average = nn.Conv1d(N, 1, 1)
        self.actor = nn.Sequential(nn.Linear(3 * DIM, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, DIM))
        self.critic = nn.Sequential(nn.Linear(4 * DIM, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))

    def state(self, user: Tensor, memory: Tensor) -> Tensor:
        average = self.average(self.item(memory))[:, 0]
        return torch.cat([self.user(user), self.user(user) * average, average], 1)


class Naive:
    """The agent as a script: one user at a time."""

    def __init__(self, positives: list[np.ndarray], n_items: int) -> None:
        self.positives, self.n_items = positives, n_items
        self.memory = np.full((len(positives), N), n_items)
        self.online, self.target = Networks(len(positives), n_items), Networks(len(positives), n_items)
        self.target.load_state_dict(self.online.state_dict())
        parts = [
            self.online.critic,
            nn.ModuleList([self.online.user, self.online.item, self.online.average]),
            self.online.actor,
        ]
        self.optimizers = [Ranger(part.parameters(), lr=1e-5) for part in parts]
        self.replay: list[tuple[int, np.ndarray, np.ndarray, float, np.ndarray]] = []
        self.priority: list[float] = []
        self.candidates: list[int] = []

    def step(self, updates: bool) -> None:
        if not self.candidates:
            self.user = random.randrange(len(self.positives))
            self.liked = set(self.positives[self.user].tolist())
            negatives = list(set(range(self.n_items)) - self.liked)
            self.candidates = [*self.liked, *random.choices(negatives, k=len(self.liked))]
            self.n_steps_left = len(self.liked)
        before = self.memory[self.user].copy()
        with torch.no_grad():
            action = self.online.actor(self.online.state(torch.tensor([self.user]), torch.tensor(before)[None]))
            scores = self.online.item(torch.tensor(self.candidates)) @ action[0]
        item = self.candidates.pop(int(scores.argmax()))
        reward = float(item in self.liked)
        if reward:
            self.memory[self.user] = [*before[1:], item]
        self.replay.append((self.user, before, action[0].numpy(), reward, self.memory[self.user].copy()))
        self.priority.append(max(self.priority, default=1.0))
        self.n_steps_left -= 1
        if not self.n_steps_left:
            self.candidates = []
        if updates:
            self.update()

    def update(self) -> None:
        share = np.array(self.priority) ** 0.6
        share /= share.sum()
        sample = DRAWS.choice(len(self.replay), BATCH, p=share)
        rows = [self.replay[index] for index in sample]
        user, memory, action, reward, next_memory = (
            torch.from_numpy(np.array(column)) for column in zip(*rows, strict=True)
        )
        weight = torch.from_numpy((len(self.replay) * share[sample]) ** -0.4).float()
        with torch.no_grad():
            next_state = self.online.state(user, next_memory)
            value = self.target.critic(torch.cat([next_state, self.target.actor(next_state)], 1))[:, 0]
            target = (reward.float() + GAMMA * value).clamp(-10, 10)
        state = self.online.state(user, memory)
        value = self.online.critic(torch.cat([state, action], 1))[:, 0]
        value_loss = (weight / weight.max() * mse_loss(value, target, reduction="none")).mean()
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        value_loss.backward()
        self.optimizers[0].step()
        self.optimizers[1].step()
        policy_loss = -self.online.critic(torch.cat([state.detach(), self.online.actor(state.detach())], 1)).mean()
        self.optimizers[2].zero_grad()
        policy_loss.backward()
        self.optimizers[2].step()
        for index, error in zip(sample, (target - value).detach().abs().tolist(), strict=True):
            self.priority[index] = error + 1e-4
        with torch.no_grad():
            for slow, fast in zip(self.target.parameters(), self.online.parameters(), strict=True):
                slow.copy_((1 - TAU) * slow + TAU * fast)


def agent(data: InteractionData, n_transitions: int) -> DRR:
    """recsweep's agent at the start of training, with this many random transitions in its replay."""
    model = build.model(compose_config(overrides()), data)
    assert isinstance(model, DRR)
    model.trainer = SimpleNamespace(
        datamodule=data, current_epoch=0, strategy=SimpleNamespace(root_device=torch.device("cpu"))
    )
    model.setup("fit")
    optimizers = model.configure_optimizers()[0]
    wrapped = [SimpleNamespace(optimizer=inner, param_groups=inner.param_groups) for inner in optimizers]
    model.optimizers = lambda: wrapped
    model.global_step_is_due = False
    model._start_epoch()
    model.epoch_steps = 0
    draws = torch.Generator().manual_seed(0)
    for n in torch.ones(n_transitions).split(50_000):
        memory = torch.randint(data.data.n_items, (len(n), 2, N), generator=draws)
        user = torch.randint(data.data.n_users, (len(n),), generator=draws)
        item = torch.randint(data.data.n_items, (len(n),), generator=draws)
        action = torch.randn(len(n), DIM, generator=draws)
        model.experience.replay.add(Transitions(user, item, memory[:, 0], action, n, memory[:, 1]))
    return model


def overrides() -> list[str]:
    return ["model=drr", *SIZES, *SETTINGS]


def our_speed(model: DRR, ratio: float, seconds: float) -> float:
    """Steps per second, with `ratio` updates per step."""
    model.updates_per_step, model.updates_due = ratio, 0.0
    start, before = time.perf_counter(), model.step_count
    while time.perf_counter() - start < seconds:
        model._step_sessions()
        while model.updates_due >= 1:
            model._update(BATCH)
            model.updates_due -= 1
    return (model.step_count - before) / (time.perf_counter() - start)


def naive_speed(agent: Naive, seconds: float) -> float:
    """Steps per second, with an update per step."""
    start, steps = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        agent.step(updates=True)
        steps += 1
    return steps / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    random.seed(0)

    cfg = compose_config(overrides())
    data = build.data(cfg)
    items_by_user = [rows.numpy() for rows in data.train.item[data.train.user.argsort()].split(
        torch.bincount(data.train.user, minlength=data.data.n_users).tolist()
    )]  # fmt: skip
    naive = Naive([rows for rows in items_by_user if len(rows) >= 20], data.data.n_items)
    for _ in range(REPLAY_SIZES[0]):
        naive.step(updates=False)
    agents = {size: agent(data, size) for size in REPLAY_SIZES}
    speeds: dict[object, list[float]] = {}
    for _ in range(rounds):
        speeds.setdefault("naive", []).append(naive_speed(naive, 3))
        for ratio, size in product(RATIOS, REPLAY_SIZES):
            speeds.setdefault((ratio, size), []).append(our_speed(agents[size], ratio, 3))

    naive_best = max(speeds["naive"])
    table = Table("", "transitions", "steps per second", "x naive")
    table.add_row("naive, an update per step", f"{REPLAY_SIZES[0]:,}", f"{naive_best:,.0f}", "1")
    for ratio, size in product(RATIOS, REPLAY_SIZES):
        best = max(speeds[ratio, size])
        table.add_row(f"recsweep, {ratio} updates per step", f"{size:,}", f"{best:,.0f}", f"{best / naive_best:.1f}")
    Console().print(table)

    model = agents[REPLAY_SIZES[0]].eval()
    start = time.perf_counter()
    evaluate(model, build.evaluation(cfg), data.target("test"))
    n_lists = len(data.split.test)
    print(f"{n_lists:,} lists of 1 + 99 evaluated in {time.perf_counter() - start:.1f} s; ", end="")
    print(f"memory at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB, with three replays")


if __name__ == "__main__":
    main()
