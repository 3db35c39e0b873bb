"""Overrides that the chosen model ignores: an error in one run, and no job of their own in a sweep."""

from pathlib import Path

import pytest
from shell import TINY, recsweep, train_run

from recsweep.commands.sweep import prepare_sweep

pytestmark = pytest.mark.usefixtures("blank_page")

IGNORED = {
    "model=means regularization.dropout=0.2": "regularization.dropout=0.2: model means ignores it; leave it out",
    "model=drr regularization.l2=0.1": "regularization.l2=0.1: model drr ignores it; leave it out",
    "model=ease loss=bpr": "loss=bpr: model ease ignores it; leave it out",
    "model=popularity +optimizer.amsgrad=true": "+optimizer.amsgrad=true: model popularity ignores it; leave it out",
    "experiment=rating_ml_100k_means scheduler=step": "scheduler=step: model means ignores it; leave it out",
    "model=bpr_mf regularization.l2_bias=1": (
        "regularization.l2_bias=1: model bpr_mf ignores it; of regularization it uses dropout, weight_decay, l2"
    ),
    "model=nominator regularization.rating_noise=1": (
        "regularization.rating_noise=1: model nominator ignores it; of regularization it uses dropout, weight_decay"
    ),
    "model=two_tower model.history=mean model.blocks=3": (
        "model.blocks=3: model two_tower ignores it beside its other settings; leave it out"
    ),
    "-m model=means seed=0,1 optimizer.lr=0.1": "optimizer.lr=0.1: model means ignores it; leave it out",
    "-m hydra/sweeper=optuna model=means loss=mse,bce": "loss=mse,bce: model means ignores it; leave it out",
}


@pytest.mark.parametrize("words", IGNORED)
def test_what_the_model_ignores_is_refused(words: str, tmp_path: Path) -> None:
    assert recsweep(tmp_path, "train", *words.split()) == (2, "", f"recsweep: {IGNORED[words]}\n")
    assert list(tmp_path.iterdir()) == []


def test_limits_of_a_training_are_no_mistake_for_a_model_without_one(tmp_path: Path) -> None:
    """TINY has max_epochs and batch_size. What is asked for again is checked, too."""
    run = train_run(tmp_path, *TINY, "model=means")
    outcome = recsweep(tmp_path, "train", f"run={run}", "regularization=none")
    assert outcome.err == "recsweep: regularization=none: model means ignores it; leave it out\n"


def jobs_of(*words: str) -> list[list[str]]:
    """The overrides of a sweep's jobs."""
    return [record.overrides for record in prepare_sweep(["-m", *words]).request.records]


def test_jobs_that_differ_only_in_what_their_model_ignores_are_one(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("model=means,biased_mf", "regularization.dropout=0,0.2", "seed=0,1")
    assert jobs_of(*words) == [
        ["model=means", "seed=0"],
        ["model=means", "seed=1"],
        *(["model=biased_mf", f"regularization.dropout={d}", f"seed={seed}"] for d in ("0", "0.2") for seed in (0, 1)),
    ]
    assert capsys.readouterr().err == "means ignores regularization.dropout: 2 jobs instead of 4\n"


def test_a_sweep_over_what_no_model_uses_is_one_job(capsys: pytest.CaptureFixture[str]) -> None:
    assert jobs_of("model=means", "loss=mse,bce,bpr", "trainer.max_epochs=3") == [
        ["model=means", "trainer.max_epochs=3"]
    ]
    assert capsys.readouterr().err == "means ignores loss: 1 job instead of 3\n"


def test_settings_of_a_history_make_no_job_beside_another_history(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("model=two_tower", "model.history=mean,attention,transformer", "model.heads=1,2", "model.blocks=1,2")
    histories = [job[1] for job in jobs_of(*words)]
    assert [histories.count(f"model.history={name}") for name in ("mean", "attention", "transformer")] == [1, 2, 4]
    err = capsys.readouterr().err
    assert "two_tower ignores model.heads, model.blocks: 1 job instead of 4\n" in err
    assert "two_tower ignores model.blocks: 2 jobs instead of 4\n" in err


def test_the_scale_of_a_cosine_has_no_effect_on_a_dot_product() -> None:
    assert len(jobs_of("model=two_tower", "model.similarity=cosine,dot", "model.scale=5,10")) == 3


def test_limits_make_no_job_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(jobs_of("model=means,biased_mf", "trainer.max_epochs=3,4")) == 3
    assert "means ignores trainer.max_epochs: 1 job instead of 2" in capsys.readouterr().err


def test_a_word_that_one_of_the_models_uses_is_left_to_that_model(capsys: pytest.CaptureFixture[str]) -> None:
    """The best again, as a report prints it, is then a command that is taken."""
    jobs = jobs_of("model=means,biased_mf", "optimizer.lr=0.1")
    assert jobs == [["model=means"], ["model=biased_mf", "optimizer.lr=0.1"]]
    assert capsys.readouterr().err == ""
