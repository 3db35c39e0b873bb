"""A sweep that the tests of several files start from or compare with."""

from pathlib import Path

import pytest
from shell import recsweep
from sweep_results import FOUR_JOBS


@pytest.fixture(scope="session")
def four_jobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished sweep of two models with two seeds each; what it printed is in `output` beside it."""
    folder = tmp_path_factory.mktemp("four_jobs")
    outcome = recsweep(folder, "train", *FOUR_JOBS)
    assert (outcome.status, outcome.err) == (0, "")
    (folder / "output").write_text(outcome.out)
    return folder / "sweep"


@pytest.fixture(autouse=True)
def no_page(blank_page: None) -> None:
    """These tests look at jobs; those of tests/report/ and tests/commands/ at pages."""
