"""Which choices of a configuration go together."""

from collections.abc import Callable
from functools import cache
from inspect import Parameter, getattr_static, isclass, signature
from typing import Any, cast

import torch
from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from torch.optim.lr_scheduler import OneCycleLR
from typing_extensions import is_protocol

from recsweep.config.engine import check_engine
from recsweep.config.interface import check_methods, check_model, check_source, positional_names
from recsweep.config.shape import check_node
from recsweep.errors import UserError
from recsweep.losses.multitask import Balance
from recsweep.losses.ranking import RankingLoss
from recsweep.models.base import RecModule
from recsweep.models.baselines import Baseline
from recsweep.paths import conf_dir
from recsweep.vectors.export import Embedded


def check_combination(cfg: DictConfig) -> None:
    """Raises `UserError` for the first pair of choices that do not go together."""
    model = get_object(cfg.model._target_)
    if not (isclass(model) and issubclass(model, RecModule | Baseline)):
        raise UserError(f"model._target_={cfg.model._target_}: give a subclass of RecModule or Baseline")
    check_model(model, {name: value for name, value in cfg.model.items() if name not in ("_target_", "_partial_")})
    evaluation = get_object(cfg.evaluation._target_)
    check_methods("evaluation", evaluation)
    if evaluation not in model.evaluations:
        fitting = _choices("evaluation", lambda target: target in model.evaluations)
        raise UserError(f"model {model.__name__} cannot be judged by {evaluation.__name__}: evaluation={fitting}")
    _check_data(cfg, model)
    if issubclass(model, RecModule):
        _check_loss(cfg, model)
        _check_optimizer(cfg, model)
        _check_processes(cfg, model)
        check_engine(cfg, model)
    _check_pretrained(cfg)
    _check_start(cfg, model)
    _check_exports(cfg, model, evaluation)
    if cfg.trainer.accelerator == "cuda" and not torch.cuda.is_available():
        raise UserError("trainer.accelerator=cuda: no CUDA device is visible; take cpu or auto")
    for group in ("data", "filter", "split", "evaluation"):
        if group in cfg and cfg[group] is not None:
            _construct(group, cfg[group])


def _check_data(cfg: DictConfig, model: type[RecModule | Baseline]) -> None:
    _check_sources(cfg.data)
    rows = getattr(model, "rows", None)
    if rows and cfg.data.get("rows", rows) != rows:
        raise UserError(f"model {model.__name__} learns from data.rows={rows}, not from {cfg.data.rows}")
    if cfg.data.get("rows", "ratings") != "ratings" and "name" not in cfg.split:
        raise UserError(f"data.rows={cfg.data.rows} has parts of its own: split=given")
    if cfg.data.get("rows", "ratings") != "ratings" and "filter" in cfg and cfg.filter is not None:
        raise UserError(f"data.rows={cfg.data.rows} has a row for each pair or event of its own making: filter=null")
    split_names = get_object(cfg.data._target_).ships
    if "name" in cfg.split and cfg.split.name not in split_names:
        fitting = _choices("split", lambda target: target is not get_object(cfg.split._target_))
        raise UserError(
            f"this data ships no split {cfg.split.name}: split={'|'.join(filter(None, [*split_names, fitting]))}"
        )
    needs_times = getattr(get_object(cfg.split._target_), "needs_times", False)
    if needs_times and "timestamp" in cfg.data and cfg.data.timestamp is None:
        raise UserError("data.timestamp=null: this split needs times; name their column, or use split=random")
    if "name" not in cfg.split:
        _check_test_rows(cfg.data)


def _check_sources(data: DictConfig, key: str = "data") -> None:
    """Raises `UserError` for the first of the nested data sets that is none."""
    if "base" in data:
        _check_sources(data.base, f"{key}.base")
    check_source(key, data._target_, get_object(data._target_))


def _check_test_rows(data: DictConfig, key: str = "data") -> None:
    """Raises `UserError` where a split that draws test rows itself would divide rows that are for a fair test."""
    if "base" in data:
        _check_test_rows(data.base, f"{key}.base")
    if getattr(get_object(data._target_), "fixes_test", False) and data.with_test:
        raise UserError(
            f"{key}.with_test=true: this data's test rows are for a fair test and are never split again; take "
            f"split=given, or {key}.with_test=false to split the other rows"
        )


def fits(loss: Any, kind: type) -> bool:
    """Whether a loss is of a model's kind (`RecModule.losses`).

    Of a kind that is a class, such as `RankingLoss`, the loss is a subclass. Of a kind that is a protocol, such as
    `RatingLoss`, it is a function, or a class whose instances are called: its positional arguments have the names that
    the protocol hands over, and it takes those that the protocol gives no default. The project's own kinds are told
    apart by these names; a loss from outside may call them as it likes where none of them may be left out.
    """
    if not is_protocol(kind):
        return isclass(loss) and issubclass(loss, kind)
    kind_arguments = _positional(cast(Any, kind).__call__)
    loss_arguments = _positional(getattr_static(loss, "__call__", None) if isclass(loss) else loss)
    required_names = {name for name, default in kind_arguments.items() if default is Parameter.empty}
    is_own = getattr(loss, "__module__", "").startswith("recsweep.")
    if not is_own and len(required_names) == len(kind_arguments):
        required = [name for name, default in loss_arguments.items() if default is Parameter.empty]
        return len(required) <= len(kind_arguments) <= len(loss_arguments)
    return required_names <= loss_arguments.keys() <= kind_arguments.keys()


def _positional(function: Any) -> dict[str, Any]:
    """Names and defaults of the positional arguments, without `self`; none where nothing can be called."""
    try:
        arguments = signature(function).parameters.values()
    except (TypeError, ValueError):
        return {}
    return {a.name: a.default for a in arguments if a.kind is a.POSITIONAL_OR_KEYWORD and a.name != "self"}


def _check_loss(cfg: DictConfig, model: type[RecModule]) -> None:
    loss = get_object(cfg.loss._target_)
    if not fits(loss, model.losses):
        fitting = _choices("loss", lambda target: fits(target, model.losses))
        kind = model.losses.__name__
        if is_protocol(model.losses):
            kind = f"{kind} of ({', '.join(positional_names(cast(Any, model.losses).__call__))})"
        raise UserError(f"model {model.__name__} needs a {kind}, which {cfg.loss._target_} is not: loss={fitting}")
    ranking = loss
    if model.losses is Balance:
        ranking = _target_of(cfg.loss.ranking)
        if not fits(ranking, RankingLoss):
            fitting = _choices("loss", lambda target: fits(target, RankingLoss))
            raise UserError(f"loss.ranking is not a ranking loss: loss@loss.ranking={fitting}")
    for target in (loss, ranking):
        if isclass(target):
            check_methods("loss", target)
    if fits(ranking, RankingLoss) and ranking.compares_rows and cfg.trainer.shuffle == "users":
        raise UserError("trainer.shuffle=users: a batch would hold few users, and its rows compete: shuffle=rows")
    if fits(loss, Balance) and loss.shares_vectors and not cfg.model.shared_embeddings:
        raise UserError(
            f"model.shared_embeddings=false: {loss.__name__} compares gradients in shared vectors; set it to true"
        )
    _construct("loss", cfg.loss)


def _check_pretrained(cfg: DictConfig) -> None:
    if cfg.model.get("frozen") and not cfg.model.pretrained:
        raise UserError("model.frozen=true: random vectors would never be learned; give model.pretrained=DIR")
    if cfg.model.get("pretrained") and cfg.trainer.refit:
        raise UserError("trainer.refit=true: model.pretrained was trained without the validation rows; set it to false")


def _check_start(cfg: DictConfig, model: type[RecModule | Baseline]) -> None:
    start = cfg.trainer.get("start_from")
    if not start:
        return
    if not issubclass(model, RecModule):
        reason = "is fitted from all rows at once and starts from nothing"
    elif model.training_step is not RecModule.training_step or hasattr(model, "rows"):
        reason = "has a state besides its weights"
    elif cfg.model.get("pretrained"):
        reason = "starts from model.pretrained already"
    else:
        return
    raise UserError(f"trainer.start_from={start}: model {model.__name__} {reason}; set it to null")


def _check_processes(cfg: DictConfig, model: type[RecModule]) -> None:
    n, accumulate = cfg.trainer.processes, cfg.trainer.accumulate
    if n == 1:
        return
    loss = get_object(cfg.loss._target_)
    has_own_steps = model.training_step is not RecModule.training_step
    if has_own_steps or (fits(loss, Balance) and loss.shares_vectors):
        name = f"model {model.__name__}" if has_own_steps else loss.__name__
        raise UserError(
            f"trainer.processes={n}: {name} continues from the state that the last batch left, so one process must see "
            "all batches"
        )
    if accumulate < n:
        raise UserError(
            f"trainer.accumulate={accumulate}: the processes divide the batches of a step, so there must be at least "
            f"trainer.processes={n}; a smaller trainer.batch_size keeps the step as it was"
        )
    n_gpus = torch.cuda.device_count() if cfg.trainer.accelerator != "cpu" else 0
    if 0 < n_gpus < n:
        raise UserError(
            f"trainer.processes={n}: each needs a GPU, and there are {n_gpus}; take as many, or trainer.accelerator=cpu"
        )


def _check_exports(cfg: DictConfig, model: type[RecModule | Baseline], evaluation: type) -> None:
    if cfg.callbacks.embeddings and not issubclass(model, Embedded):
        raise UserError(f"callbacks.embeddings=true: model {model.__name__} does not rank by vectors; set it to false")
    if not cfg.callbacks.compare_with:
        return
    fitting = _choices("model", lambda target: issubclass(target, Baseline) and evaluation in target.evaluations)
    if not fitting:
        raise UserError(f"callbacks.compare_with: no baseline is judged by {evaluation.__name__}; leave it empty")
    names = [entry.get("model") for entry in cfg.callbacks.compare_with]
    for number, (entry, name) in enumerate(zip(cfg.callbacks.compare_with, names, strict=True)):
        if name in names[:number]:
            raise UserError(f"callbacks.compare_with: model={name} is listed twice; make another run for it")
        if name not in fitting.split("|"):
            raise UserError(f"callbacks.compare_with: model={name} is no baseline for this evaluation; take {fitting}")
        copy = cfg.copy()
        copy.model = baseline_node(entry)
        node = cast(dict[str, Any], OmegaConf.to_container(copy.model, resolve=True))
        check_node(f"callbacks.compare_with[{number}]", node)


def baseline_node(entry: DictConfig) -> DictConfig:
    """The node `model` that an entry of `callbacks.compare_with` means: the model's own file with changed settings."""
    changes = OmegaConf.to_container(entry)
    assert isinstance(changes, dict)
    name = changes.pop("model")
    node = cast(DictConfig, OmegaConf.load(conf_dir() / "model" / f"{name}.yaml")).model
    return cast(DictConfig, OmegaConf.merge(node, changes))


def _check_optimizer(cfg: DictConfig, model: type[RecModule]) -> None:
    optimizer = _construct("optimizer", cfg.optimizer)
    weight_decay = cfg.regularization.weight_decay
    if optimizer.func is torch.optim.SparseAdam:
        if weight_decay:
            raise UserError(f"regularization.weight_decay={weight_decay}: SparseAdam has none; set it to 0")
        if not model.sparse:
            raise UserError(f"model {model.__name__} has dense layers, which SparseAdam cannot train: take adamw")
    try:
        instance = optimizer([torch.nn.Parameter(torch.zeros(1))])
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"optimizer: {error}") from None
    scheduler = _construct("scheduler", cfg.scheduler)
    try:
        scheduler(instance, **({"total_steps": 1001} if scheduler.func is OneCycleLR else {}))
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


def _choices(group: str, is_fitting: Callable[[Any], bool]) -> str:
    """Names of the YAML files of a group whose target fits, joined by |."""
    return "|".join(name for name, target in _targets(group).items() if target and is_fitting(get_object(target)))


@cache
def _targets(group: str) -> dict[str, str | None]:
    """The target that each YAML file of a group names."""
    targets: dict[str, str | None] = {}
    for path in sorted((conf_dir() / group).glob("*.yaml")):
        node = cast(DictConfig, OmegaConf.load(path))
        while group not in node and "_target_" not in node:  # a variant of the file that it names first
            node = cast(DictConfig, OmegaConf.load(path.with_stem(node.defaults[0])))
        targets[path.stem] = node.get(group, node).get("_target_")  # a model's file also sets other groups
    return targets
