"""Workers that share a study: heartbeats, orphans, and who takes an orphan over."""

import time
from pathlib import Path
from threading import Barrier, Thread

import optuna
import pytest
from shell import wait_for

from recsweep.sweeps.worker import MISSED_BEATS, Worker


@pytest.fixture
def storage(tmp_path: Path) -> str:
    """The URL of a database with an empty study."""
    url = f"sqlite:///{tmp_path / 'study.db'}"
    optuna.create_study(study_name="shared", storage=url)
    return url


def join(storage: str, seconds: float = 1.0) -> Worker:
    """A new worker of the study, as if in a process of its own."""
    return Worker(optuna.load_study(study_name="shared", storage=storage), seconds)


def test_a_worker_with_heartbeats_keeps_its_trial(storage: str) -> None:
    observer = join(storage, seconds=0.5)
    with join(storage, seconds=0.1) as worker:
        trial = worker.start_trial()
        assert observer.silent_trials() and not observer.orphans()
        wait_for(lambda: not observer.silent_trials())
        end = time.monotonic() + (MISSED_BEATS + 1) * observer.seconds
        while time.monotonic() < end:
            assert not observer.orphans()
            time.sleep(0.1)
        worker.finish(trial, [1.0])
    assert not observer.trials_elsewhere()


def test_a_trial_without_heartbeats_becomes_an_orphan(storage: str) -> None:
    dead, observer = join(storage), join(storage, seconds=0.3)
    dead.start_trial()  # and never sends a heartbeat
    start = time.monotonic()
    assert observer.silent_trials() and not observer.orphans()
    wait_for(observer.orphans)
    assert time.monotonic() - start >= MISSED_BEATS * 0.3 and not observer.silent_trials()


def test_a_released_trial_is_an_orphan_at_once(storage: str) -> None:
    with join(storage) as worker:
        worker.start_trial()
    assert [trial.number for trial in join(storage).orphans()] == [0]


def test_of_several_claims_one_wins(storage: str) -> None:
    dead = join(storage)
    dead.release(dead.start_trial())
    workers = [join(storage, seconds=1.0) for _ in range(4)]
    barrier, n_won = Barrier(len(workers)), []

    def claim(worker: Worker) -> None:
        orphans = worker.orphans()
        barrier.wait()
        n_won.append(len(worker.take_over(orphans)))

    threads = [Thread(target=claim, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(n_won) == [0, 0, 0, 1]
