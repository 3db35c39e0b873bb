"""What a run leaves beside its metrics: HParams; where asked for, vectors and a comparison with baselines."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig, OmegaConf
from torch.utils.tensorboard.summary import hparams

from recsweep.atomic import write_json
from recsweep.config import rival_node
from recsweep.data.datamodules import InteractionData
from recsweep.errors import UserError
from recsweep.evaluation import Target, evaluate
from recsweep.models.base import RecModule
from recsweep.models.baselines import Baseline
from recsweep.runs import build
from recsweep.runs.comparison import Curve, comparison
from recsweep.runs.folder import final_model
from recsweep.vectors.export import Embedded, export_vectors, show_in_projector


def hyperparameters(logger: TensorBoardLogger, asked: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
    """Logs what was asked for and what came of it as one row of TensorBoard's HParams.

    Lightning also writes the columns of the table into every run, and TensorBoard takes those of the first run it meets
    for the whole sweep, so that another model's settings have none. Without them it gathers the columns of all runs.
    """
    logger.log_hyperparams(dict(asked))
    logger.log_metrics(dict(metrics))
    _, start, end = hparams(dict(asked), {})
    for summary in (start, end):
        logger.experiment._get_file_writer().add_summary(summary)


def vectors(cfg: DictConfig, data: InteractionData, folder: Path, logger: TensorBoardLogger | None) -> None:
    """Writes the final model's vectors to `embeddings/`, and shows the items' in TensorBoard's projector."""
    final = final_model(cfg, data, folder)
    assert isinstance(final, Embedded), "the configuration was checked"
    known = data.whole() if cfg.trainer.refit else data
    export_vectors(final, known.train, folder / "embeddings")
    if logger:
        show_in_projector(logger.experiment, final, data.data)


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
    write_json(
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
