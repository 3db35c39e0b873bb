"""Ensembles of the jobs of a sweep, judged as one model and left in the sweep's folder as a run of their own."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

from omegaconf import OmegaConf
from torch import Tensor

from recsweep.api.judge import STAND_INS, write_run
from recsweep.api.mixture import Mixture, Standardized, average, choose_weights, hold_batches
from recsweep.api.run import Run
from recsweep.data.datamodules import InteractionData
from recsweep.errors import UserError
from recsweep.evaluation import RatingEvaluation, Scorer
from recsweep.report.labels import NEUTRAL, REFIT
from recsweep.runs import build
from recsweep.runs.folder import judge_part, load_chosen_model, load_final_model
from recsweep.runs.memory import explain_memory
from recsweep.runs.provenance import describe_command, describe_start
from recsweep.runs.record import ENSEMBLE_OF, Record, has_record
from recsweep.runs.recorded import key_of
from recsweep.sweeps import jobs
from recsweep.terminal import print_line

By = Literal["seed", "all"]
Part = Literal["val", "test"]

SHARED = ("data", "split", "evaluation", "filter")
"""Groups whose choices an ensemble of several configurations shares with its members."""


class Ensemble(NamedTuple):
    """A judged ensemble.

    Args:
        folder: of its run.
        name: what reports call it in place of a model.
        metrics: `val/…` and `test/…`.
        objective: without `val/` or `test/`.
        weights: of each job, by the number of the job.
    """

    folder: Path
    name: str
    metrics: dict[str, float]
    objective: str
    weights: dict[str, float]


def judge_ensembles(sweep: Path, runs: Sequence[Run], by: By, command: list[str]) -> list[Ensemble]:
    """Judges ensembles of completed jobs, and leaves each as a run in the sweep's folder.

    Ratings are averaged as predicted; for rankings, z-scores of each user's scores (`Standardized`). Runs that differ
    in `seed` alone count alike. On validation every model scores as it was when it had learned from train alone.

    Args:
        by: "seed" averages the runs of each configuration that has several; "all" gives one ensemble of all runs, in
            which validation chooses the weight of each configuration.
        command: the words after `recsweep`, for the record.

    Raises:
        UserError: there are too few runs, an evaluation judges more than scores of pairs, runs of one ensemble differ
            in data, split or evaluation, or an ensemble is there already.
    """
    converged = [run for run in runs if _has_converged(run)]
    if len(converged) < len(runs):
        print_line(f"{len(runs) - len(converged)} of {len(runs)} jobs have diverged: left out", stderr=True)
    configurations = list(_group_by_configuration(converged).values())
    if by == "all":
        sets = {"all": configurations}
    else:
        sets = {f"seed_{group[0].folder.name}": [group] for group in configurations if len(group) > 1}
    if not sets or len(converged) < 2:
        wanted = "two runs that differ in seed alone" if by == "seed" else "two completed runs"
        raise UserError(f"sweep={sweep}: ensemble={by} needs {wanted}")
    if by == "seed" and len(sets) < len(configurations):
        n_alone = len(configurations) - len(sets)
        print_line(f"{n_alone} of {len(configurations)} configurations have one run: left out", stderr=True)
    for name, groups in sets.items():
        _check_same([run for group in groups for run in group])
        if has_record(sweep / f"ensemble_{name}"):
            raise UserError(f"{sweep / f'ensemble_{name}'}: holds an ensemble already; delete it to judge another")
    return [_judge(sweep / f"ensemble_{name}", groups, by, command) for name, groups in sets.items()]


def _judge(folder: Path, groups: Sequence[Sequence[Run]], by: By, command: list[str]) -> Ensemble:
    first, start = groups[0][0], time.perf_counter()
    runs = [run for group in groups for run in group]
    with explain_memory():
        cfg, parts = first.config, first.data
        _check_data(first, parts)
        data_end = time.perf_counter()
        shares = _choose_weights(groups, parts)
        weights = {
            run.folder.name: share / len(group) for group, share in zip(groups, shares, strict=True) for run in group
        }
        chosen = [run for run in runs if weights[run.folder.name]]
        choice_end = time.perf_counter()
        folder.mkdir(parents=True, exist_ok=True)
        metrics: dict[str, float] = {}
        for part, load in (("val", load_chosen_model), ("test", load_final_model)):
            members = [(_scale(load(run.config, parts, run.folder), first), weights[run.folder.name]) for run in chosen]
            metrics |= judge_part(cfg, parts, cast(Part, part), Mixture(members), folder)
        end = time.perf_counter()
        seconds = {"data": data_end - start, "choice": choice_end - data_end, "test": end - choice_end}
        details = {
            "seconds": {**seconds, "total": end - start},
            "n_parameters": sum((jobs.read_outcome(run.folder) or {}).get("n_parameters") or 0 for run in chosen),
            "members": [{"job": name, "weight": weight} for name, weight in weights.items()],
        }
        record = _record_seeds(runs) if by == "seed" else _record_all(runs)
        provenance = {**describe_command(command), **describe_start()}
        write_run(folder, record, cfg, parts, metrics, provenance, details)
    name = str(record.choices["model"])
    return Ensemble(folder, name, metrics, build.evaluation(cfg).objective, weights)


def _choose_weights(groups: Sequence[Sequence[Run]], parts: InteractionData) -> list[float]:
    """The share of each configuration, by its models' mean scores on validation."""
    if len(groups) == 1:
        return [1.0]
    first = groups[0][0]
    device = build.device(first.config)
    held = hold_batches(build.evaluation(first.config).to(device), parts.target("val"))

    def record(group: Iterable[Run]) -> Iterator[list[Tensor]]:
        for run in group:  # one model in memory at a time
            yield held.record(_scale(load_chosen_model(run.config, parts, run.folder), first))

    mode = cast(Literal["min", "max"], held.evaluation.mode)
    return choose_weights([average(record(group)) for group in groups], held.judge, mode)


def _scale(model: Scorer, run: Run) -> Scorer:
    """The model with scores that can be averaged under the run's evaluation."""
    return model if isinstance(build.evaluation(run.config), RatingEvaluation) else Standardized(model)


def _group_by_configuration(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """The runs, by all of their settings but `seed` and those that change no result."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        settings: Any = OmegaConf.to_container(run.config)
        for key in ("seed", *NEUTRAL):
            *parents, last = key.split(".")
            node = settings
            for parent in parents:
                node = node.get(parent) or {}
            node.pop(last, None)
        groups.setdefault(json.dumps(settings, sort_keys=True, default=str), []).append(run)
    return groups


def _has_converged(run: Run) -> bool:
    """Whether the run has a finite objective."""
    value = ((jobs.read_outcome(run.folder) or {}).get("objective") or {}).get("value")
    return value is not None and isfinite(value)


def _check_same(runs: Sequence[Run]) -> None:
    """Raises `UserError` where the runs have not the same data, split and evaluation."""
    first = runs[0]
    for run in runs:
        judged_by = run.config.evaluation._target_.rpartition(".")[2]
        if judged_by not in STAND_INS:
            raise UserError(
                f"{run.folder}: {judged_by} judges more than scores of pairs: no ensemble is offered for it"
            )
        for name, expected in _describe_protocol(first).items():
            if _describe_protocol(run)[name] != expected:
                raise UserError(f"{first.folder} and {run.folder} differ in {name}: an ensemble needs the same")


def _describe_protocol(run: Run) -> dict[str, Any]:
    """What the runs of an ensemble share, by its name in messages."""
    data = (jobs.read_outcome(run.folder) or {}).get("data") or {}
    evaluation: Any = OmegaConf.to_container(run.config.evaluation, resolve=True)
    return {
        "data": data.get("fingerprint"),
        "split": data.get("split_fingerprint"),
        "evaluation": {key: value for key, value in evaluation.items() if key != "batch_size"},
        REFIT: run.config.trainer.refit,
    }


def _check_data(run: Run, parts: InteractionData) -> None:
    """Raises `UserError` where the data are not those of the training."""
    protocol = _describe_protocol(run)
    if (parts.fingerprints.data, parts.fingerprints.split) != (protocol["data"], protocol["split"]):
        raise UserError(f"{run.folder}: trained on other rows, or another split, than the data have now; train again")


def _record_seeds(runs: Sequence[Run]) -> Record:
    """The record of the mean of runs that differ in `seed` alone: theirs, without a seed."""
    record = runs[0].origin.record
    name = f"{record.choices['model']} (mean of the {len(runs)} seeds)"
    model = {**record.config["model"], ENSEMBLE_OF: _list(runs)}
    overrides = [word for word in record.overrides if key_of(word) not in ("seed", "model")]
    return _change(record, {**record.config, "seed": None, "model": model}, record.choices, name, overrides)


def _record_all(runs: Sequence[Run]) -> Record:
    """The record of an ensemble of several configurations: what they share, without anything that was trained by."""
    record = runs[0].origin.record
    config = {group: node for group, node in record.config.items() if group in (*SHARED, "paths", "trainer")}
    shared = set.intersection(*(set(run.origin.record.overrides) for run in runs))
    overrides = [word for word in record.overrides if word in shared and key_of(word).split(".")[0] in SHARED]
    choices = {group: name for group, name in record.choices.items() if group in SHARED}
    config |= {"model": {ENSEMBLE_OF: _list(runs)}}
    return _change(record, config, choices, f"ensemble of {len(runs)} runs", overrides)


def _change(
    record: Record, config: Mapping[str, Any], choices: Mapping[str, str | None], name: str, overrides: list[str]
) -> Record:
    update = {
        "config": dict(config),
        "choices": {**choices, "model": name},
        "overrides": [f"model={name}", *overrides],
        "objectives": None,
    }
    return record.model_copy(update=update)


def _list(runs: Iterable[Run]) -> str:
    return ", ".join(run.folder.name for run in runs)
