"""Overrides that the chosen model ignores: refused in one run; in a sweep they make no job of their own."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from hydra.core.override_parser.types import Override
from hydra.utils import get_object

from recsweep.errors import UserError
from recsweep.models.regularization import Regularization
from recsweep.runs.record import Record
from recsweep.runs.recorded import key_of
from recsweep.terminal import print_line

HARMLESS = ("trainer", "callbacks")
"""Groups that limit a training: a model that needs none keeps within any limit, so nobody is told."""


class Job(NamedTuple):
    """A job of a sweep: its overrides and what they give."""

    overrides: list[str]
    record: Record


def check_overrides(overrides: Iterable[str], record: Record) -> None:
    """Raises `UserError` for the first override that the record's model ignores."""
    for override in overrides:
        if _is_refused(override, record):
            raise UserError(_describe(override, record))


def check_sweep_overrides(overrides: Sequence[Override], jobs: Sequence[Job], is_search: bool) -> None:
    """Raises `UserError` for the first override that the models of all jobs ignore.

    Several values are no mistake in a grid, where `merge_jobs` makes one job of them; a search would try them in vain.
    """
    if is_search and any(o.is_sweep_override() and o.key_or_group in ("model", "experiment") for o in overrides):
        return
    for override in overrides:
        word = str(override.input_line)
        is_one = is_search or not override.is_sweep_override()
        if is_one and all(_is_refused(word, job.record) for job in jobs):
            raise UserError(_describe(word, jobs[0].record))


def merge_jobs(jobs: Sequence[Job], compose: Callable[[list[str]], Record]) -> list[Record]:
    """The record of every job; those that differ only in what their model ignores become one, and a line says so.

    Args:
        compose: gives the record of a job's overrides, for jobs that lose some of them.
    """
    alike: dict[tuple[str, ...], list[Job]] = {}
    for job in jobs:
        key = tuple(word for word in job.overrides if not _is_ignored(word, job.record))
        alike.setdefault(key, []).append(job)
    records: list[Record] = []
    merged: dict[tuple[str, str], list[int]] = {}
    for group in alike.values():
        first = group[0]
        varying = [word for word in first.overrides if any(word not in job.overrides for job in group)]
        kept = [word for word in first.overrides if not (word in varying or _is_refused(word, first.record))]
        records.append(first.record if kept == first.overrides else compose(kept))
        if varying:
            sizes = merged.setdefault((_model(first.record), ", ".join(map(key_of, varying))), [])
            sizes.append(len(group))
    for (model, keys), sizes in merged.items():
        jobs_left = "1 job" if len(sizes) == 1 else f"{len(sizes)} jobs"
        print_line(f"{model} ignores {keys}: {jobs_left} instead of {sum(sizes)}", stderr=True)
    return records


def _is_refused(override: str, record: Record) -> bool:
    return not override.startswith("~") and not is_below(key_of(override), HARMLESS) and _is_ignored(override, record)


def _is_ignored(override: str, record: Record) -> bool:
    settings = record.config["model"]
    return is_below(key_of(override), get_object(settings["_target_"]).find_ignored(settings))


def is_below(key: str, parents: Iterable[str]) -> bool:
    """Whether a key is one of the parents, or below one; `loss@loss.ranking` is below `loss`."""
    return any(f"{key}.".replace("@", ".").startswith(f"{parent}.") for parent in parents)


def _describe(override: str, record: Record) -> str:
    if is_below(key_of(override), ("model",)):
        return f"{override}: model {_model(record)} ignores it beside its other settings; leave it out"
    used = [name for name in Regularization.model_fields if not _is_ignored(f"regularization.{name}", record)]
    advice = f"of regularization it uses {', '.join(used)}" if used else "leave it out"
    return f"{override}: model {_model(record)} ignores it; {advice}"


def _model(record: Record) -> str:
    return record.choices.get("model") or str(record.config["model"]["_target_"])
