"""Pruning: a trial with a poor validation curve is stopped early."""

from pathlib import Path

import pytest
from searches import BPR, read_study, search
from shell import read_metrics

pytestmark = pytest.mark.xdist_group("joblib")  # tests of one process share joblib's workers

N_EPOCHS = 3
LAST_IS_BAD = (
    *BPR,
    f"trainer.max_epochs={N_EPOCHS}",
    "optimizer.lr=1e-2,2e-2,3e-2,4e-2,5e-2,1e-9",
    "hydra.sweeper.sampler=grid",
    "hydra.sweeper.pruner=median",
)
"""The median pruner compares from the sixth trial on; with this learning rate the sixth hardly learns."""


@pytest.mark.parametrize(
    "launcher",
    [
        (),
        ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweeper.max_batch_size=5"),
    ],
    ids=["this process", "joblib"],
)
def test_a_bad_trial_is_stopped_early(launcher: tuple[str, ...], tmp_path: Path) -> None:
    outcome = search(tmp_path, *LAST_IS_BAD, *launcher)
    assert outcome.status == 0, outcome.err
    trials = read_study(tmp_path / "sweep" / "study.db").trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 5 + ["PRUNED"]
    assert [len(trial.intermediate_values) for trial in trials[:5]] == [N_EPOCHS] * 5
    assert len(trials[5].intermediate_values) < N_EPOCHS
    record = read_metrics(tmp_path / "sweep" / "5")
    assert record["status"] == "pruned" and "not promising" in record["error"]
    assert "pruned" in outcome.out and "failed" not in outcome.out
