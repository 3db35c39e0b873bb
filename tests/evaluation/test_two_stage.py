"""Rankings by one stage and by two: against a twin in plain Python, and by hand where a rule decides."""

from itertools import combinations, product
from math import inf, isclose, log2, nan
from statistics import fmean

import pytest
import torch
from evaluation_cases import (
    HELD_OUT,
    POLICY,
    RANKER,
    REWARD,
    SEEN,
    LogRow,
    PolicyTable,
    ScoreTable,
    list_metrics,
    log_target,
    off_policy,
    two_stage,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from recsweep.errors import UserError
from recsweep.evaluation import Target, evaluate

ONE_UP = 1 + 2**-23
"""The next float32 after 1."""


@pytest.fixture(autouse=True, scope="module")
def no_denormals() -> None:
    """As in training."""
    torch.set_flush_denormal(True)


def one_row_each(n_users: int) -> list[LogRow]:
    """A held-out row of each user, so that all users are in the metrics."""
    return [(user, 0, 0.0, 0.5) for user in range(n_users)]


def possible_hits(scores, ranker_scores, liked, relevant, slate_size) -> set[tuple[tuple[bool, ...], tuple[bool, ...]]]:
    """Hits of both stages for one user, for all slates that ties of equal relevance allow."""

    def key(item):
        return -scores[item], item in relevant

    candidates = sorted(set(range(len(scores))) - liked, key=key)
    cut = key(candidates[slate_size - 1])
    above = [item for item in candidates if key(item) < cut]
    tied = [item for item in candidates if key(item) == cut]
    first = tuple(item in relevant for item in candidates[:slate_size])
    hits = set()
    for rest in combinations(tied, slate_size - len(above)):
        slate = sorted([*above, *rest], key=lambda item: (-ranker_scores[item], item in relevant))
        hits.add((first, tuple(item in relevant for item in slate)))
    return hits


def mean_metrics(lists, n_relevant, ks) -> dict[str, float]:
    """Means over users of their hits in both stages."""
    metrics = {}
    for stage, hits in zip(("one_stage", "two_stage"), zip(*lists, strict=True), strict=True):
        of_users = [
            list_metrics([rank for rank, hit in enumerate(of_user, start=1) if hit], n, ks)
            for of_user, n in zip(hits, n_relevant, strict=True)
            if n
        ]
        metrics |= {f"{stage}/{name}": fmean(values[name] for values in of_users) for name in of_users[0]}
        metrics[f"{stage}/value"] = fmean(of_user[0] for of_user in hits)
    return metrics


def possible_metrics(scores, ranker_scores, target: Target, slate_size, ks) -> list[dict[str, float]]:
    """The metrics that the definitions allow: one result, or several if ties cross the end of a slate."""
    data, lists, n_relevant = target.data, [], []
    rows = list(zip(data.user.tolist(), data.item.tolist(), data.rating.tolist(), strict=True))
    for user in sorted({rows[row][0] for row in target.held_out.tolist()}):
        seen = [rows[row] for row in target.seen.tolist()]
        liked = {item for owner, item, reward in seen if owner == user and reward > 0}
        relevant = set(data.relevant[user].nonzero().flatten().tolist()) - liked
        lists.append(possible_hits(scores[user], ranker_scores[user], liked, relevant, slate_size))
        n_relevant.append(len(relevant))
    return [mean_metrics(choice, n_relevant, ks) for choice in product(*lists)]


def are_close(got: dict[str, float], expected: dict[str, float]) -> bool:
    return got.keys() == expected.keys() and all(isclose(got[name], expected[name], abs_tol=1e-12) for name in got)


N_USERS, N_ITEMS = 3, 7


@st.composite
def cases(draw, score):
    """Scores of the nominator, and a target with a ranker, relevant items, and up to 4 rewarded items a user."""

    def table(entry):
        return draw(st.lists(st.lists(entry, min_size=N_ITEMS, max_size=N_ITEMS), min_size=N_USERS, max_size=N_USERS))

    rows = st.lists(
        st.tuples(st.integers(0, N_USERS - 1), st.integers(0, 3), st.sampled_from([0.0, 1.0]), st.just(0.5)),
        max_size=12,
    )
    held_out = draw(rows.filter(len))
    relevant = table(st.booleans())
    relevant[held_out[0][0]][N_ITEMS - 1] = True  # never masked, so one user has a relevant item
    target = log_target(draw(rows), held_out, N_USERS, N_ITEMS, table(st.integers(0, 3)), relevant)
    return table(score), target


@settings(max_examples=75, deadline=None)
@given(
    case=cases(st.sampled_from([-inf, -1.0, 0.0, 1.0, ONE_UP, inf])),
    slate_size=st.integers(1, 3),
    batch_size=st.integers(1, 4),
)
def test_both_stages_equal_the_twin_under_ties(case, slate_size, batch_size):
    scores, target = case
    ks = tuple(range(1, slate_size + 1))
    got = evaluate(ScoreTable(scores), two_stage(slate_size, ks, batch_size=batch_size), target)
    expected = possible_metrics(scores, target.data.ranker.users.tolist(), target, slate_size, ks)
    assert any(are_close(got, metrics) for metrics in expected), (got, expected)


@settings(max_examples=20, deadline=None)
@given(case=cases(st.integers(-99, 99).map(lambda eighths: eighths / 8)), batch_size=st.integers(1, 4))
def test_batches_do_not_matter(case, batch_size):
    scores, target = case
    whole = evaluate(ScoreTable(scores), two_stage(3), target)
    assert evaluate(ScoreTable(scores), two_stage(3, batch_size=batch_size), target) == pytest.approx(whole, abs=1e-12)


def example() -> tuple[ScoreTable, Target]:
    """Two users, six items, slates of three.

    User 0 liked item 0, which is masked. Nominator: 1, 2, 3 | 4, 5. Relevant: 3 and 5. Ranker: 3, 1, 2. These are the
    columns 2, 0, 1 of the slate; taken for items, they would have no hit.
    User 1 saw item 0 without a reward, so it is not masked. Nominator: 0, 5, 4 | 3, 2, 1. Relevant: 0 and 4. Ranker:
    5, 4, 0.
    """
    ranker = [[9.0, 2.0, 1.0, 3.0, 8.0, 8.0], [1.0, 9.0, 9.0, 9.0, 2.0, 3.0]]
    relevant = [[1, 0, 0, 1, 0, 1], [1, 0, 0, 0, 1, 0]]
    target = log_target([(0, 0, 1.0, 0.5), (1, 0, 0.0, 0.5)], one_row_each(2), 2, 6, ranker, relevant)
    return ScoreTable([[9.0, 5.0, 4.0, 3.0, 2.0, 1.0], [9.0, 1.0, 2.0, 3.0, 4.0, 5.0]]), target


def test_an_example_by_hand():
    scorer, target = example()
    got = evaluate(scorer, two_stage(3, (1, 2, 3)), target)
    # One stage: user 0 has a hit at rank 3 (one of two), user 1 at ranks 1 and 3 (both).
    assert got["one_stage/value"] == 1 / 2
    assert got["one_stage/precision@3"] == pytest.approx((1 / 3 + 2 / 3) / 2)
    assert got["one_stage/recall@3"] == pytest.approx((1 / 2 + 2 / 2) / 2)
    assert got["one_stage/map@3"] == pytest.approx(((1 / 3) / 2 + (1 + 2 / 3) / 2) / 2)
    assert got["one_stage/mrr"] == pytest.approx((1 / 3 + 1) / 2)
    # Two stages: user 0 has a hit at rank 1, user 1 at ranks 2 and 3. The ideal gain of two is 1 + 1 / log2(3).
    best = 1 + 1 / log2(3)
    assert got["two_stage/value"] == 1 / 2
    assert got["two_stage/hit_rate@1"] == 1 / 2
    assert got["two_stage/precision@2"] == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert got["two_stage/recall@3"] == pytest.approx((1 / 2 + 2 / 2) / 2)
    assert got["two_stage/map@3"] == pytest.approx((1 / 2 + (1 / 2 + 2 / 3) / 2) / 2)
    assert got["two_stage/ndcg@3"] == pytest.approx((1 / best + (1 / log2(3) + 1 / 2) / best) / 2)
    assert got["two_stage/mrr"] == pytest.approx((1 + 1 / 2) / 2)


def test_users_without_relevant_items_count_for_the_value_only():
    # All relevant items of user 0 are masked; user 1 has a hit at rank 1.
    scores = [[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]
    target = log_target([(0, 2, 1.0, 0.5)], one_row_each(2), 2, 3, scores, [[0, 0, 1], [1, 0, 0]])
    got = evaluate(ScoreTable(scores), two_stage(2), target)
    assert (got["two_stage/hit_rate@1"], got["two_stage/value"]) == (1, 1 / 2)
    assert (got["one_stage/hit_rate@1"], got["one_stage/value"]) == (1, 1 / 2)


def test_only_the_users_own_rewarded_seen_rows_are_masked():
    # Item 0: liked by user 1, shown to user 0 without a reward, and rewarded for user 0 in a held-out row only.
    scores = [[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]]
    seen = [(1, 0, 1.0, 0.5), (0, 0, 0.0, 0.5)]
    target = log_target(seen, [(0, 0, 1.0, 0.5)], 2, 3, scores, [[1, 0, 0], [1, 0, 0]])
    assert evaluate(ScoreTable(scores), two_stage(2), target)["one_stage/hit_rate@1"] == 1


@pytest.mark.parametrize("score", [0.0, -inf, inf, torch.finfo(torch.float32).min])
def test_constant_stages_get_the_lowest_metrics(score):
    # Item 0 is masked. The two relevant ones of five candidates come last: rank 4 in a slate of four.
    target = log_target([(0, 0, 1.0, 0.5)], one_row_each(1), 1, 6, [[0.0] * 6], [[1, 0, 1, 0, 1, 0]])
    got = evaluate(ScoreTable([[score] * 6]), two_stage(4, (3, 4)), target)
    for stage in ("one_stage", "two_stage"):
        assert (got[f"{stage}/value"], got[f"{stage}/hit_rate@3"], got[f"{stage}/mrr"]) == (0, 0, 1 / 4)
        assert got[f"{stage}/recall@4"] == 1 / 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_smallest_lead_is_no_tie(dtype):
    # Item 1 is relevant and leads by one bit.
    scorer = ScoreTable([[1.0, 1 + torch.finfo(dtype).eps]])
    scorer.scores = scorer.scores.to(dtype)
    target = log_target([], one_row_each(1), 1, 2, [[0.0, 0.0]], [[0, 1]])
    assert evaluate(scorer, two_stage(2), target)["one_stage/hit_rate@1"] == 1


def test_the_rankers_smallest_lead_is_no_tie():
    target = log_target([], one_row_each(1), 1, 2, [[1.0, ONE_UP]], [[0, 1]])
    assert evaluate(ScoreTable([[2.0, 1.0]]), two_stage(2), target)["two_stage/hit_rate@1"] == 1


@settings(max_examples=20, deadline=None)
@given(case=cases(st.just(0.0)), k=st.integers(1, 3))
def test_the_oracle_reaches_the_ceiling(case, k):
    target = case[1]._replace(data=case[1].data.with_true_ranker())
    got = evaluate(target.data.truth, two_stage(3, (k,)), target)
    for stage in ("one_stage", "two_stage"):
        names = ("ndcg", "map", "hit_rate")
        assert [got[f"{stage}/{name}@{k}"] for name in names] == pytest.approx([1, 1, 1], abs=1e-12)
        assert got[f"{stage}/mrr"] == 1


@settings(max_examples=20, deadline=None)
@given(case=cases(st.just(0.0)), batch_size=st.integers(1, 4))
def test_a_ranker_that_agrees_changes_nothing(case, batch_size):
    _, target = case
    got = evaluate(target.data.ranker, two_stage(3, batch_size=batch_size), target)
    names = [name.removeprefix("one_stage/") for name in got if name.startswith("one_stage/")]
    assert len(names) == 12
    assert {name: got[f"one_stage/{name}"] for name in names} == {name: got[f"two_stage/{name}"] for name in names}


def test_the_scores_of_both_stages_are_not_written_to():
    scorer, target = example()
    log = target.data
    tensors = (scorer.scores, log.ranker.users, log.relevant, log.rating)
    before = [tensor.clone() for tensor in tensors]
    scorer.score_all = lambda user: scorer.scores[: len(user)]  # a view
    evaluate(scorer, two_stage(3), target)
    assert all(torch.equal(*pair) for pair in zip(tensors, before, strict=True))


def test_a_policy_is_also_evaluated_off_policy():
    target = log_target(SEEN, HELD_OUT, 4, 4, RANKER, REWARD, REWARD)
    got = evaluate(PolicyTable(POLICY), two_stage(2), target)
    assert {name: value for name, value in got.items() if name.startswith("off_policy/")} == evaluate(
        PolicyTable(POLICY), off_policy(), target
    )
    plain = evaluate(ScoreTable(POLICY), two_stage(2), target)
    assert plain == {name: value for name, value in got.items() if not name.startswith("off_policy/")}


def test_one_evaluation_takes_a_policy_and_then_another_scorer():
    target = log_target(SEEN, HELD_OUT, 4, 4, RANKER, REWARD, REWARD)
    evaluation = two_stage(2)
    evaluate(PolicyTable(POLICY), evaluation, target)
    assert evaluate(ScoreTable(POLICY), evaluation, target) == evaluate(ScoreTable(POLICY), two_stage(2), target)


def test_a_ranker_that_diverged_is_an_error():
    target = log_target(SEEN, HELD_OUT, 4, 4, [[nan] * 4] * 4, REWARD, REWARD)
    with pytest.raises(UserError, match="NaN scores"):
        evaluate(ScoreTable(POLICY), two_stage(2), target)


@pytest.mark.parametrize(("ranker", "relevant"), [(None, REWARD), (RANKER, None)])
def test_a_log_without_ranker_or_simulator_is_an_error(ranker, relevant):
    target = log_target(SEEN, HELD_OUT, 4, 4, ranker, relevant)
    with pytest.raises(UserError, match="toy has no ranker and no simulator: use evaluation=off_policy"):
        evaluate(ScoreTable(POLICY), two_stage(2), target)


def test_a_log_without_relevant_items_is_an_error():
    # All relevant items are masked, since users 0 and 1 liked them.
    relevant = [[0, 1, 0, 0], [1, 0, 0, 0], [0] * 4, [0] * 4]
    target = log_target(SEEN, HELD_OUT, 4, 4, RANKER, relevant)
    with pytest.raises(UserError, match=r"no user has a relevant item left to find: lower data\.threshold"):
        evaluate(ScoreTable(POLICY), two_stage(2), target)


def test_a_slate_that_a_user_cannot_fill_is_an_error():
    # Users 0 and 1 have liked one of four items each, in two rows user 0.
    target = log_target([*SEEN, SEEN[0]], HELD_OUT, 4, 4, RANKER, REWARD)
    assert "two_stage/value" in evaluate(ScoreTable(POLICY), two_stage(3), target)
    with pytest.raises(UserError, match=r"evaluation.slate_size=4: a user has only 3 of the 4 items left"):
        evaluate(ScoreTable(POLICY), two_stage(4), target)


def test_a_cut_off_beyond_the_slate_is_an_error():
    with pytest.raises(UserError, match=r"evaluation.ks=\[1, 5\]: k=5 exceeds evaluation.slate_size=4"):
        two_stage(4, (1, 5))


@pytest.mark.parametrize("objective", ["two_stage/precision@3", "precision@2", "two_stage/auc"])
def test_an_objective_that_is_not_computed_lists_the_choices(objective):
    with pytest.raises(UserError, match=rf"evaluation.objective={objective} is not computed: .*two_stage/precision@2"):
        two_stage(4, objective=objective)
