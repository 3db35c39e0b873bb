"""Sessions step as the reference's environment, written as a plain loop, for many users side by side."""

import io
import random
from collections import Counter

import numpy as np
import pytest
import torch
from gymnasium.utils.passive_env_checker import check_action_space, check_observation_space
from gymnasium.vector import AutoresetMode, VectorWrapper
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from recsweep.errors import UserError
from recsweep.models.drr.env import Sessions, action_sets
from recsweep.sampling import group_items, unseen


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def grouped(positives, n_items):
    pairs = [(user, item) for user, items in enumerate(positives) for item in items]
    user, item = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T
    return group_items(user, item, len(positives), n_items)


def sessions(positives, n_items=10, n_envs=1, memory_size=2, seed=0):
    return Sessions(grouped(positives, n_items), n_items, n_envs, memory_size, seeded(seed))


def step(env, *items):
    return env.step(torch.tensor(items))


def available(seen, lane):
    """The item ids that the lane can be recommended, copies too."""
    return seen["candidates"][lane][seen["left"][lane]].tolist()


def choose(seen, chance):
    """A random item that is left in each lane, and 0 in lanes without any."""
    return [chance.choice(available(seen, lane) or [0]) for lane in range(len(seen["user"]))]


class Twin:
    """The reference's environment: one user at a time, in lists; `memory` is shared by all who serve."""

    def __init__(self, positives, memory):
        self.positives, self.memory = positives, memory
        self.user = None

    def reset(self, user, others):
        self.user, self.viewed, self.rewards = user, [], []
        self.available = sorted([*self.positives[user], *others])

    def left(self):
        return [item for item in self.available if item not in self.viewed]

    def step(self, item):
        self.viewed.append(item)
        self.rewards.append(float(item in self.positives[self.user]))
        if self.rewards[-1]:
            self.memory[self.user] = [*self.memory[self.user][1:], item]

    def over(self):
        return len(self.rewards) == len(self.positives[self.user])


@st.composite
def worlds(draw):
    n_items = draw(st.integers(2, 12))
    some = st.sets(st.integers(0, n_items - 1), max_size=n_items - 1)
    positives = draw(st.lists(some, min_size=1, max_size=8).filter(any))
    order = draw(st.permutations(range(len(positives))))
    n_envs, memory_size = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    return n_items, positives, order, n_envs, memory_size


def serve(twins, queue, seen, n_items):
    """Gives the next users to twins without one, with the others that the environment drew for the same lane."""
    for lane, twin in enumerate(twins):
        if twin.user is None and queue:
            user = queue.pop(0)
            others = [item for item in seen["candidates"][lane, 0::2].tolist() if item < n_items]
            assert len(others) == len(twin.positives[user])
            assert not set(others) & twin.positives[user]
            twin.reset(user, others)


def check_observation(seen, twins):
    assert seen["active"].tolist() == [twin.user is not None for twin in twins]
    for lane, twin in enumerate(twins):
        if twin.user is None:
            assert not seen["left"][lane].any()
        else:
            assert seen["user"][lane] == twin.user
            assert seen["memory"][lane].tolist() == twin.memory[twin.user]
            assert sorted(available(seen, lane)) == twin.left()


@given(worlds(), st.integers(0, 2**31))
@settings(max_examples=150, deadline=None)
def test_every_step_is_that_of_the_plain_loop(world, seed):
    n_items, positives, order, n_envs, memory_size = world
    env, chance = sessions(positives, n_items, n_envs, memory_size, seed), random.Random(seed)
    memory = [[n_items] * memory_size for _ in positives]
    twins, queue = [Twin(positives, memory) for _ in range(n_envs)], [user for user in order if positives[user]]
    seen, _ = env.reset(options={"users": torch.tensor(order)})
    serve(twins, queue, seen, n_items)
    check_observation(seen, twins)
    while any(twin.user is not None for twin in twins):
        items = choose(seen, chance)
        seen, reward, ended, truncated, infos = step(env, *items)
        for lane, twin in enumerate(twins):
            if twin.user is None:
                assert reward[lane] == 0 and not ended[lane]
                continue
            twin.step(items[lane])
            assert reward[lane] == twin.rewards[-1]
            assert infos["next_memory"][lane].tolist() == memory[twin.user]
            assert infos["session_reward"][lane] == sum(twin.rewards)
            assert infos["session_length"][lane] == len(twin.rewards)
            assert ended[lane] == twin.over()
            if twin.over():
                twin.user = None
        assert not truncated.any()
        serve(twins, queue, seen, n_items)
        check_observation(seen, twins)
        assert env.memory.tolist() == memory
    assert not queue


def test_positives_enter_the_memory_by_hand():
    env = sessions([{4, 6, 8}], memory_size=2)
    seen, _ = env.reset()
    assert seen["memory"].tolist() == [[10, 10]]
    other = next(item for item in available(seen, 0) if item not in {4, 6, 8})
    seen, reward, ended, _, infos = step(env, 6)
    assert (seen["memory"].tolist(), reward.tolist(), ended.tolist()) == ([[10, 6]], [1.0], [False])
    seen, reward, ended, _, infos = step(env, other)
    assert (seen["memory"].tolist(), reward.tolist(), ended.tolist()) == ([[10, 6]], [0.0], [False])
    seen, reward, ended, _, infos = step(env, 4)
    assert (infos["next_memory"].tolist(), reward.tolist(), ended.tolist()) == ([[6, 4]], [1.0], [True])
    assert (infos["session_reward"].tolist(), infos["session_length"].tolist()) == ([2.0], [3])
    # The next session of the same user begins with what this one left.
    seen, _ = env.reset()
    assert seen["memory"].tolist() == [[6, 4]]
    seen, *_ = step(env, 8)
    assert seen["memory"].tolist() == [[4, 8]]


def test_lanes_take_the_next_user_in_the_step_that_ends_a_session():
    # Sessions of 1, 2, 1 and 1 steps in two lanes; user 1 has no positive and is not served.
    env = sessions([{0}, set(), {1, 2}, {3}, {4}], n_envs=2)
    seen, _ = env.reset(options={"users": torch.tensor([1, 2, 0, 4, 3])})
    assert seen["user"].tolist() == [2, 0]
    seen, reward, ended, _, infos = step(env, 1, 0)
    assert seen["user"].tolist() == [2, 4] and ended.tolist() == [False, True] and reward.tolist() == [1, 1]
    assert infos["next_memory"].tolist() == [[10, 1], [10, 0]]
    assert seen["memory"].tolist() == [[10, 1], [10, 10]]
    seen, reward, ended, *_ = step(env, 2, 4)
    assert seen["user"][0] == 3 and ended.tolist() == [True, True] and reward.tolist() == [1, 1]
    assert seen["active"].tolist() == [True, False]
    # Nobody is left for the second lane; what it is told to do there does nothing.
    seen, reward, ended, *_ = step(env, 3, 4)
    assert ended.tolist() == [True, False] and reward.tolist() == [1, 0] and not seen["active"].any()
    assert env.memory.tolist() == [[10, 0], [10, 10], [1, 2], [10, 3], [10, 4]]
    seen, reward, ended, *_ = step(env, 3, 4)
    assert not (reward.any() or ended.any() or seen["left"].any() or seen["active"].any())


def test_what_is_not_left_earns_nothing_and_changes_only_the_steps_that_remain():
    env = sessions([{4, 6, 8}])
    seen, _ = env.reset()
    step(env, 6)
    absent = next(item for item in range(10) if item not in available(seen, 0))
    before = env.memory.clone()
    for item, over in ((6, False), (absent, True)):
        seen, reward, ended, *_ = step(env, item)
        assert reward.tolist() == [0.0] and ended.tolist() == [over]
    assert torch.equal(env.memory, before)


def test_every_copy_of_an_item_is_recommended_once():
    # Item 9 is the only other item, so it stands nine times in the action set.
    env = sessions([set(range(9))])
    seen, _ = env.reset()
    assert Counter(available(seen, 0)) == {9: 9} | dict.fromkeys(range(9), 1)
    seen, *_ = step(env, 9)
    assert available(seen, 0) == list(range(9))


def test_a_policy_that_knows_all_positives_earns_their_number():
    positives = [{0, 5, 7}, {1}, {2, 3}]
    env = sessions(positives, n_envs=3)
    seen, _ = env.reset()
    earned = {}
    for _ in range(3):
        users, liked = seen["user"].tolist(), seen["left"] & (torch.arange(6) % 2 == 1)
        seen, _, ended, _, infos = env.step(seen["candidates"].gather(1, liked.int().argmax(1, keepdim=True))[:, 0])
        total = infos["session_reward"].tolist()
        earned |= {user: total[lane] for lane, user in enumerate(users) if ended[lane]}
    assert earned == {0: 3.0, 1: 1.0, 2: 2.0}


def test_action_sets_alternate_others_and_positives():
    positives = grouped([{1, 3}, set(), {0}], 5)
    sets = action_sets(torch.tensor([2, 0, 1, 0]), positives, unseen(positives, 5), 6, seeded())
    assert sets[:, 1::2].tolist() == [[0, 5, 5], [1, 3, 5], [5, 5, 5], [1, 3, 5]]
    others = sets[:, 0::2]
    assert (others < 5).tolist() == [[True, False, False], [True, True, False], [False] * 3, [True, True, False]]
    assert not set(others[0].tolist()) & {0} and not set(others[[1, 3]].flatten().tolist()) & {1, 3}


def test_others_are_drawn_uniformly_with_replacement():
    # The allowed items are 0, 2 and 4; the two of a session are one of 9 ordered pairs, 18,000 sessions.
    positives = grouped([{1, 3}], 5)
    sets = action_sets(torch.zeros(18_000, dtype=torch.int64), positives, unseen(positives, 5), 4, seeded())
    counts = Counter(map(tuple, sets[:, 0::2].tolist()))
    assert set(counts) == {(a, b) for a in (0, 2, 4) for b in (0, 2, 4)}
    assert chisquare(list(counts.values())).pvalue > 0.001


def rollout(env, seen, chance, n_steps):
    steps = []
    for _ in range(n_steps):
        before, items = seen, choose(seen, chance)
        seen, reward, ended, _, infos = step(env, *items)
        steps.append([*before.values(), torch.tensor(items), reward, ended, *infos.values(), env.memory.clone()])
    return seen, steps


def same(some, others):
    return all(torch.equal(a, b) for x, y in zip(some, others, strict=True) for a, b in zip(x, y, strict=True))


MANY = [set(range(user % 7, user % 7 + 1 + user % 5)) for user in range(30)]


def test_the_same_generator_gives_the_same_sessions():
    runs, before = [], torch.get_rng_state()
    for seed in (1, 1, 2):
        env = sessions(MANY, n_items=50, n_envs=4, seed=seed)
        runs.append(rollout(env, env.reset()[0], random.Random(0), 20)[1])
    assert same(runs[0], runs[1]) and not same(runs[0], runs[2])
    assert torch.equal(torch.get_rng_state(), before)


def test_reset_with_a_seed_starts_the_generator_anew():
    env = sessions(MANY, n_items=50, n_envs=4)
    first, again, other = (env.reset(seed=seed)[0]["candidates"] for seed in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_reset_ends_the_sessions_that_are_under_way():
    env = sessions([{1, 2}, {3, 4}, {5}], n_envs=2)
    env.reset()
    step(env, 1, 3)
    seen, _ = env.reset(options={"users": torch.tensor([1])})
    assert seen["active"].tolist() == [True, False] and not seen["left"][1].any()
    assert seen["user"][0] == 1 and sorted(set(available(seen, 0)) & {3, 4}) == [3, 4]
    _, reward, ended, _, infos = step(env, 4, 3)
    assert (reward.tolist(), ended.tolist()) == ([1, 0], [False, False])
    assert (infos["session_reward"][0], infos["session_length"][0]) == (1, 1)


def test_what_was_observed_stays():
    env, chance = sessions(MANY, n_items=50, n_envs=4), random.Random(0)
    seen, _ = env.reset()
    kept = []
    for _ in range(20):
        kept.append((seen, {name: values.clone() for name, values in seen.items()}))
        seen, *_ = step(env, *choose(seen, chance))
    assert all(torch.equal(values, copy[name]) for seen, copy in kept for name, values in seen.items())


def test_a_saved_environment_goes_on_as_if_never_stopped():
    env, chance = sessions(MANY, n_items=50, n_envs=4), random.Random(0)
    seen, _ = rollout(env, env.reset()[0], chance, 7)
    state = env.state_dict()
    _, expected = rollout(env, seen, random.Random(1), 30)

    stored = io.BytesIO()
    torch.save(state, stored)
    stored.seek(0)
    again = sessions(MANY, n_items=50, n_envs=4, seed=9)
    again.load_state_dict(torch.load(stored, weights_only=True))
    _, steps = rollout(again, again.observe(), random.Random(1), 30)
    assert same(steps, expected)


def test_spaces_hold_what_they_say():
    env, chance = sessions(MANY, n_items=50, n_envs=4), random.Random(0)
    check_observation_space(env.observation_space)
    check_action_space(env.action_space)
    seen, _ = env.reset()
    for _ in range(sum(map(len, MANY))):
        assert env.observation_space.contains({name: values.numpy() for name, values in seen.items()})
        items = choose(seen, chance)
        assert env.action_space.contains(np.array(items))
        seen, *_ = step(env, *items)
    assert not seen["active"].any()
    wrong = {name: values.numpy() for name, values in seen.items()} | {"memory": np.full((4, 2), 51)}
    assert not env.observation_space.contains(wrong)


def test_every_action_of_the_space_can_be_taken():
    env = sessions(MANY, n_items=50, n_envs=4)
    env.action_space.seed(0)
    env.reset()
    n_ended = 0
    for _ in range(sum(map(len, MANY))):
        seen, _, ended, *_ = env.step(torch.from_numpy(env.action_space.sample()))
        n_ended += int(ended.sum())
    assert n_ended == len(MANY) and not seen["active"].any()


class Numpy(VectorWrapper):
    """Rewards and terminations as arrays, which gymnasium's own wrappers calculate with."""

    def step(self, actions):
        seen, reward, ended, truncated, infos = self.env.step(actions)
        return seen, reward.numpy(), ended.numpy(), truncated.numpy(), infos


def test_gymnasium_counts_the_same_rewards_and_lengths():
    # gymnasium counts in lanes without a session as well, so there are users for every step here.
    env, chance = sessions(MANY, n_items=50, n_envs=4), random.Random(0)
    assert env.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    counted = RecordEpisodeStatistics(Numpy(env))
    seen, _ = counted.reset()
    n_ended = 0
    for _ in range(15):
        seen, _, ended, _, infos = counted.step(torch.tensor(choose(seen, chance)))
        if ended.any():
            n_ended += ended.sum()
            assert (infos["episode"]["r"][ended] == infos["session_reward"].numpy()[ended]).all()
            assert (infos["episode"]["l"][ended] == infos["session_length"].numpy()[ended]).all()
    assert seen["active"].all() and n_ended > 10


def test_a_session_needs_positives_and_others():
    with pytest.raises(UserError, match="no user has a positive item"):
        sessions([set(), set()])
    with pytest.raises(UserError, match="a user has all 3 items as positives"):
        sessions([{1}, {0, 1, 2}], n_items=3)


def test_a_user_is_served_once_in_a_pass():
    env = sessions([{1}, {2}])
    with pytest.raises(ValueError, match="only once"):
        env.reset(options={"users": torch.tensor([1, 0, 1])})
