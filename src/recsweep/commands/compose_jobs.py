"""The jobs of a sweep, composed one by one: a mistake says in which job it is."""

from collections.abc import Callable, Sequence

from recsweep.commands.unused import Job
from recsweep.errors import UserError
from recsweep.runs.record import Record
from recsweep.runs.recorded import key_of
from recsweep.sweeps.progress import describe_overrides


def compose_jobs(overrides: Sequence[list[str]], compose: Callable[[list[str]], Record]) -> list[Job]:
    """Every job with its record; `UserError` for the first mistake.

    The mistake names its job, unless it quotes an override of it, or the first and the last job make the same one.

    Args:
        overrides: of every job.
        compose: gives the record of a job's overrides.
    """
    composed: list[Job] = []
    for number, job in enumerate(overrides):
        try:
            composed.append(Job(job, compose(job)))
        except UserError as error:
            is_quoted = any(str(error).startswith(f"{override}:") for override in job)
            if is_quoted or (number == 0 and str(error) == _find_mistake(overrides[-1], compose)):
                raise
            shared = set(overrides[0]).intersection(*overrides)
            name = describe_overrides(job, {key_of(override) for override in job if override not in shared})
            raise UserError(f"job {number} of the sweep, {name}: {error}") from None
    return composed


def _find_mistake(overrides: list[str], compose: Callable[[list[str]], Record]) -> str:
    try:
        compose(overrides)
    except UserError as error:
        return str(error)
    return ""
