"""Bandit logs."""

import torch

from recsweep.data.logged import Relevance


def test_the_truth_as_a_policy_shows_items_with_a_reward() -> None:
    """Uniformly; all items alike to a user without any."""
    reward = torch.tensor([[True, False, True], [False, False, False], [False, True, False]])
    truth = Relevance(~reward, reward)
    expected = torch.tensor([[1 / 2, 0, 1 / 2], [1 / 3, 1 / 3, 1 / 3], [0, 1, 0]])
    torch.testing.assert_close(truth.log_policy(torch.arange(3)).exp(), expected)
