"""Which settings of a search mattered."""

from pathlib import Path

import optuna
from optuna.distributions import FloatDistribution
from optuna.trial import create_trial

from recsweep.sweeps.importance import compute_importances
from recsweep.sweeps.study import local_storage

RANGES = {"lr": FloatDistribution(0, 1), "dropout": FloatDistribution(0, 1)}


def write_study(folder: Path, n_trials: int, n_objectives: int = 1) -> None:
    """Trials on a grid whose objective is lr alone."""
    study = optuna.create_study(study_name="s", storage=local_storage(folder), directions=["maximize"] * n_objectives)
    for number in range(n_trials):
        params = {"lr": number / n_trials, "dropout": number * 7 % n_trials / n_trials}
        values = [params["lr"]] * n_objectives
        study.add_trial(create_trial(params=params, distributions=RANGES, values=values))


def test_the_setting_that_matters_comes_first(tmp_path: Path) -> None:
    write_study(tmp_path, 30)
    shares = compute_importances(tmp_path)
    assert next(iter(shares)) == "lr" and shares["lr"] > 0.6
    assert sum(shares.values()) == 1


def test_a_few_trials_and_several_objectives_have_none(tmp_path: Path) -> None:
    for number, arguments in enumerate(((5,), (20, 2))):
        (tmp_path / str(number)).mkdir()
        write_study(tmp_path / str(number), *arguments)
        assert compute_importances(tmp_path / str(number)) == {}


def test_a_file_that_is_no_study_has_none(tmp_path: Path) -> None:
    for content in (b"", b"no database" * 500):
        (tmp_path / "study.db").write_bytes(content)
        assert compute_importances(tmp_path) == {}
