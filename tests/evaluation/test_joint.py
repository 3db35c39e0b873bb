"""Two tasks in one evaluation: the metrics of each one's own evaluation, and their weighted sum `joint`."""

from typing import NamedTuple

import pytest
import torch
from evaluation_cases import own_metrics
from rows import interactions
from torch import Tensor

from recsweep.errors import UserError
from recsweep.evaluation import JointEvaluation, RankingEvaluation, RatingEvaluation, Target, evaluate

KS = [1, 3]
MRR_MSE = {"mrr_all": 1.0, "mse": -1.0}


class Tables(NamedTuple):
    """A model that looks its scores and ratings [n_users, n_items] up."""

    scores: Tensor
    ratings: Tensor

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return self.scores[user, item]

    def score_all(self, user: Tensor) -> Tensor:
        return self.scores[user]

    def rate(self, user: Tensor, item: Tensor) -> Tensor:
        return self.ratings[user, item]


def joint_evaluation(
    joint: dict[str, float] = MRR_MSE, objective: str = "joint", batch_size: int = 4
) -> JointEvaluation:
    return JointEvaluation(KS, joint, objective, batch_size)


def random_case(n_users: int = 12, n_items: int = 20, seed: int = 0) -> tuple[Tables, Target]:
    """Each user has seen and held-out items; some predicted ratings lie beyond the scale."""
    draws = torch.Generator().manual_seed(seed)
    part = torch.rand(n_users, n_items, generator=draws)
    seen, held_out = (part < 1 / 5).nonzero().tolist(), (part > 4 / 5).nonzero().tolist()
    rating = torch.randint(1, 6, (len(seen) + len(held_out),), generator=draws).tolist()
    rows = [(user, item, float(value)) for (user, item), value in zip([*seen, *held_out], rating, strict=True)]
    row = torch.arange(len(rows))
    scores, ratings = (torch.randn(n_users, n_items, generator=draws) for _ in range(2))
    target = Target(interactions(rows, n_users, n_items), row[: len(seen)], row[len(seen) :])
    return Tables(scores, 3 + 2 * ratings), target


def test_each_task_has_the_metrics_of_its_own_evaluation() -> None:
    model, target = random_case()
    ranking = evaluate(model, RankingEvaluation(None, "exact", KS, "mrr_all", seed=0, batch_size=5), target)
    rating = evaluate(Tables(model.ratings, model.ratings), RatingEvaluation("mse", batch_size=7), target)
    metrics = evaluate(model, joint_evaluation(), target)
    assert metrics == pytest.approx({"joint": ranking["mrr_all"] - rating["mse"], **ranking, **rating}, abs=1e-12)


def test_a_joint_evaluation_by_hand() -> None:
    """The held-out item has rating 4, predicted as 3, and the lower score of two: 1/2 - 1/4 · 1."""
    target = Target(interactions([(0, 0, 5), (0, 2, 4)], 1, 3), torch.tensor([0]), torch.tensor([1]))
    model = Tables(torch.tensor([[9.0, 2.0, 1.0]]), torch.tensor([[0.0, 0.0, 3.0]]))
    metrics = evaluate(model, JointEvaluation([1], {"mrr_all": 1.0, "mse": -0.25}, "joint", 1), target)
    assert (metrics["mrr_all"], metrics["mse"], metrics["joint"]) == (1 / 2, 1, 1 / 4)


def test_ratings_are_not_scores() -> None:
    model, target = random_case()
    metrics = evaluate(model, joint_evaluation(), target)
    new_scores = evaluate(model._replace(scores=-model.scores), joint_evaluation(), target)
    new_ratings = evaluate(model._replace(ratings=6 - model.ratings), joint_evaluation(), target)
    errors = {"mse", "rmse", "mae", "calibration/bias", "calibration/slope"}
    assert {name for name in metrics if new_scores[name] == metrics[name]} == errors
    assert {name for name in metrics if new_ratings[name] != metrics[name]} == errors | {"joint"}


@pytest.mark.parametrize(
    "joint", [{"ndcg@3": 2.0, "rmse": -0.5, "coverage@1": 0.25}, {"mae": -3.0}, {"mrr": 1.0, "mrr_all": 0.0}]
)
def test_joint_is_the_weighted_sum(joint: dict[str, float]) -> None:
    model, target = random_case()
    metrics = evaluate(model, joint_evaluation(joint), target)
    assert metrics["joint"] == pytest.approx(sum(weight * metrics[name] for name, weight in joint.items()), abs=1e-12)


@pytest.mark.parametrize("objective", ["joint", "mrr_all", "ndcg@3", "coverage@1"])
def test_the_objective_may_be_any_metric_of_which_higher_is_better(objective: str) -> None:
    evaluation = joint_evaluation(objective=objective)
    assert (evaluation.objective, evaluation.mode) == (objective, "max")
    model, target = random_case()
    assert objective in evaluate(model, evaluation, target)


RANKING_METRICS = [f"{name}@{k}" for k in KS for name in ("hit_rate", "ndcg", "recall", "precision", "map")]
RANKING_METRICS += ["mrr", "mrr_all", "coverage@1", "coverage@3"]


def test_unknown_metrics_are_one_line() -> None:
    for_sum, for_objective = ", ".join([*RANKING_METRICS, "mse", "rmse", "mae"]), ", ".join(["joint", *RANKING_METRICS])
    with pytest.raises(UserError) as error:
        joint_evaluation({"mrr": 1.0, "ndcg@7": 1.0})
    assert str(error.value) == f"evaluation.joint: ndcg@7 is not among {for_sum}"
    with pytest.raises(UserError) as error:
        joint_evaluation(objective="mse")  # of which lower is better
    assert str(error.value) == f"evaluation.objective: mse is not among {for_objective}"


def test_a_repeated_evaluation_starts_from_zero() -> None:
    """Also on other data, and from batches made before."""
    (model, target), (model_2, target_2), evaluation = (
        random_case(),
        random_case(n_items=15, seed=1),
        joint_evaluation(),
    )
    batches = list(evaluation.batches(target, torch.device("cpu")))
    metrics = own_metrics(model, evaluation, target)
    assert evaluate(model_2, evaluation, target_2) == evaluate(model_2, joint_evaluation(), target_2)
    assert own_metrics(model_2, evaluation, target_2) != own_metrics(model, evaluation, target) == metrics
    evaluation.reset()
    for batch in batches:
        evaluation.update(evaluation.measure(model, *batch))
    assert {name: value.item() for name, value in evaluation.compute().items()} == metrics


@pytest.mark.parametrize("field", ["scores", "ratings"])
def test_nan_of_either_task_is_an_error(field: str) -> None:
    model, target = random_case()
    broken = model._replace(**{field: torch.full_like(model.scores, torch.nan)})
    with pytest.raises(UserError, match="the model returned NaN scores: training diverged"):
        evaluate(broken, joint_evaluation(), target)
