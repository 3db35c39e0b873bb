"""Runs that the tests of several verbs only look at; these tests share the xdist group "commands"."""

import pickle
import shutil
from pathlib import Path

import pytest
import requests
from shell import SYNTHETIC, TINY, recsweep, train_run
from strangers import CANARY, Bomb


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A completed run of three epochs with TensorBoard."""
    folder = tmp_path_factory.mktemp("run")
    return train_run(folder, *SYNTHETIC, "trainer.max_epochs=3", "trainer.batch_size=64")


@pytest.fixture(scope="session")
def means_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A completed run of model=means."""
    return train_run(tmp_path_factory.mktemp("means"), *TINY, "model=means")


@pytest.fixture
def theirs(means_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stranger's run, in a folder beside one that holds a file of the user's; the test works above both."""
    shutil.copytree(means_run, tmp_path / "theirs")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "victim").write_text("mine\n")
    with (tmp_path / "theirs" / "x.pkl").open("wb") as file:
        pickle.dump(Bomb(), file)
    monkeypatch.setattr(requests, "get", lambda *_, **__: (tmp_path / CANARY).mkdir())
    monkeypatch.chdir(tmp_path)
    return Path("theirs")


@pytest.fixture(scope="session")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unfinished grid and an unfinished search."""
    folder = tmp_path_factory.mktemp("sweeps")
    for name, words in (("grid", ["seed=0,1"]), ("search", ["search=means", "hydra.sweeper.n_trials=1"])):
        outcome = recsweep(folder, "train", "-m", *TINY, "model=means", *words, f"hydra.sweep.dir={name}")
        assert outcome.status == 0, outcome.err
        (folder / name / "0" / "metrics.json").unlink()
    return folder


@pytest.fixture
def their_sweeps(theirs: Path, sweeps: Path) -> Path:
    shutil.copytree(sweeps, theirs, dirs_exist_ok=True)
    return theirs
