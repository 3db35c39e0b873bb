"""`sweep.json`: what a sweep was asked for, with the settings of every job, written before the first one starts."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from recsweep.atomic import write_json
from recsweep.errors import UserError
from recsweep.parse import read_json
from recsweep.runs.record import Record, has_record
from recsweep.sweeps import jobs
from recsweep.sweeps.grid import MAX_JOBS

REQUEST_FILE = "sweep.json"


class Request(BaseModel):
    """What a sweep was asked for.

    Args:
        words: the command line after `recsweep train`.
        hydra: overrides that choose launcher and sweeper.
        search: overrides of a guided search, with the ranges that it searches; None for a grid.
        origin: the run whose settings the jobs change; None without one.
        records: of each job; of a search, which proposes its own jobs, that of one point of its space.
    """

    model_config = ConfigDict(strict=True, frozen=True)
    words: list[str]
    hydra: list[str]
    search: list[str] | None
    origin: str | None
    records: list[Record]


class _Difference(BaseModel):
    """What a job's record has otherwise than the first one's: whole groups, None where it has no such group."""

    model_config = ConfigDict(strict=True)
    config: dict[str, Any]
    choices: dict[str, str | None]


class _Content(BaseModel):
    """The file: the first job's record, and for each job its overrides and what differs."""

    model_config = ConfigDict(strict=True)
    words: list[str]
    hydra: list[str]
    search: list[str] | None
    origin: str | None
    record: Record
    jobs: list[list[str]]
    differences: list[_Difference]


def write_request(folder: Path, request: Request) -> None:
    """Claims the folder for a new sweep and writes the request to it; `UserError` if the folder holds a sweep."""
    first = request.records[0]
    content = _Content(
        words=request.words,
        hydra=request.hydra,
        search=request.search,
        origin=request.origin,
        record=first,
        jobs=[record.overrides for record in request.records],
        differences=[_subtract(record, first) for record in request.records],
    )
    folder.mkdir(parents=True, exist_ok=True)
    claim = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(claim, fcntl.LOCK_EX)  # if two sweeps start at once, only one succeeds
        if jobs.folders(folder) or (folder / REQUEST_FILE).exists():
            raise UserError(
                f"{folder}: holds a sweep already; name another hydra.sweep.dir, or continue it: "
                f"recsweep train sweep.resume={folder}"
            )
        write_json(folder / REQUEST_FILE, content.model_dump())
    finally:
        os.close(claim)


def read_request(folder: Path) -> Request:
    """The request that `write_request` saved; `UserError` if the file is missing or broken."""
    path = folder / REQUEST_FILE
    if not path.exists():
        raise UserError(
            f"sweep.resume={folder}: has no {REQUEST_FILE}; name a folder that `recsweep train -m` wrote, such as "
            "outputs/multirun/2026-11-22_10-00-00-000000"
        )
    try:
        content = _Content.model_validate(read_json(path))
        records = [
            _add(content.record, difference, overrides)
            for difference, overrides in zip(content.differences, content.jobs, strict=True)
        ]
        if not 0 < len(records) <= MAX_JOBS:
            raise ValueError(f"{len(records)} jobs")
    except (UserError, ValueError):
        raise UserError(f"sweep.resume={folder}: {REQUEST_FILE} is broken, start a new sweep") from None
    return Request(
        words=content.words, hydra=content.hydra, search=content.search, origin=content.origin, records=records
    )


def check_complete(sweep: Path, n_jobs: int) -> None:
    """Raises `UserError` where a job of an ended sweep has no result: somebody deleted it, or the disk was full."""
    if not (sweep / REQUEST_FILE).is_file():
        raise UserError(f"{sweep}: {REQUEST_FILE} is gone, somebody deleted it while the sweep ran; start it again")
    folders = [sweep / str(number) for number in range(n_jobs)]
    missing = [job.name for job in folders if not (has_record(job) and jobs.outcome(job))]
    if missing:
        names = ", ".join(missing[:10]) + (", …" if len(missing) > 10 else "")
        raise UserError(
            f"{len(missing)} of {n_jobs} jobs have no result ({names}): the disk is full, or somebody deleted them; "
            f"recsweep train sweep.resume={sweep} runs them"
        )


def _subtract(record: Record, first: Record) -> _Difference:
    groups = {*record.config, *first.config}
    config = {
        group: record.config.get(group) for group in groups if record.config.get(group) != first.config.get(group)
    }
    choices = {group: name for group, name in record.choices.items() if first.choices.get(group) != name}
    return _Difference(config=config, choices=choices)


def _add(first: Record, difference: _Difference, overrides: list[str]) -> Record:
    update = {
        "config": {**first.config, **difference.config},
        "choices": {**first.choices, **difference.choices},
        "overrides": overrides,
    }
    return first.model_copy(update=update)
