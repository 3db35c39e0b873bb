"""Runs that the tests of several verbs only look at; these tests share the xdist group "commands"."""

from pathlib import Path

import pytest
from shell import SYNTHETIC, TINY, train_run


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A completed run of three epochs with TensorBoard."""
    folder = tmp_path_factory.mktemp("run")
    return train_run(folder, *SYNTHETIC, "trainer.max_epochs=3", "trainer.batch_size=64")


@pytest.fixture(scope="session")
def means_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A completed run of model=means."""
    return train_run(tmp_path_factory.mktemp("means"), *TINY, "model=means")
