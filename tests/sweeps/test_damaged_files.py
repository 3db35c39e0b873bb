"""A damaged sweep.json: one line that says so, before any job starts."""

import shutil
from pathlib import Path

import pytest
from damages import SWEEP, Damage
from shell import QUIET, TINY, recsweep

from recsweep.commands.sweep import resume_sweep
from recsweep.errors import UserError

pytestmark = pytest.mark.xdist_group("damaged sweeps")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of two jobs, the second of which has no result."""
    folder = tmp_path_factory.mktemp("sweep")
    outcome = recsweep(folder, "train", "-m", *TINY, *QUIET, "model=means", "seed=0,1", "hydra.sweep.dir=sweep")
    assert outcome.status == 0
    for name in ("0", "1"):
        (folder / "sweep" / name / "metrics.json").unlink()
    return folder / "sweep"


@pytest.mark.parametrize("damage", SWEEP.values(), ids=SWEEP)
def test_a_damaged_request_is_one_line(damage: Damage, sweep: Path, tmp_path: Path) -> None:
    shutil.copy(sweep / "sweep.json", tmp_path)
    damage(tmp_path / "sweep.json")
    with pytest.raises(UserError) as error:
        resume_sweep(tmp_path, [])
    message = str(error.value)
    assert message.startswith(("sweep.resume=", "model", "seed=", "trainer", "name"))  # the file, or what is in it
    assert "\n" not in message and len(message) < 500
