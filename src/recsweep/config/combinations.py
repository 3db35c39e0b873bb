"""Which choices of a configuration go together."""

from collections.abc import Callable
from typing import Any, cast, get_args

import torch
from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from torch.optim.lr_scheduler import OneCycleLR

from recsweep.config.shape import check_node
from recsweep.errors import UserError
from recsweep.losses import multitask, ranking
from recsweep.models.base import RecModule
from recsweep.models.baselines import Baseline
from recsweep.paths import conf_dir
from recsweep.vectors.export import Embedded


def check_combination(cfg: DictConfig) -> None:
    model = get_object(cfg.model._target_)
    evaluation = get_object(cfg.evaluation._target_)
    if evaluation not in model.evaluations:
        fitting = _choices("evaluation", lambda target: target in model.evaluations)
        raise UserError(f"model {model.__name__} cannot be judged by {evaluation.__name__}: evaluation={fitting}")
    losses = getattr(model, "losses", None)
    rows = getattr(model, "rows", None)
    if rows and cfg.data.get("rows", rows) != rows:
        raise UserError(f"model {model.__name__} learns from data.rows={rows}, not from {cfg.data.rows}")
    if cfg.data.get("rows", "ratings") != "ratings" and "name" not in cfg.split:
        raise UserError(f"data.rows={cfg.data.rows} has parts of its own: split=given")
    shipped = get_object(cfg.data._target_).ships
    if "name" in cfg.split and cfg.split.name not in shipped:
        fitting = _choices("split", lambda target: target is not get_object(cfg.split._target_))
        raise UserError(
            f"this data ships no split {cfg.split.name}: split={'|'.join(filter(None, [*shipped, fitting]))}"
        )
    if losses:
        _check_loss(cfg, model)
        _check_optimizer(cfg, model)
        _check_processes(cfg, model)
    _check_pretrained(cfg)
    _check_exports(cfg, model, evaluation)
    if cfg.trainer.accelerator == "cuda" and not torch.cuda.is_available():
        raise UserError("trainer.accelerator=cuda: no CUDA device is visible; take cpu or auto")
    for group in ("data", "split", "evaluation"):
        _construct(group, cfg[group])


def _check_loss(cfg: DictConfig, model: Any) -> None:
    loss = get_object(cfg.loss._target_)
    if loss.__module__ != model.losses.__name__:
        fitting = _choices("loss", lambda target: target.__module__ == model.losses.__name__)
        raise UserError(f"model {model.__name__} cannot be trained with {cfg.loss._target_}: loss={fitting}")
    competition = loss
    if model.losses is multitask:
        competition = _target_of(cfg.loss.ranking)
        if competition not in get_args(ranking.Competition):
            fitting = _choices("loss", lambda target: target in get_args(ranking.Competition))
            raise UserError(f"loss.ranking is no loss of rankings: loss@loss.ranking={fitting}")
    if competition is ranking.InBatch and cfg.trainer.shuffle == "users":
        raise UserError(
            "trainer.shuffle=users: a batch would hold few users, who compete with each other: shuffle=rows"
        )
    if loss is multitask.GradNorm and not cfg.model.shared_embeddings:
        raise UserError("model.shared_embeddings=false: gradnorm weighs pulls at what is shared; set it to true")
    _construct("loss", cfg.loss)


def _check_pretrained(cfg: DictConfig) -> None:
    if cfg.model.get("frozen") and not cfg.model.pretrained:
        raise UserError("model.frozen=true: noise would stay noise; give model.pretrained=DIR")
    if cfg.model.get("pretrained") and cfg.trainer.refit:
        raise UserError("trainer.refit=true: model.pretrained knows the rows of one training alone; set it to false")


def _check_processes(cfg: DictConfig, model: Any) -> None:
    n, accumulate = cfg.trainer.processes, cfg.trainer.accumulate
    if n == 1:
        return
    own_steps, loss = model.training_step is not RecModule.training_step, get_object(cfg.loss._target_)
    if own_steps or loss is multitask.GradNorm:
        who = f"model {model.__name__}" if own_steps else "gradnorm"
        raise UserError(
            f"trainer.processes={n}: {who} goes on from what the batch before left, so one process sees all of them"
        )
    if accumulate < n:
        raise UserError(
            f"trainer.accumulate={accumulate}: the processes share out the batches of a step, so there must be "
            f"trainer.processes={n} at least; a smaller trainer.batch_size keeps the step as it was"
        )
    n_gpus = torch.cuda.device_count() if cfg.trainer.accelerator != "cpu" else 0
    if 0 < n_gpus < n:
        raise UserError(
            f"trainer.processes={n}: a GPU each, and there are {n_gpus}; take as many, or trainer.accelerator=cpu"
        )


def _check_exports(cfg: DictConfig, model: Any, evaluation: Any) -> None:
    if cfg.callbacks.embeddings and not issubclass(model, Embedded):
        raise UserError(f"callbacks.embeddings=true: model {model.__name__} does not rank by vectors; set it to false")
    for place, rival in enumerate(cfg.callbacks.compare_with):
        fitting = _choices("model", lambda target: issubclass(target, Baseline) and evaluation in target.evaluations)
        name = rival.get("model")
        if name in [other.get("model") for other in cfg.callbacks.compare_with[:place]]:
            raise UserError(f"callbacks.compare_with: model={name} stands there twice; take another run for it")
        if not fitting:
            raise UserError(f"callbacks.compare_with: no baseline is judged by {evaluation.__name__}; leave it empty")
        if name not in fitting.split("|"):
            raise UserError(f"callbacks.compare_with: model={name} is no baseline for this evaluation; take {fitting}")
        other = cfg.copy()
        other.model = rival_node(rival)
        node = cast(dict[str, Any], OmegaConf.to_container(other.model, resolve=True))
        check_node(f"callbacks.compare_with[{place}]", node)


def rival_node(rival: DictConfig) -> DictConfig:
    """The node `model` that an entry of `callbacks.compare_with` means: the model's own file with settings changed."""
    asked = OmegaConf.to_container(rival)
    assert isinstance(asked, dict)
    name = asked.pop("model")
    node = cast(DictConfig, OmegaConf.load(conf_dir() / "model" / f"{name}.yaml")).model
    return cast(DictConfig, OmegaConf.merge(node, asked))


def _check_optimizer(cfg: DictConfig, model: Any) -> None:
    optimizer = _construct("optimizer", cfg.optimizer)
    weight_decay = cfg.regularization.weight_decay
    if optimizer.func is torch.optim.SparseAdam:
        if weight_decay:
            raise UserError(f"regularization.weight_decay={weight_decay}: SparseAdam knows none; set it to 0")
        if not model.sparse:
            raise UserError(f"model {model.__name__} has dense layers, which SparseAdam cannot train: take adamw")
    try:
        made = optimizer([torch.nn.Parameter(torch.zeros(1))])
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"optimizer: {error}") from None
    scheduler = _construct("scheduler", cfg.scheduler)
    try:
        scheduler(made, **({"total_steps": 10} if scheduler.func is OneCycleLR else {}))
    except ValueError as error:
        raise UserError(f"scheduler: {error}") from None


def _construct(group: str, node: DictConfig) -> Any:
    try:
        return instantiate(node)
    except InstantiationException as error:
        cause = error.__cause__
        raise UserError(str(cause) if isinstance(cause, UserError) else f"{group}: {cause}") from None


def _target_of(node: Any) -> Any:
    """The class or function that a node names; None where it names none."""
    return get_object(node._target_) if isinstance(node, DictConfig) and "_target_" in node else None


def _choices(group: str, fits: Callable[[Any], bool]) -> str:
    """Names of the YAML files of a group whose target fits, joined by |."""
    names = []
    for path in sorted((conf_dir() / group).glob("*.yaml")):
        node = cast(DictConfig, OmegaConf.load(path))
        while group not in node and "_target_" not in node:  # a variant of the file that it names first
            node = cast(DictConfig, OmegaConf.load(path.with_stem(node.defaults[0])))
        target = node.get(group, node).get("_target_")  # a model's file also sets other groups
        if target and fits(get_object(target)):
            names.append(path.stem)
    return "|".join(names)
