"""What a run writes besides its metrics: HParams, and on request vectors and a comparison with baselines."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

from lightning.pytorch.loggers import Logger, TensorBoardLogger
from omegaconf import DictConfig, OmegaConf
from torch.utils.tensorboard.summary import hparams

from recsweep.atomic import write_json
from recsweep.config.combinations import baseline_node
from recsweep.data.datamodules import InteractionData
from recsweep.errors import UserError
from recsweep.evaluation import evaluate
from recsweep.models.base import RecModule, objective_tags
from recsweep.models.baselines import Baseline
from recsweep.models.item_item import ItemItem
from recsweep.models.retrieval import Retrieval
from recsweep.runs import build
from recsweep.runs.comparison import Curve, comparison
from recsweep.runs.folder import load_final_model
from recsweep.vectors.export import Embedded, export_vectors, show_in_projector


def log_objective(
    logger: TensorBoardLogger, metrics: Mapping[str, float], objective: str, chosen_epoch: int | None
) -> None:
    """Logs the objective on test, at the chosen epoch.

    A model without epochs has no curves: its validation metrics are points at epoch 0, among the curves of others.
    """
    test = f"test/{objective}"
    final = {test: metrics[test]}
    if chosen_epoch is None:
        final |= {name: value for name, value in metrics.items() if name.startswith("val/")}
        final |= objective_tags(objective, metrics[f"val/{objective}"], metrics[f"val/{objective}"])
    logger.log_metrics(final, step=chosen_epoch or 0)


def log_hyperparameters(logger: TensorBoardLogger, columns: Mapping[str, Any]) -> None:
    """Logs the run as one row of TensorBoard's HParams, which also has the last value of each scalar.

    Lightning would also write the columns of the table into every run. TensorBoard would take those of the first run
    for the whole sweep, and settings of other models would have no column. Without them it collects the columns of all
    runs.

    Args:
        columns: the settings that the table shows.
    """
    _, start, end = hparams(dict(columns), {})
    for summary in (start, end):
        logger.experiment._get_file_writer().add_summary(summary)


def write_vectors(cfg: DictConfig, data: InteractionData, folder: Path, loggers: Sequence[Logger]) -> None:
    """Writes the final model's vectors to `embeddings/`, and shows those of the items in TensorBoard's projector.

    Histories are those of the rows that the model was trained on: other runs on the same rows can start from them.
    """
    model = load_final_model(cfg, data, folder)
    assert isinstance(model, Embedded), "the configuration was checked"
    trained_on = data.refit_data() if cfg.trainer.refit else data
    if isinstance(model, Retrieval):
        model.remember(trained_on.train)
    export_vectors(model, trained_on.train, folder / "embeddings")
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            show_in_projector(logger.experiment, model, data.data)


def write_comparison(
    cfg: DictConfig, data: InteractionData, model: RecModule | Baseline, metrics: dict[str, float], folder: Path
) -> None:
    """Writes `comparison.json`: a model's settings, curve and objective, and metrics of baselines on the same rows."""
    protocol = build.evaluation(cfg)
    baselines = {node.model: _baseline_metrics(cfg, node, data) for node in cfg.callbacks.compare_with}
    curve = Curve([], [])
    if isinstance(model, RecModule):
        curve = Curve([means["train/loss"] for means in model.epochs], model.objectives)
    config = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))
    settings = {group: config[group] for group in ("model", "loss", "regularization", "optimizer", "trainer", "seed")}
    settings["compare_with"] = config["callbacks"]["compare_with"]
    content = comparison(settings, curve, metrics, baselines, protocol.objective, protocol.mode)
    write_json(folder / "comparison.json", content)


def build_baseline(cfg: DictConfig, node: DictConfig, data: InteractionData) -> Baseline:
    """The baseline of an entry of `callbacks.compare_with`, not fitted; `UserError` where it cannot take these data."""
    baseline_cfg = cfg.copy()
    baseline_cfg.model = baseline_node(node)
    try:
        return cast(Baseline, build.model(baseline_cfg, data))
    except UserError as error:
        raise UserError(f"callbacks.compare_with, model={node.model}: {error}") from None


def _baseline_metrics(cfg: DictConfig, node: DictConfig, data: InteractionData) -> dict[str, float]:
    """`val/…` of a baseline fitted on train, and `test/…` of one fitted on the rows of the run's final model."""
    model, protocol = build_baseline(cfg, node, data), build.evaluation(cfg).to(build.device(cfg))

    def judge_part(part: Literal["val", "test"]) -> dict[str, float]:
        metrics = evaluate(model.eval().to(build.device(cfg)), protocol, data.target(part))
        return {f"{part}/{metric}": value for metric, value in metrics.items()}

    model.fit(data.train)
    on_val = judge_part("val")
    if cfg.trainer.refit:
        model.fit(data.refit_data().train)
    elif isinstance(model, ItemItem):
        model.remember(data.refit_data().train)
    return {**on_val, **judge_part("test")}
