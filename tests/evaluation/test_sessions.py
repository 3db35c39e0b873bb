"""Sessions on held-out items: what they earn against a twin, what they are made of, and in the program."""

from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rows import interactions
from shell import read_metrics, recsweep, train_run
from torch import Tensor, inf, nan

from recsweep.config import compose_config
from recsweep.data.truth import Exposure
from recsweep.errors import UserError
from recsweep.evaluation import SessionEvaluation, Target, evaluate
from recsweep.evaluation.sessions import session_earnings
from recsweep.runs import build


class Table(NamedTuple):
    """A scorer that looks its scores [n_users, n_items] up."""

    scores: Tensor

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return self.scores[user, item]

    def score_all(self, user: Tensor) -> Tensor:
        return self.scores[user]


def sessions(seed: int = 0, batch_size: int = 7) -> SessionEvaluation:
    return SessionEvaluation("reward", seed, batch_size)


def target_of(seen: list[tuple[int, int]], held_out: list[tuple[int, int]], n_users: int, n_items: int) -> Target:
    data = interactions([(user, item, 5.0) for user, item in [*seen, *held_out]], n_users, n_items)
    rows = torch.arange(len(data))
    return Target(data, rows[: len(seen)], rows[len(seen) :])


def random_case(n_users: int = 40, n_items: int = 60) -> tuple[Table, Target]:
    """About ten seen and five held-out items a user; two users have nothing held out."""
    generator = torch.Generator().manual_seed(0)
    part = torch.rand(n_users, n_items, generator=generator)
    held_out = part > 11 / 12
    held_out[[3, 17]] = False
    scores = Table(torch.randn(n_users, n_items, generator=generator))
    return scores, target_of((part < 1 / 6).nonzero().tolist(), held_out.nonzero().tolist(), n_users, n_items)


class Row(NamedTuple):
    """A step of a session: its number in the batch, whose it is, and the two items that it adds to the action set."""

    session: int
    user: int
    liked: int
    other: int


def made_of(evaluation: SessionEvaluation, target: Target) -> list[Row]:
    batches = evaluation.batches(target, torch.device("cpu"))
    return [Row(*row) for batch in batches for row in zip(*(column.tolist() for column in batch), strict=True)]


# ---- what is earned


def earned_by_hand(others: list[float], liked: list[float]) -> int:
    """Likes among as many recommendations as there are liked items, the best first, others first among equals."""
    ranked = sorted([(-score, False) for score in others] + [(-score, True) for score in liked])
    return sum(is_liked for _, is_liked in ranked[: len(liked)])


SCORES = st.sampled_from([-inf, -1.0, 0.0, 0.5, 2.0, inf])


@given(st.data(), st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_earnings_equal_the_twins(data: st.DataObject, lengths: list[int]) -> None:
    """Sessions of several lengths, whose steps stand in any order."""
    session = data.draw(st.permutations([number for number, n in enumerate(lengths) for _ in range(n)]))
    others, liked = (data.draw(st.lists(SCORES, min_size=len(session), max_size=len(session))) for _ in range(2))
    earned, best = session_earnings(torch.tensor([*others, *liked]), torch.tensor(session))
    assert best.tolist() == lengths
    for number in range(len(lengths)):
        mine = [place for place, its in enumerate(session) if its == number]
        assert earned[number] == earned_by_hand([others[place] for place in mine], [liked[place] for place in mine])


def test_ties_favour_others() -> None:
    """The first session recommends 0.5 and then one of two equals, the second one of two equals: both others."""
    session = torch.tensor([0, 0, 1])
    others, liked = torch.tensor([0.2, 0.1, 0.7]), torch.tensor([0.5, 0.2, 0.7])
    earned, best = session_earnings(torch.cat([others, liked]), session)
    assert (earned.tolist(), best.tolist()) == ([1, 0], [2, 1])


def relevance(target: Target) -> Tensor:
    """[n_users, n_items], 1 for what is held out."""
    data = target.data
    flags = torch.zeros(data.n_users, data.n_items)
    flags[data.user[target.held_out], data.item[target.held_out]] = 1
    return flags


@pytest.mark.parametrize(("sign", "share"), [(1, 1.0), (-1, 0.0), (0, 0.0)])
def test_who_knows_what_is_held_out_earns_all(sign: int, share: float) -> None:
    """Who knows and avoids it earns nothing, as does who finds everything alike."""
    _, target = random_case()
    held_out = relevance(target).sum(1)
    found = evaluate(Table(sign * relevance(target)), sessions(), target)
    mean_length = held_out.sum().item() / (held_out > 0).sum().item()
    assert found == pytest.approx({"reward": share, "session_reward": share * mean_length}, abs=1e-12)


def test_averages_run_over_sessions() -> None:
    """User 0 earns one of one, user 2 two of four; whose only seen items are left to be the others."""
    held_out = [(0, 1), (2, 0), (2, 1), (2, 2), (2, 3)]
    target = target_of([(1, 0)], held_out, n_users=3, n_items=6)
    scores = torch.zeros(3, 6)
    scores[0, 1] = scores[2, 0] = scores[2, 3] = 1
    found = evaluate(Table(scores), sessions(), target)
    assert found == pytest.approx({"reward": (1 / 1 + 2 / 4) / 2, "session_reward": (1 + 2) / 2}, abs=1e-12)


# ---- what sessions are made of


def test_a_session_is_all_that_is_held_out_and_as_many_others() -> None:
    _, target = random_case()
    data = target.data
    of_user: dict[str, defaultdict[int, list[int]]] = {name: defaultdict(list) for name in ("seen", "held", "liked")}
    for name, rows in (("seen", target.seen), ("held", target.held_out)):
        for user, item in zip(data.user[rows].tolist(), data.item[rows].tolist(), strict=True):
            of_user[name][user].append(item)
    for row in made_of(sessions(), target):
        of_user["liked"][row.user].append(row.liked)
        assert row.other not in of_user["seen"][row.user] + of_user["held"][row.user]
    assert of_user["liked"].keys() == of_user["held"].keys()
    assert all(sorted(of_user["liked"][user]) == sorted(items) for user, items in of_user["held"].items())


def test_every_item_that_is_allowed_may_come() -> None:
    """User 0 has seen 0 and 5 and 1 is held out: 2, 3 and 4 are left, each drawn in a third of the sessions."""
    target = target_of([(0, 0), (0, 5)], [(0, 1)], n_users=1, n_items=6)
    count = Counter(made_of(sessions(seed), target)[0].other for seed in range(300))
    assert count.keys() == {2, 3, 4}
    assert all(70 < n < 130 for n in count.values())  # 100, with a deviation of √(300 · 2/9) = 8


def test_a_pair_held_out_twice_is_one_step() -> None:
    target = target_of([], [(0, 1), (0, 1), (0, 2)], n_users=1, n_items=9)
    assert [row.liked for row in made_of(sessions(), target)] == [1, 2]


@pytest.mark.parametrize("batch_size", [1, 2, 5, 38, 10**9])
def test_users_at_once_change_nothing(batch_size: int) -> None:
    scorer, target = random_case()
    one, other = (made_of(sessions(batch_size=size), target) for size in (7, batch_size))
    assert [row[1:] for row in one] == [row[1:] for row in other]
    expected = evaluate(scorer, sessions(), target)
    assert evaluate(scorer, sessions(batch_size=batch_size), target) == pytest.approx(expected, abs=1e-12)
    assert 0.3 < expected["reward"] < 0.7  # random scores, half of the action set is liked


def test_sessions_number_from_zero_in_every_batch() -> None:
    _, target = random_case()
    for session, user, _, _ in sessions(batch_size=5).batches(target, torch.device("cpu")):
        assert session.unique().tolist() == list(range(len(user.unique())))
        assert len(torch.stack([session, user], 1).unique(dim=0)) == len(user.unique()) <= 5


def test_every_model_has_the_same_sessions() -> None:
    """They come from the seed alone, whatever was drawn or judged before."""
    scorer, target = random_case()
    evaluation = sessions()
    first = made_of(evaluation, target)
    evaluate(scorer, evaluation, target)
    torch.manual_seed(1)
    assert made_of(evaluation, target) == first == made_of(sessions(), target)
    assert made_of(sessions(seed=1), target) != first


def test_a_repeated_evaluation_and_merged_halves() -> None:
    scorer, target = random_case()
    whole, first, second = sessions(), sessions(), sessions()
    expected = evaluate(scorer, whole, target)
    assert evaluate(scorer, whole, target) == expected
    for half, part in ((first, 0), (second, 1)):
        for batch in list(half.batches(target, torch.device("cpu")))[part::2]:
            half.update(scorer, *batch)
    first.merge_state(second)
    merged = {name: value.item() for name, value in first.compute().items()}
    assert merged == pytest.approx(expected, abs=1e-12)


# ---- mistakes


def test_nothing_held_out_is_an_error() -> None:
    with pytest.raises(UserError, match="nothing to evaluate: no row of rows is held out"):
        evaluate(Table(torch.zeros(1, 5)), sessions(), target_of([(0, 1)], [], n_users=1, n_items=5))


def test_nan_scores_are_an_error() -> None:
    with pytest.raises(UserError, match="the model returned NaN scores: training diverged"):
        evaluate(Table(torch.full((1, 5), nan)), sessions(), target_of([], [(0, 1)], n_users=1, n_items=5))


def test_a_user_without_another_item_is_an_error() -> None:
    target = target_of([(0, 0)], [(0, 1), (0, 2)], n_users=1, n_items=3)
    with pytest.raises(UserError, match="a user has only 0 of the catalogue's 3 items left") as caught:
        evaluate(Table(torch.zeros(1, 3)), sessions(), target)
    assert "\n" not in str(caught.value)


# ---- in the program


LARGER = ["data=positives", "data.base.n_users=400", "data.base.n_items=300", "data.base.n_interactions=12000"]
JUDGED = [*LARGER, "split.cold_users=keep", "evaluation=sessions", "logger=none"]


@pytest.fixture(scope="module")
def popular(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_run(tmp_path_factory.mktemp("popular"), "model=popularity", *JUDGED)


def test_popularity_in_sessions(popular: Path) -> None:
    """Recommended by hand: the action set's items by how many training rows they have."""
    data = build.data(compose_config(["model=popularity", *JUDGED]))
    count = torch.bincount(data.train.item, minlength=300).tolist()
    for part in ("val", "test"):
        scores: defaultdict[int, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
        for row in made_of(sessions(), data.target(part)):
            scores[row.user][0].append(count[row.other])
            scores[row.user][1].append(count[row.liked])
        earned = {user: earned_by_hand(*both) for user, both in scores.items()}
        share = sum(earned[user] / len(scores[user][1]) for user in scores) / len(scores)
        metrics = read_metrics(popular)["metrics"]
        assert metrics[f"{part}/reward"] == pytest.approx(share, abs=1e-9)
        assert metrics[f"{part}/session_reward"] == pytest.approx(sum(earned.values()) / len(scores), abs=1e-9)
        assert 0.6 < share < 0.9
    assert read_metrics(popular)["objective"] == {"name": "val/reward", "value": metrics["val/reward"], "mode": "max"}


def test_evaluating_again_shows_the_same(popular: Path, tmp_path: Path) -> None:
    shown = recsweep(tmp_path, "evaluate", f"run={popular}")
    assert (shown.status, shown.err) == (0, "")
    cells = [line.split("│")[1:3] for line in shown.out.splitlines() if line.startswith("│")]
    assert {name.strip(): float(value) for name, value in cells} == read_metrics(popular)["metrics"]


def test_who_knows_the_chance_of_a_like_earns_most(popular: Path) -> None:
    """More than popularity, and more than who expects turns well but not what comes of them."""
    said = read_metrics(popular)
    assert said["oracle"].keys() == {"test/reward", "test/session_reward"}
    assert said["oracle"]["test/reward"] > said["metrics"]["test/reward"] + 0.03
    cfg = compose_config(["model=popularity", *JUDGED])
    target = build.data(cfg).target("test")
    likes, turns = (evaluate(Exposure(target.data.truth, above), sessions(), target) for above in (3, None))
    assert said["oracle"] == pytest.approx({f"test/{name}": value for name, value in likes.items()}, abs=1e-9)
    assert likes["reward"] > turns["reward"]


@pytest.mark.parametrize("model", ["ials", "item_knn", "bpr_mf", "drr"])
def test_other_models_in_sessions(model: str, tmp_path: Path) -> None:
    short = ["trainer.max_epochs=1", "model.min_positives=1", "trainer.batch_size=64"] if model == "drr" else []
    short = ["trainer.max_epochs=1"] if model == "bpr_mf" else short
    sizes = ["data.base.n_users=60", "data.base.n_items=100", "data.base.n_interactions=1200"]
    run = train_run(tmp_path, f"model={model}", *JUDGED, *sizes, *short)
    assert all(0 <= read_metrics(run)["metrics"][f"{part}/reward"] <= 1 for part in ("val", "test"))
