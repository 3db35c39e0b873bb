"""Which choices go together: derived from what models and losses say, and anchored in pairs that are known."""

import pytest
from choices import (
    configuration,
    fill_missing,
    fitting_evaluations,
    fitting_losses,
    models,
    names,
    node,
    shipped_splits,
    target,
    trained_models,
)
from torch import Tensor

from recsweep.config import check_config, compose_config
from recsweep.config.combinations import check_combination, fits
from recsweep.errors import UserError
from recsweep.evaluation import RankingEvaluation, RatingEvaluation
from recsweep.losses.binary import BinaryLoss, bce
from recsweep.losses.multitask import Balance, Fixed
from recsweep.losses.off_policy import OffPolicyLoss, ce, ips_2
from recsweep.losses.ranking import Full, RankingLoss, bpr
from recsweep.losses.rating import RatingLoss, l2, mse
from recsweep.losses.temporal import DDPG, TemporalLoss

TRAINED = trained_models()


def message(*overrides: str, **chosen: str) -> str | None:
    """How choices do not go together once these groups are replaced; None where they do. Each alone is checked by
    test_files."""
    cfg = configuration(*overrides).copy()
    cfg.update({group: node(group, name) for group, name in chosen.items()})
    if chosen.get("data") in ("bandit", "positives"):  # these build on another data set
        cfg.data.base = node("data/base", "synthetic")
    fill_missing(cfg)
    try:
        check_combination(cfg)
    except UserError as error:
        return str(error)
    return None


LOSSES_BY_MODEL = {
    "biased_mf": (["mse"], ["bce", "bpr", "ce", "ddpg", "bpr_mse"]),
    "bpr_mf": (
        ["bpr", "full_softmax", "gbce", "in_batch", "mixed", "sampled_softmax"],
        ["mse", "bpr_mse", "ce", "td3"],
    ),
    "two_tower": (["bpr", "full_softmax", "gbce", "in_batch", "mixed", "sampled_softmax"], ["mse", "uncertainty"]),
    "multitask": (["bpr_mse", "full_softmax_mse", "gradnorm", "uncertainty"], ["bpr", "mse", "ips_1"]),
    "drr": (["ddpg", "td3"], ["bpr", "mse", "dr"]),
    "nominator": (["ce", "dr", "ips_1", "ips_2", "snips", "top_k"], ["bce", "full_softmax", "mse"]),
    "ranker": (["bce"], ["ce", "mse", "bpr"]),
    "logging_policy": (["bce"], ["ce", "mse"]),
}
"""Losses that a model is trained with, and some that it is not."""


@pytest.mark.parametrize("model", LOSSES_BY_MODEL)
def test_known_pairs_of_model_and_loss(model: str) -> None:
    fitting, others = LOSSES_BY_MODEL[model]
    found = fitting_losses(TRAINED[model])
    assert set(fitting) <= set(found) and not set(others) & set(found)


def test_every_model_has_a_loss_and_every_loss_a_model() -> None:
    losses = {model: fitting_losses(kind) for model, kind in TRAINED.items()}
    assert [model for model, fitting in losses.items() if not fitting] == []
    assert {loss for fitting in losses.values() for loss in fitting} == set(names("loss"))


ARGUMENTS = {
    "RatingLoss": " of (prediction, rating)",
    "BinaryLoss": " of (logits, label)",
    "OffPolicyLoss": " of (logits, action, propensity, reward, ranker_logits, predicted_reward, generator)",
}


@pytest.mark.parametrize("loss", names("loss"))
def test_models_and_losses(loss: str) -> None:
    """A pair that does not fit is refused with the losses that do."""
    path = node("loss", loss)._target_
    for model, kind in TRAINED.items():
        fitting = fitting_losses(kind)
        found = message(f"model={model}", loss=loss)
        wanted = f"{kind.losses.__name__}{ARGUMENTS.get(kind.losses.__name__, '')}"
        needs = f"model {kind.__name__} needs a {wanted}, which {path} is not: loss={'|'.join(fitting)}"
        assert found == (None if loss in fitting else needs)


@pytest.mark.parametrize("evaluation", names("evaluation"))
def test_models_and_evaluations(evaluation: str) -> None:
    for model, kind in models().items():
        fitting = fitting_evaluations(kind)
        found = message(f"model={model}", evaluation=evaluation)
        judge = target("evaluation", evaluation).__name__
        expected = f"model {kind.__name__} cannot be judged by {judge}: evaluation={'|'.join(fitting)}"
        assert found == (None if evaluation in fitting else expected)


@pytest.mark.parametrize(
    ("model", "evaluations"),
    [
        ("means", ["full_ranking", "rating", "sampled_99"]),
        ("popularity", ["full_ranking", "sampled_99", "sessions", "two_stage"]),
        ("multitask", ["joint"]),
        ("nominator", ["off_policy", "two_stage"]),
        ("simulator", ["binary"]),
    ],
)
def test_known_pairs_of_model_and_evaluation(model: str, evaluations: list[str]) -> None:
    assert set(evaluations) <= set(fitting_evaluations(models()[model]))
    if model == "popularity":
        assert RatingEvaluation not in models()[model].evaluations
    if model == "means":
        assert RankingEvaluation in models()[model].evaluations


SPARSE = ("biased_mf", "bpr_mf")
"""Models that are embeddings alone."""


@pytest.mark.parametrize("regularization", ["default", "none"])
def test_sparse_adam_and_models(regularization: str) -> None:
    for model, kind in TRAINED.items():
        found = message(f"model={model}", optimizer="sparse_adam", regularization=regularization)
        expected = None
        if regularization == "default":
            expected = "regularization.weight_decay=0.0001: SparseAdam has none; set it to 0"
        elif model not in SPARSE:
            expected = f"model {kind.__name__} has dense layers, which SparseAdam cannot train: take adamw"
        assert found == expected


def kinds_of_data() -> list[str]:
    """One choice of each class and way to have times: published tables differ in the names of their columns only."""
    kinds = {(target("data", name), node("data", name).get("timestamp", "") is None): name for name in names("data")}
    return sorted(kinds.values())


@pytest.mark.parametrize("data", kinds_of_data())
def test_data_and_splits(data: str) -> None:
    """Splits of a name, such as u1, differ in the name alone: of those that the data do not ship, one is tried."""
    shipped = shipped_splits(data)
    cuts = [split for split in names("split") if "name" not in node("split", split)]
    assert set(cuts) >= {"leave_last_out", "random", "rows", "temporal"}
    others = [split for split in names("split") if split not in [*cuts, *shipped]]
    for split in [*cuts, *shipped, *others[-1:]]:
        expected = None
        if split in others:
            expected = f"this data ships no split {split}: split={'|'.join([*shipped, *cuts])}"
        if data == "bandit" and split in cuts:
            expected = "data.rows=log has parts of its own: split=given"
        if data in ("coat", "kuairec", "kuairand_pure") and split in cuts:
            expected = (
                "data.with_test=true: this data's test rows are for a fair test and are never split again; take "
                "split=given, or data.with_test=false to split the other rows"
            )
        has_no_times = "timestamp" in node("data", data) and node("data", data).timestamp is None
        if has_no_times and getattr(target("split", split), "needs_times", False):
            expected = "data.timestamp=null: this split needs times; name their column, or use split=random"
        assert message("split=random", data=data, split=split) == expected


def test_data_sets_ship_their_splits() -> None:
    assert set(shipped_splits("ml_100k")) == {"u1", "u2", "u3", "u4", "u5", "ua", "ub"}
    assert [shipped_splits(name) for name in ("bandit", "ncf_ml_1m", "sequences")] == [["given"]] * 3
    assert not shipped_splits("table") and not shipped_splits("synthetic")


def test_a_fair_test_is_never_split_again() -> None:
    """Neither below another data set; without the test rows any split may divide the rest."""
    cfg = configuration("data=coat", "split=random", "data.with_test=false")
    check_config(cfg)
    cfg = configuration("data=positives", "data/base=coat")
    with pytest.raises(UserError, match=r"^data\.base\.with_test=true: .*, or data\.base\.with_test=false to split"):
        check_config(cfg)


def test_data_must_be_a_source() -> None:
    cfg = configuration("split=random").copy()
    cfg.data = {"_target_": "recsweep.losses.ranking.Full"}
    lacks = r"as a Source of data/schema\.py it needs ships, ready, read, parts$"
    with pytest.raises(UserError, match=rf"^data\._target_=recsweep\.losses\.ranking\.Full: {lacks}"):
        check_config(cfg)


def renamed(guess: Tensor, rating: Tensor) -> Tensor:
    return (guess - rating).mean()


def hungry(prediction: Tensor, rating: Tensor, user: Tensor) -> Tensor:
    return (prediction - rating + user).mean()


def short(prediction: Tensor) -> Tensor:
    return prediction.mean()


class Huber:
    """A loss that is a class of callables."""

    def __call__(self, prediction: Tensor, rating: Tensor) -> Tensor:
        return (prediction - rating).abs().mean()


@pytest.mark.parametrize(
    ("loss", "kind", "expected"),
    [
        (mse, RatingLoss, True),
        (Huber, RatingLoss, True),
        (l2, RatingLoss, False),  # takes any number of tables
        (renamed, RatingLoss, True),
        (hungry, RatingLoss, False),
        (short, RatingLoss, False),
        (DDPG, RatingLoss, False),
        (print, RatingLoss, False),
        (bce, BinaryLoss, True),
        (ce, BinaryLoss, False),
        (bce, OffPolicyLoss, False),
        (ce, OffPolicyLoss, True),
        (ips_2, OffPolicyLoss, True),
        (Full, RankingLoss, True),
        (bpr, RankingLoss, False),  # says nothing of competitors
        (Fixed, Balance, True),
        (Fixed, RankingLoss, False),
        (DDPG, TemporalLoss, True),
    ],
)
def test_a_loss_fits_a_kind(loss: object, kind: type, expected: bool) -> None:
    """By its base class, or by the names of the arguments that it takes."""
    assert fits(loss, kind) is expected


@pytest.mark.parametrize("split", ["leave_last_out", "temporal", "global_time", "rolling"])
def test_splits_in_time_need_a_column_of_times(split: str) -> None:
    table = ["data=table", "data.path=file.csv", "model=means", f"split={split}"]
    with pytest.raises(UserError, match=r"^data\.timestamp=null: this split needs times; name their column, or use"):
        compose_config(table)
    compose_config([*table, "data.timestamp=when"])
