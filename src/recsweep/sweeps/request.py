"""`sweep.json`: what a sweep was asked for, with the settings of every job, written before the first one starts."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from recsweep.errors import UserError
from recsweep.parse import read_json
from recsweep.runs.record import Record
from recsweep.sweeps import jobs

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
    try:
        if jobs.folders(folder):
            raise FileExistsError
        with (folder / REQUEST_FILE).open("x") as file:  # if two sweeps start at once, only one succeeds
            json.dump(content.model_dump(), file, indent=2)
    except FileExistsError:
        raise UserError(
            f"{folder}: holds a sweep already; name another hydra.sweep.dir, or continue it: "
            f"recsweep train sweep.resume={folder}"
        ) from None


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
    except (UserError, ValueError):
        raise UserError(f"sweep.resume={folder}: {REQUEST_FILE} is broken, start a new sweep") from None
    return Request(
        words=content.words, hydra=content.hydra, search=content.search, origin=content.origin, records=records
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
