"""Which mistakes of a sweep name their job."""

import pytest

from recsweep.commands.compose_jobs import compose_jobs
from recsweep.errors import UserError
from recsweep.runs.record import Record

RECORD = Record(config={}, choices={}, overrides=[], cwd="")


def describe_mistake(jobs: list[list[str]], mistakes: dict[str, str]) -> str:
    """What the user is told where jobs with these overrides make these mistakes."""

    def compose(job: list[str]) -> Record:
        for override, mistake in mistakes.items():
            if override in job:
                raise UserError(mistake)
        return RECORD

    with pytest.raises(UserError) as info:
        compose_jobs(jobs, compose)
    return str(info.value)


def test_a_mistake_names_its_job_unless_it_is_in_all_or_quotes_its_override() -> None:
    jobs = [["data=a", f"loss={loss}", f"seed={seed}"] for loss in ("bpr", "mse") for seed in (0, 1)]
    assert describe_mistake(jobs, {"loss=bpr": "no bpr"}) == "job 0 of the sweep, loss=bpr seed=0: no bpr"
    assert describe_mistake(jobs, {"loss=mse": "no mse"}) == "job 2 of the sweep, loss=mse seed=0: no mse"
    assert describe_mistake(jobs, {"data=a": "no a"}) == "no a"
    assert describe_mistake(jobs, {"seed=1": "seed=1: no"}) == "seed=1: no"
    assert describe_mistake(jobs[:1], {"data=a": "no a"}) == "no a"


def test_jobs_keep_their_order() -> None:
    assert [job.overrides for job in compose_jobs([["seed=1"], ["seed=0"]], lambda job: RECORD)] == [
        ["seed=1"],
        ["seed=0"],
    ]
