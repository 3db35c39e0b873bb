"""Sessions of held-out items: rewards against a twin, action sets, and runs of the program."""

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from evaluation_cases import ScoreTable
from hypothesis import given
from hypothesis import strategies as st
from rows import interactions
from shell import fit_model, read_metrics, recsweep, train_run
from torch import Tensor, inf, nan

from recsweep.config import compose_config
from recsweep.data.truth import Exposure
from recsweep.errors import UserError
from recsweep.evaluation import SessionEvaluation, Target, evaluate
from recsweep.evaluation.sessions import session_earnings
from recsweep.runs import build
from recsweep.runs.folder import judge


def sessions(seed: int = 0, batch_size: int = 7) -> SessionEvaluation:
    return SessionEvaluation("reward", seed, batch_size)


def target_of(seen: list[tuple[int, int]], held_out: list[tuple[int, int]], n_users: int, n_items: int) -> Target:
    data = interactions([(user, item, 5.0) for user, item in [*seen, *held_out]], n_users, n_items)
    rows = torch.arange(len(data))
    return Target(data, rows[: len(seen)], rows[len(seen) :])


def random_case(n_users: int = 40, n_items: int = 60) -> tuple[ScoreTable, Target]:
    """About ten seen and five held-out items a user; two users have nothing held out."""
    generator = torch.Generator().manual_seed(0)
    part = torch.rand(n_users, n_items, generator=generator)
    held_out = part > 11 / 12
    held_out[[3, 17]] = False
    scores = ScoreTable(torch.randn(n_users, n_items, generator=generator))
    return scores, target_of((part < 1 / 6).nonzero().tolist(), held_out.nonzero().tolist(), n_users, n_items)


class Row(NamedTuple):
    """A step of a session: the session's number in the batch, its user, and two items of the action set."""

    session: int
    user: int
    liked: int
    sampled: int


def steps(evaluation: SessionEvaluation, target: Target) -> list[Row]:
    batches = evaluation.batches(target, torch.device("cpu"))
    return [Row(*row) for batch in batches for row in zip(*(column.tolist() for column in batch), strict=True)]


# ---- rewards


def expected_reward(sampled: list[float], liked: list[float]) -> int:
    """Liked items among the P best of P liked and P sampled ones; among equals, sampled ones first."""
    ranked = sorted([(-score, False) for score in sampled] + [(-score, True) for score in liked])
    return sum(is_liked for _, is_liked in ranked[: len(liked)])


SCORES = st.sampled_from([-inf, -1.0, 0.0, 0.5, 2.0, inf])


@given(st.data(), st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_rewards_equal_the_twin(data: st.DataObject, lengths: list[int]) -> None:
    """Sessions of several lengths, with steps in any order."""
    session = data.draw(st.permutations([number for number, n in enumerate(lengths) for _ in range(n)]))
    sampled, liked = (data.draw(st.lists(SCORES, min_size=len(session), max_size=len(session))) for _ in range(2))
    earned, best = session_earnings(torch.tensor([*sampled, *liked]), torch.tensor(session))
    assert best.tolist() == lengths
    for number in range(len(lengths)):
        index = [i for i, owner in enumerate(session) if owner == number]
        assert earned[number] == expected_reward([sampled[i] for i in index], [liked[i] for i in index])


def test_ties_favour_sampled_items() -> None:
    """The first session recommends 0.5, then the sampled one of two equals; so does the second one at once."""
    session = torch.tensor([0, 0, 1])
    sampled, liked = torch.tensor([0.2, 0.1, 0.7]), torch.tensor([0.5, 0.2, 0.7])
    earned, best = session_earnings(torch.cat([sampled, liked]), session)
    assert (earned.tolist(), best.tolist()) == ([1, 0], [2, 1])


def relevance(target: Target) -> Tensor:
    """[n_users, n_items], 1 for held-out items."""
    data = target.data
    flags = torch.zeros(data.n_users, data.n_items)
    flags[data.user[target.held_out], data.item[target.held_out]] = 1
    return flags


@pytest.mark.parametrize(("sign", "share"), [(1, 1.0), (-1, 0.0), (0, 0.0)])
def test_a_model_that_knows_the_held_out_items_earns_all(sign: int, share: float) -> None:
    """One that avoids them earns nothing, and so does a constant one."""
    _, target = random_case()
    held_out = relevance(target).sum(1)
    metrics = evaluate(ScoreTable(sign * relevance(target)), sessions(), target)
    mean_length = held_out.sum().item() / (held_out > 0).sum().item()
    assert metrics == pytest.approx({"reward": share, "session_reward": share * mean_length}, abs=1e-12)


def test_averages_run_over_sessions() -> None:
    """User 0 earns one of one, user 2 two of four."""
    held_out = [(0, 1), (2, 0), (2, 1), (2, 2), (2, 3)]
    target = target_of([(1, 0)], held_out, n_users=3, n_items=6)
    scores = torch.zeros(3, 6)
    scores[0, 1] = scores[2, 0] = scores[2, 3] = 1
    metrics = evaluate(ScoreTable(scores), sessions(), target)
    assert metrics == pytest.approx({"reward": (1 / 1 + 2 / 4) / 2, "session_reward": (1 + 2) / 2}, abs=1e-12)


# ---- action sets


def test_a_session_has_all_held_out_items_and_as_many_sampled_ones() -> None:
    _, target = random_case()
    data = target.data
    of_user: dict[str, defaultdict[int, list[int]]] = {name: defaultdict(list) for name in ("seen", "held", "liked")}
    for name, rows in (("seen", target.seen), ("held", target.held_out)):
        for user, item in zip(data.user[rows].tolist(), data.item[rows].tolist(), strict=True):
            of_user[name][user].append(item)
    for row in steps(sessions(), target):
        of_user["liked"][row.user].append(row.liked)
        assert row.sampled not in of_user["seen"][row.user] + of_user["held"][row.user]
    assert of_user["liked"].keys() == of_user["held"].keys()
    assert all(sorted(of_user["liked"][user]) == sorted(items) for user, items in of_user["held"].items())


def test_all_unseen_items_may_be_sampled() -> None:
    """User 0 has seen 0 and 5, and 1 is held out: 2, 3 and 4 are sampled in a third of the sessions each."""
    target = target_of([(0, 0), (0, 5)], [(0, 1)], n_users=1, n_items=6)
    count = Counter(steps(sessions(seed), target)[0].sampled for seed in range(300))
    assert count.keys() == {2, 3, 4}
    assert all(70 < n < 130 for n in count.values())  # 100, with a deviation of √(300 · 2/9) = 8


def test_sampled_items_of_a_session_are_distinct() -> None:
    """User 0 has 20 held-out items and 21 others; user 1 has more held-out items than others, so all of those occur."""
    held_out = [(0, item) for item in range(20)] + [(1, item) for item in range(40)]
    rows = steps(sessions(), target_of([], held_out, n_users=2, n_items=41))
    first, second = ([row.sampled for row in rows if row.user == user] for user in range(2))
    assert len(set(first)) == len(first) == 20
    assert second == [40] * 40


def test_a_pair_held_out_twice_is_one_step() -> None:
    target = target_of([], [(0, 1), (0, 1), (0, 2)], n_users=1, n_items=9)
    assert [row.liked for row in steps(sessions(), target)] == [1, 2]


@pytest.mark.parametrize("batch_size", [1, 2, 5, 38, 10**9])
def test_the_batch_size_changes_nothing(batch_size: int) -> None:
    scorer, target = random_case()
    first, second = (steps(sessions(batch_size=size), target) for size in (7, batch_size))
    assert [row[1:] for row in first] == [row[1:] for row in second]
    expected = evaluate(scorer, sessions(), target)
    assert evaluate(scorer, sessions(batch_size=batch_size), target) == pytest.approx(expected, abs=1e-12)
    assert 0.3 < expected["reward"] < 0.7  # scores are random, and half of the action set is liked


def test_sessions_are_numbered_from_zero_in_each_batch() -> None:
    _, target = random_case()
    for session, user, _, _ in sessions(batch_size=5).batches(target, torch.device("cpu")):
        assert session.unique().tolist() == list(range(len(user.unique())))
        assert len(torch.stack([session, user], 1).unique(dim=0)) == len(user.unique()) <= 5


def test_all_models_have_the_same_sessions() -> None:
    """They depend on the seed only, not on draws or evaluations before."""
    scorer, target = random_case()
    evaluation = sessions()
    first = steps(evaluation, target)
    evaluate(scorer, evaluation, target)
    torch.manual_seed(1)
    assert steps(evaluation, target) == first == steps(sessions(), target)
    assert steps(sessions(seed=1), target) != first


def test_a_repeated_evaluation_and_two_halves_give_the_same() -> None:
    scorer, target = random_case()
    whole, first, second = sessions(), sessions(), sessions()
    expected = evaluate(scorer, whole, target)
    assert evaluate(scorer, whole, target) == expected
    for half, part in ((first, 0), (second, 1)):
        for batch in list(half.batches(target, torch.device("cpu")))[part::2]:
            half.update(half.measure(scorer, *batch))
    first.merge_state(second)
    merged = {name: value.item() for name, value in first.compute().items()}
    assert merged == pytest.approx(expected, abs=1e-12)


# ---- errors


def test_nothing_held_out_is_an_error() -> None:
    with pytest.raises(UserError, match="nothing to evaluate: no row of rows is held out"):
        evaluate(ScoreTable(torch.zeros(1, 5)), sessions(), target_of([(0, 1)], [], n_users=1, n_items=5))


def test_nan_scores_are_an_error() -> None:
    with pytest.raises(UserError, match="the model returned NaN scores: training diverged"):
        evaluate(ScoreTable(torch.full((1, 5), nan)), sessions(), target_of([], [(0, 1)], n_users=1, n_items=5))


def test_a_user_without_unseen_items_is_an_error() -> None:
    target = target_of([(0, 0)], [(0, 1), (0, 2)], n_users=1, n_items=3)
    with pytest.raises(UserError, match="a user has only 0 of the catalogue's 3 items left") as caught:
        evaluate(ScoreTable(torch.zeros(1, 3)), sessions(), target)
    assert "\n" not in str(caught.value)


# ---- runs of the program


LARGER = ["data=positives", "data.base.n_users=400", "data.base.n_items=300", "data.base.n_interactions=12000"]
RUN = [*LARGER, "split.cold_users=keep", "evaluation=sessions", "logger=none"]
SMALLER = ["data.base.n_users=60", "data.base.n_items=100", "data.base.n_interactions=1200"]
SHORT = {
    "ials": ["model.epochs=2"],
    "item_knn": [],
    "bpr_mf": ["trainer.max_epochs=1"],
    "drr": ["trainer.max_epochs=1", "model.min_positives=1", "trainer.batch_size=64", "model.updates_per_step=0.1"],
}
in_one_process = pytest.mark.xdist_group("popularity_in_sessions")  # tests share a run


@pytest.fixture(scope="module")
def popularity_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_run(tmp_path_factory.mktemp("popularity"), "model=popularity", *RUN)


@in_one_process
def test_popularity_in_sessions(popularity_run: Path) -> None:
    """By hand: recommends the items of the action set with most training rows."""
    data = build.data(compose_config(["model=popularity", *RUN]))
    count = torch.bincount(data.train.item, minlength=300).tolist()
    for part in ("val", "test"):
        scores: defaultdict[int, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
        for row in steps(sessions(), data.target(part)):
            scores[row.user][0].append(count[row.sampled])
            scores[row.user][1].append(count[row.liked])
        earned = {user: expected_reward(*both) for user, both in scores.items()}
        share = sum(earned[user] / len(scores[user][1]) for user in scores) / len(scores)
        metrics = read_metrics(popularity_run)["metrics"]
        assert metrics[f"{part}/reward"] == pytest.approx(share, abs=1e-9)
        assert metrics[f"{part}/session_reward"] == pytest.approx(sum(earned.values()) / len(scores), abs=1e-9)
        assert 0.6 < share < 0.9
    objective = {"name": "val/reward", "value": metrics["val/reward"], "mode": "max"}
    assert read_metrics(popularity_run)["objective"] == objective


@in_one_process
def test_evaluate_prints_the_metrics_of_the_run(popularity_run: Path, tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, "evaluate", f"run={popularity_run}", "--json")
    assert (outcome.status, outcome.err) == (0, "")
    metrics = json.loads(outcome.out)
    assert metrics == read_metrics(popularity_run)["metrics"]


@in_one_process
def test_the_oracle_ranks_by_the_probability_of_a_like(popularity_run: Path) -> None:
    """It earns more than popularity, and more than the probability of an interaction, liked or not."""
    record = read_metrics(popularity_run)
    assert record["oracle"].keys() == {"test/reward", "test/session_reward"}
    assert record["oracle"]["test/reward"] > record["metrics"]["test/reward"] + 0.03
    target = build.data(compose_config(["model=popularity", *RUN])).target("test")
    likes, interactions = (evaluate(Exposure(target.data.truth, above), sessions(), target) for above in (3, None))
    assert record["oracle"] == pytest.approx({f"test/{name}": value for name, value in likes.items()}, abs=1e-9)
    assert likes["reward"] > interactions["reward"]


@pytest.mark.parametrize("model", SHORT)
def test_models_in_sessions(model: str, tmp_path: Path) -> None:
    """Selected by sessions on the validation part, and evaluated by them."""
    cfg = compose_config([f"model={model}", *RUN, *SMALLER, *SHORT[model], "callbacks.progress=false"])
    fit_model(cfg, tmp_path / "checkpoints")
    metrics = judge(cfg, build.data(cfg), tmp_path)
    assert all(0 <= metrics[f"{part}/reward"] <= 1 for part in ("val", "test"))
