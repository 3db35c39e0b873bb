"""Every step of the sessions equals a plain loop's, for many users side by side."""

from collections import Counter
from random import Random

import pytest
import torch
from drr_sessions import available_items, choose_items, group_positives, sessions, step, torch_generator
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from recsweep.errors import UserError
from recsweep.models.drr.env import action_sets
from recsweep.sampling import unseen_items


class Twin:
    """One sub-environment with one user at a time, in lists; all share `memory`."""

    def __init__(self, positives, memory):
        self.positives, self.memory = positives, memory
        self.user = None

    def reset(self, user, others):
        self.user, self.viewed, self.rewards = user, [], []
        self.action_set = sorted([*self.positives[user], *others])

    def available(self):
        return [item for item in self.action_set if item not in self.viewed]

    def step(self, item):
        self.viewed.append(item)
        self.rewards.append(float(item in self.positives[self.user]))
        if self.rewards[-1]:
            self.memory[self.user] = [*self.memory[self.user][1:], item]

    def is_over(self):
        return len(self.rewards) == len(self.positives[self.user])


@st.composite
def worlds(draw):
    n_items = draw(st.integers(2, 12))
    item_sets = st.sets(st.integers(0, n_items - 1), max_size=n_items - 1)
    positives = draw(st.lists(item_sets, min_size=1, max_size=8).filter(any))
    order = draw(st.permutations(range(len(positives))))
    n_envs, memory_size = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    return n_items, positives, order, n_envs, memory_size


def serve(twins, queue, observation, n_items):
    """Gives the next users to twins without one, with the other items that the environment drew for them."""
    for env_index, twin in enumerate(twins):
        if twin.user is None and queue:
            user = queue.pop(0)
            others = [item for item in observation["candidates"][env_index, 0::2].tolist() if item < n_items]
            assert len(others) == len(twin.positives[user])
            assert not set(others) & twin.positives[user]
            twin.reset(user, others)


def check_observation(observation, twins):
    assert observation["active"].tolist() == [twin.user is not None for twin in twins]
    for env_index, twin in enumerate(twins):
        if twin.user is None:
            assert not observation["left"][env_index].any()
        else:
            assert observation["user"][env_index] == twin.user
            assert observation["memory"][env_index].tolist() == twin.memory[twin.user]
            assert sorted(available_items(observation, env_index)) == twin.available()


@given(worlds(), st.integers(0, 2**31))
@settings(max_examples=75)
def test_every_step_is_that_of_the_plain_loop(world, seed):
    n_items, positives, order, n_envs, memory_size = world
    env, random = sessions(positives, n_items, n_envs, memory_size, seed), Random(seed)
    memory = [[n_items] * memory_size for _ in positives]
    twins, queue = [Twin(positives, memory) for _ in range(n_envs)], [user for user in order if positives[user]]
    observation, _ = env.reset(options={"users": torch.tensor(order)})
    serve(twins, queue, observation, n_items)
    check_observation(observation, twins)
    while any(twin.user is not None for twin in twins):
        items = choose_items(observation, random)
        observation, reward, ended, truncated, infos = step(env, *items)
        for env_index, twin in enumerate(twins):
            if twin.user is None:
                assert reward[env_index] == 0 and not ended[env_index]
                continue
            twin.step(items[env_index])
            assert reward[env_index] == twin.rewards[-1]
            assert infos["next_memory"][env_index].tolist() == memory[twin.user]
            assert infos["session_reward"][env_index] == sum(twin.rewards)
            assert infos["session_length"][env_index] == len(twin.rewards)
            assert ended[env_index] == twin.is_over()
            if twin.is_over():
                twin.user = None
        assert not truncated.any()
        serve(twins, queue, observation, n_items)
        check_observation(observation, twins)
        assert env.memory.tolist() == memory
    assert not queue


def test_positives_enter_the_memory_by_hand():
    env = sessions([{4, 6, 8}], memory_size=2)
    observation, _ = env.reset()
    assert observation["memory"].tolist() == [[10, 10]]
    other = next(item for item in available_items(observation, 0) if item not in {4, 6, 8})
    observation, reward, ended, _, infos = step(env, 6)
    assert (observation["memory"].tolist(), reward.tolist(), ended.tolist()) == ([[10, 6]], [1.0], [False])
    observation, reward, ended, _, infos = step(env, other)
    assert (observation["memory"].tolist(), reward.tolist(), ended.tolist()) == ([[10, 6]], [0.0], [False])
    observation, reward, ended, _, infos = step(env, 4)
    assert (infos["next_memory"].tolist(), reward.tolist(), ended.tolist()) == ([[6, 4]], [1.0], [True])
    assert (infos["session_reward"].tolist(), infos["session_length"].tolist()) == ([2.0], [3])
    # The memory is kept for the next session of the same user.
    observation, _ = env.reset()
    assert observation["memory"].tolist() == [[6, 4]]
    observation, *_ = step(env, 8)
    assert observation["memory"].tolist() == [[4, 8]]


def test_the_next_user_is_served_in_the_step_that_ends_a_session():
    # Sessions of 1, 2, 1 and 1 steps in two sub-environments; user 1 has no positive and is not served.
    env = sessions([{0}, set(), {1, 2}, {3}, {4}], n_envs=2)
    observation, _ = env.reset(options={"users": torch.tensor([1, 2, 0, 4, 3])})
    assert observation["user"].tolist() == [2, 0]
    observation, reward, ended, _, infos = step(env, 1, 0)
    assert observation["user"].tolist() == [2, 4] and ended.tolist() == [False, True] and reward.tolist() == [1, 1]
    assert infos["next_memory"].tolist() == [[10, 1], [10, 0]]
    assert observation["memory"].tolist() == [[10, 1], [10, 10]]
    observation, reward, ended, *_ = step(env, 2, 4)
    assert observation["user"][0] == 3 and ended.tolist() == [True, True] and reward.tolist() == [1, 1]
    assert observation["active"].tolist() == [True, False]
    # No user is left for the second sub-environment, so its action does nothing.
    observation, reward, ended, *_ = step(env, 3, 4)
    assert ended.tolist() == [True, False] and reward.tolist() == [1, 0] and not observation["active"].any()
    assert env.memory.tolist() == [[10, 0], [10, 10], [1, 2], [10, 3], [10, 4]]
    observation, reward, ended, *_ = step(env, 3, 4)
    assert not (reward.any() or ended.any() or observation["left"].any() or observation["active"].any())


def test_an_unavailable_item_earns_nothing_and_only_uses_up_a_step():
    env = sessions([{4, 6, 8}])
    observation, _ = env.reset()
    step(env, 6)
    absent = next(item for item in range(10) if item not in available_items(observation, 0))
    before = env.memory.clone()
    for item, is_over in ((6, False), (absent, True)):
        observation, reward, ended, *_ = step(env, item)
        assert reward.tolist() == [0.0] and ended.tolist() == [is_over]
    assert torch.equal(env.memory, before)


def test_every_copy_of_an_item_is_recommended_once():
    # Item 9 is the only other item, so it is nine times in the action set.
    env = sessions([set(range(9))])
    observation, _ = env.reset()
    assert Counter(available_items(observation, 0)) == {9: 9} | dict.fromkeys(range(9), 1)
    observation, *_ = step(env, 9)
    assert available_items(observation, 0) == list(range(9))


def test_a_perfect_policy_earns_the_number_of_positives():
    positives = [{0, 5, 7}, {1}, {2, 3}]
    env = sessions(positives, n_envs=3)
    observation, _ = env.reset()
    reward_of_user = {}
    for _ in range(3):
        users, is_positive = observation["user"].tolist(), observation["left"] & (torch.arange(6) % 2 == 1)
        column = is_positive.int().argmax(1, keepdim=True)
        observation, _, ended, _, infos = env.step(observation["candidates"].gather(1, column)[:, 0])
        total = infos["session_reward"].tolist()
        reward_of_user |= {user: total[index] for index, user in enumerate(users) if ended[index]}
    assert reward_of_user == {0: 3.0, 1: 1.0, 2: 2.0}


def test_action_sets_alternate_others_and_positives():
    positives = group_positives([{1, 3}, set(), {0}], 5)
    sets = action_sets(torch.tensor([2, 0, 1, 0]), positives, unseen_items(positives, 5), 6, torch_generator())
    assert sets[:, 1::2].tolist() == [[0, 5, 5], [1, 3, 5], [5, 5, 5], [1, 3, 5]]
    others = sets[:, 0::2]
    assert (others < 5).tolist() == [[True, False, False], [True, True, False], [False] * 3, [True, True, False]]
    assert not set(others[0].tolist()) & {0} and not set(others[[1, 3]].flatten().tolist()) & {1, 3}


def test_others_are_distinct_and_drawn_uniformly():
    # The allowed items are 0, 2 and 4; the two of a session are one of 6 ordered pairs, 18,000 sessions.
    positives = group_positives([{1, 3}], 5)
    sets = action_sets(
        torch.zeros(18_000, dtype=torch.int64), positives, unseen_items(positives, 5), 4, torch_generator()
    )
    counts = Counter(map(tuple, sets[:, 0::2].tolist()))
    assert set(counts) == {(a, b) for a in (0, 2, 4) for b in (0, 2, 4) if a != b}
    assert chisquare(list(counts.values())).pvalue > 0.001


def test_a_session_needs_positives_and_others():
    with pytest.raises(UserError, match="no user has a positive item"):
        sessions([set(), set()])
    with pytest.raises(UserError, match="a user has all 3 items as positives"):
        sessions([{1}, {0, 1, 2}], n_items=3)


def test_a_user_is_served_once_in_a_pass():
    env = sessions([{1}, {2}])
    with pytest.raises(ValueError, match="only once"):
        env.reset(options={"users": torch.tensor([1, 0, 1])})
