"""`recsweep evaluate`: the metrics of finished runs' checkpoints, of one run, of every job of a sweep, of ensembles."""

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast, get_args

from recsweep.api.ensemble import By, Ensemble, judge_ensembles
from recsweep.api.run import Run
from recsweep.commands import compose
from recsweep.commands.flags import pop_option
from recsweep.errors import UserError
from recsweep.runs import build
from recsweep.runs.record import check_files, read_record
from recsweep.sweeps import jobs
from recsweep.sweeps.progress import describe_overrides, varying_keys
from recsweep.terminal import escape, format_number, print_line

FORMATS = ("--json", "--csv")


class Judged(NamedTuple):
    """A run with its metrics; `objective` is a name without `val/` or `test/`."""

    folder: Path
    metrics: dict[str, float]
    objective: str


def run(arguments: list[str]) -> None:
    """`evaluate run=DIR [overrides]`, or `sweep=DIR [ensemble=seed|all]`; overrides can change the protocol alone."""
    command = ["evaluate", *arguments]
    chosen = [argument for argument in arguments if argument in FORMATS]
    if len(set(chosen)) > 1:
        raise UserError("--json and --csv: choose one of them")
    arguments = [argument for argument in arguments if argument not in FORMATS]
    sweep, by = pop_option(arguments, "sweep"), pop_option(arguments, "ensemble")
    _check_choice(sweep, by, arguments)
    judged: Sequence[Judged | Ensemble]
    if sweep is None:
        judged = [_judge_run(arguments)]
    elif by is None:
        judged = [_judge(run) for run in _list_runs(sweep, arguments)]  # each has its data only while it is judged
    else:
        judged = judge_ensembles(Path(sweep), _list_runs(sweep, arguments), cast(By, by), command)
    if "--json" in chosen:
        content = {str(one.folder): one.metrics for one in judged} if sweep else judged[0].metrics
        print(json.dumps(content, indent=2))
    elif "--csv" in chosen:
        names = list(dict.fromkeys(name for one in judged for name in one.metrics))
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(["run", *names])
        writer.writerows([one.folder, *(one.metrics.get(name) for name in names)] for one in judged)
    elif sweep is None:
        _print_run(judged[0].metrics)
    else:
        _print_sweep(judged)


def _check_choice(sweep: str | None, by: str | None, arguments: Sequence[str]) -> None:
    """Raises `UserError` where it is not clear what to evaluate."""
    if by is not None and by not in get_args(By):
        raise UserError(f"ensemble={by}: allowed are {' and '.join(get_args(By))}")
    if sweep is None and by is not None:
        raise UserError(f"ensemble={by}: of which sweep? give sweep=DIR")
    if sweep is not None and any(argument.startswith("run=") for argument in arguments):
        raise UserError("run= and sweep=: choose one of them")


def _judge_run(arguments: list[str]) -> Judged:
    folder, origin = compose.pop_run(arguments)
    if (jobs.read_outcome(folder) or {}).get("status") != "completed":
        note = f"run={folder} did not complete: these are the metrics of its best epoch so far"
        print_line(note, stderr=True)
    return _judge(Run(folder, *compose.build_config(origin, arguments)))


def _list_runs(sweep: str, arguments: list[str]) -> list[Run]:
    """The completed jobs, in the order of their numbers, all of them checked; the others are named on stderr."""
    if sweep:
        check_files(Path(sweep))
    folders = sorted(jobs.folders(Path(sweep)) if sweep else [], key=lambda path: int(path.name))
    completed = [folder for folder in folders if (jobs.read_outcome(folder) or {}).get("status") == "completed"]
    if not completed:
        raise UserError(f"sweep={sweep}: no completed job of a sweep there")
    if len(completed) < len(folders):
        print_line(f"{len(folders) - len(completed)} of {len(folders)} jobs are not completed: left out", stderr=True)
    checked = []
    for folder in completed:
        rest = [f"run={folder}", *arguments]
        _, origin = compose.pop_run(rest)
        checked.append(Run(folder, *compose.build_config(origin, rest)))
    return checked


def _judge(trained: Run) -> Judged:
    return Judged(trained.folder, trained.evaluate(), build.evaluation(trained.config).objective)


def _print_run(metrics: Mapping[str, float]) -> None:
    """A row a metric, on validation and on test."""
    names = dict.fromkeys(name.partition("/")[2] for name in metrics)
    _print_columns([("", "val", "test"), *((name, *_cells(metrics, name)) for name in names)], texts=(0,))


def _print_sweep(judged: Sequence[Judged | Ensemble]) -> None:
    """A row a job or an ensemble: its objective on validation and on test, and what tells it from the others.

    Then a line an ensemble: its jobs with their weights.
    """
    records = [read_record(one.folder) for one in judged]
    keys = varying_keys(records)
    objectives = list(dict.fromkeys(one.objective for one in judged))  # several where the jobs' protocols differ
    head = ("job", *(f"{part}/{name}" for name in objectives for part in ("val", "test")), "configuration")
    rows = [
        (
            one.folder.name,
            *(cell for name in objectives for cell in _cells(one.metrics if name == one.objective else {}, name)),
            describe_overrides(record.overrides, keys),
        )
        for one, record in zip(judged, records, strict=True)
    ]
    _print_columns([head, *rows], texts=(len(head) - 1,))
    for one in judged:
        if isinstance(one, Ensemble):
            weights = ", ".join(f"{job}: {weight:.3g}" for job, weight in one.weights.items() if weight)
            print_line(f"{one.folder}: {one.name}; weights of the jobs: {weights}")


def _cells(metrics: Mapping[str, float], name: str) -> tuple[str, str]:
    """A metric on validation and on test; empty where it was not measured."""
    keys = (f"val/{name}", f"test/{name}")
    on_val, on_test = (format_number(metrics[key]) if key in metrics else "" for key in keys)
    return on_val, on_test


def _print_columns(rows: Sequence[Sequence[str]], texts: tuple[int, ...]) -> None:
    """Prints columns in plain text: numbers to the right, those in `texts` to the left."""
    lines = [list(map(escape, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (c.ljust(w) if n in texts else c.rjust(w) for n, (c, w) in enumerate(zip(line, widths, strict=True)))
        print("  ".join(cells).rstrip())
