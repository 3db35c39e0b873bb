"""Sessions of a DRR agent: which item is recommended, exploration noise, and which users have sessions."""

import pytest
import torch
from drr_agents import agent_in_training, expected_state, liked_rows, new_agent, take_steps
from torch import Tensor

from recsweep.errors import UserError
from recsweep.models.drr.agent import DRR
from recsweep.models.drr.experience import Noise, NoiseName
from recsweep.seeding import generator


def record_steps(agent: DRR) -> list[tuple[dict[str, Tensor], Tensor]]:
    """A list that later steps of the sessions fill with the observation and the recommended items."""
    env, steps = agent.experience.env, []
    step = env.step

    def record_and_step(items: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor, Tensor, dict[str, Tensor]]:
        steps.append((env.observe(), items))
        return step(items)

    env.step = record_and_step
    return steps


@pytest.mark.parametrize("exploration", ["none", "gaussian", "ou"])
def test_the_best_available_item_is_recommended(exploration: str) -> None:
    """The best for the action in the replay, which has the noise."""
    agent = agent_in_training(exploration=exploration, exploration_std=2.0)
    steps = record_steps(agent)
    take_steps(agent, 40)
    replay_index = 0
    for observation, items in steps:
        for env_index in observation["active"].nonzero()[:, 0].tolist():
            action = agent.experience.replay.numbers[replay_index, :3]
            user, memory = int(observation["user"][env_index]), observation["memory"][env_index].tolist()
            plain = agent.actor(expected_state(agent, user, memory))
            assert torch.allclose(action, plain, atol=1e-5) is (exploration == "none")
            available = observation["candidates"][env_index][observation["left"][env_index]]
            scores = {item: float(action @ agent.item_table.weight[item]) for item in available.tolist()}
            assert int(items[env_index]) == max(scores, key=scores.__getitem__)
            replay_index += 1
    assert replay_index == agent.step_count == len(agent.experience.replay)


def draw_noise(kind: NoiseName, n: int) -> Tensor:
    """`n` consecutive steps [n, n_envs, dim]."""
    noise, draws = Noise(kind, torch.tensor(2.0), n_envs=500, dim=3), generator(0)
    return torch.stack([noise.step(draws).clone() for _ in range(n)])


def test_no_noise() -> None:
    assert not draw_noise("none", 3).any()


def test_gaussian_noise_is_drawn_anew() -> None:
    noise = draw_noise("gaussian", 10)
    assert noise.std().item() == pytest.approx(2, rel=0.05)
    assert noise.mean().abs() < 0.1
    assert (noise[1:] * noise[:-1]).mean().abs() < 0.2  # expected is 0, with standard deviation 4 / √13500


def test_ornstein_uhlenbeck_noise_depends_on_the_past() -> None:
    """x ← 0.85 x + 2 ε: the new part has the standard deviation 2, and in the long run x has 2 / √(1 - 0.85²)."""
    noise = draw_noise("ou", 60)
    fresh = noise[1:] - 0.85 * noise[:-1]
    assert fresh.std().item() == pytest.approx(2, rel=0.02)
    assert (fresh * noise[:-1]).mean().abs() < 0.2
    assert noise[0].std().item() == pytest.approx(2, rel=0.05)
    assert noise[40:].std().item() == pytest.approx(2 / (1 - 0.85**2) ** 0.5, rel=0.05)


def test_only_users_with_enough_positives_have_sessions() -> None:
    """Users have 3, 2, 4, 0 and 1 positives; a pass over all users has as many steps as they have positives."""
    agent = agent_in_training(min_positives=3)
    assert agent.eligible.tolist() == [0, 2]
    assert agent.columns(liked_rows()).user.tolist() == [0, 0, 0, 2, 2, 2, 2]
    take_steps(agent, 14)
    user = agent.experience.replay.ids[:14, 0]
    assert set(user.tolist()) == {0, 2}
    assert (user == 0).sum() == 6  # in two passes


def test_no_user_has_enough_positives() -> None:
    with pytest.raises(UserError, match=r"^model\.min_positives=5: no user of rows has that many; lower it$"):
        new_agent(min_positives=5)


def test_a_memory_that_no_user_can_fill() -> None:
    """User 2 has the most positives, four."""
    assert new_agent(memory_size=4).memory.shape == (5, 4)
    with pytest.raises(
        UserError, match=r"^model\.memory_size=5: no user of rows has that many positives; the most is 4$"
    ):
        new_agent(memory_size=5)
