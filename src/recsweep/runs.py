"""A run's folder: what is written there, and how a model comes back from it."""

import json
import os
import pickle
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from recsweep import build
from recsweep.data.datamodules import InteractionData
from recsweep.errors import UserError
from recsweep.evaluation import evaluate
from recsweep.models.base import RecModule, identity
from recsweep.models.baselines import Baseline

BEST = "best.ckpt"  # weights of the epoch that validation chose
LAST = "last.ckpt"  # all of the training state, to resume from
REFIT = "refit.ckpt"  # weights after training again on train + validation


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes the file whole or not at all."""
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(content, indent=2) + "\n")
    os.replace(partial, path)


def save_weights(path: Path, model: nn.Module, data: InteractionData) -> None:
    """A checkpoint of a model that Lightning does not train: a baseline, or the outcome of a refit."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    torch.save({"state_dict": model.state_dict(), "recsweep": {"ids": identity(data.data)}}, partial)
    os.replace(partial, path)


def load_weights(path: Path, model: nn.Module, data: InteractionData) -> None:
    """Fills the model from a checkpoint; `UserError` where there is none or it belongs to other data."""
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such checkpoint; did the run finish?") from None
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(f"{path}: not a checkpoint of recsweep ({str(error).splitlines()[0]})") from None
    if not _same(checkpoint["recsweep"]["ids"], identity(data.data)):
        raise UserError(f"{path}: trained on other users or items than the data has now; train again")
    model.load_state_dict(checkpoint["state_dict"])


def _same(saved: Mapping[str, Tensor | list[str]], present: Mapping[str, Tensor | list[str]]) -> bool:
    def plain(ids: Tensor | list[str]) -> list[Any]:
        return ids.tolist() if isinstance(ids, Tensor) else ids

    return all(plain(saved[kind]) == plain(ids) for kind, ids in present.items())


def check_size(model: nn.Module, data: InteractionData, max_mb: float) -> None:
    """Raises `UserError` where a saved model, its weights and ids, would exceed `max_mb` (10**6 bytes)."""
    tensors = [*model.state_dict().values()]
    tensors += [ids for ids in identity(data.data).values() if isinstance(ids, Tensor)]
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 1e6
    if size > max_mb:
        raise UserError(
            f"a saved model would take {size:.1f} MB, above callbacks.checkpoint.max_mb={max_mb}: "
            "lower model.embedding_dim, or raise the limit"
        )


def final_model(cfg: DictConfig, data: InteractionData, folder: Path) -> RecModule | Baseline:
    """The model that a run ended with, in eval mode on its device; a refitted one knows validation too."""
    if cfg.trainer.refit:
        return _loaded(cfg, data.whole(), folder / "checkpoints" / REFIT)
    return _loaded(cfg, data, folder / "checkpoints" / BEST)


def _loaded(cfg: DictConfig, data: InteractionData, path: Path) -> RecModule | Baseline:
    model = build.model(cfg, data)
    load_weights(path, model, data)
    return model.eval().to(build.device(cfg))


def judge(cfg: DictConfig, data: InteractionData, folder: Path) -> dict[str, float]:
    """`val/…` of the epoch that validation chose and `test/…` of the final model, from their checkpoints."""
    protocol = build.evaluation(cfg).to(build.device(cfg))
    selected = _loaded(cfg, data, folder / "checkpoints" / BEST)
    on_val = evaluate(selected, protocol, data.target("val"))
    on_test = evaluate(final_model(cfg, data, folder), protocol, data.target("test"))
    return {f"val/{name}": value for name, value in on_val.items()} | {
        f"test/{name}": value for name, value in on_test.items()
    }


def oracle(cfg: DictConfig, data: InteractionData) -> dict[str, float]:
    """Test metrics of the truth that generated the data; empty for real data, whose truth nobody knows."""
    if data.data.truth is None:
        return {}
    found = evaluate(data.data.truth, build.evaluation(cfg), data.target("test"))
    return {f"test/{name}": value for name, value in found.items()}


def facts(cfg: DictConfig, data: InteractionData, model: nn.Module) -> dict[str, Any]:
    """What metrics.json says besides metrics: the data's sizes, the model's, the versions."""
    rows, split = data.data, data.split
    packages = ("recsweep", "torch", "lightning", "hydra-core")
    return {
        "n_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "data": {
            "name": rows.name,
            "n_users": rows.n_users,
            "n_items": rows.n_items,
            "n_interactions": len(rows),
            "train": len(split.train),
            "val": len(split.val),
            "test": len(split.test),
        },
        "versions": {name: version(name) for name in packages},
    }
