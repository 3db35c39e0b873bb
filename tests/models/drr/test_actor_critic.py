"""Networks of a DRR agent: scores, actions, and the start of the target networks."""

import torch
from drr_agents import N_ITEMS, agent_in_training, expected_state, new_agent, take_steps
from shell import equal_weights


def test_scores_are_dot_products_of_actions_and_items() -> None:
    agent = agent_in_training().eval()
    take_steps(agent, 30)
    users, items = torch.arange(5), torch.arange(N_ITEMS)
    with torch.inference_mode():
        scores = agent.score_all(users)
        torch.testing.assert_close(scores, agent.user_vectors(users) @ agent.item_vectors().T)
        pairs = agent.score(users.repeat_interleave(N_ITEMS), items.repeat(5))
        torch.testing.assert_close(pairs.view(5, N_ITEMS), scores)
        for user in range(5):
            action = agent.actor(expected_state(agent, user, agent.memory[user].tolist()))
            torch.testing.assert_close(agent.user_vectors(torch.tensor([user]))[0], action)


def test_padding_in_a_memory_has_no_influence() -> None:
    """Nor has the vector of the last item, which is looked up for it."""
    agent = new_agent()
    before = agent.user_vectors(torch.tensor([3])).detach()
    assert agent.memory[3].tolist() == [N_ITEMS, N_ITEMS]
    with torch.no_grad():
        agent.item_table.weight[-1] += 5
    assert torch.equal(agent.user_vectors(torch.tensor([3])), before)
    agent.memory[3, 1] = N_ITEMS - 1
    assert not torch.equal(agent.user_vectors(torch.tensor([3])), before)


def test_actions_have_length_one_where_the_critic_values_items() -> None:
    """In the replay too, where there is no noise; with action=proto they have any length."""
    for action, is_unit in (("item", True), ("proto", False)):
        agent = agent_in_training(action=action)
        take_steps(agent, 30)
        lengths = torch.cat([agent.user_vectors(torch.arange(5)), agent.experience.replay.numbers[:30, :3]]).norm(dim=1)
        assert torch.allclose(lengths, torch.ones(35), atol=1e-5) is is_unit


def test_target_networks_start_as_copies_without_gradients() -> None:
    agent = new_agent("td3")
    assert equal_weights(agent.target_actor.state_dict(), agent.actor.state_dict())
    assert equal_weights(agent.target_critics.state_dict(), agent.critics.state_dict())
    assert not any(p.requires_grad for part in (agent.target_actor, agent.target_critics) for p in part.parameters())
    first, second = (critic.state_dict() for critic in agent.critics)
    assert not equal_weights(first, second)
