"""A run's folder: its checkpoints, saved and loaded, and the content of its metrics.json."""

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig
from torch import nn

from recsweep.data.datamodules import InteractionData
from recsweep.data.logged import BanditLog
from recsweep.data.truth import Exposure, SyntheticTruth
from recsweep.errors import UserError
from recsweep.evaluation import (
    Evidence,
    JointEvaluation,
    RankingEvaluation,
    RatingEvaluation,
    Scorer,
    SessionEvaluation,
    TwoStageEvaluation,
    evaluate,
)
from recsweep.models.base import RecModule
from recsweep.models.baselines import Baseline
from recsweep.models.identity import check_identity, identity
from recsweep.models.item_item import ItemItem
from recsweep.models.retrieval import Retrieval
from recsweep.runs import build
from recsweep.runs.checkpoints import explain_checkpoint, read_checkpoint, write_checkpoint
from recsweep.runs.evidence import write_evidence

BEST = "best.ckpt"  # weights of the epoch that validation chose
LAST = "last.ckpt"  # all of the training state, to resume from
REFIT = "refit.ckpt"  # weights after a second training, on train + validation
WITH_ORACLE = (RatingEvaluation, RankingEvaluation, SessionEvaluation, JointEvaluation, TwoStageEvaluation)
"""Protocols with an oracle on synthetic data: the best possible model."""


def save_weights(path: Path, model: nn.Module, data: InteractionData) -> None:
    """Saves a model without its training state: a baseline, or a refitted model."""
    write_checkpoint(path, {"state_dict": model.state_dict(), "recsweep": {"trained_on": identity(data)}})


def load_weights(path: Path, model: nn.Module, data: InteractionData) -> None:
    """Loads a checkpoint into the model; `UserError` where it is missing, damaged, of other data or another model."""
    checkpoint = read_checkpoint(path)
    with explain_checkpoint(path):
        trained_on, weights = checkpoint["recsweep"]["trained_on"], checkpoint["state_dict"]
        try:
            check_identity(trained_on, identity(data))
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        try:
            model.load_state_dict(weights)
        except RuntimeError:
            raise UserError(f"{path}: the weights of another model; leave model and loss as the run had them") from None


def check_size(model: nn.Module, data: InteractionData, max_mb: float) -> None:
    """Raises `UserError` where a saved model, its weights and ids, would exceed `max_mb` (10**6 bytes)."""
    weights = sum(tensor.nbytes for tensor in model.state_dict().values())
    ids = sum(ids.raw.nbytes for ids in (data.data.user_ids, data.data.item_ids))
    size = (weights + ids) / 1e6
    if size > max_mb:
        raise UserError(
            f"a saved model would take {size:.1f} MB, above callbacks.checkpoint.max_mb={max_mb}: "
            "lower model.embedding_dim, or raise the limit"
        )


def load_final_model(cfg: DictConfig, data: InteractionData, folder: Path) -> RecModule | Baseline:
    """The model that a run ended with, in eval mode on its device: the refitted one where there was a refit.

    What users had includes the validation rows: histories, and the items from which a model with weights between items
    scores. A model that has not learned from these rows knows them as what came before.
    """
    if cfg.trainer.refit:
        return _load_model(cfg, data.refit_data(), folder / "checkpoints" / REFIT)
    model = load_chosen_model(cfg, data, folder)
    if isinstance(model, Retrieval | ItemItem):
        model.remember(data.refit_data().train)
    return model


def load_chosen_model(cfg: DictConfig, data: InteractionData, folder: Path) -> RecModule | Baseline:
    """The model of the epoch that validation chose, which has learned from train alone, in eval mode on its device."""
    return _load_model(cfg, data, folder / "checkpoints" / BEST)


def _load_model(cfg: DictConfig, data: InteractionData, path: Path) -> RecModule | Baseline:
    model = build.model(cfg, data)
    load_weights(path, model, data)
    return model.eval().to(build.device(cfg))


def judge(cfg: DictConfig, data: InteractionData, folder: Path, leaves_evidence: bool = False) -> dict[str, float]:
    """`val/…` of the epoch that validation chose and `test/…` of the final model, from their checkpoints.

    Args:
        leaves_evidence: whether to write `evidence/` into the folder.
    """
    evidence_folder = folder if leaves_evidence else None
    on_val = judge_part(cfg, data, "val", load_chosen_model(cfg, data, folder), evidence_folder)
    return on_val | judge_part(cfg, data, "test", load_final_model(cfg, data, folder), evidence_folder)


def judge_part(
    cfg: DictConfig, data: InteractionData, part: Literal["val", "test"], scorer: Scorer, evidence_folder: Path | None
) -> dict[str, float]:
    """The metrics of `scorer` on a part, under their names with the part's before them.

    Args:
        evidence_folder: the run's folder, to write `evidence/` into it; None writes nothing.
    """
    protocol, target = build.evaluation(cfg).to(build.device(cfg)), data.target(part)
    evidence = list[Evidence]()
    metrics = evaluate(scorer, protocol, target, evidence.append if evidence_folder else None)
    if evidence_folder:
        write_evidence(evidence_folder, part, target, evidence)
    return {f"{part}/{name}": value for name, value in metrics.items()}


def oracle_metrics(cfg: DictConfig, data: InteractionData) -> dict[str, float]:
    """Test metrics of the best possible model, which knows how synthetic data were drawn; empty for other data.

    It predicts a rating by its expectation. It ranks by the probability that the user is exposed to the item, since
    users do not rate what they like best; where only liked rows count (`data.above`), times the probability of liking
    it. In two stages it nominates and ranks; its value as a policy is known, not estimated.
    It knows that no user has an item twice, so it ranks unseen items only, whatever `evaluation.mask_seen` says.
    """
    protocol, target = build.evaluation(cfg), data.target("test")
    truth: Scorer | None = target.data.truth
    if isinstance(protocol, RankingEvaluation | SessionEvaluation | JointEvaluation):
        truth = Exposure(truth, cfg.data.get("above")) if isinstance(truth, SyntheticTruth) else None
    if truth is None or not isinstance(protocol, WITH_ORACLE):
        return {}
    if isinstance(target.data, BanditLog):
        target = target._replace(data=target.data.with_true_ranker())
    if isinstance(protocol, RankingEvaluation):
        protocol.mask_seen = True
    metrics = evaluate(truth, protocol, target)
    exact = {name: value for name, value in metrics.items() if name == "off_policy/true" or "off_policy" not in name}
    return {f"test/{name}": value for name, value in exact.items()}


def describe_epochs(model: RecModule | Baseline) -> dict[str, Any]:
    """What metrics.json says about the epochs of the training that selects: how many, which was chosen, from 1 on."""
    if isinstance(model, Baseline):
        return {"epochs": None, "chosen_epoch": None, "ended_by": "no epochs"}
    n_epochs = len(model.objectives)
    ended_by = "max_epochs" if n_epochs == model.training_setup.max_epochs else "early stopping"
    return {"epochs": n_epochs, "chosen_epoch": model.best_epoch + 1, "ended_by": ended_by}


def describe_run(cfg: DictConfig, data: InteractionData, model: RecModule | Baseline) -> dict[str, Any]:
    """What metrics.json says besides metrics: the data, their sizes and fingerprints, the model's size, versions."""
    parameters = model.state_dict().values() if isinstance(model, Baseline) else model.parameters()
    return {
        "n_parameters": sum(tensor.numel() for tensor in parameters),
        "simple_baseline": model.simple_baseline,
        **describe_data(data),
    }


def describe_data(data: InteractionData) -> dict[str, Any]:
    """What metrics.json says about the data, their sizes and fingerprints, and about versions."""
    rows, split = data.data, data.split
    packages = ("recsweep", "torch", "lightning", "hydra-core")
    return {
        "data": {
            "name": rows.name,
            "n_users": rows.n_users,
            "n_items": rows.n_items,
            "n_interactions": len(rows),
            "train": len(split.train),
            "val": len(split.val),
            "test": len(split.test),
            "fingerprint": data.fingerprints.data,
            "split_fingerprint": data.fingerprints.split,
        },
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
    }
