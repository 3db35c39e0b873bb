"""Session environments of DRR from lists of positives, and steps in them."""

import torch

from recsweep.models.drr.env import Sessions
from recsweep.sampling import group_items


def torch_generator(seed=0):
    return torch.Generator().manual_seed(seed)


def group_positives(positives, n_items):
    pairs = [(user, item) for user, items in enumerate(positives) for item in items]
    user, item = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T
    return group_items(user, item, len(positives), n_items)


def sessions(positives, n_items=10, n_envs=1, memory_size=2, seed=0):
    return Sessions(group_positives(positives, n_items), n_items, n_envs, memory_size, torch_generator(seed))


def step(env, *items):
    return env.step(torch.tensor(items))


def available_items(observation, env_index):
    """The item ids that can be recommended in a sub-environment, copies too."""
    return observation["candidates"][env_index][observation["left"][env_index]].tolist()


def choose_items(observation, random):
    """A random available item for each sub-environment, and 0 where there is none."""
    return [random.choice(available_items(observation, index) or [0]) for index in range(len(observation["user"]))]
