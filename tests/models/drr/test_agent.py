"""Updates of the DRR agent against a twin that works row by row, and which parameters they change."""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from drr_agents import N_ITEMS, agent_in_training, expected_state, liked_rows, new_agent, take_steps
from random_vectors import vectors
from torch import Tensor, nn

from recsweep.data.batches import Batches
from recsweep.models.drr.agent import DRR, START_BETA
from recsweep.models.drr.replay import Sample, Transitions, anneal
from recsweep.vectors.export import export_vectors

DECAYS = {"value_decay": 0.01, "state_repr_decay": 0.02, "policy_decay": 0.03}


def transition_rows(transitions: Transitions) -> Iterator[tuple[int, int, list[int], Tensor, float, list[int]]]:
    for user, item, memory, action, reward, next_memory in zip(*transitions, strict=True):
        yield int(user), int(item), memory.tolist(), action, float(reward), next_memory.tolist()


def policy(actor: nn.Module, state: Tensor, by_item: bool) -> Tensor:
    """The actor's vector, of length 1 where the critic values item vectors."""
    vector = actor(state)
    return vector / vector.square().sum().sqrt() if by_item else vector


def target_value(twin: DRR, reward: float, state: Tensor, noise: Tensor, by_item: bool) -> Tensor:
    pair = torch.cat([state, policy(twin.target_actor, state, by_item) + noise])
    lowest = min(critic(pair) for critic in twin.target_critics)
    return (reward + 0.8 * lowest).clamp(-0.5, 0.75)


def descend(modules: list[nn.Module], loss: Tensor, decays: list[float]) -> None:
    """A step of plain gradient descent with weight decay, at the rate 0.1."""
    for module in modules:
        module.zero_grad()
    loss.backward()
    with torch.no_grad():
        for module, decay in zip(modules, decays, strict=True):
            for parameter in module.parameters():
                parameter -= 0.1 * (parameter.grad + decay * parameter)


def update_by_hand(
    twin: DRR, sample: Sample, noise: Tensor, moves_policy: bool, by_item: bool = False
) -> tuple[float, Tensor]:
    """Changes the twin as one update should; returns the value loss and the TD errors."""
    losses, errors, states = [], [], []
    for (user, item, memory, action, reward, next_memory), weight, row_noise in zip(
        transition_rows(sample.transitions), sample.weight, noise, strict=True
    ):
        target = target_value(twin, reward, expected_state(twin, user, next_memory), row_noise, by_item).detach()
        states.append(expected_state(twin, user, memory))
        valued = twin.item_table.weight[item] if by_item else action
        values = [critic(torch.cat([states[-1], valued])) for critic in twin.critics]
        losses += [weight * (value - target) ** 2 / len(noise) for value in values]
        errors.append((target - values[0]).detach())
    loss = torch.stack(losses).sum()
    # The policy loss uses the states from before the value step, and the critic from after it.
    old_states = [state.detach() for state in states]
    tables = [table for table in (twin.user_table, twin.item_table) if table.weight.requires_grad]
    descend([twin.critics, twin.state, *tables], loss, [0.01, 0.02, 0.02, 0.02][: 2 + len(tables)])
    if moves_policy:
        values = [twin.critics[0](torch.cat([state, policy(twin.actor, state, by_item)])) for state in old_states]
        descend([twin.actor], -torch.stack(values).mean(), [0.03])
        with torch.no_grad():
            for target, online in [(twin.target_actor, twin.actor), (twin.target_critics, twin.critics)]:
                for slow, fast in zip(target.parameters(), online.parameters(), strict=True):
                    slow.copy_(0.75 * slow + 0.25 * fast)
    return loss.item(), torch.cat(errors)


@pytest.fixture
def frozen_start(tmp_path: Path) -> dict[str, Any]:
    """Settings for tables that start from exported vectors of the same rows and stay there."""
    export_vectors(vectors(5, N_ITEMS, dim=3), liked_rows(), tmp_path / "embeddings")
    return {"pretrained": str(tmp_path / "embeddings"), "frozen": True}


@pytest.mark.parametrize("action", ["proto", "item"])
@pytest.mark.parametrize("loss", ["ddpg", "td3"])
def test_updates_equal_the_twins(loss: str, action: str) -> None:
    """Three in a row: TD3 moves its policy and its targets only with the second."""
    compare_updates(loss, action=action)


@pytest.mark.parametrize("action", ["proto", "item"])
def test_updates_equal_the_twins_with_frozen_tables(action: str, frozen_start: dict[str, Any]) -> None:
    agent = compare_updates("ddpg", action=action, **frozen_start)
    exported = vectors(5, N_ITEMS, dim=3)
    for table, start in [(agent.user_table, exported.user), (agent.item_table, exported.item)]:
        factor = table.weight[0, 0] / start[0, 0]
        torch.testing.assert_close(table.weight, factor * start)


def compare_updates(loss: str, action: str, **changes: Any) -> DRR:
    """The agent after three updates, each of which equals the twin's."""
    agent = agent_in_training(loss, action=action, **DECAYS, **changes)
    take_steps(agent, 30)
    twin = copy_weights(agent, loss)
    for count in (1, 2, 3):
        noise, sample = next_draws(agent, 8, loss)
        agent._update(8)
        moves_policy = loss == "ddpg" or count == 2
        value_loss, errors = update_by_hand(twin, sample, noise, moves_policy, action == "item")
        assert agent.notes["train/loss"][-1].item() == pytest.approx(value_loss, rel=1e-4)
        torch.testing.assert_close(agent.last_update["td_error"], errors, rtol=0, atol=1e-5)
        assert_close_weights(agent, twin)
    assert len(agent.notes["train/policy_loss"]) == (3 if loss == "ddpg" else 1)
    return agent


def copy_weights(agent: DRR, loss: str) -> DRR:
    """A new agent with the same weights, and nothing else of the first."""
    twin = new_agent(loss)
    twin.load_state_dict(deepcopy(agent.state_dict()))
    for table, copy in [(agent.user_table, twin.user_table), (agent.item_table, twin.item_table)]:
        copy.requires_grad_(table.weight.requires_grad)
    return twin


def next_draws(agent: DRR, n: int, loss: str) -> tuple[Tensor, Sample]:
    """The random draws of the agent's next update: noise on the target actions, and transitions."""
    generator = agent.generator.clone_state()
    sample = agent.experience.replay.sample(n, anneal(agent.step_count, START_BETA, 100_000), generator)
    if loss == "ddpg":
        return torch.zeros(n, 3), sample
    noise = 0.5 * torch.randn(n, 3, generator=generator)
    assert (noise.abs() > 0.4).any()
    return noise.clamp(-0.4, 0.4), sample


def assert_close_weights(agent: DRR, twin: DRR) -> None:
    expected = dict(twin.named_parameters())
    for name, parameter in agent.named_parameters():
        torch.testing.assert_close(parameter, expected[name], rtol=0, atol=1e-5, msg=name)


@pytest.mark.parametrize(("index", "names"), [(0, {"critics", "user_table", "item_table", "state"}), (1, {"actor"})])
def test_parameters_of_each_optimizer(index: int, names: set[str]) -> None:
    """The value loss changes everything that the value depends on, the policy loss the actor alone."""
    agent = agent_in_training("td3")
    optimizer = agent.optimizers()[index]
    ids = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert {name.split(".")[0] for name, parameter in agent.named_parameters() if id(parameter) in ids} == names


def test_no_optimizer_has_frozen_tables(frozen_start: dict[str, Any]) -> None:
    agent = agent_in_training(action="item", **frozen_start)
    groups = [group for optimizer in agent.optimizers() for group in optimizer.param_groups]
    ids = {id(parameter) for group in groups for parameter in group["params"]}
    without_optimizer = {name for name, parameter in agent.named_parameters() if id(parameter) not in ids}
    targets = {name for name, _ in agent.named_parameters() if name.startswith("target_")}
    assert without_optimizer == {"user_table.weight", "item_table.weight"} | targets


def test_priorities_follow_the_td_errors() -> None:
    """With α = 1, the mass of a transition is |δ| + 10^-4 in units of 2^-30."""
    agent = agent_in_training(alpha=1.0)
    take_steps(agent, 30)
    _, sample = next_draws(agent, 4, "ddpg")
    agent._update(4)
    rows = list(zip(sample.replay_index.tolist(), agent.last_update["td_error"].tolist(), strict=True))
    for index, error in rows:
        errors = [e for i, e in rows if i == index]  # a transition may be drawn twice
        assert error in errors
        expected = max(abs(e) for e in errors) + 1e-4
        assert agent.experience.replay.mass[index].item() * 2**-30 == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("state", ["drr_ave", "drr_p", "drr_u"])
def test_every_state_module_learns(state: str) -> None:
    agent = agent_in_training(state=state)
    take_steps(agent, 30)
    before = deepcopy(agent.state_dict())
    agent._update(16)
    after = agent.state_dict()
    unchanged = {name for name in before if torch.equal(before[name], after[name])}
    assert unchanged == ({"memory", "user_table.weight"} if state == "drr_p" else {"memory"})


@pytest.mark.parametrize("buffer_size", [4, 300])
@pytest.mark.parametrize("per_step", [0.5, 1.0, 2.0])
def test_updates_for_every_step_once_there_is_a_batch(per_step: float, buffer_size: int) -> None:
    """None after 3 steps of a user, since a batch is 4; then those of each step at once, none of them later."""
    agent = agent_in_training(updates_per_step=per_step, min_positives=3, n_envs=2, buffer_size=buffer_size)
    agent.data.batches = Batches(agent.columns(liked_rows()), batch_size=4, steps=1000, seed=0)
    agent._start_epoch = lambda: None
    counts, update = [], agent._update

    def count_and_update(n: int) -> None:
        counts.append(agent.step_count)
        update(n)

    agent._update = count_and_update
    for _ in range(2):  # epochs of 7 steps
        agent.training_step(0, 0)
    assert len(counts) == agent.update_count == int(per_step * (agent.step_count - 3))
    assert counts[0] == 4 if per_step >= 1 else counts[0] > 4  # half an update is due after 4 steps
    for number, count in enumerate(counts, 1):
        assert per_step * (count - 3 - 2) < number <= per_step * (count - 3)  # a call makes up to 2 steps
