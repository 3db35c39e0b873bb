"""What all evaluations have in common: objectives, repetition, merging, errors."""

from collections.abc import Callable
from math import nan
from typing import Any

import pytest
import torch
from evaluation_cases import (
    HELD_OUT,
    POLICY,
    RANKER,
    REWARD,
    SEEN,
    PolicyTable,
    ScoreTable,
    full_ranking,
    log_target,
    off_policy,
    own_metrics,
    pair_target,
    random_pairs,
    sampled_ranking,
    two_stage,
)
from rows import interactions

from recsweep.errors import UserError
from recsweep.evaluation import BinaryEvaluation, OffPolicyEvaluation, RatingEvaluation, Target, evaluate

OF_PAIRS = {"full": full_ranking, "sampled": lambda: sampled_ranking(4), "rating": lambda: RatingEvaluation("mse", 7)}
OF_LOGS = {"two_stage": lambda: two_stage(2), "off_policy": off_policy, "binary": lambda: BinaryEvaluation("auc", 2)}


def case(name: str) -> tuple[Any, Target]:
    """A scorer and a target for an evaluation."""
    if name in OF_PAIRS:
        return random_pairs()
    return PolicyTable(POLICY), log_target(SEEN, HELD_OUT, 4, 4, RANKER, REWARD, REWARD)


def test_objectives_and_modes():
    modes = [
        (full_ranking(objective="coverage@3"), "coverage@3", "max"),
        (RatingEvaluation("mae", 2), "mae", "min"),
        (BinaryEvaluation("auc", 2), "auc", "max"),
        (BinaryEvaluation("log_loss", 2), "log_loss", "min"),
        (off_policy(objective="dr"), "off_policy/dr", "max"),
        (two_stage(2, objective="one_stage/ndcg@2"), "one_stage/ndcg@2", "max"),
    ]
    for evaluation, objective, mode in modes:
        assert (evaluation.objective, evaluation.mode) == (objective, mode)


@pytest.mark.parametrize(("name", "make"), [*OF_PAIRS.items(), *OF_LOGS.items()])
def test_a_repeated_evaluation_gives_the_same_bits(name: str, make: Callable[[], Any]):
    evaluation, (scorer, target) = make(), case(name)
    first, own = evaluate(scorer, evaluation, target), own_metrics(scorer, evaluation, target)
    assert evaluate(scorer, evaluation, target) == first == {**first, **own}
    batches = list(evaluation.batches(target, torch.device("cpu")))
    evaluation.reset()
    for batch in batches:
        evaluation.update(evaluation.measure(scorer, *batch))
    assert {name: value.item() for name, value in evaluation.compute().items()} == own


@pytest.mark.parametrize(("name", "make"), OF_PAIRS.items())
def test_two_halves_merge_into_the_whole(name: str, make: Callable[[], Any]):
    scorer, target = case(name)
    whole, first, second = make(), make(), make()
    expected = own_metrics(scorer, whole, target)
    for half, part in ((first, 0), (second, 1)):
        for batch in list(half.batches(target, torch.device("cpu")))[part::2]:
            half.update(half.measure(scorer, *batch))
    first.merge_state(second)
    merged = {name: value.item() for name, value in first.compute().items()}
    assert merged == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("make", OF_PAIRS.values(), ids=OF_PAIRS)
def test_nan_scores_are_an_error(make: Callable[[], Any]):
    target = pair_target([], [(0, 1)], n_users=1, n_items=5)
    with pytest.raises(UserError, match="the model returned NaN scores: training diverged"):
        evaluate(ScoreTable([[nan] * 5]), make(), target)


@pytest.mark.parametrize("make", OF_LOGS.values(), ids=OF_LOGS)
def test_nan_scores_of_a_log_are_an_error(make: Callable[[], Any]):
    target = log_target(SEEN, HELD_OUT, 4, 4, RANKER, REWARD, REWARD)
    evaluation = make()
    for scorer in (PolicyTable([[nan] * 4] * 4), ScoreTable([[nan] * 4] * 4)):
        if isinstance(evaluation, OffPolicyEvaluation) and not isinstance(scorer, PolicyTable):
            continue
        with pytest.raises(UserError, match="the model returned NaN scores: training diverged"):
            evaluate(scorer, evaluation, target)


@pytest.mark.parametrize(("name", "make"), [*OF_PAIRS.items(), *OF_LOGS.items()])
def test_nothing_held_out_is_an_error(name: str, make: Callable[[], Any]):
    scorer, target = case(name)
    with pytest.raises(UserError, match="nothing to evaluate: no row of toy is held out"):
        evaluate(scorer, make(), target._replace(held_out=target.held_out[:0]))


@pytest.mark.parametrize("evaluation", [two_stage(2), off_policy()])
def test_data_without_propensities_is_an_error(evaluation):
    rows = torch.arange(2)
    target = Target(interactions([(0, 0, 5.0), (0, 1, 1.0)], 1, 4), rows[:1], rows[1:])
    with pytest.raises(UserError, match=r"rows is no bandit log \(no propensities\): use data=bandit"):
        evaluate(PolicyTable([[0.25] * 4]), evaluation, target)
