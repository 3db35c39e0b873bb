"""Sessions as a gymnasium environment: seeds, resets, saved states, spaces and wrappers."""

import io
from random import Random

import numpy as np
import torch
from drr_sessions import available_items, choose_items, sessions, step
from gymnasium.utils.passive_env_checker import check_action_space, check_observation_space
from gymnasium.vector import AutoresetMode, VectorWrapper
from gymnasium.wrappers.vector import RecordEpisodeStatistics


def rollout(env, observation, random, n_steps):
    """The observation after some random steps, and all that was seen in each of them."""
    steps = []
    for _ in range(n_steps):
        before, items = observation, choose_items(observation, random)
        observation, reward, ended, _, infos = step(env, *items)
        steps.append([*before.values(), torch.tensor(items), reward, ended, *infos.values(), env.memory.clone()])
    return observation, steps


def equal_steps(left, right):
    return all(torch.equal(a, b) for x, y in zip(left, right, strict=True) for a, b in zip(x, y, strict=True))


MANY = [set(range(user % 7, user % 7 + 1 + user % 5)) for user in range(30)]


def test_the_same_generator_gives_the_same_sessions():
    runs, before = [], torch.get_rng_state()
    for seed in (1, 1, 2):
        env = sessions(MANY, n_items=50, n_envs=4, seed=seed)
        runs.append(rollout(env, env.reset()[0], Random(0), 20)[1])
    assert equal_steps(runs[0], runs[1]) and not equal_steps(runs[0], runs[2])
    assert torch.equal(torch.get_rng_state(), before)


def test_reset_with_a_seed_starts_the_generator_anew():
    env = sessions(MANY, n_items=50, n_envs=4)
    first, again, other = (env.reset(seed=seed)[0]["candidates"] for seed in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_reset_ends_active_sessions():
    env = sessions([{1, 2}, {3, 4}, {5}], n_envs=2)
    env.reset()
    step(env, 1, 3)
    observation, _ = env.reset(options={"users": torch.tensor([1])})
    assert observation["active"].tolist() == [True, False] and not observation["left"][1].any()
    assert observation["user"][0] == 1 and sorted(set(available_items(observation, 0)) & {3, 4}) == [3, 4]
    _, reward, ended, _, infos = step(env, 4, 3)
    assert (reward.tolist(), ended.tolist()) == ([1, 0], [False, False])
    assert (infos["session_reward"][0], infos["session_length"][0]) == (1, 1)


def test_later_steps_leave_earlier_observations_alone():
    env, random = sessions(MANY, n_items=50, n_envs=4), Random(0)
    observation, _ = env.reset()
    copies = []
    for _ in range(20):
        copies.append((observation, {name: values.clone() for name, values in observation.items()}))
        observation, *_ = step(env, *choose_items(observation, random))
    assert all(torch.equal(values, copy[name]) for observation, copy in copies for name, values in observation.items())


def test_a_restored_environment_continues_like_the_saved_one():
    env, random = sessions(MANY, n_items=50, n_envs=4), Random(0)
    observation, _ = rollout(env, env.reset()[0], random, 7)
    state = env.state_dict()
    _, expected = rollout(env, observation, Random(1), 30)

    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    restored = sessions(MANY, n_items=50, n_envs=4, seed=9)
    restored.load_state_dict(torch.load(file, weights_only=True))
    _, steps = rollout(restored, restored.observe(), Random(1), 30)
    assert equal_steps(steps, expected)


def test_observations_and_actions_are_in_their_spaces():
    env, random = sessions(MANY, n_items=50, n_envs=4), Random(0)
    check_observation_space(env.observation_space)
    check_action_space(env.action_space)
    observation, _ = env.reset()
    for _ in range(sum(map(len, MANY))):
        assert env.observation_space.contains({name: values.numpy() for name, values in observation.items()})
        items = choose_items(observation, random)
        assert env.action_space.contains(np.array(items))
        observation, *_ = step(env, *items)
    assert not observation["active"].any()
    wrong = {name: values.numpy() for name, values in observation.items()} | {"memory": np.full((4, 2), 51)}
    assert not env.observation_space.contains(wrong)


def test_every_action_in_the_space_is_accepted():
    env = sessions(MANY, n_items=50, n_envs=4)
    env.action_space.seed(0)
    env.reset()
    n_ended = 0
    for _ in range(sum(map(len, MANY))):
        observation, _, ended, *_ = env.step(torch.from_numpy(env.action_space.sample()))
        n_ended += int(ended.sum())
    assert n_ended == len(MANY) and not observation["active"].any()


class Numpy(VectorWrapper):
    """Rewards and terminations as arrays, because gymnasium's own wrappers calculate with those."""

    def step(self, actions):
        observation, reward, ended, truncated, infos = self.env.step(actions)
        return observation, reward.numpy(), ended.numpy(), truncated.numpy(), infos


def test_gymnasium_counts_the_same_rewards_and_lengths():
    # gymnasium also counts where no session is active, so here are enough users for every step.
    env, random = sessions(MANY, n_items=50, n_envs=4), Random(0)
    assert env.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    statistics = RecordEpisodeStatistics(Numpy(env))
    observation, _ = statistics.reset()
    n_ended = 0
    for _ in range(15):
        observation, _, ended, _, infos = statistics.step(torch.tensor(choose_items(observation, random)))
        if ended.any():
            n_ended += ended.sum()
            assert (infos["episode"]["r"][ended] == infos["session_reward"].numpy()[ended]).all()
            assert (infos["episode"]["l"][ended] == infos["session_length"].numpy()[ended]).all()
    assert observation["active"].all() and n_ended > 10
