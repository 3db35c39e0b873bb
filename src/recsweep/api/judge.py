"""Judges anybody's scores under the project's protocol, and leaves a run's folder that stands in reports."""

import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig

from recsweep.api.given import FunctionScores, ScoreFunction, TableScores, read_scores
from recsweep.atomic import write_json
from recsweep.config import check_config
from recsweep.config.overrides import check_single
from recsweep.data.datamodules import InteractionData
from recsweep.errors import UserError
from recsweep.runs import build
from recsweep.runs.folder import describe_data, judge_part, oracle_metrics
from recsweep.runs.memory import explain_memory
from recsweep.runs.provenance import describe_command, describe_start
from recsweep.runs.record import GIVEN_SCORES, Record, freeze, has_record, write_record, write_start
from recsweep.runs.recorded import compose_today, key_of
from recsweep.terminal import print_line

STAND_INS = {"RatingEvaluation": "means", "RankingEvaluation": "popularity", "SessionEvaluation": "popularity"}
"""A model that fits the evaluation: the configuration is checked with it, and recorded without."""

NAME = re.compile(r"[\w.+-]+")


def evaluate(
    scores: str | Path | pd.DataFrame | ScoreFunction,
    *,
    data: str,
    split: str | None = None,
    evaluation: str = "full_ranking",
    name: str = "scores",
    to: str | Path | None = None,
    overrides: Sequence[str] = (),
) -> dict[str, float]:
    """Judges scores from elsewhere on validation and test, as every model of the project is judged.

    It leaves a run's folder with metrics, record and evidence, which stands in reports beside the runs of models on the
    same data, split and evaluation.

    Args:
        scores: a Parquet file or a data frame with columns `user`, `item` (raw ids) and `score`, each pair once; or a
            function of the raw ids of users [n] and items [n] that returns scores [n]. A pair that a table lacks counts
            as lowest; one line on stderr says how many are missing.
        data, split, evaluation: choices of these groups, as on the command line. Without `split`, the data's own.
        name: what reports call the scores, in place of a model's name.
        to: the folder of the run; `outputs/NAME/TIME` without it.
        overrides: further settings, such as `"data.path=ratings.csv"`; `"trainer.refit=true"` says that the scores were
            learned from validation rows, too.

    Returns:
        the metrics, `val/…` and `test/…`.

    Raises:
        UserError: a setting is wrong, an id is unknown, a pair stands twice, a score is NaN, or the folder is taken.
    """
    if not NAME.fullmatch(name):
        raise UserError(f"name={name}: letters, digits and . _ + - only; it becomes a folder")
    words = [f"data={data}", *([f"split={split}"] if split else []), f"evaluation={evaluation}", *overrides]
    record, cfg = _compose(words, name, _describe(scores))
    folder = Path(to) if to else Path("outputs", name, datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f"))
    if has_record(folder):
        raise UserError(f"{folder}: holds a run already; name another folder")
    start = time.perf_counter()
    provenance = {**describe_command([]), "command": f"recsweep.evaluate, {' '.join(words)}", **describe_start()}
    with explain_memory():
        parts = build.data(cfg)
        scorer = _build_scorer(scores, parts)
        folder.mkdir(parents=True, exist_ok=True)
        data_end = time.perf_counter()
        metrics: dict[str, float] = {}
        for part in ("val", "test"):
            metrics |= judge_part(cfg, parts, part, scorer, folder)
            if isinstance(scorer, TableScores):
                _print_missing(scorer, parts, part)
        end = time.perf_counter()
        seconds = {"data": data_end - start, "test": end - data_end, "total": end - start}
        write_run(folder, record, cfg, parts, metrics, provenance, {"seconds": seconds})
    return metrics


def write_run(
    folder: Path,
    record: Record,
    cfg: DictConfig,
    parts: InteractionData,
    metrics: Mapping[str, float],
    provenance: Mapping[str, Any],
    details: Mapping[str, Any],
) -> None:
    """Writes the record and metrics.json of a run that judged scores, and has no model of its own.

    Args:
        folder: with the evidence.
        provenance: command, machine and time.
        details: what else metrics.json says, such as `seconds`.
    """
    protocol, description = build.evaluation(cfg), describe_data(parts)
    key = f"val/{protocol.objective}"
    outcome = {
        "status": "completed",
        "objective": {"name": key, "value": metrics[key], "mode": protocol.mode},
        "metrics": dict(metrics),
        "oracle": oracle_metrics(cfg, parts),
        "tags": list(cfg.get("tags", [])),
        "simple_baseline": False,
        **details,
        **description,
        **provenance,
    }
    write_record(folder, record)
    write_start(folder, {**provenance, **description})
    write_json(folder / "metrics.json", outcome)


def _compose(words: list[str], name: str, source: str) -> tuple[Record, DictConfig]:
    """The record, which has the scores in place of a model, and the configuration."""
    check_single(words)
    for word in words:
        if key_of(word).partition(".")[0] in ("model", "experiment"):
            raise UserError(f"{word}: leave it out; the scores stand in place of a model")
    judged_by = compose_today(words)[0].evaluation._target_.removeprefix("recsweep.evaluation.")
    if judged_by not in STAND_INS:
        raise UserError(
            f"{judged_by} judges more than scores of pairs: evaluation=full_ranking, sampled_99, sessions or rating"
        )
    cfg, choices = compose_today([f"model={STAND_INS[judged_by]}", *words])
    check_config(cfg)
    config: dict[str, Any] = freeze(cfg) | {"model": {GIVEN_SCORES: source}, "name": name}
    overrides = [f"model={name}", *words]
    return Record(config=config, choices=choices | {"model": name}, overrides=overrides, cwd=str(Path.cwd())), cfg


def _describe(scores: str | Path | pd.DataFrame | ScoreFunction) -> str:
    if isinstance(scores, str | Path):
        return str(scores)
    return "a data frame" if isinstance(scores, pd.DataFrame) else f"function {getattr(scores, '__name__', '')}".strip()


def _build_scorer(
    scores: str | Path | pd.DataFrame | ScoreFunction, parts: InteractionData
) -> TableScores | FunctionScores:
    if isinstance(scores, str | Path):
        return TableScores(read_scores(Path(scores)), parts.data, str(scores))
    if isinstance(scores, pd.DataFrame):
        return TableScores(scores, parts.data, "scores")
    if not callable(scores):
        raise UserError(f"scores: a {type(scores).__name__}; give a Parquet file, a data frame or a function")
    return FunctionScores(scores, parts.data)


def _print_missing(table: TableScores, parts: InteractionData, part: str) -> None:
    """One line where pairs of the part have no score; starts to count anew."""
    rows, held_out = parts.data, parts.target(part).held_out
    n_held_out = table.count_missing(rows.user[held_out], rows.item[held_out])
    if table.n_missing:
        print_line(
            f"{part}: {n_held_out:,} of {len(held_out):,} held-out pairs, and {table.n_missing:,} of all "
            f"{table.n_asked:,} pairs that were asked for, have no score: they count as lowest",
            stderr=True,
        )
    table.n_asked = table.n_missing = 0
