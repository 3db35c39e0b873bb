"""Replays of DRR with transitions that can be told apart."""

import torch

from recsweep.models.drr.replay import Replay, Transitions

N, D = 3, 2
"""Items in a memory, and numbers in an action."""


def torch_generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def transitions(numbers):
    """One transition for each number; every column depends on the number."""
    user = torch.tensor(numbers, dtype=torch.int64)
    memory = user[:, None] * 10 + torch.arange(N) + 10**9
    action = user[:, None] / 4 + torch.arange(D)
    return Transitions(user, user + 7, memory, action, user / 2, memory + 5)


def full_replay(td_errors, alpha):
    """A full replay of transitions 0, 1, … with these TD errors."""
    n = len(td_errors)
    replay = Replay(N, D, capacity=n, alpha=alpha)
    replay.add(transitions(range(n)))
    replay.update(torch.arange(n), torch.tensor(td_errors, dtype=torch.float64))
    return replay
