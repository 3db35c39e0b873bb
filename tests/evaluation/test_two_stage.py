"""Protocols on a bandit log, and of labels: against twins in plain Python, and by hand where a rule decides."""

from dataclasses import replace
from itertools import combinations, product
from math import exp, inf, isclose, log2, nan, sqrt
from statistics import NormalDist, fmean, stdev

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rows import interactions
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from recsweep.data.logged import BanditLog, DotScorer, Relevance
from recsweep.data.schema import IdMap, Interactions
from recsweep.errors import UserError
from recsweep.evaluation import BinaryEvaluation, OffPolicyEvaluation, Target, TwoStageEvaluation, evaluate

Z = NormalDist().inv_cdf(0.975)
ONE_UP = 1 + 2**-23
"""The next float32 after 1."""
Row = tuple[int, int, float, float]
"""User, item, reward, propensity."""


@pytest.fixture(autouse=True, scope="module")
def no_denormals() -> None:
    """As in training."""
    torch.set_flush_denormal(True)


class Table:
    """Looks its scores [n_users, n_items] up."""

    def __init__(self, scores) -> None:
        self.scores = torch.tensor(scores)

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return self.scores[user, item]

    def score_all(self, user: Tensor) -> Tensor:
        return self.scores[user]


class TablePolicy(Table):
    """A table of probabilities; the scores rank alike."""

    def __init__(self, probabilities) -> None:
        self.scores = torch.tensor(probabilities, dtype=torch.float64)

    def log_policy(self, user: Tensor) -> Tensor:
        return self.scores[user].log()


def dots(scores) -> DotScorer:
    """The scorer that gives exactly these scores [n_users, n_items]."""
    table = torch.tensor(scores, dtype=torch.float32)
    return DotScorer(table, torch.eye(table.shape[1]))


def make_target(seen: list[Row], held_out: list[Row], n_users, n_items, ranker=None, relevant=None, reward=None):
    """A log and what is judged of it; `ranker` scores, `relevant` and `reward` flags, [n_users, n_items] each."""
    user, item, rating, propensity = zip(*seen, *held_out, strict=True)
    relevant = None if relevant is None else torch.tensor(relevant, dtype=torch.bool)
    log = BanditLog(
        name="toy",
        user=torch.tensor(user),
        item=torch.tensor(item),
        rating=torch.tensor(rating),
        timestamp=None,
        user_ids=IdMap(np.arange(n_users), "user"),
        item_ids=IdMap(np.arange(n_items), "item"),
        rating_scale=(0.0, 1.0),
        truth=None if relevant is None else Relevance(relevant, relevant),
        propensity=torch.tensor(propensity),
        recurring=True,
        ranker=None if ranker is None else dots(ranker),
        reward=None if reward is None else torch.tensor(reward, dtype=torch.bool),
        relevant=relevant,
    )
    rows = torch.arange(len(log))
    return Target(log, rows[: len(seen)], rows[len(seen) :])


def one_row_each(n_users: int) -> list[Row]:
    """So that every user is judged."""
    return [(user, 0, 0.0, 0.5) for user in range(n_users)]


def two_stages(slate_size, ks=(1, 2), objective="two_stage/value", batch_size=100) -> TwoStageEvaluation:
    return TwoStageEvaluation(slate_size, list(ks), objective, batch_size)


def of_list(hits: tuple[bool, ...], n_relevant: int, ks) -> dict[str, float]:
    """Metrics of one ranked slate, from their definitions."""
    places = [place for place, hit in enumerate(hits, start=1) if hit]
    values = {"mrr": 1 / places[0] if places else 0.0}
    for k in ks:
        top, best = [place for place in places if place <= k], min(n_relevant, k)
        values[f"hit_rate@{k}"] = float(len(top) > 0)
        values[f"precision@{k}"] = len(top) / k
        values[f"recall@{k}"] = len(top) / n_relevant
        values[f"map@{k}"] = sum(found / place for found, place in enumerate(top, start=1)) / best
        ideal = sum(1 / log2(1 + place) for place in range(1, best + 1))
        values[f"ndcg@{k}"] = sum(1 / log2(1 + place) for place in top) / ideal
    return values


def outcomes(scores, ranker_scores, liked, relevant, slate_size) -> set[tuple[tuple[bool, ...], tuple[bool, ...]]]:
    """Hits of both stages for one user, for every slate that equal scores of equal relevance leave possible."""

    def key(item):
        return -scores[item], item in relevant

    candidates = sorted(set(range(len(scores))) - liked, key=key)
    cut = key(candidates[slate_size - 1])
    sure = [item for item in candidates if key(item) < cut]
    tied = [item for item in candidates if key(item) == cut]
    first = tuple(item in relevant for item in candidates[:slate_size])
    found = set()
    for others in combinations(tied, slate_size - len(sure)):
        slate = sorted([*sure, *others], key=lambda item: (-ranker_scores[item], item in relevant))
        found.add((first, tuple(item in relevant for item in slate)))
    return found


def means(lists, n_relevant, ks) -> dict[str, float]:
    """Means over users of their hits in both stages."""
    values = {}
    for stage, hits in zip(("one_stage", "two_stage"), zip(*lists, strict=True), strict=True):
        judged = [of_list(of_user, n, ks) for of_user, n in zip(hits, n_relevant, strict=True) if n]
        values |= {f"{stage}/{name}": fmean(of_user[name] for of_user in judged) for name in judged[0]}
        values[f"{stage}/value"] = fmean(of_user[0] for of_user in hits)
    return values


def possible(scores, ranker_scores, target: Target, slate_size, ks) -> list[dict[str, float]]:
    """What the protocol may say: one result, but for slates that cut through equals."""
    data, lists, n_relevant = target.data, [], []
    columns = zip(data.user.tolist(), data.item.tolist(), data.rating.tolist(), strict=True)
    rows = list(columns)
    for user in sorted({rows[row][0] for row in target.held_out.tolist()}):
        seen = [rows[row] for row in target.seen.tolist()]
        liked = {item for owner, item, reward in seen if owner == user and reward > 0}
        relevant = set(data.relevant[user].nonzero().flatten().tolist()) - liked
        lists.append(outcomes(scores[user], ranker_scores[user], liked, relevant, slate_size))
        n_relevant.append(len(relevant))
    return [means(choice, n_relevant, ks) for choice in product(*lists)]


def alike(got: dict[str, float], expected: dict[str, float]) -> bool:
    return got.keys() == expected.keys() and all(isclose(got[name], expected[name], abs_tol=1e-12) for name in got)


N_USERS, N_ITEMS = 3, 7


@st.composite
def cases(draw, score):
    """Scores of nominator and ranker, flags of relevance, and logged rows, of which a user has up to 4 with reward."""

    def table(entry):
        return draw(st.lists(st.lists(entry, min_size=N_ITEMS, max_size=N_ITEMS), min_size=N_USERS, max_size=N_USERS))

    rows = st.lists(
        st.tuples(st.integers(0, N_USERS - 1), st.integers(0, 3), st.sampled_from([0.0, 1.0]), st.just(0.5)),
        max_size=12,
    )
    held_out = draw(rows.filter(len))
    relevant = table(st.booleans())
    relevant[held_out[0][0]][N_ITEMS - 1] = True  # never masked: somebody has something to find
    target = make_target(draw(rows), held_out, N_USERS, N_ITEMS, table(st.integers(0, 3)), relevant)
    return table(score), target


@settings(max_examples=150, deadline=None)
@given(
    case=cases(st.sampled_from([-inf, -1.0, 0.0, 1.0, ONE_UP, inf])),
    slate_size=st.integers(1, 3),
    batch_size=st.integers(1, 4),
)
def test_both_stages_equal_the_twin_under_ties(case, slate_size, batch_size):
    scores, target = case
    ks = tuple(range(1, slate_size + 1))
    got = evaluate(Table(scores), two_stages(slate_size, ks, batch_size=batch_size), target)
    expected = possible(scores, target.data.ranker.users.tolist(), target, slate_size, ks)
    assert any(alike(got, one) for one in expected), (got, expected)


@settings(max_examples=50, deadline=None)
@given(case=cases(st.integers(-99, 99).map(lambda eighths: eighths / 8)), batch_size=st.integers(1, 4))
def test_batches_do_not_matter(case, batch_size):
    scores, target = case
    whole = evaluate(Table(scores), two_stages(3), target)
    assert evaluate(Table(scores), two_stages(3, batch_size=batch_size), target) == pytest.approx(whole, abs=1e-12)


def example() -> tuple[Table, Target]:
    """Two users, six items, slates of three.

    User 0 liked item 0, which is out. Nominator: 1, 2, 3 | 4, 5. Relevant are 3 and 5, so 2 things are to be found.
    Ranker: 3 before 1 before 2. In the unmasked order 0, 1, 2, … places 2, 0, 1 would be items 2, 0, 1: no hit.
    User 1 saw item 0 without a reward, so it stays. Nominator: 0, 5, 4 | 3, 2, 1. Relevant: 0 and 4. Ranker: 5, 4, 0.
    """
    ranker = [[9.0, 2.0, 1.0, 3.0, 8.0, 8.0], [1.0, 9.0, 9.0, 9.0, 2.0, 3.0]]
    relevant = [[1, 0, 0, 1, 0, 1], [1, 0, 0, 0, 1, 0]]
    target = make_target([(0, 0, 1.0, 0.5), (1, 0, 0.0, 0.5)], one_row_each(2), 2, 6, ranker, relevant)
    return Table([[9.0, 5.0, 4.0, 3.0, 2.0, 1.0], [9.0, 1.0, 2.0, 3.0, 4.0, 5.0]]), target


def test_an_example_by_hand():
    scorer, target = example()
    got = evaluate(scorer, two_stages(3, (1, 2, 3)), target)
    # One stage: user 0 finds at place 3 (one of two), user 1 at places 1 and 3 (both).
    assert got["one_stage/value"] == 1 / 2
    assert got["one_stage/precision@3"] == pytest.approx((1 / 3 + 2 / 3) / 2)
    assert got["one_stage/recall@3"] == pytest.approx((1 / 2 + 2 / 2) / 2)
    assert got["one_stage/map@3"] == pytest.approx(((1 / 3) / 2 + (1 + 2 / 3) / 2) / 2)
    assert got["one_stage/mrr"] == pytest.approx((1 / 3 + 1) / 2)
    # Two stages: user 0 finds at place 1, user 1 at places 2 and 3. The best gain at two is 1 + 1 / log2(3).
    best = 1 + 1 / log2(3)
    assert got["two_stage/value"] == 1 / 2
    assert got["two_stage/hit_rate@1"] == 1 / 2
    assert got["two_stage/precision@2"] == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert got["two_stage/recall@3"] == pytest.approx((1 / 2 + 2 / 2) / 2)
    assert got["two_stage/map@3"] == pytest.approx((1 / 2 + (1 / 2 + 2 / 3) / 2) / 2)
    assert got["two_stage/ndcg@3"] == pytest.approx((1 / best + (1 / log2(3) + 1 / 2) / best) / 2)
    assert got["two_stage/mrr"] == pytest.approx((1 + 1 / 2) / 2)


def test_users_with_nothing_to_find_count_for_the_value_alone():
    # All that user 0 finds relevant is masked; user 1 is a hit at once.
    scores = [[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]
    target = make_target([(0, 2, 1.0, 0.5)], one_row_each(2), 2, 3, scores, [[0, 0, 1], [1, 0, 0]])
    got = evaluate(Table(scores), two_stages(2), target)
    assert (got["two_stage/hit_rate@1"], got["two_stage/value"]) == (1, 1 / 2)
    assert (got["one_stage/hit_rate@1"], got["one_stage/value"]) == (1, 1 / 2)


def test_only_the_users_own_rewarded_seen_rows_are_masked():
    # User 0's item 0 is liked by user 1, shown to user 0 without a reward, and rewarded in a held-out row alone.
    scores = [[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]]
    seen = [(1, 0, 1.0, 0.5), (0, 0, 0.0, 0.5)]
    target = make_target(seen, [(0, 0, 1.0, 0.5)], 2, 3, scores, [[1, 0, 0], [1, 0, 0]])
    assert evaluate(Table(scores), two_stages(2), target)["one_stage/hit_rate@1"] == 1


@pytest.mark.parametrize("score", [0.0, -inf, inf, torch.finfo(torch.float32).min])
def test_constant_stages_earn_the_worst(score):
    # Item 0 is masked. Of five candidates two are relevant and stand last; of a slate of four, in places 4 only.
    target = make_target([(0, 0, 1.0, 0.5)], one_row_each(1), 1, 6, [[0.0] * 6], [[1, 0, 1, 0, 1, 0]])
    got = evaluate(Table([[score] * 6]), two_stages(4, (3, 4)), target)
    for stage in ("one_stage", "two_stage"):
        assert (got[f"{stage}/value"], got[f"{stage}/hit_rate@3"], got[f"{stage}/mrr"]) == (0, 0, 1 / 4)
        assert got[f"{stage}/recall@4"] == 1 / 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_smallest_lead_is_no_tie(dtype):
    # Item 1 is relevant and leads by one bit.
    scorer = Table([[1.0, 1 + torch.finfo(dtype).eps]])
    scorer.scores = scorer.scores.to(dtype)
    target = make_target([], one_row_each(1), 1, 2, [[0.0, 0.0]], [[0, 1]])
    assert evaluate(scorer, two_stages(2), target)["one_stage/hit_rate@1"] == 1


def test_the_rankers_smallest_lead_is_no_tie():
    target = make_target([], one_row_each(1), 1, 2, [[1.0, ONE_UP]], [[0, 1]])
    assert evaluate(Table([[2.0, 1.0]]), two_stages(2), target)["two_stage/hit_rate@1"] == 1


@settings(max_examples=50, deadline=None)
@given(case=cases(st.just(0.0)), k=st.integers(1, 3))
def test_the_oracle_reaches_the_ceiling(case, k):
    target = case[1]._replace(data=case[1].data.with_true_ranker())
    got = evaluate(target.data.truth, two_stages(3, (k,)), target)
    for stage in ("one_stage", "two_stage"):
        names = ("ndcg", "map", "hit_rate")
        assert [got[f"{stage}/{name}@{k}"] for name in names] == pytest.approx([1, 1, 1], abs=1e-12)
        assert got[f"{stage}/mrr"] == 1


@settings(max_examples=50, deadline=None)
@given(case=cases(st.just(0.0)), batch_size=st.integers(1, 4))
def test_a_ranker_that_agrees_changes_nothing(case, batch_size):
    _, target = case
    got = evaluate(target.data.ranker, two_stages(3, batch_size=batch_size), target)
    names = [name.removeprefix("one_stage/") for name in got if name.startswith("one_stage/")]
    assert len(names) == 12
    assert {name: got[f"one_stage/{name}"] for name in names} == {name: got[f"two_stage/{name}"] for name in names}


def test_the_scores_of_both_stages_are_not_written_to():
    scorer, target = example()
    log = target.data
    tensors = (scorer.scores, log.ranker.users, log.relevant, log.rating)
    before = [tensor.clone() for tensor in tensors]
    scorer.score_all = lambda user: scorer.scores[: len(user)]  # a view
    evaluate(scorer, two_stages(3), target)
    assert all(torch.equal(*pair) for pair in zip(tensors, before, strict=True))


# Off-policy: three users of four, rows of a user apart, in no order; user 3 has none to judge by.
POLICY = [[0.5, 0.25, 0.25, 0.0], [0.1, 0.2, 0.3, 0.4], [0.0, 0.0, 0.5, 0.5], [0.25] * 4]
SEEN = [(0, 1, 1.0, 0.5), (3, 1, 0.0, 0.25), (1, 0, 1.0, 0.25), (2, 2, 0.0, 0.5)]
HELD_OUT = [(2, 3, 1.0, 0.125), (0, 0, 0.0, 0.5), (2, 2, 0.0, 0.75), (1, 3, 1.0, 0.05), (0, 2, 1.0, 0.2)]
RANKER = [[1.0, -1.0, 0.5, 2.0], [0.0, 3.0, -2.0, 1.0], [-1.0, 0.25, 0.75, 0.0], [1.0] * 4]
REWARD = [[0, 1, 1, 0], [1, 0, 0, 1], [1, 0, 1, 1], [1, 1, 1, 1]]


def off_policy(max_weight=None, batch_size=100, objective="snips") -> OffPolicyEvaluation:
    return OffPolicyEvaluation(objective, max_weight, batch_size)


def estimated(rows: list[float]) -> tuple[float, float, float]:
    half_width = Z * stdev(rows) / sqrt(len(rows))
    return fmean(rows), fmean(rows) - half_width, fmean(rows) + half_width


def off_policy_twin(predicted, max_weight, reward=None) -> dict[str, float]:
    """Every metric of POLICY on HELD_OUT, from the definitions; `predicted` and `reward` [n_users][n_items]."""
    weight = [min(POLICY[user][item] / propensity, max_weight) for user, item, _, propensity in HELD_OUT]
    earned = [row[2] for row in HELD_OUT]
    total = [sum(map(float.__mul__, POLICY[user], predicted[user])) for user, *_ in HELD_OUT]
    shown = [predicted[user][item] for user, item, *_ in HELD_OUT]
    snips = sum(map(float.__mul__, weight, earned)) / sum(weight)
    linear = [snips + w * (r - snips) / fmean(weight) for w, r in zip(weight, earned, strict=True)]
    by_name = {
        "ips": [w * r for w, r in zip(weight, earned, strict=True)],
        "snips": linear,
        "dm": total,
        "dr": [m + w * (r - q) for m, w, r, q in zip(total, weight, earned, shown, strict=True)],
        "logged": earned,
    }
    found = {"off_policy/ess": sum(weight) ** 2 / sum(w * w for w in weight)}
    for name, rows in by_name.items():
        for suffix, value in zip(("", "_low", "_high"), estimated(rows), strict=True):
            found[f"off_policy/{name}{suffix}"] = value
    if reward is not None:
        found["off_policy/true"] = fmean(
            sum(map(float.__mul__, POLICY[u], map(float, reward[u]))) for u, *_ in HELD_OUT
        )
    return found


@pytest.mark.parametrize("batch_size", [1, 2, 100])
@pytest.mark.parametrize("max_weight", [None, 1.5])
def test_estimates_equal_the_twin(batch_size, max_weight):
    # Weights: 4, 1, 2/3, 8, 5/4.
    target = make_target(SEEN, HELD_OUT, 4, 4, RANKER, reward=REWARD)
    got = evaluate(TablePolicy(POLICY), off_policy(max_weight, batch_size), target)
    predicted = [[1 / (1 + exp(-logit)) for logit in row] for row in RANKER]
    assert got == pytest.approx(off_policy_twin(predicted, max_weight or inf, REWARD), abs=1e-6)


def test_without_a_ranker_items_mean_rewards_predict():
    # The seen rows' mean is 2/4; item 0 was seen once with 1, item 1 with 1 and 0, item 2 once with 0, item 3 never.
    means = [(1 + 5) / 11, (1 + 5) / 12, (0 + 5) / 11, 5 / 10]
    got = evaluate(TablePolicy(POLICY), off_policy(), make_target(SEEN, HELD_OUT, 4, 4))
    assert got == pytest.approx(off_policy_twin([means] * 4, inf), abs=1e-6)


def test_the_reward_model_does_not_see_what_is_held_out():
    other = [(user, item, 1 - reward, propensity) for user, item, reward, propensity in HELD_OUT]
    before, after = (
        evaluate(TablePolicy(POLICY), off_policy(), make_target(SEEN, rows, 4, 4)) for rows in (HELD_OUT, other)
    )
    assert before["off_policy/dm"] == after["off_policy/dm"]
    assert before["off_policy/ips"] != after["off_policy/ips"]


def test_the_order_of_rows_does_not_matter():
    target = make_target(SEEN, HELD_OUT, 4, 4, RANKER, reward=REWARD)
    turned = target._replace(held_out=target.held_out.flip(0))
    expected = evaluate(TablePolicy(POLICY), off_policy(), target)
    assert evaluate(TablePolicy(POLICY), off_policy(batch_size=2), turned) == pytest.approx(expected, abs=1e-12)


def test_a_policy_is_also_judged_off_policy():
    target = make_target(SEEN, HELD_OUT, 4, 4, RANKER, REWARD, REWARD)
    got = evaluate(TablePolicy(POLICY), two_stages(2), target)
    assert {name: value for name, value in got.items() if name.startswith("off_policy/")} == evaluate(
        TablePolicy(POLICY), off_policy(), target
    )
    plain = evaluate(Table(POLICY), two_stages(2), target)
    assert plain == {name: value for name, value in got.items() if not name.startswith("off_policy/")}


@pytest.mark.parametrize("evaluation", [two_stages(2), off_policy(), BinaryEvaluation("auc", 2)])
def test_evaluating_again_gives_the_same(evaluation):
    target = make_target(SEEN, HELD_OUT, 4, 4, RANKER, REWARD, REWARD)
    first = evaluate(TablePolicy(POLICY), evaluation, target)
    assert evaluate(TablePolicy(POLICY), evaluation, target) == first


def test_one_evaluation_serves_a_policy_and_then_another_scorer():
    target = make_target(SEEN, HELD_OUT, 4, 4, RANKER, REWARD, REWARD)
    evaluation = two_stages(2)
    evaluate(TablePolicy(POLICY), evaluation, target)
    assert evaluate(Table(POLICY), evaluation, target) == evaluate(Table(POLICY), two_stages(2), target)


def labelled_target(logits: list[float], labels: list[int]) -> tuple[Table, Target]:
    """A user whose items have these scores and, all held out, these labels."""
    rows = [(0, item, float(label), 0.5) for item, label in enumerate(labels)]
    return Table([logits]), make_target([], rows, 1, len(labels))


BINARY = st.lists(
    st.tuples(st.sampled_from([-800.0, -1.0, 0.0, 0.5, 40.0, 50.0]), st.integers(0, 1)), min_size=2, max_size=12
).filter(lambda rows: {label for _, label in rows} == {0, 1})


@settings(deadline=None)
@given(rows=BINARY, batch_size=st.integers(1, 13))
def test_auc_is_the_share_of_pairs_in_order(rows, batch_size):
    logits, labels = zip(*rows, strict=True)
    scorer, target = labelled_target(list(logits), list(labels))
    got = evaluate(scorer, BinaryEvaluation("auc", batch_size), target)
    pairs = list(product(*([logit for logit, label in rows if label == wanted] for wanted in (1, 0))))
    ordered = sum((high > low) + (high == low) / 2 for high, low in pairs)
    logits, labels = (torch.tensor(column, dtype=torch.float64) for column in (logits, labels))
    expected = {
        "auc": ordered / len(pairs),
        "log_loss": binary_cross_entropy_with_logits(logits, labels).item(),
    }
    assert got == pytest.approx(expected, abs=1e-6)


def test_log_loss_by_hand():
    # Chances 3/4 and 1/2 of what came true.
    scorer, target = labelled_target([np.log(3.0), 0.0], [1, 0])
    got = evaluate(scorer, BinaryEvaluation("log_loss", 1), target)
    assert got["log_loss"] == pytest.approx((np.log(4 / 3) + np.log(2)) / 2, abs=1e-6)


class Timed(Table):
    """Scores of a table at time 0, falling by one a second."""

    def score_at(self, user: Tensor, item: Tensor, timestamp: Tensor) -> Tensor:
        return self.score(user, item) - timestamp


def test_a_timed_scorer_is_asked_at_the_rows_times():
    # By score alone all is in order; two seconds later item 1 is at -1, below item 0.
    _, target = labelled_target([0.0, 1.0], [0, 1])
    later = target._replace(data=replace(target.data, timestamp=torch.tensor([0, 2])))
    scorer, evaluation = Timed([[0.0, 1.0]]), BinaryEvaluation("auc", 1)
    assert (evaluate(scorer, evaluation, target)["auc"], evaluate(scorer, evaluation, later)["auc"]) == (1, 0)


def test_objectives_and_modes():
    auc, log_loss = BinaryEvaluation("auc", 2), BinaryEvaluation("log_loss", 2)
    assert (auc.objective, auc.mode, log_loss.objective, log_loss.mode) == ("auc", "max", "log_loss", "min")
    dr, two_stage = off_policy(objective="dr"), two_stages(2, objective="one_stage/ndcg@2")
    assert (dr.objective, dr.mode) == ("off_policy/dr", "max")
    assert (two_stage.objective, two_stage.mode) == ("one_stage/ndcg@2", "max")


@pytest.mark.parametrize("labels", [[1, 1], [0, 0], [0, 5]])
def test_labels_must_be_both_0_and_1(labels):
    scorer, target = labelled_target([0.0, 1.0], labels)
    with pytest.raises(UserError, match=r"held-out labels of toy must be 0 and 1, both present: they are \[") as error:
        evaluate(scorer, BinaryEvaluation("log_loss", 2), target)
    assert "\n" not in str(error.value)


ALL = [two_stages(2), off_policy(), BinaryEvaluation("auc", 2)]


@pytest.mark.parametrize("evaluation", ALL)
def test_nan_scores_are_an_error(evaluation):
    target = make_target(SEEN, HELD_OUT, 4, 4, RANKER, REWARD, REWARD)
    for scorer in (TablePolicy([[nan] * 4] * 4), Table([[nan] * 4] * 4)):
        if isinstance(evaluation, OffPolicyEvaluation) and not isinstance(scorer, TablePolicy):
            continue
        with pytest.raises(UserError, match="the model returned NaN scores: training diverged"):
            evaluate(scorer, evaluation, target)


def test_a_ranker_that_diverged_is_an_error():
    target = make_target(SEEN, HELD_OUT, 4, 4, [[nan] * 4] * 4, REWARD, REWARD)
    with pytest.raises(UserError, match="NaN scores"):
        evaluate(Table(POLICY), two_stages(2), target)


@pytest.mark.parametrize("evaluation", ALL)
def test_nothing_held_out_is_an_error(evaluation):
    target = make_target(SEEN, [], 4, 4, RANKER, REWARD, REWARD)
    with pytest.raises(UserError, match="nothing to evaluate: no row of toy is held out"):
        evaluate(TablePolicy(POLICY), evaluation, target)


@pytest.mark.parametrize("evaluation", [two_stages(2), off_policy()])
def test_data_without_propensities_is_an_error(evaluation):
    data: Interactions = interactions([(0, 0, 5.0), (0, 1, 1.0)], 1, 4)
    rows = torch.arange(2)
    with pytest.raises(UserError, match="rows is no bandit log \(no propensities\): use data=bandit"):
        evaluate(TablePolicy([[0.25] * 4]), evaluation, Target(data, rows[:1], rows[1:]))


@pytest.mark.parametrize(("ranker", "relevant"), [(None, REWARD), (RANKER, None)])
def test_a_log_without_ranker_or_simulator_is_an_error(ranker, relevant):
    target = make_target(SEEN, HELD_OUT, 4, 4, ranker, relevant)
    with pytest.raises(UserError, match="toy has no ranker and no simulator: use evaluation=off_policy"):
        evaluate(Table(POLICY), two_stages(2), target)


def test_a_log_in_which_nothing_is_left_to_find_is_an_error():
    # What users 0 and 1 would find relevant, they are known to like.
    relevant = [[0, 1, 0, 0], [1, 0, 0, 0], [0] * 4, [0] * 4]
    target = make_target(SEEN, HELD_OUT, 4, 4, RANKER, relevant)
    with pytest.raises(UserError, match="no user has a relevant item left to find: lower data.threshold"):
        evaluate(Table(POLICY), two_stages(2), target)


def test_a_slate_that_a_user_cannot_fill_is_an_error():
    # Users 0 and 1 have liked one of four items each, in two rows user 0.
    target = make_target([*SEEN, SEEN[0]], HELD_OUT, 4, 4, RANKER, REWARD)
    assert "two_stage/value" in evaluate(Table(POLICY), two_stages(3), target)
    with pytest.raises(UserError, match=r"evaluation.slate_size=4: a user has only 3 of the 4 items left"):
        evaluate(Table(POLICY), two_stages(4), target)


def test_a_cut_off_beyond_the_slate_is_an_error():
    with pytest.raises(UserError, match=r"evaluation.ks=\[1, 5\]: k=5 exceeds evaluation.slate_size=4"):
        two_stages(4, (1, 5))


@pytest.mark.parametrize("objective", ["two_stage/precision@3", "precision@2", "two_stage/auc"])
def test_an_objective_that_is_not_computed_lists_the_choices(objective):
    with pytest.raises(UserError, match=rf"evaluation.objective={objective} is not computed: .*two_stage/precision@2"):
        two_stages(4, objective=objective)
