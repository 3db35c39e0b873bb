"""A run of each kind of model that the API tells apart, trained by it; these tests share the xdist group "api"."""

from pathlib import Path

import pytest
from shell import TINY

import recsweep
from recsweep import Run

PROTOCOL = (*TINY, "split=leave_last_out", "callbacks.progress=false")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder above the runs."""
    return tmp_path_factory.mktemp("api")


def train(folder: Path, model: str) -> Run:
    return recsweep.train([f"model={model}", *PROTOCOL, f"hydra.run.dir={folder / model}"])


@pytest.fixture(scope="session")
def bpr(folder: Path) -> Run:
    """Of vectors; it is loaded, not taken from `train`."""
    return recsweep.load(train(folder, "bpr_mf").folder)


@pytest.fixture(scope="session")
def ease(folder: Path) -> Run:
    """Of weights between items."""
    return train(folder, "ease")


@pytest.fixture(scope="session")
def popularity(folder: Path) -> Run:
    """Of neither."""
    return train(folder, "popularity")
