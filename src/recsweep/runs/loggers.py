"""Where curves, settings and final metrics go besides the run's own files: Lightning's loggers, several at once."""

import importlib.util
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from omegaconf import DictConfig

from recsweep.errors import UserError, summarize_error
from recsweep.runs import build, exports

log = logging.getLogger(__name__)

MAX_NAME = 128
"""Characters of a run's name, the limit of Weights & Biases."""
NOT_IN_NAMES = ("logger", "tags", "paths", "callbacks", "name", "debug")


def name_run(overrides: Sequence[str], folder: Path) -> str:
    """The run's name for loggers: its overrides, such as `loss=bpr seed=1`; without any, that of its folder."""
    words = [word for word in overrides if word.lstrip("+~").split("=")[0].split(".")[0] not in NOT_IN_NAMES]
    return " ".join(words)[:MAX_NAME] or folder.name


def check_loggers(cfg: DictConfig) -> None:
    """Raises `UserError` where the package behind a logger is missing, or the logger cannot work."""
    for name in ("wandb", "mlflow"):
        if cfg.logger.get(name) and importlib.util.find_spec(name) is None:
            raise UserError(f"logger={name} is not installed: pip install 'recsweep[{name}]'")
    if cfg.logger.get("wandb") and cfg.trainer.processes > 1:
        raise UserError(
            f"trainer.processes={cfg.trainer.processes}: a run of wandb belongs to the process that starts it: take "
            "another logger"
        )


@contextmanager
def open_loggers(cfg: DictConfig, folder: Path, name: str, curves: Path) -> Iterator[list[Logger]]:
    """The loggers that the configuration names; none in a `fast_dev_run`.

    Runs of wandb and MLflow end with the block, as failed where it raises.

    Args:
        name: of the run, for wandb and MLflow.
        curves: the folder of TensorBoard's files; TensorBoard names the run by its path.
    """
    loggers = [] if build.fast_dev_run(cfg) else _build_loggers(cfg, folder, name, curves)
    try:
        yield loggers
    except BaseException:
        _end(loggers, "failed")
        raise
    _end(loggers, "success")


def _build_loggers(cfg: DictConfig, folder: Path, name: str, curves: Path) -> list[Logger]:
    check_loggers(cfg)  # a resumed run may be on another machine
    loggers: list[Logger] = []
    if cfg.logger.get("tensorboard"):
        loggers.append(TensorBoardLogger(curves, "", "", default_hp_metric=False))
    if cfg.logger.get("csv"):
        loggers.append(CSVLogger(folder, "csv"))
    if cfg.logger.get("wandb"):
        loggers.append(_start("wandb", lambda: _build_wandb(cfg, folder, name)))
    if cfg.logger.get("mlflow"):
        loggers.append(_start("mlflow", lambda: _build_mlflow(cfg, name)))
    return loggers


def _start(kind: str, build_logger: Any) -> Logger:
    """The logger with its run started; `UserError` where its server does not let it."""
    try:
        logger: Logger = build_logger()
        _ = logger.experiment  # type: ignore[attr-defined]
    except Exception as error:  # of its client, whichever it is
        raise UserError(f"logger={kind}: {summarize_error(error)}") from None
    return logger


def _build_wandb(cfg: DictConfig, folder: Path, name: str) -> WandbLogger:
    import wandb  # it takes a second

    node = cfg.logger.wandb
    return WandbLogger(
        name,
        folder,
        offline=node.offline,
        project=node.project,
        entity=node.entity,
        tags=list(cfg.get("tags", [])),
        settings=wandb.Settings(silent=True, console="off"),
    )


def _build_mlflow(cfg: DictConfig, name: str) -> MLFlowLogger:
    uri = cfg.paths.mlflow
    if "://" not in uri and uri != "databricks":
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        uri = Path(uri).absolute().as_uri()
    tags = dict.fromkeys(cfg.get("tags", []), "true")
    return MLFlowLogger(cfg.logger.mlflow.experiment, run_name=name, tracking_uri=uri, tags=tags)


def log_results(
    loggers: Sequence[Logger],
    settings: Mapping[str, Any],
    columns: Mapping[str, Any],
    metrics: Mapping[str, float],
    objective: str,
    epochs: Mapping[str, Any],
) -> None:
    """Logs the run's settings and final metrics: test, and as `best/val/…` the chosen epoch; `val/…` is the curve.

    TensorBoard gets the objective alone: it has the curves, and would show a card with one point for every metric.

    Args:
        columns: those of the settings that TensorBoard's HParams shows.
        epochs: from `folder.describe_epochs`.
    """
    final = {f"best/{name}" if name.startswith("val/") else name: value for name, value in metrics.items()}
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            exports.log_objective(logger, metrics, objective, epochs["chosen_epoch"])
            exports.log_hyperparameters(logger, columns)
        else:
            logger.log_hyperparams(dict(settings))
            logger.log_metrics(final, step=epochs["epochs"] or 0)
        logger.finalize("success")


def _end(loggers: Sequence[Logger], status: str) -> None:
    for logger in loggers:
        try:
            if isinstance(logger, WandbLogger):  # otherwise the next job of a sweep would go on with this run
                logger.experiment.finish(exit_code=int(status == "failed"))
            elif isinstance(logger, MLFlowLogger):
                logger.finalize(status)
        except Exception:  # the run itself is whole
            log.warning("A logger could not end its run.", exc_info=True)
