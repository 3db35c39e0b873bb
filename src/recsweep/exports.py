"""What a run leaves beside its metrics where asked for: vectors, and a comparison with baselines on the same rows."""

from pathlib import Path
from typing import Any, cast

from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig, OmegaConf

from recsweep import build, embeddings, runs
from recsweep.comparison import Curve, comparison
from recsweep.config import model_node
from recsweep.data.datamodules import InteractionData
from recsweep.evaluation import evaluate
from recsweep.models.base import RecModule
from recsweep.models.baselines import Baseline


def vectors(cfg: DictConfig, data: InteractionData, folder: Path, logger: TensorBoardLogger | None) -> None:
    """Writes the final model's vectors to `embeddings/`, and shows the items' in TensorBoard's projector."""
    final = runs.final_model(cfg, data, folder)
    assert isinstance(final, embeddings.Embedded), "the configuration was checked"
    embeddings.export(final, data.data, folder / "embeddings")
    if logger:
        embeddings.project(logger.experiment, final, data.data)


def baselines(
    cfg: DictConfig, data: InteractionData, model: RecModule, metrics: dict[str, float], folder: Path
) -> None:
    """Writes `comparison.json`: the trained model's settings, curve and objective beside those of baselines."""
    name = build.evaluation(cfg).objective
    rivals = {rival: _tested(cfg, data, rival) for rival in cfg.callbacks.compare_with}
    curve = Curve(model.train_losses, model.objectives)
    settings = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))
    asked = {group: settings[group] for group in ("model", "loss", "regularization", "optimizer", "trainer", "seed")}
    runs.write_json(folder / "comparison.json", comparison(asked, curve, metrics, rivals, name))


def _tested(cfg: DictConfig, data: InteractionData, name: str) -> dict[str, float]:
    """Test metrics of the baseline `name` as its own file sets it up, fitted on what the run's final model knows."""
    rival = cfg.copy()
    rival.model = model_node(name)
    known = data.whole() if cfg.trainer.refit else data
    model = cast(Baseline, build.model(rival, known))
    model.fit(known.train)
    protocol = build.evaluation(cfg).to(build.device(cfg))
    found = evaluate(model.eval().to(build.device(cfg)), protocol, data.target("test"))
    return {f"test/{metric}": value for metric, value in found.items()}
