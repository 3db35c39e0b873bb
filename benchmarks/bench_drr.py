"""Steps of DRR's training beside a naive twin, as transitions pile up, and its full evaluation.

- recsweep: sessions of 64 users side by side, prioritised replay, one update of 512 a step (the reference's ratio) or
  one for ten steps (that of `drr_ml_1m_best`), Ranger;
- naive: the same step as one would write it without the project: one user at a time, action sets in lists, a replay
  that keeps tuples in a list and draws with NumPy's `choice`, the same networks and losses, three Rangers.

    python benchmarks/bench_drr.py [--rounds 3]

Data are synthetic, of MovieLens 1M's size. The twin is timed with as many transitions as it had after its first steps,
3,000; it slows down with more. Ours has been given 3,000, 100,000 and 1,000,000 before. Printed are steps a second of
the best round, at one thread.
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
FILLED = (3_000, 100_000, 1_000_000)
RATIOS = (1.0, 0.1)
DRAWS = np.random.default_rng(0)
SIZES = ["data.base.n_users=6040", "data.base.n_items=3706", "data.base.n_interactions=1000000"]
SETTINGS = ["split.test_fraction=0.2", "split.cold_users=keep", "regularization=none", "optimizer=ranger"]


class Networks(nn.Module):
    """State module, actor and critic of the twin, each as the paper has it."""

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
        self.now, self.target = Networks(len(positives), n_items), Networks(len(positives), n_items)
        self.target.load_state_dict(self.now.state_dict())
        parts = [self.now.critic, nn.ModuleList([self.now.user, self.now.item, self.now.average]), self.now.actor]
        self.optimizers = [Ranger(part.parameters(), lr=1e-5) for part in parts]
        self.replay: list[tuple[int, np.ndarray, np.ndarray, float, np.ndarray]] = []
        self.priority: list[float] = []
        self.left: list[int] = []

    def step(self, learns: bool) -> None:
        if not self.left:
            self.user = random.randrange(len(self.positives))
            self.liked = set(self.positives[self.user].tolist())
            others = list(set(range(self.n_items)) - self.liked)
            self.left = [*self.liked, *random.choices(others, k=len(self.liked))]
            self.until = len(self.liked)
        before = self.memory[self.user].copy()
        with torch.no_grad():
            action = self.now.actor(self.now.state(torch.tensor([self.user]), torch.tensor(before)[None]))
            scores = self.now.item(torch.tensor(self.left)) @ action[0]
        item = self.left.pop(int(scores.argmax()))
        reward = float(item in self.liked)
        if reward:
            self.memory[self.user] = [*before[1:], item]
        self.replay.append((self.user, before, action[0].numpy(), reward, self.memory[self.user].copy()))
        self.priority.append(max(self.priority, default=1.0))
        self.until -= 1
        if not self.until:
            self.left = []
        if learns:
            self.update()

    def update(self) -> None:
        share = np.array(self.priority) ** 0.6
        share /= share.sum()
        chosen = DRAWS.choice(len(self.replay), BATCH, p=share)
        rows = [self.replay[place] for place in chosen]
        user, memory, action, reward, after = (torch.from_numpy(np.array(column)) for column in zip(*rows, strict=True))
        weight = torch.from_numpy((len(self.replay) * share[chosen]) ** -0.4).float()
        with torch.no_grad():
            following = self.now.state(user, after)
            value = self.target.critic(torch.cat([following, self.target.actor(following)], 1))[:, 0]
            wanted = (reward.float() + GAMMA * value).clamp(-10, 10)
        state = self.now.state(user, memory)
        value = self.now.critic(torch.cat([state, action], 1))[:, 0]
        value_loss = (weight / weight.max() * mse_loss(value, wanted, reduction="none")).mean()
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        value_loss.backward()
        self.optimizers[0].step()
        self.optimizers[1].step()
        policy_loss = -self.now.critic(torch.cat([state.detach(), self.now.actor(state.detach())], 1)).mean()
        self.optimizers[2].zero_grad()
        policy_loss.backward()
        self.optimizers[2].step()
        for place, error in zip(chosen, (wanted - value).detach().abs().tolist(), strict=True):
            self.priority[place] = error + 1e-4
        with torch.no_grad():
            for slow, fast in zip(self.target.parameters(), self.now.parameters(), strict=True):
                slow.copy_((1 - TAU) * slow + TAU * fast)


def agent(data: InteractionData, filled: int) -> DRR:
    """Ours, about to train, with so many transitions remembered."""
    model = build.model(compose_config(words()), data)
    assert isinstance(model, DRR)
    model.trainer = SimpleNamespace(
        datamodule=data, current_epoch=0, strategy=SimpleNamespace(root_device=torch.device("cpu"))
    )
    model.setup("fit")
    optimizers = model.configure_optimizers()[0]
    wrapped = [SimpleNamespace(optimizer=made, param_groups=made.param_groups) for made in optimizers]
    model.optimizers = lambda: wrapped
    model.engine_counts = False
    model._start_epoch()
    model.stepped = 0
    draws = torch.Generator().manual_seed(0)
    for n in torch.ones(filled).split(50_000):
        memory = torch.randint(data.data.n_items, (len(n), 2, N), generator=draws)
        user = torch.randint(data.data.n_users, (len(n),), generator=draws)
        item = torch.randint(data.data.n_items, (len(n),), generator=draws)
        action = torch.randn(len(n), DIM, generator=draws)
        model.world.replay.add(Transitions(user, item, memory[:, 0], action, n, memory[:, 1], 1 - n))
    return model


def words() -> list[str]:
    return ["model=drr", *SIZES, *SETTINGS]


def ours(model: DRR, ratio: float, seconds: float) -> float:
    """Steps a second of sessions and the updates that are due."""
    model.updates_per_step, model.due = ratio, 0.0
    start, before = time.perf_counter(), model.step_count
    while time.perf_counter() - start < seconds:
        model._step_sessions()
        while model.due >= 1:
            model._update(BATCH)
            model.due -= 1
    return (model.step_count - before) / (time.perf_counter() - start)


def naive(twin: Naive, seconds: float) -> float:
    start, steps = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        twin.step(learns=True)
        steps += 1
    return steps / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    random.seed(0)

    cfg = compose_config(words())
    data = build.data(cfg)
    grouped = [rows.numpy() for rows in data.train.item[data.train.user.argsort()].split(
        torch.bincount(data.train.user, minlength=data.data.n_users).tolist()
    )]  # fmt: skip
    twin = Naive([rows for rows in grouped if len(rows) >= 20], data.data.n_items)
    for _ in range(FILLED[0]):
        twin.step(learns=False)
    agents = {filled: agent(data, filled) for filled in FILLED}
    reached: dict[object, list[float]] = {}
    for _ in range(rounds):
        reached.setdefault("naive", []).append(naive(twin, 3))
        for ratio, filled in product(RATIOS, FILLED):
            reached.setdefault((ratio, filled), []).append(ours(agents[filled], ratio, 3))

    rival = max(reached["naive"])
    table = Table("", "transitions", "steps a second", "x naive")
    table.add_row("naive, an update a step", f"{FILLED[0]:,}", f"{rival:,.0f}", "1")
    for ratio, filled in product(RATIOS, FILLED):
        best = max(reached[ratio, filled])
        table.add_row(f"recsweep, {ratio} updates a step", f"{filled:,}", f"{best:,.0f}", f"{best / rival:.1f}")
    Console().print(table)

    model = agents[FILLED[0]].eval()
    start = time.perf_counter()
    evaluate(model, build.evaluation(cfg), data.target("test"))
    n_lists = len(data.split.test)
    print(f"{n_lists:,} lists of 1 + 99 evaluated in {time.perf_counter() - start:.1f} s; ", end="")
    print(f"memory at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB, with three replays")


if __name__ == "__main__":
    main()
