"""Pruning: a trial with a poor validation curve is stopped early."""

from pathlib import Path

import optuna
import pytest
from searches import BPR, read_study, search, space
from shell import Outcome, read_metrics

pytestmark = pytest.mark.xdist_group("joblib")  # tests of one process share joblib's workers

N_EPOCHS = 3
OVERRIDES = (*BPR, f"trainer.max_epochs={N_EPOCHS}", "hydra.sweeper.pruner=median")
"""The median pruner compares from the sixth trial on."""


def assert_sixth_stops_early(sweep: Path, outcome: Outcome) -> None:
    assert outcome.status == 0, outcome.err
    trials = read_study(sweep / "study.db").trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 5 + ["PRUNED"]
    assert 0 < len(trials[5].intermediate_values) < N_EPOCHS
    record = read_metrics(sweep / "5")
    assert record["status"] == "pruned" and "not promising" in record["error"]
    assert (record["epochs"], record["ended_by"]) == (len(trials[5].intermediate_values), "pruned")
    assert 1 <= record["chosen_epoch"] <= record["epochs"] and record["command"].startswith("recsweep train -m ")
    assert "pruned" in outcome.out and "failed" not in outcome.out


def test_a_bad_trial_is_stopped_early(tmp_path: Path) -> None:
    """Five trials whose ranking is said to be perfect, then a real one."""
    (tmp_path / "sweep").mkdir()
    storage = f"sqlite:///{tmp_path / 'sweep' / 'study.db'}"
    study = optuna.create_study(study_name="bpr_mf", storage=storage, direction="maximize")
    curve = dict.fromkeys(range(1, N_EPOCHS + 1), 1.0)
    rates = "optimizer.lr=0.01,0.02"
    for _ in range(5):
        perfect = optuna.trial.create_trial(
            params={"optimizer.lr": "0.01"},
            distributions=space(rates).distributions,
            intermediate_values=curve,
            value=1.0,
            user_attrs={"folder": "/"},
        )
        study.add_trial(perfect)
    outcome = search(tmp_path, *OVERRIDES, rates, "hydra.sweeper.n_trials=6")
    assert_sixth_stops_early(tmp_path / "sweep", outcome)


def test_jobs_in_other_processes_report_every_epoch(tmp_path: Path) -> None:
    """With the learning rate of the sixth trial a model hardly learns."""
    rates = ("optimizer.lr=1e-2,2e-2,3e-2,4e-2,5e-2,1e-9", "hydra.sweeper.sampler=grid")
    joblib = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweeper.max_batch_size=5")
    outcome = search(tmp_path, *OVERRIDES, *rates, *joblib)
    assert_sixth_stops_early(tmp_path / "sweep", outcome)
    trials = read_study(tmp_path / "sweep" / "study.db").trials
    assert [len(trial.intermediate_values) for trial in trials[:5]] == [N_EPOCHS] * 5
