"""The DRR agent: an update against a twin row by row, scores, sessions, and runs that repeat."""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from omegaconf import DictConfig
from random_vectors import vectors
from rows import interactions
from shell import fit_model, read_metrics, recsweep, same
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from recsweep.config import compose_config
from recsweep.data.batches import Batches
from recsweep.data.schema import Interactions
from recsweep.errors import UserError
from recsweep.models.drr.agent import DRR, START_BETA
from recsweep.models.drr.replay import Sample, Transitions, annealed
from recsweep.runs import build
from recsweep.runs.folder import BEST, judge, load_weights
from recsweep.vectors.export import export_vectors

N_ITEMS = 9
LIKED = [(0, 1), (0, 4), (0, 7), (1, 0), (1, 2), (2, 3), (2, 5), (2, 6), (2, 8), (4, 1)]
"""User 3 likes nothing, user 4 a single item."""

SMALL = [
    "model=drr",
    "data.base.n_users=60",
    "data.base.n_items=100",
    "data.base.n_interactions=1200",
    "evaluation=full_ranking",
    "split.cold_users=keep",
    "trainer.max_epochs=2",
    "trainer.batch_size=64",
    "model.min_positives=2",
    "model.n_envs=8",
    "model.buffer_size=300",
    "logger=none",
    "callbacks.progress=false",
]


def liked() -> Interactions:
    return interactions([(user, item, 5.0) for user, item in LIKED], n_users=5, n_items=N_ITEMS)


def configured(*words: str) -> DictConfig:
    sizes = ["model.embedding_dim=3", "model.hidden_dim=4", "model.memory_size=2", "model.init_std=1.0"]
    sgd = ["optimizer=sgd", "optimizer.lr=0.1", "loss.soft_tau=0.25", "loss.max_value=0.75", "loss.min_value=-0.5"]
    return compose_config([*SMALL, *sizes, "model.n_envs=3", *sgd, *words])


def agent(*words: str) -> DRR:
    """A tiny agent that is about to train, without an engine around it."""
    data = SimpleNamespace(train=liked())
    made = build.model(configured(*words), data)
    assert isinstance(made, DRR)
    made.trainer = SimpleNamespace(datamodule=data, strategy=SimpleNamespace(root_device=torch.device("cpu")))
    made.setup("fit")
    optimizers = [
        SimpleNamespace(optimizer=optimizer, param_groups=optimizer.param_groups, step=optimizer.step)
        for optimizer in made.configure_optimizers()[0]
    ]
    made.optimizers = lambda: optimizers
    made.engine_counts = False
    made.stepped = 0
    return made


def act(model: DRR, n_steps: int) -> None:
    while model.step_count < n_steps:
        model._step_sessions()


# ---- an update, as a twin makes it row by row


def state_of(model: DRR, user: int, memory: list[int]) -> Tensor:
    """[u, u ⊙ g, g] with g = Σ w_a i_a + b, where the padding item has no vector."""
    average = torch.zeros(3) + model.state.bias
    for weight, item in zip(model.state.weight, memory, strict=True):
        if item != N_ITEMS:
            average = average + weight * model.item_table.weight[item]
    own = model.user_table.weight[user]
    return torch.cat([own, own * average, average])


def rows(transitions: Transitions) -> Iterator[tuple[int, int, list[int], Tensor, float, list[int]]]:
    for user, item, memory, action, reward, after, _ in zip(*transitions, strict=True):
        yield int(user), int(item), memory.tolist(), action, float(reward), after.tolist()


def policy(actor: nn.Module, state: Tensor, by_item: bool) -> Tensor:
    """The actor's vector, of length 1 where the critic takes items' vectors for actions."""
    vector = actor(state)
    return vector / vector.square().sum().sqrt() if by_item else vector


def target_of(twin: DRR, reward: float, state: Tensor, noise: Tensor, by_item: bool) -> Tensor:
    following = torch.cat([state, policy(twin.target_actor, state, by_item) + noise])
    lowest = min(critic(following) for critic in twin.target_critics)
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
    """Changes the twin as one update should; gives the value loss and the TD errors."""
    losses, errors, states = [], [], []
    for (user, item, memory, action, reward, after), weight, row_noise in zip(
        rows(sample.transitions), sample.weight, noise, strict=True
    ):
        target = target_of(twin, reward, state_of(twin, user, after), row_noise, by_item).detach()
        states.append(state_of(twin, user, memory))
        done = twin.item_table.weight[item] if by_item else action
        values = [critic(torch.cat([states[-1], done])) for critic in twin.critics]
        losses += [weight * (value - target) ** 2 / len(noise) for value in values]
        errors.append((target - values[0]).detach())
    loss = torch.stack(losses).sum()
    # The policy's loss sees the states as they were, and the critic as it has become.
    before = [state.detach() for state in states]
    tables = [table for table in (twin.user_table, twin.item_table) if table.weight.requires_grad]
    descend([twin.critics, twin.state, *tables], loss, [0.01, 0.02, 0.02, 0.02][: 2 + len(tables)])
    if moves_policy:
        values = [twin.critics[0](torch.cat([state, policy(twin.actor, state, by_item)])) for state in before]
        descend([twin.actor], -torch.stack(values).mean(), [0.03])
        with torch.no_grad():
            for target, source in [(twin.target_actor, twin.actor), (twin.target_critics, twin.critics)]:
                for follower, leader in zip(target.parameters(), source.parameters(), strict=True):
                    follower.copy_(0.75 * follower + 0.25 * leader)
    return loss.item(), torch.cat(errors)


DECAYS = ["model.value_decay=0.01", "model.state_repr_decay=0.02", "model.policy_decay=0.03"]


@pytest.fixture
def elsewhere(tmp_path: Path) -> list[str]:
    """The words for tables that start where another model's vectors of the same rows are, and stay there."""
    export_vectors(vectors(5, N_ITEMS, dim=3), liked(), tmp_path / "embeddings")
    return [f"model.pretrained={tmp_path / 'embeddings'}", "model.frozen=true"]


@pytest.mark.parametrize("action", ["proto", "item"])
@pytest.mark.parametrize("loss", ["ddpg", "td3"])
def test_updates_equal_the_twins(loss: str, action: str) -> None:
    """Three in a row: TD3 moves its policy and its targets with the second alone."""
    compare_updates(loss, action, [])


@pytest.mark.parametrize("action", ["proto", "item"])
def test_updates_equal_the_twins_where_the_tables_stay(action: str, elsewhere: list[str]) -> None:
    model = compare_updates("ddpg", action, elsewhere)
    given = vectors(5, N_ITEMS, dim=3)
    for table, start in [(model.user_table, given.user), (model.item_table, given.item)]:
        factor = table.weight[0, 0] / start[0, 0]
        torch.testing.assert_close(table.weight, factor * start)


def compare_updates(loss: str, action: str, start: list[str]) -> DRR:
    """The model after three updates, each of which was the twin's."""
    smoothed = ["loss.target_noise=0.5", "loss.noise_clip=0.4"] if loss == "td3" else []
    model = agent(f"loss={loss}", f"model.action={action}", *DECAYS, *smoothed, *start)
    act(model, 30)
    twin = weights_of(model)
    for count in (1, 2, 3):
        noise, sample = draws_of(model, 8, loss)
        model._update(8)
        moves = loss == "ddpg" or count == 2
        value_loss, errors = update_by_hand(twin, sample, noise, moves, action == "item")
        assert model.noted["train/loss"][-1].item() == pytest.approx(value_loss, rel=1e-4)
        torch.testing.assert_close(model.shown["td_error"], errors, rtol=0, atol=1e-5)
        assert_same_weights(model, twin)
    assert len(model.noted["train/policy_loss"]) == (3 if loss == "ddpg" else 1)
    return model


def weights_of(model: DRR) -> DRR:
    """Another agent with the same weights, and nothing else of it."""
    twin = build.model(
        configured("loss=td3" if len(model.critics) == 2 else "loss=ddpg"), SimpleNamespace(train=liked())
    )
    assert isinstance(twin, DRR)
    twin.load_state_dict(deepcopy(model.state_dict()))
    for table, own in [(model.user_table, twin.user_table), (model.item_table, twin.item_table)]:
        own.requires_grad_(table.weight.requires_grad)
    return twin


def draws_of(model: DRR, n: int, loss: str) -> tuple[Tensor, Sample]:
    """What the model's next update is going to draw: noise on the target actions, and transitions."""
    ahead = model.generator.clone_state()
    sample = model.world.replay.sample(n, annealed(model.step_count, START_BETA, 100_000), ahead)
    if loss == "ddpg":
        return torch.zeros(n, 3), sample
    noise = 0.5 * torch.randn(n, 3, generator=ahead)
    assert (noise.abs() > 0.4).any()
    return noise.clamp(-0.4, 0.4), sample


def assert_same_weights(model: DRR, twin: DRR) -> None:
    expected = dict(twin.named_parameters())
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter, expected[name], rtol=0, atol=1e-5, msg=name)


@pytest.mark.parametrize(("which", "moved"), [(0, {"critics", "user_table", "item_table", "state"}), (1, {"actor"})])
def test_what_each_optimizer_moves(which: int, moved: set[str]) -> None:
    """The value loss moves all that the value is made of, the policy loss the actor alone."""
    model = agent("loss=td3")
    optimizer = model.optimizers()[which]
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert {name.split(".")[0] for name, parameter in model.named_parameters() if id(parameter) in held} == moved


def test_frozen_tables_are_nobodys_to_move(elsewhere: list[str]) -> None:
    model = agent("model.action=item", *elsewhere)
    groups = [group for optimizer in model.optimizers() for group in optimizer.param_groups]
    held = {id(parameter) for group in groups for parameter in group["params"]}
    left_out = {name for name, parameter in model.named_parameters() if id(parameter) not in held}
    targets = {name for name, _ in model.named_parameters() if name.startswith("target_")}
    assert left_out == {"user_table.weight", "item_table.weight"} | targets


def test_where_items_are_the_actions_the_actors_vector_has_length_one() -> None:
    """What is remembered too, but for the noise; where the vector is itself the action, it has any length."""
    for action, unit in (("item", True), ("proto", False)):
        model = agent(f"model.action={action}")
        act(model, 30)
        lengths = torch.cat([model.user_vectors(torch.arange(5)), model.world.replay.numbers[:30, :3]]).norm(dim=1)
        assert torch.allclose(lengths, torch.ones(35), atol=1e-5) is unit


def test_priorities_follow_the_td_errors() -> None:
    """With α = 1, a transition's mass is |δ| + 10^-4 in units of 2^-30."""
    model = agent("model.alpha=1")
    act(model, 30)
    _, sample = draws_of(model, 4, "ddpg")
    model._update(4)
    for place, error in zip(sample.place.tolist(), model.shown["td_error"].tolist(), strict=True):
        shared = [e for p, e in zip(sample.place.tolist(), model.shown["td_error"].tolist(), strict=True) if p == place]
        assert error in shared
        expected = max(abs(e) for e in shared) + 1e-4
        assert model.world.replay.mass[place].item() * 2**-30 == pytest.approx(expected, rel=1e-5)


def test_the_targets_start_where_their_networks_do_and_learn_by_following_alone() -> None:
    model = agent("loss=td3")
    assert same(model.target_actor.state_dict(), model.actor.state_dict())
    assert same(model.target_critics.state_dict(), model.critics.state_dict())
    assert not any(p.requires_grad for part in (model.target_actor, model.target_critics) for p in part.parameters())
    first, second = (critic.state_dict() for critic in model.critics)
    assert not same(first, second)


@pytest.mark.parametrize("state", ["drr_ave", "drr_p", "drr_u"])
def test_every_state_module_learns(state: str) -> None:
    model = agent(f"model.state={state}")
    act(model, 30)
    before = deepcopy(model.state_dict())
    model._update(16)
    after = model.state_dict()
    still = {name for name in before if torch.equal(before[name], after[name])}
    assert still == ({"memory", "user_table.weight"} if state == "drr_p" else {"memory"})


# ---- scores


def test_scores_are_dot_products_of_actions_and_items() -> None:
    model = agent().eval()
    act(model, 30)
    everyone, catalogue = torch.arange(5), torch.arange(N_ITEMS)
    with torch.inference_mode():
        scores = model.score_all(everyone)
        torch.testing.assert_close(scores, model.user_vectors(everyone) @ model.item_vectors().T)
        pairs = model.score(everyone.repeat_interleave(N_ITEMS), catalogue.repeat(5))
        torch.testing.assert_close(pairs.view(5, N_ITEMS), scores)
        for user in range(5):
            action = model.actor(state_of(model, user, model.memory[user].tolist()))
            torch.testing.assert_close(model.user_vectors(torch.tensor([user]))[0], action)


def test_an_empty_place_of_a_memory_says_nothing() -> None:
    """Not even what the last item's vector does, which it is looked up as."""
    model = agent()
    before = model.user_vectors(torch.tensor([3])).detach()
    assert model.memory[3].tolist() == [N_ITEMS, N_ITEMS]
    with torch.no_grad():
        model.item_table.weight[-1] += 5
    assert torch.equal(model.user_vectors(torch.tensor([3])), before)
    model.memory[3, 1] = N_ITEMS - 1
    assert not torch.equal(model.user_vectors(torch.tensor([3])), before)


# ---- sessions


def watched(model: DRR) -> list[tuple[dict[str, Tensor], Tensor]]:
    """Fills with what the environment showed and what it was then recommended."""
    env, happened = model.world.env, []
    step = env.step

    def noting(items: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor, Tensor, dict[str, Tensor]]:
        happened.append((env.observe(), items))
        return step(items)

    env.step = noting
    return happened


@pytest.mark.parametrize("exploration", ["none", "gaussian", "ou"])
def test_the_best_of_what_is_left_is_recommended(exploration: str) -> None:
    """The best for the action that is remembered, noise and all."""
    model = agent(f"model.exploration={exploration}", "model.exploration_std=2")
    happened = watched(model)
    act(model, 40)
    place = 0
    for seen, items in happened:
        for lane in seen["active"].nonzero()[:, 0].tolist():
            action = model.world.replay.numbers[place, :3]
            plain = model.actor(state_of(model, int(seen["user"][lane]), seen["memory"][lane].tolist()))
            assert torch.allclose(action, plain, atol=1e-5) is (exploration == "none")
            offered = seen["candidates"][lane][seen["left"][lane]]
            scores = {item: float(action @ model.item_table.weight[item]) for item in offered.tolist()}
            assert int(items[lane]) == max(scores, key=scores.__getitem__)
            place += 1
    assert place == model.step_count == len(model.world.replay)


def noises(exploration: str, n: int) -> Tensor:
    """[n, n_envs, d] in a row."""
    model = agent(f"model.exploration={exploration}", "model.exploration_std=2", "model.n_envs=500")
    return torch.stack([model._noise().clone() for _ in range(n)])


def test_no_noise() -> None:
    assert not noises("none", 3).any()


def test_gaussian_noise_is_drawn_anew() -> None:
    found = noises("gaussian", 10)
    assert found.std().item() == pytest.approx(2, rel=0.05)
    assert found.mean().abs() < 0.1
    assert (found[1:] * found[:-1]).mean().abs() < 0.2  # 0 but for chance, 4 / √13500 of it


def test_ornstein_and_uhlenbecks_noise_remembers() -> None:
    """x ← 0.85 x + 2 ε: the part that is new has the deviation 2, and in the long run x has 2 / √(1 - 0.85²)."""
    found = noises("ou", 60)
    fresh = found[1:] - 0.85 * found[:-1]
    assert fresh.std().item() == pytest.approx(2, rel=0.02)
    assert (fresh * found[:-1]).mean().abs() < 0.2
    assert found[0].std().item() == pytest.approx(2, rel=0.05)
    assert found[40:].std().item() == pytest.approx(2 / (1 - 0.85**2) ** 0.5, rel=0.05)


def test_only_users_with_enough_positives_have_sessions() -> None:
    """Of 3, 2, 4, 0 and 1 positives; a pass over all users has as many steps as they have positives together."""
    model = agent("model.min_positives=3")
    assert model.eligible.tolist() == [0, 2]
    assert model.columns(liked()).user.tolist() == [0, 0, 0, 2, 2, 2, 2]
    act(model, 14)
    assert set(model.world.replay.ids[:14, 0].tolist()) == {0, 2}
    assert (model.world.replay.ids[:14, 0] == 0).sum() == 6  # both of two passes


def test_nobody_has_enough_positives(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^model\.min_positives=5: no user of rows has so many; lower it$"):
        agent("model.min_positives=5")
    found = recsweep(tmp_path, "train", *SMALL, "model.min_positives=99", "hydra.run.dir=run")
    assert found == (2, "", "recsweep: model.min_positives=99: no user of synthetic has so many; lower it\n")


def test_a_memory_that_nobody_fills(tmp_path: Path) -> None:
    """User 2 has most positives, four."""
    assert agent("model.memory_size=4").memory.shape == (5, 4)
    with pytest.raises(UserError, match=r"^model\.memory_size=5: no user of rows has so many positives, at most 4$"):
        agent("model.memory_size=5")
    found = recsweep(tmp_path, "train", *SMALL, "model.memory_size=99", "hydra.run.dir=run")
    assert (found.status, found.out, found.err.count("\n")) == (2, "", 1)
    assert found.err.startswith("recsweep: model.memory_size=99: no user of synthetic has so many positives, at most ")


@pytest.mark.parametrize(("per_step", "updates"), [("0.5", 7), ("1", 14), ("2", 28)])
def test_updates_for_every_step(per_step: str, updates: int) -> None:
    """After 14 steps; what came due before the replay held a batch is made up for."""
    model = agent(f"model.updates_per_step={per_step}", "model.min_positives=3", "model.n_envs=2")
    model.data.batches = Batches(model.columns(liked()), batch_size=4, steps=1000, seed=0)
    model._start_epoch = lambda: None
    for _ in range(2):  # epochs of 7 steps
        model.training_step(0, 0)
    assert model.update_count == int(float(per_step) * model.step_count)
    assert abs(model.update_count - updates) <= 2 * float(per_step)


# ---- runs


LOSSES = {"train/loss", "train/policy_loss"}
ALL_LIKED = "data.above=0"
"""Every row counts, so everybody has sessions."""
QUICK = "model.updates_per_step=0.1"


@pytest.mark.parametrize("loss", ["ddpg", "td3"])
def test_an_epoch_notes_its_reward_and_losses(loss: str, tmp_path: Path) -> None:
    model = fit_model(compose_config([*SMALL, f"loss={loss}", "model.exploration=ou"]), tmp_path)
    assert isinstance(model, DRR)
    assert len(model.epochs) == 2
    for epoch in model.epochs:
        assert epoch.keys() == {*LOSSES, "train/replay_age", "train/reward", "train/session_reward"}
        assert 0 < epoch["train/reward"] < 1
        assert 0 < epoch["train/replay_age"] < 300  # the replay's size


def test_a_batch_that_no_epoch_fills_is_one_line(tmp_path: Path) -> None:
    found = recsweep(tmp_path, "train", *SMALL, "trainer.batch_size=5000", "model.buffer_size=9000")
    said, error = found.err.splitlines()
    assert found.status == 2 and said.endswith("users have fewer than 2 positives, and no sessions")
    assert "no update in an epoch of" in error and "lower trainer.batch_size=5000" in error


def test_more_users_side_by_side_than_the_replay_holds_is_one_line(tmp_path: Path) -> None:
    found = recsweep(tmp_path, "train", *SMALL, "model.buffer_size=7")
    message = "a replay of capacity=7 cannot hold the 8 transitions of a step; raise it"
    assert (found.status, found.err.splitlines()[1:]) == (2, [f"recsweep: {message}"])


def test_users_without_sessions_are_said_once(tmp_path: Path) -> None:
    """On the terminal, which has no other line for it, and in the log."""
    cfg = compose_config(SMALL)
    rows = build.data(cfg).train.user
    few = sum(int((rows == user).sum()) < 2 for user in range(60))
    line = f"{few} of 60 users have fewer than 2 positives, and no sessions"
    found = recsweep(tmp_path, "train", *SMALL, QUICK, "hydra.run.dir=run")
    assert (found.status, found.err) == (0, f"{line}\n") and few > 0
    assert (tmp_path / "run" / "run.log").read_text().count(f"WARNING recsweep.models.drr.agent: {line}\n") == 1


def test_nothing_is_said_where_everybody_has_sessions(tmp_path: Path) -> None:
    assert recsweep(tmp_path, "train", *SMALL, QUICK, ALL_LIKED).err == ""


HISTOGRAMS = {"value": 64, "target_value": 64, "expected_value": 64, "td_error": 64}
"""Values shown after an epoch, of its last batch."""


@pytest.mark.parametrize("loss", ["ddpg", "td3"])
def test_tensorboard_holds_what_the_networks_say(loss: str, tmp_path: Path) -> None:
    words = [*SMALL, QUICK, f"loss={loss}", "logger=tensorboard", "loss.max_value=0.01", "hydra.run.dir=run"]
    assert recsweep(tmp_path, "train", *words).status == 0
    events = EventAccumulator(str(tmp_path / "run" / "tb"), {"histograms": 0}).Reload()
    assert set(events.Tags()["histograms"]) == {*HISTOGRAMS, "policy_loss"}
    for tag, n in HISTOGRAMS.items():
        assert [event.histogram_value.num for event in events.Histograms(tag)] == [n, n]
    assert all(event.histogram_value.max <= 0.01 for event in events.Histograms("expected_value"))
    scalars = {name: [event.value for event in events.Scalars(name)] for name in (*LOSSES, "train/session_reward")}
    for shown, mean in zip(events.Histograms("policy_loss"), scalars["train/policy_loss"], strict=True):
        assert shown.histogram_value.sum / shown.histogram_value.num == pytest.approx(mean, rel=1e-4)
    assert all(len(values) == 2 for values in scalars.values())


def test_an_epoch_whose_policy_stays(tmp_path: Path) -> None:
    """TD3's only update of the epoch moves no policy, and there is nothing to show of it."""
    once = ["loss=td3", "model.updates_per_step=0.003", "trainer.max_epochs=1", "logger=tensorboard"]
    found = recsweep(tmp_path, "train", *SMALL, *once, "hydra.run.dir=run")
    assert found.status == 0, found.err
    assert "train/policy_loss" not in read_metrics(tmp_path / "run")["training"]
    assert set(EventAccumulator(str(tmp_path / "run" / "tb")).Reload().Tags()["histograms"]) == set(HISTOGRAMS)


@pytest.mark.parametrize("broken", ["critics", "actor", "target_actor"])
def test_a_network_that_diverges_in_the_second_epoch(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run ends with one line, and the weights of the first epoch stay and can be judged."""
    start = DRR._start_epoch

    def breaking(self: DRR) -> None:
        start(self)
        if self.current_epoch == 1:
            next(getattr(self, broken).parameters()).data.fill_(torch.nan)

    monkeypatch.setattr(DRR, "_start_epoch", breaking)
    words = [*SMALL, QUICK, ALL_LIKED]
    found = recsweep(tmp_path, "train", *words, "hydra.run.dir=run")
    assert (found.status, found.out, found.err.count("\n")) == (2, "", 1)
    assert found.err == "recsweep: training diverged: a TD error is not finite; lower optimizer.lr\n"
    assert read_metrics(tmp_path / "run")["status"] == "failed"
    cfg = compose_config(words)
    data = build.data(cfg)
    model = build.model(cfg, data)
    load_weights(tmp_path / "run" / "checkpoints" / BEST, model, data)
    assert all(values.isfinite().all() for values in model.state_dict().values())
    first = fit_model(compose_config([*words, "trainer.max_epochs=1"]), tmp_path / "one")
    assert same(model.state_dict(), first.state_dict())
    assert all(0 <= value <= 1 for value in judge(cfg, data, tmp_path / "run").values())


def test_a_rate_that_is_far_too_high_is_one_line(tmp_path: Path) -> None:
    found = recsweep(tmp_path, "train", *SMALL, ALL_LIKED, "optimizer.lr=1e38", "hydra.run.dir=run")
    assert found == (2, "", "recsweep: training diverged: a TD error is not finite; lower optimizer.lr\n")
    assert not (tmp_path / "run" / "checkpoints" / BEST).exists()
