"""The effects of swept settings, everything else equal."""

from itertools import product
from pathlib import Path

import numpy as np
import pyarrow.parquet as pa_parquet
import pytest
from run_folders import compare_runs, leave_evidence, write_run, write_search
from scipy import stats

from recsweep.report.answers import describe_effects
from recsweep.report.effects import Effect

USERS = [0.9, 0.2, 0.4, 1.1, 0.6, 0.8]


def write_factorial(folder: Path) -> Path:
    """Loss, dropout and size, two values each, three seeds. MSE 0.8, plus 0.1 for bpr, 0.02 for dropout 0.2.

    Seed s adds 0.01 · s; validation is 0.01 lower. Users differ by `USERS`, in the effect of bpr by 0.02 a user.
    """
    factors = product(("mse", "bpr"), (0.0, 0.2), (8, 16), range(3))
    for number, (loss, dropout, size, seed) in enumerate(factors):
        value = 0.8 + 0.1 * (loss == "bpr") + 0.02 * (dropout > 0) + 0.01 * seed
        words = (f"loss={loss}", f"regularization.dropout={dropout}", f"model.embedding_dim={size}", f"seed={seed}")
        metrics = {"val/mse": value - 0.01, "test/mse": value}
        run = write_run(folder / str(number), "model=mf", *words, model="mf", value=value, metrics=metrics)
        leave_evidence(run, [value + error + (loss == "bpr") * 0.02 * (user - 2.5) for user, error in enumerate(USERS)])
    return folder


def find(folder: Path) -> dict[str, Effect]:
    return {effect.setting: effect for effect in compare_runs(folder)[0].effects}


def test_an_effect_is_the_mean_difference_of_runs_that_agree_in_all_else(tmp_path: Path) -> None:
    """Over users the effect of bpr is 0.1 + 0.02 · (-2.5, -1.5, …, 2.5), the same for every seed."""
    effects = find(write_factorial(tmp_path))
    assert list(effects) == ["loss", "dropout", "embedding_dim"]
    loss = effects["loss"]
    assert (loss.value, loss.other, loss.wins, loss.n_pairs) == ("mse", "bpr", 12, 12)
    assert loss.difference.mean == pytest.approx(-0.1)
    p = stats.ttest_1samp([0.1 + 0.02 * (user - 2.5) for user in range(6)], 0).pvalue
    assert loss.difference.p == pytest.approx(p, rel=1e-3)  # the only one with a p: nothing to correct
    assert (effects["dropout"].value, effects["dropout"].wins) == ("0", 12)
    assert effects["dropout"].difference.mean == pytest.approx(-0.02)
    assert effects["embedding_dim"].difference.mean == 0 and effects["embedding_dim"].wins == 0


def test_runs_without_evidence_are_compared_over_seeds(tmp_path: Path) -> None:
    """Seed s adds s · 0.01 · 2 to both sizes of bpr: the effect by seed is 0.1, 0.12, 0.14."""
    for number, (loss, size, seed) in enumerate(product(("mse", "bpr"), (8, 16), range(3))):
        value = 0.8 + (0.1 + 0.02 * seed) * (loss == "bpr") + 0.001 * size
        words = (f"loss={loss}", f"model.embedding_dim={size}", f"seed={seed}")
        write_run(tmp_path / str(number), "model=mf", *words, model="mf", value=value)
    effect = find(tmp_path)["loss"]
    assert effect.difference.covers == "seeds" and effect.difference.mean == pytest.approx(-0.12)
    assert effect.difference.half_width == pytest.approx(4.3027 * 0.02 / 3**0.5, rel=1e-4)


def test_of_several_values_each_is_compared_with_the_best_on_validation(tmp_path: Path) -> None:
    """Test MSE has another order than validation; numbers in the order of the sweep."""
    for number, (dropout, val, test) in enumerate(((0.1, 0.9, 0.5), (0.2, 0.7, 0.8), (0.3, 0.8, 0.9))):
        for seed in range(2):
            metrics = {"val/mse": val, "test/mse": test + 0.01 * seed * dropout}
            words = (f"regularization.dropout={dropout}", f"seed={seed}")
            write_run(tmp_path / f"{number}{seed}", *words, value=val, metrics=metrics)
    effects = compare_runs(tmp_path)[0].effects
    assert [(effect.value, effect.other, effect.wins) for effect in effects] == [("0.2", "0.1", 0), ("0.2", "0.3", 2)]


def test_pairs_need_the_same_seed(tmp_path: Path) -> None:
    for number, (dropout, seed) in enumerate(((0.1, 0), (0.1, 1), (0.2, 1), (0.2, 2))):
        write_run(tmp_path / str(number), f"regularization.dropout={dropout}", f"seed={seed}", value=0.5 + dropout)
    (effect,) = compare_runs(tmp_path)[0].effects
    assert effect.n_pairs == 1 and effect.difference.n_seeds == 1


def test_configurations_that_all_seeds_leave_the_same_are_one_pair(tmp_path: Path) -> None:
    for number, (shrinkage, seed) in enumerate(product((1, 10), range(3))):
        write_run(tmp_path / str(number), f"model.shrinkage={shrinkage}", f"seed={seed}", value=shrinkage)
    effect = find(tmp_path)["shrinkage"]
    assert (effect.value, effect.wins, effect.n_pairs) == ("1", 1, 1)


def test_models_are_compared_where_they_agree_in_what_both_have(tmp_path: Path) -> None:
    """means has no size; each size of mf is compared with it."""
    write_run(tmp_path / "0", "model=means", value=0.9)
    for size in (8, 16):
        write_run(tmp_path / str(size), "model=mf", f"model.embedding_dim={size}", model="mf", value=0.8)
    effects = find(tmp_path)
    assert effects["model"].n_pairs == 2 and effects["embedding_dim"].n_pairs == 1


def test_a_search_has_no_effects(tmp_path: Path) -> None:
    assert compare_runs(write_search(tmp_path))[0].effects == []


def test_significant_interactions_are_found(tmp_path: Path) -> None:
    """At dropout 0.2 bpr loses `number` hundredths more, by user: the effect of loss differs by 0.02 … 0.07."""
    write_factorial(tmp_path)
    for run in tmp_path.iterdir():
        words = (run / ".hydra" / "overrides.yaml").read_text()
        if "loss=bpr" in words and "dropout=0.2" in words:
            table = pa_parquet.read_table(run / "evidence" / "test.parquet")
            errors = table["squared_error"].to_numpy() + np.array([0.02, 0.03, 0.04, 0.05, 0.06, 0.07])
            (run / "evidence" / "test.parquet").unlink()
            (run / "evidence" / "val.parquet").unlink()
            (run / "evidence").rmdir()
            leave_evidence(run, errors.tolist())
    (interaction,) = compare_runs(tmp_path)[0].interactions
    assert (interaction.first.setting, interaction.second.setting) == ("loss", "dropout")
    assert interaction.difference.mean == pytest.approx(0.045)  # mse - bpr at dropout 0, minus that at 0.2
    expected = stats.ttest_1samp([0.02, 0.03, 0.04, 0.05, 0.06, 0.07], 0).pvalue
    assert interaction.difference.p == pytest.approx(expected, rel=1e-3)
    sentence = describe_effects(compare_runs(tmp_path)[0])[-1]
    assert sentence.startswith("loss and dropout depend on one another: mse gains over bpr 0.045 ±")
    assert "more at dropout 0.2 than at 0 (p" in sentence


def test_without_interaction_none_is_reported(tmp_path: Path) -> None:
    assert compare_runs(write_factorial(tmp_path))[0].interactions == []
