"""Configuration: what should compose does, and every mistake ends as one line before anything is written."""

from math import cos, pi
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from shell import fit_model, recsweep, tiny

from recsweep.config import BUILT, check_config, compose_config, conf_dir
from recsweep.errors import UserError
from recsweep.runs import build
from recsweep.runs.folder import LAST

AT_LEAST = {
    "callbacks": 1,
    "data": 12,
    "evaluation": 8,
    "logger": 2,
    "loss": 18,
    "model": 16,
    "optimizer": 4,
    "regularization": 2,
    "scheduler": 5,
    "split": 12,
    "trainer": 1,
}
"""So many files the search must find, or it looks in the wrong place. New ones need no line here."""

NEEDS = {
    "data=bandit_table": ["data.path=log.csv"],
    "data=table": ["data.path=ratings.csv"],
    "evaluation=binary": ["model=simulator"],
    "evaluation=joint": ["model=multitask"],
    "evaluation=off_policy": ["model=nominator"],
    "evaluation=sessions": ["model=drr"],
    "evaluation=two_stage": ["model=nominator"],
    **{
        f"experiment={name}": ["model.pretrained=embeddings"]
        for name in ("drr_synthetic", "drr_ml_100k", "drr_ml_1m_best")
    },
    "loss=bce": ["model=simulator"],
    "model=logged_policy": ["data.path=log.csv", "model.source=null"],
    **{f"loss={name}": ["model=nominator"] for name in ("ce", "ips_1", "ips_2", "snips", "dr", "top_k")},
    **{f"loss={name}": ["model=bpr_mf"] for name in ("bpr", "sampled_softmax", "in_batch", "mixed", "full_softmax")},
    **{
        f"loss={name}": ["model=multitask"]
        for name in ("bpr_mse", "bpr_mse_99_1", "bpr_mse_50_50", "full_softmax_mse", "uncertainty", "gradnorm")
    },
    **{f"loss={name}": ["model=drr"] for name in ("ddpg", "td3")},
    "optimizer=sparse_adam": ["regularization=none"],
    "split=given": ["data=ncf_ml_1m"],
    **{f"split={name}": ["data=ml_100k"] for name in ("u1", "u2", "u3", "u4", "u5", "ua", "ub")},
}
"""What some choices cannot do without."""


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


def node(group: str, name: str) -> DictConfig:
    """A group's file by itself, on top of the files that it builds on, if any."""
    content = OmegaConf.load(conf_dir() / group / f"{name}.yaml")
    assert isinstance(content, DictConfig)
    defaults = content.pop("defaults", [])
    parts = []
    for other in defaults:
        if isinstance(other, DictConfig):
            ((key, choice),) = other.items()
            source, _, place = key.partition("@")
            parts += [{place: node(group, choice)}] if source == f"/{group}" else []
        elif other != "_self_":
            parts.append(node(group, other.partition("@")[0]))
    own = content.get(group) or OmegaConf.masked_copy(content, [key for key in content if key not in BUILT])
    merged = OmegaConf.merge(*parts, own)
    assert isinstance(merged, DictConfig)
    return merged


GROUPS = sorted({path.parent.name for path in conf_dir().glob("*/*.yaml")})


def test_the_search_finds_the_files() -> None:
    assert set(GROUPS) >= set(AT_LEAST)
    assert [group for group in AT_LEAST if len(choices(group)) < AT_LEAST[group]] == []


@pytest.mark.parametrize("choice", [f"{group}={name}" for group in GROUPS for name in choices(group)])
def test_every_file_composes_and_builds(choice: str) -> None:
    cfg = compose_config([choice, *NEEDS.get(choice, [])])
    for group in BUILT:
        instantiate(cfg[group])
    build.training(cfg)


@pytest.fixture(scope="module")
def default() -> DictConfig:
    cfg = compose_config(["data=table", "data.path=ratings.csv", "split=random"])
    OmegaConf.set_struct(cfg, False)
    return cfg


def message(default: DictConfig, **chosen: str) -> str | None:
    """What is wrong with the default configuration once these groups are replaced; None where it is fine."""
    cfg = default.copy()
    cfg.update({group: node(group, name) for group, name in chosen.items()})
    if chosen.get("data") in ("table", "bandit_table"):
        cfg.data.path = "ratings.csv"
    if chosen.get("data") in ("bandit", "positives"):
        cfg.data.base = node("data/base", "synthetic")
    try:
        check_config(cfg)
    except UserError as error:
        return str(error)
    return None


MODELS = {
    "biased_mf": "BiasedMF",
    "svdpp": "SVDpp",
    "mlp": "MLP",
    "means": "Means",
    "popularity": "Popularity",
    "bpr_mf": "BPRMF",
    "two_tower": "TwoTower",
    "multitask": "Multitask",
    "drr": "DRR",
}
RETRIEVAL = ("bpr_mf", "two_tower")
STEPPED_DENSE = {"svdpp", "mlp", "two_tower", "multitask", "drr"}
FITTING = {
    "biased_mf": ["mse"],
    **{name: ["bpr", "full_softmax", "in_batch", "mixed", "sampled_softmax"] for name in RETRIEVAL},
    "multitask": ["bpr_mse", "bpr_mse_50_50", "bpr_mse_99_1", "full_softmax_mse", "gradnorm", "uncertainty"],
    "drr": ["ddpg", "td3"],
}
JUDGED_BY = {
    **{name: ["full_ranking", "rating", "sampled_99"] for name in ("biased_mf", "svdpp", "mlp", "means")},
    "popularity": ["full_ranking", "sampled_99", "sessions", "two_stage"],
    **{name: ["full_ranking", "sampled_99", "sessions"] for name in (*RETRIEVAL, "drr")},
    "multitask": ["joint"],
}
PROTOCOLS = {
    "rating": "RatingEvaluation",
    "full_ranking": "RankingEvaluation",
    "sampled_99": "RankingEvaluation",
    "sessions": "SessionEvaluation",
    "joint": "JointEvaluation",
}


def loss_of(model: str) -> str:
    return FITTING.get(model, ["mse"])[0]


def evaluation_of(model: str) -> str:
    return "rating" if "rating" in JUDGED_BY[model] else JUDGED_BY[model][0]


@pytest.mark.parametrize("loss", choices("loss"))
@pytest.mark.parametrize("model", FITTING)
def test_models_and_losses(model: str, loss: str, default: DictConfig) -> None:
    target = node("loss", loss)._target_
    expected = f"model {MODELS[model]} cannot be trained with {target}: loss={'|'.join(FITTING[model])}"
    found = message(default, model=model, loss=loss, evaluation=evaluation_of(model))
    assert found == (None if loss in FITTING[model] else expected)


@pytest.mark.parametrize("evaluation", PROTOCOLS)
@pytest.mark.parametrize("model", MODELS)
def test_models_and_evaluations(model: str, evaluation: str, default: DictConfig) -> None:
    fitting = JUDGED_BY[model]
    expected = f"model {MODELS[model]} cannot be judged by {PROTOCOLS[evaluation]}: evaluation={'|'.join(fitting)}"
    found = message(default, model=model, evaluation=evaluation, loss=loss_of(model))
    assert found == (None if evaluation in fitting else expected)


@pytest.mark.parametrize("regularization", ["default", "none"])
@pytest.mark.parametrize("optimizer", ["adamw", "adagrad", "sgd", "sparse_adam"])
@pytest.mark.parametrize("model", MODELS)
def test_models_and_optimizers(model: str, optimizer: str, regularization: str, default: DictConfig) -> None:
    expected = None
    if optimizer == "sparse_adam" and model not in ("means", "popularity"):
        if regularization == "default":
            expected = "regularization.weight_decay=0.0001: SparseAdam knows none; set it to 0"
        elif model in STEPPED_DENSE:
            expected = f"model {MODELS[model]} has dense layers, which SparseAdam cannot train: take adamw"
    chosen = {"optimizer": optimizer, "regularization": regularization, "evaluation": evaluation_of(model)}
    assert message(default, model=model, loss=loss_of(model), **chosen) == expected


SHIPPED = {
    **{name: ["given"] for name in ("bandit", "ncf_ml_1m", "sequences")},
    "ml_100k": ["u1", "u2", "u3", "u4", "u5", "ua", "ub"],
}
MADE = ["leave_last_out", "random", "rows", "temporal"]


@pytest.mark.parametrize("data", choices("data"))
def test_data_and_splits(data: str, default: DictConfig) -> None:
    shipped = SHIPPED.get(data, [])
    for split in choices("split"):
        expected = None
        if split not in [*MADE, *shipped]:
            expected = f"this data ships no split {split}: split={'|'.join([*shipped, *MADE])}"
        if data == "bandit" and split in MADE:
            expected = "data.rows=log has parts of its own: split=given"
        assert message(default, data=data, split=split) == expected


@pytest.mark.parametrize("scheduler", choices("scheduler"))
@pytest.mark.parametrize("optimizer", choices("optimizer"))
def test_optimizers_and_schedules_train(optimizer: str, scheduler: str, tmp_path: Path) -> None:
    cfg = tiny(f"optimizer={optimizer}", f"scheduler={scheduler}", "regularization=none")
    before = build.model(cfg, build.data(cfg)).state_dict()
    after = fit_model(cfg, tmp_path).state_dict()
    assert after["table.rows.weight"].isfinite().all()
    assert not torch.equal(after["table.rows.weight"], before["table.rows.weight"])


LOWEST = 0.01 / 25 / 1e4
PAST_THE_CYCLE = LOWEST + (0.01 - LOWEST) * (1 + cos(pi * (60 - 17) / (59 - 17))) / 2
"""4 epochs of 960 / 64 batches: the cycle's top is at step 0.3 · 60 - 1, its end at 59, and 60 is never used."""


@pytest.mark.parametrize(
    ("words", "rate"),
    [
        (["scheduler=none"], 0.01),
        (["scheduler=step", "scheduler.step_size=1"], 0.01 * 0.5**4),
        (["scheduler=cosine"], 0.0),
        (["scheduler=cosine", "scheduler.T_max=8"], 0.01 / 2),  # half of half a wave
        (["scheduler=one_cycle"], PAST_THE_CYCLE),
    ],
)
def test_a_schedule_ends_where_it_should(words: list[str], rate: float, tmp_path: Path) -> None:
    """After four epochs."""
    fit_model(tiny("trainer.max_epochs=4", "optimizer.lr=0.01", *words), tmp_path)
    last = torch.load(tmp_path / LAST, weights_only=True)
    assert last["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(rate, rel=1e-6, abs=1e-15)


@pytest.mark.parametrize(("evaluation", "mode"), [("rating", "min"), ("full_ranking", "max")])
def test_what_groups_tell_each_other(evaluation: str, mode: str) -> None:
    """The plateau looks the way the objective improves, weight decay reaches the optimizer, the rate the schedule."""
    words = [f"evaluation={evaluation}", "regularization.weight_decay=0.5", "optimizer.lr=0.25"]
    training = build.training(compose_config(words))
    assert training.scheduler.keywords["mode"] == mode
    assert training.optimizer.keywords["weight_decay"] == 0.5
    one_cycle = build.training(compose_config([*words, "scheduler=one_cycle"]))
    assert one_cycle.scheduler.keywords["max_lr"] == 0.25
    cosine = build.training(compose_config([*words, "scheduler=cosine", "trainer.max_epochs=17"]))
    assert cosine.scheduler.keywords["T_max"] == 17


TOP = (
    "name, seed, paths, trainer, callbacks, logger, optimizer, scheduler, regularization, loss, evaluation, split, "
    "data, model"
)
RANKED = ", ".join(f"{name}@{k}" for k in (5, 10, 20) for name in ("hit_rate", "ndcg", "recall", "precision", "map"))
COVERED = "mrr, mrr_all, coverage@5, coverage@10, coverage@20"
NO_RUN = "no run of recsweep (it has no .hydra/overrides.yaml)"

BAD = {
    # keys
    "train nope=1": f"nope: no such key; there are {TOP}",
    "train resume=true": f"resume: no such key; there are {TOP}",
    "train model.nope=1": "model.nope: no such key; there are embedding_dim, init_std",
    "train +model.nope=1": "model.nope: no such key; there are embedding_dim, init_std",
    "train +callbacks.checkpoint.nope=1": "callbacks.checkpoint.nope: no such key; there are every_seconds, max_mb",
    "train optimizer.weight_decay=1": "optimizer.weight_decay: no such key; there are lr, betas, eps, fused",
    "train +optimizer.nope=1": "optimizer.nope: no such key; there are lr, betas, eps, fused",
    "train split.name=u1": "split.name: no such key; there are test_fraction, val_fraction, seed, cold_users",
    "train ~trainer": "trainer is missing",
    "train ~model.init_std": "model.init_std is missing",
    "train data=table": "data.path has no default: give data.path=...",
    "train model=null": "Config group override must be a string or a list. Got NoneType",
    # choices
    "train model=nope": f"model=nope: no such choice; there are {', '.join(choices('model'))}",
    "train loss=nope": f"loss=nope: no such choice; there are {', '.join(choices('loss'))}",
    "train logger=wandb": "logger=wandb: no such choice; there are none, tensorboard",
    "train -m model=means,nope": f"model=nope: no such choice; there are {', '.join(choices('model'))}",
    "train model._target_=recsweep.Nope": "model._target_=recsweep.Nope: nothing of that name can be imported",
    # types and ranges
    "train seed=a": "seed=a: it should be a valid integer",
    "train seed=-1": "seed=-1: it should be greater than or equal to 0",
    "train seed=1.5": "seed=1.5: it should be a valid integer",
    "train name=a/b": "name=a/b: String should match pattern '^\\w[\\w.-]*$'",
    "train trainer.batch_size=0": "trainer.batch_size=0: it should be greater than or equal to 1",
    "train trainer.max_epochs=2.5": "trainer.max_epochs=2.5: it should be a valid integer",
    "train trainer.refit=1": "trainer.refit=1: it should be a valid boolean",
    "train trainer.accelerator=tpu": "trainer.accelerator=tpu: it should be 'auto', 'cpu' or 'cuda'",
    "train trainer.accelerator=cuda": "trainer.accelerator=cuda: no CUDA device is visible; take cpu or auto",
    "train trainer.limit_batches=0": "trainer.limit_batches=0: it should be greater than or equal to 1",
    "train regularization.dropout=1.5": "regularization.dropout=1.5: it should be less than 1",
    "train regularization.dropout=nan": "regularization.dropout=nan: it should be a finite number",
    "train regularization.weight_decay=inf": "regularization.weight_decay=inf: it should be a finite number",
    "train regularization.l2=-1": "regularization.l2=-1: it should be greater than or equal to 0",
    "train regularization.rating_noise=loud": "regularization.rating_noise=loud: it should be a valid number",
    "train callbacks.early_stopping.patience=0": (
        "callbacks.early_stopping.patience=0: it should be greater than or equal to 1"
    ),
    "train callbacks.checkpoint.max_mb=0": "callbacks.checkpoint.max_mb=0: it should be greater than 0",
    "train logger.tensorboard=yes": "logger.tensorboard=yes: it should be a valid boolean",
    "train model.embedding_dim=0": "model.embedding_dim=0: it should be greater than or equal to 1",
    "train model.embedding_dim=5000": "model.embedding_dim=5000: it should be less than or equal to 4096",
    "train model=mlp model.hidden=[]": "model.hidden=[]: List should have at least 1 item after validation, not 0",
    "train model=mlp model.hidden=[8,0]": "model.hidden.1=0: it should be greater than or equal to 1",
    "train model=means model.user_shrinkage=-1": "model.user_shrinkage=-1: it should be greater than or equal to 0",
    "train model=ials model.l2=0": "model.l2=0: it should be greater than 0",
    "train model=ials model.unobserved_weight=0": "model.unobserved_weight=0: it should be greater than 0",
    "train model=ials model.frequency_exponent=1.5": (
        "model.frequency_exponent=1.5: it should be less than or equal to 1"
    ),
    "train model=ials model.epochs=0": "model.epochs=0: it should be greater than or equal to 1",
    "train model=ials model.init_std=0": "model.init_std=0: it should be greater than 0",
    "train model=ials model.seed=-1": "model.seed=-1: it should be greater than or equal to 0",
    "train model=ials evaluation=rating": (
        "model IALS cannot be judged by RatingEvaluation: evaluation=full_ranking|sampled_99|sessions"
    ),
    "train trainer.accumulate=0": "trainer.accumulate=0: it should be greater than or equal to 1",
    "train trainer.shuffle=items": "trainer.shuffle=items: it should be 'rows' or 'users'",
    "train model=bpr_mf loss.n_negatives=0": "loss.n_negatives=0: it should be greater than or equal to 1",
    "train model=bpr_mf loss.function=hinge": "loss.function=hinge: it should be 'softmax' or 'bpr'",
    "train model=bpr_mf loss=in_batch loss.n_shared=-1": "loss.n_shared=-1: it should be greater than or equal to 0",
    "train model=bpr_mf loss=in_batch loss.log_q=1": "loss.log_q=1: it should be a valid boolean",
    "train model=bpr_mf loss=full_softmax +loss.n_negatives=5": "loss.n_negatives: no such key; there are none",
    "train model=two_tower model.history=lstm": (
        "model.history=lstm: it should be 'none', 'mean', 'attention' or 'gru'"
    ),
    "train model=two_tower model.hidden=[8,1]": "model.hidden.1=1: it should be greater than or equal to 2",
    "train model=two_tower model.max_history=0": "model.max_history=0: it should be greater than or equal to 1",
    "train model=two_tower model.scale=0": "model.scale=0: it should be greater than 0",
    "train model=two_tower model.item_features=genres": "model.item_features=genres: it should be a valid list",
    "train model=multitask loss.factorization_weight=-1": (
        "loss.factorization_weight=-1: it should be greater than or equal to 0"
    ),
    "train model=multitask loss.regression_weight=-0.1": (
        "loss.regression_weight=-0.1: it should be greater than or equal to 0"
    ),
    "train model=multitask loss.ranking.n_negatives=0": (
        "loss.ranking.n_negatives=0: it should be greater than or equal to 1"
    ),
    "train model=multitask loss.ranking.function=hinge": "loss.ranking.function=hinge: it should be 'softmax' or 'bpr'",
    "train model=multitask loss=gradnorm loss.alpha=-1": "loss.alpha=-1: it should be greater than or equal to 0",
    "train model=multitask loss=gradnorm loss.lr=0": "loss.lr=0: it should be greater than 0",
    "train model=multitask model.shared_embeddings=1": "model.shared_embeddings=1: it should be a valid boolean",
    "train model=multitask evaluation.joint.mse=low": "evaluation.joint.mse=low: it should be a valid number",
    "train model=multitask evaluation.joint=3": "evaluation.joint=3: it should hold keys of its own",
    "train model=drr loss.min_value=5 loss.max_value=-5": (
        "loss.min_value=5: allowed are values below loss.max_value=-5"
    ),
    "train model=drr model.exploration=foo": "model.exploration=foo: it should be 'none', 'gaussian' or 'ou'",
    "train model=drr model.state=foo": "model.state=foo: it should be 'drr_ave', 'drr_p' or 'drr_u'",
    "train model=drr model.action=foo": "model.action=foo: it should be 'proto' or 'item'",
    "train model=drr model.frozen=yes_please": "model.frozen=yes_please: it should be a valid boolean",
    "train model=drr model.min_positives=0": "model.min_positives=0: it should be greater than or equal to 1",
    "train model=drr model.n_envs=0": "model.n_envs=0: it should be greater than or equal to 1",
    "train model=drr model.memory_size=0": "model.memory_size=0: it should be greater than or equal to 1",
    "train model=drr model.updates_per_step=0": "model.updates_per_step=0: it should be greater than 0",
    "train model=drr model.buffer_size=0": "model.buffer_size=0: it should be greater than or equal to 1",
    "train model=drr model.alpha=2": "model.alpha=2: it should be less than or equal to 1",
    "train model=drr model.policy_decay=-1": "model.policy_decay=-1: it should be greater than or equal to 0",
    "train model=drr loss.gamma=2": "loss.gamma=2: it should be less than or equal to 1",
    "train model=drr loss.soft_tau=0": "loss.soft_tau=0: it should be greater than 0",
    "train model=drr +loss.policy_delay=2": (
        "loss.policy_delay: no such key; there are gamma, min_value, max_value, soft_tau"
    ),
    "train model=drr loss=td3 loss.policy_delay=0": "loss.policy_delay=0: it should be greater than or equal to 1",
    "train model=drr loss=td3 loss.noise_clip=-1": "loss.noise_clip=-1: it should be greater than or equal to 0",
    "train data=positives data.above=good": "data.above=good: it should be a valid number",
    "train data=positives data.base.noise=0": "data.base.noise=0: it should be greater than 0",
    "train optimizer.lr=0": "optimizer.lr=0: it should be greater than 0",
    "train optimizer.lr=inf": "optimizer.lr=inf: it should be a finite number",
    "train optimizer.betas=[0.9,1.0]": "optimizer.betas.1=1.0: it should be less than 1",
    "train optimizer=sgd optimizer.momentum=1": "optimizer.momentum=1: it should be less than 1",
    "train scheduler.patience=-1": "scheduler.patience=-1: it should be greater than or equal to 0",
    "train scheduler=one_cycle scheduler.pct_start=1": "scheduler.pct_start=1: it should be less than 1",
    "train data.noise=0": "data.noise=0: it should be greater than 0",
    "train data=table data.path=x.csv data.duplicates=first": (
        "data.duplicates=first: it should be 'error', 'last' or 'mean'"
    ),
    "train split.test_fraction=1": "split.test_fraction=1: it should be less than 1",
    "train split=rows split.shares=[1,1]": (
        "split.shares=[1, 1]: List should have at least 3 items after validation, not 2"
    ),
    "train split.cold_users=drop": "split.cold_users=drop: it should be 'error' or 'keep'",
    "train evaluation.objective=ndcg@10": "evaluation.objective=ndcg@10: it should be 'mse', 'rmse' or 'mae'",
    "train evaluation=full_ranking evaluation.objective=ndcg@7": (
        f"evaluation.objective=ndcg@7 is not computed: choose from {RANKED}, {COVERED}"
    ),
    "train evaluation=sampled_99 evaluation.n_negatives=0": "evaluation.n_negatives=0: it should be greater than 0",
    "train evaluation=sampled_99 evaluation.negatives=unseen": (
        "evaluation.negatives=unseen: it should be 'exact' or 'reference'"
    ),
    "train evaluation=sessions evaluation.objective=ndcg@10": (
        "evaluation.objective=ndcg@10: it should be 'reward' or 'session_reward'"
    ),
    "train evaluation=sessions evaluation.seed=-1": "evaluation.seed=-1: it should be greater than or equal to 0",
    "train data=ncf_ml_1m data.with_test=1": "data.with_test=1: it should be a valid boolean",
    "train model=multitask +evaluation.joint.nope=1": (
        f"evaluation.joint: nope is not among {RANKED}, {COVERED}, mse, rmse, mae"
    ),
    "train model=multitask evaluation.objective=mse": (
        f"evaluation.objective: mse is not among joint, {RANKED}, {COVERED}"
    ),
    # what does not go together
    "train model=multitask evaluation=rating": (
        "model Multitask cannot be judged by RatingEvaluation: evaluation=joint"
    ),
    "train model=multitask loss.factorization_weight=0 loss.regression_weight=0": (
        "loss.factorization_weight=0 and loss.regression_weight=0 leave nothing to learn: raise one of them"
    ),
    "train model=multitask loss=gradnorm model.shared_embeddings=false": (
        "model.shared_embeddings=false: gradnorm weighs pulls at what is shared; set it to true"
    ),
    "train loss=ddpg": "model BiasedMF cannot be trained with recsweep.losses.temporal.DDPG: loss=mse",
    "train model=drr loss=bpr": ("model DRR cannot be trained with recsweep.losses.ranking.Sampled: loss=ddpg|td3"),
    "train model=drr evaluation=rating": (
        "model DRR cannot be judged by RatingEvaluation: evaluation=full_ranking|sampled_99|sessions"
    ),
    "train model=popularity evaluation=rating": (
        "model Popularity cannot be judged by RatingEvaluation: evaluation=full_ranking|sampled_99|sessions|two_stage"
    ),
    "train model=drr model.frozen=true": "model.frozen=true: noise would stay noise; give model.pretrained=DIR",
    "train model=drr model.pretrained=embeddings trainer.refit=true": (
        "trainer.refit=true: model.pretrained knows the rows of one training alone; set it to false"
    ),
    "train experiment=drr_ml_1m_best": "model.frozen=true: noise would stay noise; give model.pretrained=DIR",
    "train evaluation=sessions": (
        "model BiasedMF cannot be judged by SessionEvaluation: evaluation=full_ranking|rating|sampled_99"
    ),
    "train loss._target_=torch.nn.functional.mse_loss": (
        "model BiasedMF cannot be trained with torch.nn.functional.mse_loss: loss=mse"
    ),
    "train optimizer=sgd optimizer.nesterov=true": (
        "optimizer: Nesterov momentum requires a momentum and zero dampening"
    ),
    "train scheduler.factor=1.0": "scheduler: Factor should be < 1.0.",
    "train split=u1": f"this data ships no split u1: split={'|'.join(MADE)}",
    "train split.val_fraction=0.5 split.test_fraction=0.6": (
        "split.val_fraction=0.5 and split.test_fraction=0.6 leave no row to train on: allowed is a sum below 1"
    ),
    "train data.n_users=10 data.n_items=10 data.n_interactions=100": (
        "data.n_interactions 100 is too many for 10 users and 10 items: at most a quarter of their pairs, 25"
    ),
    "train data=table data.path=x.csv data.rating_scale=[5,1]": (
        "data.rating_scale=[5, 1], allowed: [lowest, highest] rating"
    ),
    # words
    "train model": "model: not of the form key=value (Error parsing override 'model')",
    "train model=[": "model=[: not of the form key=value (no viable alternative at input '[')",
    "train seed=1,2": "seed=1,2: several values: add -m for a sweep, or write a list as [a,b]",
    "train -m seed=0,-1": "seed=-1: it should be greater than or equal to 0",
    "train run=nope": f"run=nope: {NO_RUN}",
    "nope": "nope: no such verb; there are train, evaluate, recommend, report, data",
    "evaluate": "which run? give run=DIR, a folder that `recsweep train` made",
    "evaluate run=nope": f"run=nope: {NO_RUN}",
    "recommend run=nope user=1": f"run=nope: {NO_RUN}",
    "report": "report: wants one folder of runs, got 0; recsweep report DIR [baseline=NAME]",
    "data nope": "data nope: there are `data list` and `data prepare data=NAME`",
    "data prepare nope=1": f"nope: no such key; there are {TOP}",
}


@pytest.mark.parametrize("words", BAD)
def test_a_mistake_is_one_line_and_nothing_is_written(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert recsweep(tmp_path, *words.split()) == (2, "", f"recsweep: {BAD[words]}\n")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_experiment_is_refused(tmp_path: Path) -> None:
    found = recsweep(tmp_path, "train", "experiment=nope")
    assert found.status == 2
    assert found.err.count("\n") == 1 and "experiment" in found.err and "nope" in found.err
    assert list(tmp_path.iterdir()) == []
