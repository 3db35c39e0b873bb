"""The stages that build a bandit log, one function each: rows and nets in, tensors out."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Generator, Tensor, nn

from recsweep.data.batches import Batches, Columns
from recsweep.data.logged import DotScorer
from recsweep.data.schema import Interactions
from recsweep.errors import UserError
from recsweep.losses.binary import bce
from recsweep.models.two_stage.nets import NominatorNet, RankerNet, SimulatorNet
from recsweep.seeding import generator

PAIRS_AT_ONCE = 2**14  # keeps the hidden layer of a perceptron in the CPU cache: 3 x faster than 2**17
STEPS_AT_ONCE = 64  # batches fetched by one gather


Step = TypeVar("Step")


class LabelColumns(NamedTuple):
    """Pairs with a label: user [B] and item [B] int64, label [B] float32 in {0, 1}."""

    user: Tensor
    item: Tensor
    label: Tensor


class TimeColumns(NamedTuple):
    """Pairs with a time and a label: user, item, seconds [B] int64, label [B] float32 in {0, 1}."""

    user: Tensor
    item: Tensor
    seconds: Tensor
    label: Tensor


class Recipe(NamedTuple):
    """Hyperparameters of a stage, which is trained by BCE and Adagrad."""

    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    seed: int


def label_columns(data: Interactions) -> LabelColumns:
    """The rows without their times; ratings are labels."""
    return LabelColumns(data.user, data.item, data.rating)


def time_columns(data: Interactions) -> TimeColumns:
    """The rows with their times, 0 if the data has none; ratings are labels."""
    return TimeColumns(data.user, data.item, data.seconds, data.rating)


def train(name: str, net: nn.Module, columns: Columns, recipe: Recipe) -> None:
    """Trains the stage `name` by BCE; the last column is the label, the others are the net's arguments."""
    optimizer = torch.optim.Adagrad(net.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    batches = Batches(columns, recipe.batch_size, STEPS_AT_ONCE, recipe.seed, stream=name)
    groups = [(epoch, index) for epoch in range(recipe.epochs) for index in range(len(batches))]
    for epoch, index in progress(groups, name):
        for *inputs, label in batches.group(epoch, index):
            loss = bce(net(*inputs), label)
            for parameter in net.parameters():
                parameter.grad = None
            loss.backward()
            optimizer.step()
    if not all(parameter.isfinite().all() for parameter in net.parameters()):
        raise UserError(f"training of the {name} diverged: lower data.lr={recipe.lr}")


def progress(steps: Sequence[Step], name: str) -> Iterable[Step]:
    """The steps, with a progress bar on a terminal."""
    console = Console(stderr=True)
    return track(steps, name, console=console, transient=True, disable=not console.is_terminal)


def mean_times(data: Interactions) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [n_users] of each user's seconds, float64.

    A user without rows gets the mean of all rows and deviation 0.
    """
    time = data.seconds.double()
    count = torch.bincount(data.user, minlength=data.n_users)
    mean = torch.bincount(data.user, time, data.n_users) / count
    mean = torch.where(count > 0, mean, time.mean())
    variance = torch.bincount(data.user, (time - mean[data.user]).square(), data.n_users) / count.clamp(min=1)
    return mean, variance.sqrt()


def draw_times(data: Interactions, seed: int) -> Tensor:
    """A time for every pair [n_users, n_items], int64 seconds, normal with the user's own mean and deviation."""
    mean, deviation = mean_times(data)
    noise = torch.randn(data.n_users, data.n_items, generator=generator("times", seed))
    return (mean[:, None] + deviation[:, None] * noise).round().long()


def user_blocks(data: Interactions, name: str) -> Iterator[Tensor]:
    """All users in blocks [·], so small that their pairs with all items fit in the CPU cache."""
    yield from progress(torch.arange(data.n_users).split(max(1, PAIRS_AT_ONCE // data.n_items)), name)


@torch.inference_mode()
def label_pairs(net: SimulatorNet, data: Interactions, threshold: float, seed: int) -> dict[str, Tensor]:
    """`reward` and `relevant` [n_users, n_items] bool: the simulator's probability of a positive is ≥ `threshold`.

    `reward` takes a random time for each pair, `relevant` the user's mean time.
    """
    times, mean = draw_times(data, seed), mean_times(data)[0].round().long()
    min_logit = torch.tensor(threshold).logit()
    rows = [
        (net.item_logits(users, times[users]) >= min_logit, net.item_logits(users, mean[users, None]) >= min_logit)
        for users in user_blocks(data, "labels")
    ]
    reward, relevant = (torch.cat(column) for column in zip(*rows, strict=True))
    return {"reward": reward, "relevant": relevant}


def sample_pairs(reward: Tensor, data: Interactions, n_pairs: int, seed: int) -> Interactions:
    """Distinct random pairs with labels: `n_pairs` to train on, as many to validate, up to 10 x as many to test."""
    total = reward.numel()
    n_test = min(10 * n_pairs, total - 2 * n_pairs)
    state = generator("pairs", seed).initial_seed()
    chosen = np.random.default_rng(state).choice(total, 2 * n_pairs + n_test, replace=False)
    pair = torch.from_numpy(chosen)
    return replace(
        data,
        name=f"{data.name}_pairs",
        user=pair // data.n_items,
        item=pair % data.n_items,
        rating=reward.flatten()[pair].float(),
        timestamp=None,
    )


@torch.inference_mode()
def draw_log(
    net: NominatorNet, data: Interactions, items_per_user: int, replacement: bool, draws: Generator
) -> dict[str, Tensor]:
    """`user`, `item`, `propensity` [n_users · items_per_user], ordered by user.

    Items are drawn from the softmax of the policy's logits. The propensity is that of a single draw, which is only
    exact with replacement.
    """
    item, propensity = [], []
    for users in user_blocks(data, "log"):
        probability = net.item_logits(users).softmax(1)
        action = torch.multinomial(probability, items_per_user, replacement, generator=draws)
        item.append(action.flatten())
        propensity.append(probability.gather(1, action).flatten())
        if not propensity[-1].all():
            raise UserError(
                f"the logging policy gives some users fewer than {items_per_user} items a probability above 0: "
                "lower data.items_per_user or data.logging_policy.epochs, or take data.protocol=exact"
            )
    user = torch.arange(data.n_users).repeat_interleave(items_per_user)
    return {"user": user, "item": torch.cat(item), "propensity": torch.cat(propensity)}


@torch.inference_mode()
def policy_scorer(net: NominatorNet, data: Interactions) -> DotScorer:
    """The logits of a policy, from vectors of all users and items."""
    return DotScorer(net.query(torch.arange(data.n_users)), net.items.all_vectors())


@torch.inference_mode()
def ranker_vectors(net: RankerNet, data: Interactions) -> dict[str, Tensor]:
    """`users` [n_users, d] at their mean times and `items` [n_items, d]; their dot products are the ranker's logits."""
    mean = mean_times(data)[0].round().long()
    return {"users": net.query(torch.arange(data.n_users), mean), "items": net.items.all_vectors()}
