"""Guided search: which trials run, and what the study holds afterwards."""

import re
from itertools import product
from pathlib import Path

from searches import BPR, EASE, points, read_study, search
from shell import read_metrics, recsweep


def test_a_grid_runs_every_combination_once_and_survives_a_failed_job(tmp_path: Path) -> None:
    """sparse_adam takes no weight decay; the probes, which pair the values in order, do not meet this combination."""
    choices = ("optimizer=sparse_adam,adamw", "regularization.weight_decay=range(0.0,0.15,0.1)")
    outcome = search(tmp_path, *BPR, *choices, "hydra.sweeper.sampler=grid")
    trials = read_study(tmp_path / "sweep" / "study.db").trials
    pairs = [(trial.params["optimizer"], trial.params["regularization.weight_decay"]) for trial in trials]
    assert pairs == list(product(("sparse_adam", "adamw"), (0.0, 0.1)))
    assert {path.parent.name for path in (tmp_path / "sweep").glob("*/metrics.json")} == set("0123")
    assert [trial.state.name for trial in trials] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert "SparseAdam has none" in trials[1].user_attrs["error"] and "SparseAdam has none" in outcome.out
    assert outcome.status == 2 and outcome.err.splitlines()[-1].startswith("recsweep: 1 of 4 jobs failed")
    assert not trials[0].intermediate_values  # nothing is reported without a pruner


def test_the_user_s_overrides_replace_those_of_the_space(tmp_path: Path) -> None:
    overrides = ("search=ials", *EASE[1:], "model.embedding_dim=4", "model.epochs=1,2", "hydra.sweeper.n_trials=1")
    assert recsweep(tmp_path, "train", "-m", *overrides, "hydra.sweep.dir=sweep").status == 0
    (point,) = points(tmp_path / "sweep" / "study.db")
    assert "model.embedding_dim" not in point and point["model.epochs"] in ("1", "2")
    assert 1e-4 <= float(str(point["model.l2"])) <= 0.3
    assert "model.embedding_dim=4" in (tmp_path / "sweep" / "0" / ".hydra" / "overrides.yaml").read_text()


def dominates(left: tuple[float, ...], right: tuple[float, ...]) -> bool:
    """Whether `left` is nowhere worse and somewhere better."""
    return left != right and all(a >= b for a, b in zip(left, right, strict=True))


def test_several_objectives_give_the_pareto_front(tmp_path: Path) -> None:
    n_trials = 4
    ranges = ("model.embedding_dim=int(interval(2,12))", "optimizer.lr=interval(1e-3,0.1)")
    settings = ("hydra.sweeper.objectives=[val/ndcg@10,n_parameters]", f"hydra.sweeper.n_trials={n_trials}")
    outcome = search(tmp_path, *BPR, *ranges, *settings, "hydra.sweeper.sampler=nsgaii")
    assert outcome.status == 0, outcome.err
    records = [read_metrics(tmp_path / "sweep" / str(number)) for number in range(n_trials)]
    values = [(record["metrics"]["val/ndcg@10"], -record["n_parameters"]) for record in records]
    front = {number for number, value in enumerate(values) if not any(dominates(rival, value) for rival in values)}
    assert {trial.number for trial in read_study(tmp_path / "sweep" / "study.db").best_trials} == front
    assert {int(number) for number in re.findall(r"^trial (\d+),", outcome.out, re.MULTILINE)} == front
    assert f"optuna-dashboard sqlite:///{tmp_path.resolve()}/sweep/study.db" in outcome.out
