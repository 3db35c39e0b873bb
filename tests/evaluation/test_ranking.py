"""The protocol: against a twin in plain Python, against ranx, and by hand where a rule decides."""

from collections import Counter
from itertools import pairwise
from math import inf, log2, nan, sqrt

import numba
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata
from torch import Tensor

from recsweep.data.schema import IdMap, Interactions
from recsweep.errors import UserError
from recsweep.evaluation import RankingEvaluation, RatingEvaluation, Target, evaluate


class Table:
    """A scorer that looks its scores [n_users, n_items] up."""

    def __init__(self, scores) -> None:
        self.scores = torch.as_tensor(scores, dtype=torch.float32)

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return self.scores[user, item]

    def score_all(self, user: Tensor) -> Tensor:
        return self.scores[user]


def make_target(seen, held_out, n_users, n_items, candidates=None, ratings=None) -> Target:
    """A target of (user, item) pairs."""
    user, item = torch.tensor([*seen, *held_out], dtype=torch.int64).reshape(-1, 2).T
    data = Interactions(
        name="toy",
        user=user,
        item=item,
        rating=torch.ones(len(user)) if ratings is None else torch.tensor(ratings),
        timestamp=None,
        user_ids=IdMap(np.arange(n_users), "user"),
        item_ids=IdMap(np.arange(n_items), "item"),
        rating_scale=(1.0, 5.0),
    )
    rows = torch.arange(len(user))
    candidates = None if candidates is None else torch.tensor(candidates)
    return Target(data, rows[: len(seen)], rows[len(seen) :], candidates)


def full_ranking(ks=(1, 2, 3), objective="mrr", batch_size=2) -> RankingEvaluation:
    return RankingEvaluation(None, "exact", list(ks), objective, seed=0, batch_size=batch_size)


def sampled_ranking(n_negatives, ks=(1, 2), seed=0, batch_size=2, negatives="exact") -> RankingEvaluation:
    return RankingEvaluation(n_negatives, negatives, list(ks), "mrr", seed, batch_size)


def order_of(scores: dict[int, float], relevant: set[int]) -> list[int]:
    """Items by descending score; among equals, irrelevant items first."""
    return sorted(scores, key=lambda item: (-scores[item], item in relevant))


def twin_of_list(scores: dict[int, float], relevant: set[int], ks) -> dict[str, float]:
    """Metrics of one list, from their definitions."""
    places = [place for place, item in enumerate(order_of(scores, relevant), start=1) if item in relevant]
    values = {"mrr": 1 / places[0]}
    for k in ks:
        top = [place for place in places if place <= k]
        best = min(len(relevant), k)
        values[f"hit_rate@{k}"] = float(len(top) > 0)
        values[f"precision@{k}"] = len(top) / k
        values[f"recall@{k}"] = len(top) / len(relevant)
        values[f"map@{k}"] = sum(found / place for found, place in enumerate(top, start=1)) / best
        ideal = sum(1 / log2(1 + place) for place in range(1, best + 1))
        values[f"ndcg@{k}"] = sum(1 / log2(1 + place) for place in top) / ideal
    return values


def twin(lists: list[tuple[dict[int, float], set[int]]], ks, n_items: int) -> dict[str, float]:
    """Means over lists, and coverage (which a tie between irrelevant items makes ambiguous)."""
    values = [twin_of_list(scores, relevant, ks) for scores, relevant in lists]
    result = {name: sum(value[name] for value in values) / len(values) for name in values[0]}
    for k in ks:
        covered = {item for scores, relevant in lists for item in order_of(scores, relevant)[:k]}
        result[f"coverage@{k}"] = len(covered) / n_items
    return result


def pairs(target: Target, rows: Tensor) -> list[tuple[int, int]]:
    return list(zip(target.data.user[rows].tolist(), target.data.item[rows].tolist(), strict=True))


def twin_of_target(scorer: Table, target: Target, ks) -> dict[str, float]:
    seen, held_out = set(pairs(target, target.seen)), set(pairs(target, target.held_out))
    lists = []
    for user in sorted({user for user, _ in held_out}):
        relevant = {item for owner, item in held_out if owner == user}
        scores = {
            item: score
            for item, score in enumerate(scorer.scores[user].tolist())
            if item in relevant or (user, item) not in seen
        }
        lists.append((scores, relevant))
    return twin(lists, ks, target.data.n_items)


N_USERS, N_ITEMS = 4, 6
PAIRS = st.lists(st.tuples(st.integers(0, N_USERS - 1), st.integers(0, N_ITEMS - 1)), max_size=16)
TIED = st.lists(
    st.lists(st.sampled_from([-inf, -1.0, 0.0, 0.5, 2.0, inf]), min_size=N_ITEMS, max_size=N_ITEMS),
    min_size=N_USERS,
    max_size=N_USERS,
)
DISTINCT = st.lists(st.permutations(range(N_ITEMS)), min_size=N_USERS, max_size=N_USERS)


@given(scores=TIED, seen=PAIRS, held_out=PAIRS.filter(len), batch_size=st.integers(1, 5))
def test_full_ranking_equals_the_twin_under_ties(scores, seen, held_out, batch_size):
    scorer, target = Table(scores), make_target(seen, held_out, N_USERS, N_ITEMS)
    got = evaluate(scorer, full_ranking(batch_size=batch_size), target)
    expected = twin_of_target(scorer, target, (1, 2, 3))
    assert got.keys() == expected.keys()
    for name, value in got.items():
        assert name.startswith("coverage") or value == pytest.approx(expected[name], abs=1e-12), name


@given(scores=DISTINCT, seen=PAIRS, held_out=PAIRS.filter(len))
def test_full_ranking_and_coverage_equal_the_twin_without_ties(scores, seen, held_out):
    scorer, target = Table(scores), make_target(seen, held_out, N_USERS, N_ITEMS)
    got = evaluate(scorer, full_ranking(ks=(1, 4, 6)), target)
    assert got == pytest.approx(twin_of_target(scorer, target, (1, 4, 6)), abs=1e-12)


@st.composite
def published(draw):
    """Held-out pairs, and three distinct negatives for each."""
    held_out = draw(PAIRS.filter(len))
    candidates = [draw(st.permutations(sorted(set(range(N_ITEMS)) - {item})))[:3] for _, item in held_out]
    return held_out, candidates


@given(scores=TIED, case=published())
def test_published_candidates_equal_the_twin(scores, case):
    held_out, candidates = case
    scorer, target = Table(scores), make_target([], held_out, N_USERS, N_ITEMS, candidates)
    got = evaluate(scorer, sampled_ranking(3), target)
    lists = [
        ({other: scorer.scores[user, other].item() for other in (item, *others)}, {item})
        for (user, item), others in zip(held_out, candidates, strict=True)
    ]
    expected = twin(lists, (1, 2), N_ITEMS)
    for name, value in got.items():
        assert name.startswith("coverage") or value == pytest.approx(expected[name], abs=1e-12), name


def random_case(n_users=40, n_items=60, seed=0) -> tuple[Table, Target]:
    """Distinct scores, about ten seen and five held-out items a user."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(n_users, n_items, generator=generator).argsort(1)
    part = torch.rand(n_users, n_items, generator=generator)
    seen, held_out = (part < 1 / 6).nonzero().tolist(), (part > 11 / 12).nonzero().tolist()
    return Table(scores), make_target(seen, held_out, n_users, n_items)


def test_full_ranking_equals_ranx(monkeypatch):
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)  # compiling takes a minute, running a moment
    import ranx

    scorer, target = random_case()
    relevant, run = {}, {}
    for user, item in pairs(target, target.held_out):
        relevant.setdefault(f"u{user}", {})[f"i{item}"] = 1
        run[f"u{user}"] = {f"i{other}": score for other, score in enumerate(scorer.scores[user].tolist())}
    for user, item in pairs(target, target.seen):
        run.get(f"u{user}", {}).pop(f"i{item}", None)
    # ranx divides average precision by all relevant items, as ours does where k is the whole catalogue.
    ours = {"hit_rate@5": "hit_rate@5", "recall@5": "recall@5", "precision@5": "precision@5"}
    ours |= {"ndcg@5": "ndcg@5", "mrr": "mrr", "map": "map@60"}
    theirs = ranx.evaluate(ranx.Qrels(relevant), ranx.Run(run), list(ours))
    got = evaluate(scorer, full_ranking(ks=(5, 60)), target)
    assert {name: got[our_name] for name, our_name in ours.items()} == pytest.approx(theirs, abs=1e-9)


def mrr_of_all(scorer: Table, target: Target) -> float:
    """Mean over users of the mean of 1/rank over their held-out items, ranked among all that they have not seen."""
    values = []
    for user in sorted({user for user, _ in pairs(target, target.held_out)}):
        scores = scorer.scores[user].clone()
        relevant = [item for owner, item in pairs(target, target.held_out) if owner == user]
        scores[[item for owner, item in pairs(target, target.seen) if owner == user and item not in relevant]] = -inf
        values.append((1 / rankdata(-scores)[relevant]).mean())
    return float(np.mean(values))


@pytest.mark.parametrize("at_once", [2**24, 7 * 60, 1])
def test_mrr_all_equals_the_twin(at_once, monkeypatch):
    """Also where seven users or one make a batch, and as many of their held-out items are compared at once."""
    monkeypatch.setattr("recsweep.evaluation.ranking.MAX_SCORES", at_once)
    scorer, target = random_case()
    got = evaluate(scorer, full_ranking(ks=(1, 5), objective="mrr_all", batch_size=100), target)
    assert got["mrr_all"] == pytest.approx(mrr_of_all(scorer, target), abs=1e-12)
    assert got["mrr_all"] < got["mrr"]


@pytest.mark.parametrize("n_negatives", [None, 7])
def test_mrr_all_of_one_held_out_item_each_is_mrr(n_negatives):
    scorer, target = random_case()
    first = target.data.user[target.held_out].diff(prepend=torch.tensor([-1])) > 0
    alone = target._replace(held_out=target.held_out[first])
    got = evaluate(scorer, RankingEvaluation(n_negatives, "exact", [5], "mrr_all", seed=0, batch_size=16), alone)
    assert got["mrr_all"] == pytest.approx(got["mrr"], abs=1e-12)


def test_ties_count_against_every_held_out_item():
    # User 0 has seen items 0 and 3, and 2 and 4 are held out: 1 before 2 and 5 before 4, so their ranks are 2 and 4.
    # User 1's held-out 3 and 5 both stand behind 2, then one after the other: 2 and 3.
    target = make_target([(0, 0), (0, 3)], [(0, 2), (0, 4), (1, 3), (1, 5)], n_users=2, n_items=6)
    scores = [[3.0, 2.0, 2.0, 1.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0, 0.0, 1.0]]
    got = evaluate(Table(scores), full_ranking(objective="mrr_all"), target)
    assert got["mrr_all"] == pytest.approx(((1 / 2 + 1 / 4) / 2 + (1 / 2 + 1 / 3) / 2) / 2, abs=1e-12)


def test_mrr_all_stands_only_where_it_selects():
    scorer, target = random_case()
    with_it, without = (evaluate(scorer, full_ranking(objective=name), target) for name in ("mrr_all", "mrr"))
    assert with_it.keys() - without.keys() == {"mrr_all"}
    assert without == {name: with_it[name] for name in without}


def test_a_constant_model_ranks_last():
    # User 0 has seen item 0; the held-out item 1 ties with the three left, so its rank is 4.
    target = make_target([(0, 0)], [(0, 1)], n_users=1, n_items=5)
    assert evaluate(Table(torch.zeros(1, 5)), full_ranking(), target)["mrr"] == 1 / 4


def test_masked_items_do_not_tie_with_a_score_of_minus_infinity():
    # Of five items three are seen; item 1 (held out) and item 4 both score -inf: rank 2, not 5.
    target = make_target([(0, 0), (0, 2), (0, 3)], [(0, 1)], n_users=1, n_items=5)
    assert evaluate(Table(torch.full((1, 5), -inf)), full_ranking(), target)["mrr"] == 1 / 2


def test_an_item_both_seen_and_held_out_is_held_out():
    target = make_target([(0, 1)], [(0, 1)], n_users=1, n_items=3)
    assert evaluate(Table([[1.0, 2.0, 0.0]]), full_ranking(), target)["hit_rate@1"] == 1


def test_a_pair_held_out_twice_is_one_relevant_item():
    target = make_target([], [(0, 1), (0, 1)], n_users=1, n_items=3)
    assert evaluate(Table([[0.0, 2.0, 1.0]]), full_ranking(), target)["recall@1"] == 1


def test_users_without_held_out_rows_are_not_averaged():
    # User 0 would be a hit, user 1 a miss; only user 1 has a held-out row.
    target = make_target([(0, 0)], [(1, 0)], n_users=2, n_items=3)
    assert evaluate(Table([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]]), full_ranking(), target)["hit_rate@1"] == 0


def test_coverage_counts_items_over_all_users():
    # Top two of user 0: items 0, 1 (2 is seen); of user 1: items 1, 3. Three of five items.
    scores = [[5.0, 4.0, 6.0, 1.0, 0.0], [0.0, 5.0, 1.0, 4.0, 2.0]]
    target = make_target([(0, 2)], [(0, 0), (1, 2)], n_users=2, n_items=5)
    assert evaluate(Table(scores), full_ranking(), target)["coverage@2"] == 3 / 5


def test_sampled_negatives_are_neither_seen_nor_held_out():
    _, target = random_case()
    data = target.data
    known = set(zip(data.user.tolist(), data.item.tolist(), strict=True))
    batches = list(sampled_ranking(20).batches(target, torch.device("cpu")))
    first = torch.cat([candidates[:, 0] for _, candidates in batches])
    assert torch.equal(first, data.item[target.held_out])
    for users, candidates in batches:
        for user, (_, *negatives) in zip(users.tolist(), candidates.tolist(), strict=True):
            assert len(set(negatives)) == 20
            assert not {(user, item) for item in negatives} & known


def drawn(target: Target, n_negatives: int, negatives: str) -> list[tuple[int, list[int]]]:
    """Each list's user and negatives."""
    batches = sampled_ranking(n_negatives, negatives=negatives).batches(target, torch.device("cpu"))
    user, candidates = (torch.cat(column).tolist() for column in zip(*batches, strict=True))
    return [(owner, items[1:]) for owner, items in zip(user, candidates, strict=True)]


def test_the_references_negatives_are_all_that_is_not_held_out():
    """Of seven items two are held out, and five are left for five places; what the user has seen is among them."""
    target = make_target([(0, 0), (0, 3)], [(0, 1), (0, 6)], n_users=1, n_items=7)
    assert [sorted(items) for _, items in drawn(target, 5, "reference")] == [[0, 2, 3, 4, 5]] * 2
    assert [sorted(items) for _, items in drawn(target, 3, "exact")] == [[2, 4, 5]] * 2
    with pytest.raises(UserError, match="a user has only 3 of the catalogue's 7 items left"):
        drawn(target, 4, "exact")


def test_the_references_negatives_are_drawn_alike():
    """A seen item comes as often as any other that is not held out."""
    _, target = random_case()
    seen, held_out = pairs(target, target.seen), pairs(target, target.held_out)
    found = {
        name: [(user, item) for user, items in drawn(target, 20, name) for item in items]
        for name in ("exact", "reference")
    }
    assert not set(found["reference"]) & set(held_out)
    assert not set(found["exact"]) & {*seen, *held_out}
    n_seen, n_held_out = (Counter(user for user, _ in some) for some in (seen, held_out))
    expected = np.mean([n_seen[user] / (60 - n_held_out[user]) for user, _ in held_out])
    known = set(seen)
    share = sum(pair in known for pair in found["reference"]) / len(found["reference"])
    assert share == pytest.approx(expected, rel=0.1)


def test_which_negatives_are_drawn_is_nothing_to_a_full_ranking():
    scorer, target = random_case()
    exact, reference = (RankingEvaluation(None, name, [5], "mrr_all", 0, 16) for name in ("exact", "reference"))
    assert evaluate(scorer, exact, target) == evaluate(scorer, reference, target)


@given(scores=TIED, case=published())
def test_published_negatives_stay_whichever_would_be_drawn(scores, case):
    held_out, candidates = case
    target = make_target([(0, 0), (1, 2)], held_out, N_USERS, N_ITEMS, candidates)
    found = [evaluate(Table(scores), sampled_ranking(3, negatives=name), target) for name in ("exact", "reference")]
    assert found[0] == found[1]


def test_sampled_lists_depend_on_the_seed_alone():
    scorer, target = random_case()
    first = evaluate(scorer, sampled_ranking(20), target)
    assert evaluate(scorer, sampled_ranking(20, batch_size=7), target) == pytest.approx(first, abs=1e-12)
    assert evaluate(scorer, sampled_ranking(20, seed=1), target) != first


@pytest.mark.parametrize("evaluation", [full_ranking(), sampled_ranking(9), RatingEvaluation("mse", 7)])
def test_a_repeated_evaluation_repeats_bit_for_bit(evaluation):
    scorer, target = random_case()
    first = evaluate(scorer, evaluation, target)
    batches = list(evaluation.batches(target, torch.device("cpu")))
    evaluation.reset()
    for batch in batches:
        evaluation.update(scorer, *batch)
    assert {name: value.item() for name, value in evaluation.compute().items()} == first


@pytest.mark.parametrize("make", [full_ranking, lambda: sampled_ranking(9), lambda: RatingEvaluation("mse", 7)])
def test_two_halves_merge_into_the_whole(make):
    scorer, target = random_case()
    whole, first, second = make(), make(), make()
    expected = evaluate(scorer, whole, target)
    for half, part in ((first, 0), (second, 1)):
        for batch in list(half.batches(target, torch.device("cpu")))[part::2]:
            half.update(scorer, *batch)
    first.merge_state(second)
    merged = {name: value.item() for name, value in first.compute().items()}
    assert merged == pytest.approx(expected, abs=1e-12)


def test_one_evaluation_serves_catalogues_of_different_sizes():
    evaluation = full_ranking()
    scorer, target = random_case(n_items=60)
    evaluate(scorer, evaluation, target)
    scorer, target = random_case(n_items=30)
    assert evaluate(scorer, evaluation, target) == evaluate(scorer, full_ranking(), target)


def test_the_scores_of_the_model_are_not_written_to(monkeypatch):
    scorer, target = random_case()
    scorer.scores[:, 3] = -inf
    monkeypatch.setattr(scorer, "score_all", lambda user: scorer.scores[: len(user)])  # a view
    before = scorer.scores.clone()
    evaluate(scorer, full_ranking(batch_size=100), target)
    assert torch.equal(scorer.scores, before)


def test_batches_shrink_with_the_catalogue(monkeypatch):
    monkeypatch.setattr("recsweep.evaluation.ranking.MAX_SCORES", 3 * 60)
    _, target = random_case(n_items=60)
    users = [batch[0] for batch in full_ranking(batch_size=100).batches(target, torch.device("cpu"))]
    assert max(map(len, users)) == 3
    assert all(first.max() < second.min() for first, second in pairwise(users))


def test_half_precision_scores_are_ranked():
    scorer, target = random_case()
    expected = evaluate(scorer, full_ranking(), target)
    scorer.scores = scorer.scores.to(torch.bfloat16)
    assert evaluate(scorer, full_ranking(), target) == expected


def test_ratings_are_clipped_to_the_scale():
    # Predicted 9 → 5, -2 → 1, 3.5 for ratings 4, 1, 2: errors 1, 0, 3/2.
    target = make_target([], [(0, 0), (0, 1), (1, 0)], n_users=2, n_items=2, ratings=[4.0, 1.0, 2.0])
    got = evaluate(Table([[9.0, -2.0], [3.5, 0.0]]), RatingEvaluation("rmse", batch_size=2), target)
    mse = (1 + 0 + 9 / 4) / 3
    assert got == pytest.approx({"mse": mse, "rmse": sqrt(mse), "mae": (1 + 0 + 3 / 2) / 3}, abs=1e-12)


def test_objectives_and_modes():
    rating, ranking = RatingEvaluation("mae", 2), full_ranking(objective="coverage@3")
    assert (rating.objective, rating.mode, ranking.objective, ranking.mode) == (
        "mae",
        "min",
        "coverage@3",
        "max",
    )


def test_an_objective_that_is_not_computed_lists_the_choices():
    with pytest.raises(UserError, match=r"evaluation.objective=ndcg@10 is not computed: .*ndcg@1, .*mrr"):
        full_ranking(objective="ndcg@10")


@pytest.mark.parametrize("evaluation", [full_ranking(), sampled_ranking(2), RatingEvaluation("mse", 2)])
def test_nan_scores_are_an_error(evaluation):
    target = make_target([], [(0, 1)], n_users=1, n_items=5)
    with pytest.raises(UserError, match="the model returned NaN scores: training diverged"):
        evaluate(Table([[nan] * 5]), evaluation, target)


@pytest.mark.parametrize("evaluation", [full_ranking(), sampled_ranking(2), RatingEvaluation("mse", 2)])
def test_nothing_held_out_is_an_error(evaluation):
    with pytest.raises(UserError, match="nothing to evaluate: no row of toy is held out"):
        evaluate(Table(torch.zeros(1, 5)), evaluation, make_target([(0, 1)], [], n_users=1, n_items=5))


def test_a_cut_off_beyond_the_catalogue_is_an_error():
    target = make_target([], [(0, 1)], n_users=1, n_items=5)
    message = r"k=6 exceeds the 5 candidates of a list \(the catalogue has 5 items\)"
    with pytest.raises(UserError, match=message):
        evaluate(Table(torch.zeros(1, 5)), full_ranking(ks=(2, 6)), target)


def test_a_cut_off_beyond_the_sampled_list_is_an_error():
    target = make_target([], [(0, 1)], n_users=1, n_items=5)
    with pytest.raises(UserError, match="k=4 exceeds the 3 candidates of a list"):
        evaluate(Table(torch.zeros(1, 5)), sampled_ranking(2, ks=(4,)), target)


def test_published_candidates_must_be_as_many_as_asked():
    target = make_target([], [(0, 1)], n_users=1, n_items=5, candidates=[[0, 2, 3]])
    with pytest.raises(UserError, match="n_negatives=2, but toy publishes 3 negatives a row"):
        evaluate(Table(torch.zeros(1, 5)), sampled_ranking(2), target)
