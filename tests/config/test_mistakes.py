"""Every mistake in a command ends as one line, before anything is written."""

from pathlib import Path

import pytest
import torch
from choices import configure, names, node
from shell import recsweep

from recsweep.config import check_config
from recsweep.errors import UserError

CUTS = [split for split in names("split") if "name" not in node("split", split)]
TOP = (
    "name, seed, tags, paths, trainer, callbacks, logger, optimizer, scheduler, regularization, loss, evaluation, "
    "split, data, model"
)
RANKED = ", ".join(f"{name}@{k}" for k in (5, 10, 20) for name in ("hit_rate", "ndcg", "recall", "precision", "map"))
COVERED = "mrr, mrr_all, coverage@5, coverage@10, coverage@20"
YOURS = "yours need --config-dir DIR"
NO_RUN = "no run of recsweep (it has no .hydra/config.yaml)"

BAD = {
    # keys
    "train nope=1": f"nope: no such key; there are {TOP}",
    "train resume=true": f"resume: no such key; there are {TOP}",
    "train model.nope=1": "model.nope: no such key; there are embedding_dim, init_std",
    "train +model.nope=1": "model.nope: no such key; there are embedding_dim, init_std",
    "train +callbacks.checkpoint.nope=1": "callbacks.checkpoint.nope: no such key; there are every_seconds, max_mb",
    "train optimizer.weight_decay=1": "optimizer.weight_decay: no such key; there are lr, betas, eps, fused",
    "train +optimizer.nope=1": (
        "optimizer.nope: no such key; there are lr, betas, eps, fused, amsgrad, maximize, foreach, capturable, "
        "differentiable"
    ),
    "train optimizer.amsgrad=true": (
        "optimizer.amsgrad: the YAML file does not set it, so add it with a plus: +optimizer.amsgrad=…"
    ),
    "train split.name=u1": "split.name: no such key; there are test_fraction, val_fraction, seed, cold_users",
    "train loss.delta=1": "loss.delta: no such key; recsweep.losses.rating.mse has none",
    "train ~trainer": "trainer is missing",
    "train ~model.init_std": "model.init_std is missing",
    "train data=table": "data.path has no default: give data.path=...",
    "train model=null": f"model=null: a name is wanted; there are {', '.join(names('model'))}",
    # choices
    "train model=nope": f"model=nope: no such choice; there are {', '.join(names('model'))}; {YOURS}",
    "train loss=nope": f"loss=nope: no such choice; there are {', '.join(names('loss'))}; {YOURS}",
    "train logger=nope": f"logger=nope: no such choice; there are csv, mlflow, none, tensorboard, wandb; {YOURS}",
    "train -m model=means,nope": f"model=nope: no such choice; there are {', '.join(names('model'))}; {YOURS}",
    "train model._target_=recsweep.Nope": "model._target_=recsweep.Nope: nothing of that name can be imported",
    # types and ranges; the others are in VALUES
    "train trainer.batch_size=0": "trainer.batch_size=0: it should be greater than or equal to 1",
    "train seed=a": "seed=a: it should be a valid integer",
    "train trainer.accelerator=cuda": "trainer.accelerator=cuda: no CUDA device is visible; take cpu or auto",
    # what does not go together
    "train model=multitask evaluation=rating": (
        "model Multitask cannot be judged by RatingEvaluation: evaluation=joint"
    ),
    "train model=multitask loss.factorization_weight=0 loss.regression_weight=0": (
        "loss.factorization_weight=0 and loss.regression_weight=0 leave nothing to learn: raise one of them"
    ),
    "train model=multitask loss=gradnorm model.shared_embeddings=false": (
        "model.shared_embeddings=false: GradNorm compares gradients in shared vectors; set it to true"
    ),
    "train loss=ddpg": (
        "model BiasedMF needs a RatingLoss of (prediction, rating), which recsweep.losses.temporal.DDPG is not: "
        "loss=mse"
    ),
    "train model=drr loss=bpr": (
        "model DRR needs a TemporalLoss, which recsweep.losses.ranking.Sampled is not: loss=ddpg|td3"
    ),
    "train model=drr evaluation=rating": (
        "model DRR cannot be judged by RatingEvaluation: evaluation=full_ranking|sampled_99|sessions"
    ),
    "train model=popularity evaluation=rating": (
        "model Popularity cannot be judged by RatingEvaluation: evaluation=full_ranking|sampled_99|sessions|two_stage"
    ),
    "train model=drr model.frozen=true": (
        "model.frozen=true: random vectors would never be learned; give model.pretrained=DIR"
    ),
    "train model=drr model.pretrained=embeddings trainer.refit=true": (
        "trainer.refit=true: model.pretrained was trained without the validation rows; set it to false"
    ),
    "train experiment=drr_ml_1m_best": (
        "model.frozen=true: random vectors would never be learned; give model.pretrained=DIR"
    ),
    "train evaluation=sessions": (
        "model BiasedMF cannot be judged by SessionEvaluation: evaluation=full_ranking|rating|sampled_99"
    ),
    "train model._target_=torch.nn.Identity ~model.embedding_dim ~model.init_std": (
        "model._target_=torch.nn.Identity: give a subclass of RecModule or Baseline"
    ),
    "train data._target_=datetime.date": (
        "data._target_=datetime.date: its arguments cannot be read; give another class or function"
    ),
    "train loss._target_=torch.nn.functional.threshold": (
        "model BiasedMF needs a RatingLoss of (prediction, rating), which torch.nn.functional.threshold is not: "
        "loss=mse"
    ),
    "train optimizer=sgd optimizer.nesterov=true": (
        "optimizer: Nesterov momentum requires a momentum and zero dampening"
    ),
    "train scheduler.factor=1.0": "scheduler: Factor should be < 1.0.",
    "train split=u1": f"this data ships no split u1: split={'|'.join(CUTS)}",
    "train split.val_fraction=0.5 split.test_fraction=0.6": (
        "split.val_fraction=0.5 and split.test_fraction=0.6 leave no row to train on: allowed is a sum below 1"
    ),
    "train data.n_users=10 data.n_items=10 data.n_interactions=100": (
        "data.n_interactions 100 is too many for 10 users and 10 items: at most a quarter of their pairs, 25"
    ),
    "train data=table data.path=x.csv data.rating_scale=[5,1]": (
        "data.rating_scale=[5, 1], allowed: [lowest, highest] rating"
    ),
    # commands
    "train hydra.mode=MULTIRUN": "hydra.mode: leave it out; -m runs a sweep, and without -m it is one run",
    "train -m seed=range(0,0)": "seed=range(0,0): stands for no value at all",
    "train -m experiment=glob(nope*)": "experiment=glob(nope*): stands for no value at all",
    "train -m seed=range(0,1,0)": "seed=range(0,1,0): a step of 0 never ends",
    **{
        f"train -m {values}": f"{values}: more than 10,000 jobs; a search draws some: hydra/sweeper=optuna"
        for values in ("seed=range(0,1e9)", "seed=range(0,inf)", "seed=shuffle(range(0,1e9))")
    },
    "train -m split.seed=range(0,101) seed=range(0,100)": (
        "seed=range(0,100): more than 10,000 jobs; a search draws some: hydra/sweeper=optuna"
    ),
    "train hydra/launcher=null": (
        "hydra/launcher=null: a name is wanted; there are joblib, ray, submitit_local, submitit_slurm"
    ),
    "train -m logger=none,null": "logger=null: a name is wanted; there are csv, mlflow, none, tensorboard, wandb",
    "train logger=3": "logger=3: a name is wanted; there are csv, mlflow, none, tensorboard, wandb",
    "train hydra.run.dir=": "hydra.run.dir is empty: name a folder, or leave it out",
    "train hydra.run.dir=''": "hydra.run.dir is empty: name a folder, or leave it out",
    "train -m hydra.sweep.dir='' seed=0,1": "hydra.sweep.dir is empty: name a folder, or leave it out",
    "train hydra.output_subdir=null": "hydra.output_subdir: leave it out; a run is found again by its .hydra",
    "train model": "model: not of the form key=value; quote a value that holds blanks: 'key=\"a b\"'",
    "train model=[": "model=[: a bracket has no end; as text write 'model=\"[\"'",
    "train model=biased_mf/../svdpp": "model=biased_mf/../svdpp: a name is wanted; there are "
    + ", ".join(names("model")),
    "train -m model=means,./svdpp": "model=means,./svdpp: a name is wanted; there are " + ", ".join(names("model")),
    "train hydra.searchpath=[file:///nope]": "hydra.searchpath: file:///nope: no such folder",
    "train hydra.searchpath=[nope]": "hydra.searchpath: nope: no such folder",
    "train hydra.searchpath=[pkg://nope]": "hydra.searchpath: pkg://nope: no such folder",
    "train --config-dir=nope seed=0": "--config-dir=nope: no such folder",
    "train seed=1,2": "seed=1,2: several values: add -m for a sweep, or write a list as [a,b]",
    "train -m seed=0,-1": "seed=-1: it should be greater than or equal to 0",
    "train run=nope": f"run=nope: {NO_RUN}",
    "nope": "nope: no such verb; there are train, evaluate, recommend, export, report, data",
    "evaluate": "which run? give run=DIR, a folder that `recsweep train` wrote",
    "evaluate run=nope": f"run=nope: {NO_RUN}",
    "recommend run=nope user=1": f"run=nope: {NO_RUN}",
    "report": "report: wants one folder of runs, got 0; recsweep report DIR [baseline=NAME | compare=A,B]",
    "data nope": "data nope: there are `data list` and `data prepare data=NAME`",
    "data prepare nope=1": f"nope: no such key; there are {TOP}",
}


VALUES = {
    "seed=a": "seed=a: it should be a valid integer",
    "seed=-1": "seed=-1: it should be greater than or equal to 0",
    "seed=1.5": "seed=1.5: it should be a valid integer",
    "name=a/b": "name=a/b: String should match pattern '^\\w[\\w.-]*$'",
    "trainer.batch_size=0": "trainer.batch_size=0: it should be greater than or equal to 1",
    "trainer.threads=100000": "trainer.threads=100000: it should be less than or equal to 1024",
    "trainer.processes=100000": "trainer.processes=100000: it should be less than or equal to 1024",
    "data.n_users=99999999999": "data.n_users=99999999999: it should be less than or equal to 100000000",
    "data.n_items=99999999999": "data.n_items=99999999999: it should be less than or equal to 100000000",
    "data.n_interactions=99999999999": "data.n_interactions=99999999999: it should be less than or equal to 100000000",
    "trainer.max_epochs=2.5": "trainer.max_epochs=2.5: it should be a valid integer",
    "trainer.refit=1": "trainer.refit=1: it should be a valid boolean",
    "trainer.accelerator=tpu": "trainer.accelerator=tpu: it should be 'auto', 'cpu' or 'cuda'",
    "trainer.limit_batches=0": "trainer.limit_batches=0: it should be greater than or equal to 1",
    "regularization.dropout=1.5": "regularization.dropout=1.5: it should be less than 1",
    "regularization.dropout=nan": "regularization.dropout=nan: it should be a finite number",
    "regularization.weight_decay=inf": "regularization.weight_decay=inf: it should be a finite number",
    "regularization.l2=-1": "regularization.l2=-1: it should be greater than or equal to 0",
    "regularization.rating_noise=loud": "regularization.rating_noise=loud: it should be a valid number",
    "callbacks.early_stopping.patience=0": (
        "callbacks.early_stopping.patience=0: it should be greater than or equal to 1"
    ),
    "callbacks.checkpoint.max_mb=0": "callbacks.checkpoint.max_mb=0: it should be greater than 0",
    "logger.tensorboard=yes": "logger.tensorboard=yes: it should be a valid boolean",
    "model.embedding_dim=0": "model.embedding_dim=0: it should be greater than or equal to 1",
    "model.embedding_dim=5000": "model.embedding_dim=5000: it should be less than or equal to 4096",
    "model=mlp model.hidden=[]": "model.hidden=[]: List should have at least 1 item after validation, not 0",
    "model=mlp model.hidden=[8,0]": "model.hidden.1=0: it should be greater than or equal to 1",
    "model=means model.user_shrinkage=-1": "model.user_shrinkage=-1: it should be greater than or equal to 0",
    "model=ials model.l2=0": "model.l2=0: it should be greater than 0",
    "model=ials model.unobserved_weight=0": "model.unobserved_weight=0: it should be greater than 0",
    "model=ials model.frequency_exponent=1.5": ("model.frequency_exponent=1.5: it should be less than or equal to 1"),
    "model=ials model.epochs=0": "model.epochs=0: it should be greater than or equal to 1",
    "model=ials model.init_std=0": "model.init_std=0: it should be greater than 0",
    "model=ials model.seed=-1": "model.seed=-1: it should be greater than or equal to 0",
    "model=ials evaluation=rating": (
        "model IALS cannot be judged by RatingEvaluation: evaluation=full_ranking|sampled_99|sessions"
    ),
    "trainer.accumulate=0": "trainer.accumulate=0: it should be greater than or equal to 1",
    "trainer.shuffle=items": "trainer.shuffle=items: it should be 'rows' or 'users'",
    "model=bpr_mf loss.n_negatives=0": "loss.n_negatives=0: it should be greater than or equal to 1",
    "model=bpr_mf loss.function=hinge": "loss.function=hinge: it should be 'softmax' or 'bpr'",
    "model=bpr_mf loss=in_batch loss.n_shared=-1": "loss.n_shared=-1: it should be greater than or equal to 0",
    "model=bpr_mf loss=in_batch loss.log_q=1": "loss.log_q=1: it should be a valid boolean",
    "model=bpr_mf loss=full_softmax +loss.n_negatives=5": "loss.n_negatives: no such key; there are none",
    "model=two_tower model.history=lstm": (
        "model.history=lstm: it should be 'none', 'mean', 'attention', 'gru' or 'transformer'"
    ),
    "model=two_tower model.hidden=[8,1]": "model.hidden.1=1: it should be greater than or equal to 2",
    "model=two_tower model.max_history=0": "model.max_history=0: it should be greater than or equal to 1",
    "model=two_tower model.scale=0": "model.scale=0: it should be greater than 0",
    "model=two_tower model.item_features=genres": (
        "model.item_features=genres: it should be a list, such as model.item_features=[genres]"
    ),
    "tags=a": "tags=a: it should be a list, such as tags=[a]",
    "model=multitask loss.factorization_weight=-1": (
        "loss.factorization_weight=-1: it should be greater than or equal to 0"
    ),
    "model=multitask loss.regression_weight=-0.1": (
        "loss.regression_weight=-0.1: it should be greater than or equal to 0"
    ),
    "model=multitask loss.ranking.n_negatives=0": (
        "loss.ranking.n_negatives=0: it should be greater than or equal to 1"
    ),
    "model=multitask loss.ranking.function=hinge": "loss.ranking.function=hinge: it should be 'softmax' or 'bpr'",
    "model=multitask loss=gradnorm loss.alpha=-1": "loss.alpha=-1: it should be greater than or equal to 0",
    "model=multitask loss=gradnorm loss.lr=0": "loss.lr=0: it should be greater than 0",
    "model=multitask model.shared_embeddings=1": "model.shared_embeddings=1: it should be a valid boolean",
    "model=multitask evaluation.joint.mse=low": "evaluation.joint.mse=low: it should be a valid number",
    "model=multitask evaluation.joint=3": "evaluation.joint=3: it should hold keys of its own",
    "model=drr loss.min_value=5 loss.max_value=-5": ("loss.min_value=5: allowed are values below loss.max_value=-5"),
    "model=drr model.exploration=foo": "model.exploration=foo: it should be 'none', 'gaussian' or 'ou'",
    "model=drr model.state=foo": "model.state=foo: it should be 'drr_ave', 'drr_p' or 'drr_u'",
    "model=drr model.action=foo": "model.action=foo: it should be 'proto' or 'item'",
    "model=drr model.frozen=yes_please": "model.frozen=yes_please: it should be a valid boolean",
    "model=drr model.min_positives=0": "model.min_positives=0: it should be greater than or equal to 1",
    "model=drr model.n_envs=0": "model.n_envs=0: it should be greater than or equal to 1",
    "model=drr model.memory_size=0": "model.memory_size=0: it should be greater than or equal to 1",
    "model=drr model.updates_per_step=0": "model.updates_per_step=0: it should be greater than 0",
    "model=drr model.buffer_size=0": "model.buffer_size=0: it should be greater than or equal to 1",
    "model=drr model.alpha=2": "model.alpha=2: it should be less than or equal to 1",
    "model=drr model.policy_decay=-1": "model.policy_decay=-1: it should be greater than or equal to 0",
    "model=drr loss.gamma=2": "loss.gamma=2: it should be less than or equal to 1",
    "model=drr loss.soft_tau=0": "loss.soft_tau=0: it should be greater than 0",
    "model=drr +loss.policy_delay=2": (
        "loss.policy_delay: no such key; there are gamma, min_value, max_value, soft_tau"
    ),
    "model=drr loss=td3 loss.policy_delay=0": "loss.policy_delay=0: it should be greater than or equal to 1",
    "model=drr loss=td3 loss.noise_clip=-1": "loss.noise_clip=-1: it should be greater than or equal to 0",
    "data=positives data.above=good": "data.above=good: it should be a valid number",
    "data=positives data.base.noise=0": "data.base.noise=0: it should be greater than 0",
    "optimizer.lr=0": "optimizer.lr=0: it should be greater than 0",
    "optimizer.lr=inf": "optimizer.lr=inf: it should be a finite number",
    "optimizer.betas=[0.9,1.0]": "optimizer.betas.1=1.0: it should be less than 1",
    "+optimizer.amsgrad=1": "optimizer.amsgrad=1: it should be a valid boolean",
    "+optimizer.weight_decay=0.1": (
        "optimizer.weight_decay: no such key; there are lr, betas, eps, fused, amsgrad, maximize, foreach, capturable, "
        "differentiable"
    ),
    "optimizer=adagrad +optimizer.initial_accumulator_value=a": (
        "optimizer.initial_accumulator_value=a: it should be a valid number"
    ),
    "optimizer=ranger +optimizer.k=2.5": "optimizer.k=2.5: it should be a valid integer",
    "scheduler.threshold_mode=both": "scheduler.threshold_mode=both: it should be 'rel' or 'abs'",
    "optimizer=sgd optimizer.momentum=1": "optimizer.momentum=1: it should be less than 1",
    "scheduler.patience=-1": "scheduler.patience=-1: it should be greater than or equal to 0",
    "scheduler=one_cycle scheduler.pct_start=1": "scheduler.pct_start=1: it should be less than 1",
    "data.noise=0": "data.noise=0: it should be greater than 0",
    "data=table data.path=x.csv data.duplicates=first": (
        "data.duplicates=first: it should be 'error', 'last', 'mean' or 'keep'"
    ),
    "split.test_fraction=1": "split.test_fraction=1: it should be less than 1",
    "split=rows split.shares=[1,1]": ("split.shares=[1, 1]: List should have at least 3 items after validation, not 2"),
    "split.cold_users=drop": "split.cold_users=drop: it should be 'error' or 'keep'",
    "evaluation.objective=ndcg@10": "evaluation.objective=ndcg@10: it should be 'mse', 'rmse' or 'mae'",
    "evaluation=full_ranking evaluation.objective=ndcg@7": (
        f"evaluation.objective=ndcg@7 is not computed: choose from {RANKED}, {COVERED}"
    ),
    "evaluation=sampled_99 evaluation.n_negatives=0": "evaluation.n_negatives=0: it should be greater than 0",
    "evaluation=sampled_99 +evaluation.mask_seen=false": (
        "evaluation.mask_seen=false is for full rankings: in sampled ones evaluation.negatives=reference draws seen "
        "items, too"
    ),
    "evaluation=sampled_99 evaluation.negatives=unseen": (
        "evaluation.negatives=unseen: it should be 'exact' or 'reference'"
    ),
    "evaluation=sessions evaluation.objective=ndcg@10": (
        "evaluation.objective=ndcg@10: it should be 'reward' or 'session_reward'"
    ),
    "evaluation=sessions evaluation.seed=-1": "evaluation.seed=-1: it should be greater than or equal to 0",
    "data=ncf_ml_1m data.with_test=1": "data.with_test=1: it should be a valid boolean",
    "model=multitask +evaluation.joint.nope=1": (
        f"evaluation.joint: nope is not among {RANKED}, {COVERED}, mse, rmse, mae"
    ),
    "model=multitask evaluation.objective=mse": (f"evaluation.objective: mse is not among joint, {RANKED}, {COVERED}"),
}
"""Overrides of single values, the last of which is the mistake: checked without the program around them."""


@pytest.mark.parametrize("arguments", BAD)
def test_a_mistake_is_one_line_and_nothing_is_written(
    arguments: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert recsweep(tmp_path, *arguments.split()) == (2, "", f"recsweep: {BAD[arguments]}\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("overrides", VALUES)
def test_a_value_that_is_not_allowed_is_refused(overrides: str) -> None:
    with pytest.raises(UserError) as error:
        check_config(configure(*overrides.split()))
    assert str(error.value) == VALUES[overrides]


def test_an_unknown_experiment_is_refused(tmp_path: Path) -> None:
    found = recsweep(tmp_path, "train", "experiment=nope")
    assert found.status == 2
    assert found.err.count("\n") == 1 and "experiment" in found.err and "nope" in found.err
    assert list(tmp_path.iterdir()) == []
