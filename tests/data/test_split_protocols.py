"""Ratings and rankings are judged on the test rows of every split that cuts all rows alike."""

import pytest
import torch
from torch import Tensor

from recsweep.config import compose_config
from recsweep.data.schema import Interactions
from recsweep.evaluation import evaluate
from recsweep.runs import build

SMALL = ["data=synthetic", "data.n_users=60", "data.n_items=100", "data.n_interactions=1200"]
SPLITS = [
    "split=global_time split.cold_users=keep",
    "split=rolling split.fold=1 split.folds=2 split.cold_users=keep",
    "split=k_fold split.fold=3",
]


class Known:
    """Predicts 3 stars for all pairs, and ranks the items of given rows first."""

    def __init__(self, rows: Interactions) -> None:
        self.is_row = torch.zeros(rows.n_users, rows.n_items).index_put_((rows.user, rows.item), torch.ones(()))

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return torch.full(user.shape, 3.0)

    def score_all(self, user: Tensor) -> Tensor:
        return self.is_row[user]


@pytest.mark.parametrize("split", SPLITS)
def test_ratings_and_rankings_of_the_test_rows(split: str) -> None:
    for model in ("means", "popularity"):
        cfg = compose_config([f"model={model}", *SMALL, *split.split()])
        data = build.data(cfg)
        test = data.data.take(data.split.test)
        metrics = evaluate(Known(test), build.evaluation(cfg), data.target("test"))
        if model == "means":
            assert metrics["mse"] == pytest.approx((test.rating - 3).square().mean().item())
        else:
            assert metrics["ndcg@10"] == pytest.approx(1)
