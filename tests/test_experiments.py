"""Every frozen experiment runs; two steps each."""

import os
from pathlib import Path

import pytest
import yaml
from shell import SYNTHETIC, recsweep, saved, trained

from recsweep.config import composed, conf_dir

SHORT = ["trainer.max_epochs=2", "trainer.limit_batches=1", "logger=none"]
REAL = sorted(path.stem for path in (conf_dir() / "experiment").glob("rating_ml_*.yaml"))


def asked(job: Path) -> tuple[str, int]:
    """Which model and seed a job of a sweep had."""
    overrides = dict(word.split("=") for word in yaml.safe_load((job / ".hydra" / "overrides.yaml").read_text()))
    return overrides["model"], int(overrides["seed"])


def test_an_experiment_brings_its_own_sweep_and_the_command_line_wins(tmp_path: Path) -> None:
    """The file sweeps four models over seeds 0, 1, 2; here the seeds are given."""
    words = ["experiment=rating_synthetic", "seed=4", *SYNTHETIC, *SHORT, "hydra.sweep.dir=sweep"]
    found = recsweep(tmp_path, "train", "-m", *words)
    assert (found.status, found.err) == (0, "")
    jobs = sorted(path.parent for path in (tmp_path / "sweep").glob("*/metrics.json"))
    assert sorted(asked(job) for job in jobs) == [("biased_mf", 4), ("means", 4), ("mlp", 4), ("svdpp", 4)]
    assert {saved(job)["status"] for job in jobs} == {"completed"}


def test_the_search_finds_the_experiments() -> None:
    assert len(REAL) >= 3


@pytest.mark.real
@pytest.mark.skipif("RECSWEEP_DATA_DIR" not in os.environ, reason="RECSWEEP_DATA_DIR names no folder of real data")
@pytest.mark.parametrize("name", REAL)
def test_an_experiment_on_real_data(name: str, tmp_path: Path) -> None:
    folder = Path(composed([f"experiment={name}"]).data.folder)
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    run = trained(tmp_path, f"experiment={name}", *SHORT)
    assert saved(run)["status"] == "completed"
    assert (run / "checkpoints" / "refit.ckpt").is_file()
