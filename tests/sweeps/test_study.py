"""The study behind a search, which searches one after the other share."""

import re
import shutil
from pathlib import Path
from threading import Barrier, Thread

import pytest
from searches import EASE, L2, read_study, search, states
from shell import Outcome, read_metrics, recsweep

from recsweep.sweeps.search import MAX_DEATHS
from recsweep.sweeps.study import hide_password, open_storage
from recsweep.sweeps.worker import Worker

pytestmark = pytest.mark.xdist_group("study")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished search of two trials, with its study `shared.db`; `output` is what it printed."""
    folder = tmp_path_factory.mktemp("study")
    outcome = search_in(folder, L2, n_trials=2, into="first")
    assert (outcome.status, outcome.err) == (0, "")
    (folder / "output").write_text(outcome.out)
    return folder


@pytest.fixture
def copy(first: Path, tmp_path: Path) -> Path:
    """A folder with a copy of the study."""
    shutil.copy(first / "shared.db", tmp_path)
    return tmp_path


def search_in(folder: Path, *overrides: str, n_trials: int, into: str) -> Outcome:
    """A search whose study is `shared.db` in the folder."""
    storage = f"hydra.sweeper.storage=sqlite:///{folder}/shared.db"
    return search(folder, *EASE, *overrides, storage, f"hydra.sweeper.n_trials={n_trials}", into=into)


def test_the_study_optimises_the_evaluation_s_own_metric(first: Path) -> None:
    study = read_study(first / "shared.db")
    assert study.direction.name == "MAXIMIZE" and study.metric_names == ["val/ndcg@10"]
    records = [read_metrics(first / "first" / job) for job in "01"]
    assert [trial.value for trial in study.trials] == [record["metrics"]["val/ndcg@10"] for record in records]


def test_the_best_trial_is_printed_ready_to_paste(first: Path, tmp_path: Path) -> None:
    best = max("01", key=lambda job: read_metrics(first / "first" / job)["objective"]["value"])
    output = (first / "output").read_text()
    (arguments,) = re.findall(r"recsweep (train model=.*)", output)
    assert f"Best: trial {best}, val/ndcg@10" in output and "shared.db" in output
    again = recsweep(tmp_path, *arguments.split(), "hydra.run.dir=again")
    assert again.status == 0, again.err
    assert read_metrics(tmp_path / "again")["metrics"] == read_metrics(first / "first" / best)["metrics"]


def test_trials_are_counted_over_the_whole_study(copy: Path) -> None:
    assert search_in(copy, L2, n_trials=3, into="second").status == 0
    assert states(copy / "shared.db") == ["COMPLETE"] * 3
    assert [path.name for path in (copy / "second").glob("[0-9]")] == ["2"]
    study = read_study(copy / "shared.db")
    assert len({trial.params["model.l2"] for trial in study.trials}) == 3
    idle = search_in(copy, L2, n_trials=3, into="third")
    assert idle.status == 0, idle.err
    best_l2 = str(study.best_trial.params["model.l2"])
    assert re.findall(r"recsweep train model=.* model.l2=(\S+)", idle.out) == [best_l2]


def test_a_trial_that_kills_its_workers_fails_in_the_end(copy: Path) -> None:
    dead = Worker(read_study(copy / "shared.db"), 1.0)
    dead.start_trial().set_user_attr("deaths", MAX_DEATHS - 1)  # and never sends a heartbeat
    outcome = search_in(copy, L2, n_trials=4, into="second")
    reason = f"{MAX_DEATHS} workers died while running it"
    assert outcome.status == 2 and f"failed: {reason}" in outcome.out
    assert states(copy / "shared.db") == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE"]
    assert read_study(copy / "shared.db").trials[2].user_attrs["error"] == reason


def test_the_study_of_another_search_is_left_alone(copy: Path) -> None:
    l2 = "model.l2=interval(5,6)"
    outcome = search_in(copy, l2, n_trials=3, into="second")
    assert outcome.status == 2 and "hydra.sweeper.study=ease: is another search" in outcome.err
    assert "low=5.0" in outcome.err and "low=1.0" in outcome.err
    assert len(states(copy / "shared.db")) == 2
    assert search_in(copy, l2, "hydra.sweeper.study=new_name", n_trials=1, into="third").status == 0


def test_workers_that_create_a_study_at_the_same_time_all_open_it(tmp_path: Path) -> None:
    barrier, storages = Barrier(4), []

    def open_new() -> None:
        barrier.wait()
        storages.append(open_storage(f"sqlite:///{tmp_path / 'new.db'}"))

    threads = [Thread(target=open_new) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(storages) == 4 and not storages[-1].get_all_studies()


def test_passwords_are_not_shown() -> None:
    assert hide_password("postgresql+psycopg://user:secret@host/name") == "postgresql+psycopg://user:***@host/name"
