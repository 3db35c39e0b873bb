"""What a run leaves beside its metrics where asked for: vectors, and a comparison with baselines on the same rows."""

from pathlib import Path
from typing import Any, cast

from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig, OmegaConf

from recsweep import build, embeddings, runs
from recsweep.comparison import Curve, comparison
from recsweep.config import rival_node
from recsweep.data.datamodules import InteractionData
from recsweep.errors import UserError
from recsweep.evaluation import Target, evaluate
from recsweep.models.base import RecModule
from recsweep.models.baselines import Baseline


def vectors(cfg: DictConfig, data: InteractionData, folder: Path, logger: TensorBoardLogger | None) -> None:
    """Writes the final model's vectors to `embeddings/`, and shows the items' in TensorBoard's projector."""
    final = runs.final_model(cfg, data, folder)
    assert isinstance(final, embeddings.Embedded), "the configuration was checked"
    known = data.whole() if cfg.trainer.refit else data
    embeddings.export(final, known.train, folder / "embeddings")
    if logger:
        embeddings.project(logger.experiment, final, data.data)


def baselines(
    cfg: DictConfig, data: InteractionData, model: RecModule | Baseline, metrics: dict[str, float], folder: Path
) -> None:
    """Writes `comparison.json`: a model's settings, curve and objective beside those of baselines on the same rows."""
    protocol = build.evaluation(cfg)
    known = data.whole() if cfg.trainer.refit else data
    on_test = {asked.model: _tested(cfg, asked, known, data.target("test")) for asked in cfg.callbacks.compare_with}
    curve = Curve([], [])
    if isinstance(model, RecModule):
        curve = Curve([means["train/loss"] for means in model.epochs], model.objectives)
    settings = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))
    shown = {group: settings[group] for group in ("model", "loss", "regularization", "optimizer", "trainer", "seed")}
    shown["compare_with"] = settings["callbacks"]["compare_with"]
    runs.write_json(
        folder / "comparison.json", comparison(shown, curve, metrics, on_test, protocol.objective, protocol.mode)
    )


def rival(cfg: DictConfig, asked: DictConfig, known: InteractionData) -> Baseline:
    """The baseline of an entry of `callbacks.compare_with`, not yet fitted; `UserError` where data rule it out."""
    other = cfg.copy()
    other.model = rival_node(asked)
    try:
        return cast(Baseline, build.model(other, known))
    except UserError as error:
        raise UserError(f"callbacks.compare_with, model={asked.model}: {error}") from None


def _tested(cfg: DictConfig, asked: DictConfig, known: InteractionData, target: Target) -> dict[str, float]:
    """Test metrics of a baseline, fitted on what the run's final model knows."""
    model = rival(cfg, asked, known)
    model.fit(known.train)
    protocol = build.evaluation(cfg).to(build.device(cfg))
    found = evaluate(model.eval().to(build.device(cfg)), protocol, target)
    return {f"test/{metric}": value for metric, value in found.items()}
