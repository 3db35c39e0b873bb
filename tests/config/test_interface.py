"""Classes of one's own whose methods cannot be called as the project calls them are one line each."""

from dataclasses import dataclass
from typing import Any

import pytest
from choices import models, names, target
from omegaconf import open_dict
from shell import SYNTHETIC
from torch import Tensor

from recsweep.config import check_config, compose_config
from recsweep.config.interface import check_methods, check_model, check_source
from recsweep.data.schema import Interactions, Split
from recsweep.errors import UserError
from recsweep.evaluation import RatingEvaluation
from recsweep.losses.multitask import Balance
from recsweep.losses.ranking import RankingLoss
from recsweep.losses.rating import RatingLoss
from recsweep.models.base import RecModule, Training
from recsweep.models.baselines import Baseline
from recsweep.models.item_item import EASE


class Right(Baseline):
    evaluations = (RatingEvaluation,)

    def __init__(self, data: Interactions, *, scale: float = 1.0) -> None: ...

    def fit(self, data: Interactions) -> None: ...

    def score(self, user: Tensor, item: Tensor) -> Any: ...

    def score_all(self, user: Tensor) -> Any: ...


class OpenMinded(Right):
    """Takes what it gets, under other names, and more."""

    def fit(self, *rows: Any) -> None: ...

    def score(self, users: Tensor, items: Tensor, scale: float = 1.0) -> Any: ...

    @staticmethod
    def score_all(user: Tensor) -> Any: ...


class NoRows(Right):
    def __init__(self, *, scale: float) -> None: ...


class FitsNothing(Right):
    def fit(self) -> None: ...  # type: ignore[override]


class ScoresUsers(Right):
    def score(self, user: Tensor) -> Any: ...  # type: ignore[override]


class RatesUsers(Right):
    """Predicts ratings, which a protocol describes, not the base class."""

    def rate(self, user: Tensor) -> Any: ...


class NoCounts(EASE):
    """A method that only some of the project's models have."""

    def compute_weights(self) -> Any: ...  # type: ignore[override]


class Trained(RecModule):
    losses = RatingLoss
    evaluations = (RatingEvaluation,)
    sparse = False

    def columns(self, data: Interactions) -> Any: ...

    def training_loss(self, batch: Any) -> Any: ...

    def score(self, user: Tensor, item: Tensor) -> Any: ...

    def score_all(self, user: Tensor) -> Any: ...


class NoTraining(Trained):
    def __init__(self, data: Interactions) -> None: ...


class NoStar(Trained):
    def __init__(self, data: Interactions, training: Training, dim: int) -> None: ...


class SetsUpNothing(Trained):
    def setup(self) -> None: ...  # type: ignore[override]


MISTAKES: list[tuple[type[Any], str]] = [
    (NoRows, "__init__(self, scale) should be __init__(self, data, *, scale)"),
    (FitsNothing, "fit(self) should be fit(self, data)"),
    (ScoresUsers, "score(self, user) should be score(self, user, item)"),
    (RatesUsers, "rate(self, user) should be rate(self, user, item)"),
    (NoCounts, "compute_weights(self) should be compute_weights(self, counts)"),
    (NoTraining, "__init__(self, data) should be __init__(self, data, training)"),
    (NoStar, "__init__(self, data, training, dim) should be __init__(self, data, training)"),
    (SetsUpNothing, "setup(self) should be setup(self, stage)"),
]


@pytest.mark.parametrize(("model", "message"), MISTAKES, ids=[model.__name__ for model, _ in MISTAKES])
def test_a_models_methods_take_what_its_base_class_takes(model: type[Any], message: str) -> None:
    settings = {"scale": 2.0} if model is NoRows else {"l2": 1.0} if model is NoCounts else {}
    with pytest.raises(UserError) as error:
        check_model(model, settings)
    assert str(error.value) == f"model {model.__name__}: {message}"


def test_a_method_may_take_more() -> None:
    check_model(OpenMinded, {"scale": 1.0})
    check_model(Trained, {})


@pytest.mark.parametrize("group", ["loss", "data", "evaluation"])
def test_the_projects_own_classes_pass(group: str) -> None:
    for name in names(group):
        own = target(group, name)
        if group == "data":
            check_source("data", name, own)
        elif isinstance(own, type):
            check_methods(group, own)
    for name, model in models().items():
        check_methods(name, model)


class NoBatch(RankingLoss):
    def __call__(self) -> Any: ...  # type: ignore[override]


class NoShared(Balance):
    def forward(self, losses: Tensor) -> Any: ...  # type: ignore[override]


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (NoBatch, "__call__(self) should be __call__(self, batch)"),
        (NoShared, "forward(self, losses) should be forward(self, losses, shared)"),
    ],
)
def test_a_loss_takes_what_its_base_class_takes(loss: type[Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        check_methods("loss", loss)
    assert str(error.value) == f"loss {loss.__name__}: {message}"


@dataclass(frozen=True)
class NoParts:
    name = "mine"
    ships = ()

    def ready(self) -> Any: ...

    def read(self) -> Any: ...


class NoName(NoParts):
    def parts(self, data: Interactions) -> Split: ...  # type: ignore[empty-body]


def one(prediction: Tensor) -> Tensor:
    return prediction.mean()


def refusal(**nodes: Any) -> str:
    """Why the default configuration with other nodes is refused."""
    cfg = compose_config([*SYNTHETIC])
    with open_dict(cfg):
        for group, node in nodes.items():
            cfg[group] = node
    with pytest.raises(UserError) as error:
        check_config(cfg)
    return str(error.value)


def test_a_configuration_is_refused_before_anything_is_read() -> None:
    path = f"{__name__}."
    assert refusal(data={"_target_": f"{path}NoParts"}) == (
        f"data._target_={path}NoParts: as a Source of data/schema.py it needs parts"
    )
    assert refusal(data={"_target_": f"{path}NoName"}) == (
        "data NoName: parts(self, data) should be parts(self, name, data)"
    )
    assert refusal(loss={"_target_": f"{path}one", "_partial_": True}) == (
        f"model BiasedMF needs a RatingLoss of (prediction, rating), which {path}one is not: loss=mse"
    )
    assert refusal(model={"_target_": f"{path}SetsUpNothing", "_partial_": True}) == (
        "model SetsUpNothing: setup(self) should be setup(self, stage)"
    )
    assert refusal(model={"_target_": f"{path}NoStar", "_partial_": True, "dim": 3}) == (
        "model.dim: NoStar takes settings behind * only: put it there"
    )
