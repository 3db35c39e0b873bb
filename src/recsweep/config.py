"""What a configuration may hold: types, ranges, and which choices go together.

A node with a `_target_` is checked against that target's signature, whose annotations carry the ranges; so a new model,
loss or data set needs no line here. The remaining groups are described by the classes below.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_type_hints

import torch
from hydra import compose, initialize_config_dir
from hydra.errors import (
    HydraException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import InterpolationKeyError, MissingMandatoryValue, OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from torch.optim.lr_scheduler import OneCycleLR
from typing_extensions import is_protocol

from recsweep.embeddings import Embedded
from recsweep.errors import UserError
from recsweep.losses.multitask import GradNorm
from recsweep.losses.ranking import InBatch
from recsweep.models.base import Regularization
from recsweep.models.baselines import Baseline
from recsweep.seeding import Seed

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)
Positive = Annotated[int, Field(ge=1, lt=2**31)]
NotNegative = Annotated[float, Field(ge=0)]
Rate = Annotated[float, Field(ge=0, lt=1)]


class Trainer(BaseModel):
    model_config = STRICT
    max_epochs: Positive
    batch_size: Positive
    accumulate: Positive
    shuffle: Literal["rows", "users"]
    accelerator: Literal["auto", "cpu", "cuda"]
    threads: Positive
    steps_per_call: Positive
    limit_batches: Positive | None
    refit: bool


class EarlyStopping(BaseModel):
    model_config = STRICT
    patience: Positive | None
    min_delta: NotNegative


class Checkpoint(BaseModel):
    model_config = STRICT
    every_seconds: NotNegative
    max_mb: Annotated[float, Field(gt=0)]


class Callbacks(BaseModel):
    model_config = STRICT
    early_stopping: EarlyStopping
    checkpoint: Checkpoint
    progress: bool
    embeddings: bool
    compare_with: list[dict[str, Any]]


class Logger(BaseModel):
    model_config = STRICT
    tensorboard: bool


class Paths(BaseModel):
    model_config = STRICT
    data_dir: str
    cache_dir: str


class Config(BaseModel):
    """The whole configuration. A group that is built from a `_target_` is checked against that target."""

    model_config = STRICT
    name: Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
    seed: Seed
    paths: Paths
    trainer: Trainer
    callbacks: Callbacks
    logger: Logger
    regularization: Regularization
    model: dict[str, Any]
    loss: dict[str, Any]
    data: dict[str, Any]
    split: dict[str, Any]
    evaluation: dict[str, Any]
    optimizer: dict[str, Any]
    scheduler: dict[str, Any]


BUILT = ("model", "loss", "data", "split", "evaluation", "optimizer", "scheduler")

TORCH_RANGES: dict[str, Any] = {
    "lr": Annotated[float, Field(gt=0)],
    "lr_decay": NotNegative,
    "eps": Annotated[float, Field(gt=0)],
    "momentum": Rate,
    "betas": Annotated[list[Rate], Field(min_length=2, max_length=2)],
    "nesterov": bool,
    "fused": bool,
    "patience": Annotated[int, Field(ge=0)],
    "factor": Annotated[float, Field(gt=0, le=1)],
    "min_lr": NotNegative,
    "T_max": Positive,
    "eta_min": NotNegative,
    "step_size": Positive,
    "gamma": Annotated[float, Field(gt=0, le=1)],
    "max_lr": Annotated[float, Field(gt=0)],
    "pct_start": Annotated[float, Field(gt=0, lt=1)],
    "div_factor": Annotated[float, Field(gt=1)],
    "final_div_factor": Annotated[float, Field(gt=0)],
    "cycle_momentum": bool,
}
"""What a configuration may set of torch's optimizers and schedules, whose own annotations name no ranges."""


def conf_dir() -> Path:
    """The folder `conf/`: beside the source in a checkout, inside the package when installed from a wheel."""
    package = Path(__file__).parent
    checkout = package.parents[1] / "conf"
    return checkout if checkout.is_dir() else package / "conf"


def with_hydra(overrides: list[str]) -> DictConfig:
    """The configuration as Hydra composes it, its own node `hydra` included; `UserError` where it cannot."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        try:
            return compose("config", overrides, return_hydra_config=True)
        except (HydraException, OmegaConfBaseException, ValueError) as error:  # ValueError: model=null
            raise UserError(one_line(error)) from None


def composed(overrides: list[str]) -> DictConfig:
    """The checked configuration of one run; `UserError` for whatever is wrong with it."""
    cfg = with_hydra(overrides)
    with open_dict(cfg):
        del cfg["hydra"]
    check(cfg)
    return cfg


def check(cfg: DictConfig) -> None:
    """Raises `UserError` for the first wrong key, type, range or combination."""
    try:
        node = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise UserError(one_line(error)) from None
    groups = cast(dict[str, Any], node)
    _bind("", Config, groups)
    for group in BUILT:
        _check_node(group, groups[group])
    _check_combination(cfg)


def _check_node(place: str, node: dict[str, Any]) -> None:
    """Binds what the node holds to the signature of its target; nodes in it are bound to targets of their own."""
    if "_target_" not in node:
        raise UserError(f"{place}._target_ is missing")
    target = _target(place, node["_target_"])
    arguments = {key: value for key, value in node.items() if key not in ("_target_", "_partial_")}
    nested = {key for key, value in arguments.items() if isinstance(value, dict) and "_target_" in value}
    for key in nested:
        _check_node(f"{place}.{key}", arguments[key])
    _bind(f"{place}.", _schema(target, "_partial_" in node, nested), arguments)


def _target(group: str, path: str) -> Any:
    try:
        return get_object(path)
    except (ImportError, ValueError):
        raise UserError(f"{group}._target_={path}: nothing of that name can be imported") from None


def _schema(target: Any, partial: bool, nested: set[str]) -> type[BaseModel]:
    """What of a target's signature the configuration fills in: of a partial one, the keyword-only arguments.

    Arguments of the names `nested` are nodes, checked by themselves.
    """
    signature = inspect.signature(target).parameters.values()
    ours = target.__module__.startswith("recsweep.")
    hints = get_type_hints(target.__init__ if inspect.isclass(target) else target, include_extras=True)
    fields: dict[str, Any] = {}
    for argument in signature:
        if not ours:
            if argument.name in TORCH_RANGES:
                fields[argument.name] = (TORCH_RANGES[argument.name], None)
        elif argument.kind is argument.KEYWORD_ONLY or not partial:
            default = ... if argument.default is argument.empty else argument.default
            hint = Any if argument.name in nested else hints[argument.name]
            fields[argument.name] = (dict if is_protocol(hint) else hint, default)
    return create_model(target.__name__, __config__=STRICT, **fields)


def _bind(prefix: str, schema: type[BaseModel], node: dict[str, Any]) -> None:
    try:
        schema.model_validate(node)
    except ValidationError as error:
        first = error.errors()[0]
        key = prefix + ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise UserError(
                f"{key}: no such key; there are {', '.join(_beside(node, first['loc'])) or 'none'}"
            ) from None
        if first["type"] == "missing":
            raise UserError(f"{key} is missing") from None
        if first["type"] == "dict_type":
            group = key.replace(".", "/")
            is_group = (conf_dir() / group).is_dir()
            hint = f"choose a group by {group}={first['input']}" if is_group else "it should hold keys of its own"
            raise UserError(f"{key}={first['input']}: {hint}") from None
        raise UserError(f"{key}={first['input']}: {first['msg'].replace('Input', 'it')}") from None


def _beside(node: dict[str, Any], place: tuple[int | str, ...]) -> list[str]:
    """The other keys where `place` is; the YAML files name every one."""
    for step in place[:-1]:
        node = node[cast(str, step)]
    return [key for key in node if key != place[-1]]


def _check_combination(cfg: DictConfig) -> None:
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
    if get_object(cfg.loss.get("ranking", cfg.loss)._target_) is InBatch and cfg.trainer.shuffle == "users":
        raise UserError(
            "trainer.shuffle=users: a batch would hold few users, who compete with each other: shuffle=rows"
        )
    if loss is GradNorm and not cfg.model.shared_embeddings:
        raise UserError("model.shared_embeddings=false: gradnorm weighs pulls at what is shared; set it to true")
    _construct("loss", cfg.loss)


def _check_exports(cfg: DictConfig, model: Any, evaluation: Any) -> None:
    if cfg.callbacks.embeddings and not issubclass(model, Embedded):
        raise UserError(f"callbacks.embeddings=true: model {model.__name__} does not rank by vectors; set it to false")
    for place, rival in enumerate(cfg.callbacks.compare_with):
        fitting = _choices("model", lambda target: issubclass(target, Baseline) and evaluation in target.evaluations)
        name = rival.get("model")
        if name in [other.get("model") for other in cfg.callbacks.compare_with[:place]]:
            raise UserError(f"callbacks.compare_with: model={name} stands there twice; take another run for it")
        if name not in fitting.split("|"):
            raise UserError(
                f"callbacks.compare_with: model={name} is no baseline for this evaluation; take {fitting or 'none'}"
            )
        other = cfg.copy()
        other.model = rival_node(rival)
        node = cast(dict[str, Any], OmegaConf.to_container(other.model, resolve=True))
        _check_node(f"callbacks.compare_with[{place}]", node)


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


def _choices(group: str, fits: Callable[[Any], bool]) -> str:
    """Names of the YAML files of a group whose target fits, joined by |."""
    names = []
    for path in sorted((conf_dir() / group).glob("*.yaml")):
        node = cast(DictConfig, OmegaConf.load(path))
        if group not in node and "_target_" not in node:  # a variant of the file that it names first
            node = cast(DictConfig, OmegaConf.load(path.with_stem(node.defaults[0])))
        target = node.get(group, node).get("_target_")  # a model's file also sets other groups
        if target and fits(get_object(target)):
            names.append(path.stem)
    return "|".join(names)


def one_line(error: Exception) -> str:
    """A message of Hydra's or OmegaConf's as one line that says what there is instead."""
    cause = error.__cause__
    if isinstance(cause, OmegaConfBaseException) and isinstance(cause.parent_node, DictConfig):
        keys = [str(key) for key in cause.parent_node if key not in ("_target_", "_partial_", "hydra")]
        return f"{cause.full_key}: no such key; there are {', '.join(keys) or 'none'}"
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} has no default: give {error.full_key}=..."
    if isinstance(error, InterpolationKeyError):
        wanted = str(error).split("'")[1]
        hint = ": use data=bandit" if wanted.startswith("data.") else ""
        return f"{error.full_key} follows {wanted}, which there is not{hint}"
    if isinstance(error, OverrideParseException):
        return f"{error.override}: not of the form key=value ({str(error).splitlines()[0]})"
    if isinstance(error, MissingConfigException) and error.options is not None:
        wanted = "=".join(str(error.missing_cfg_file).rsplit("/", 1))
        return f"{wanted}: no such choice; there are {', '.join(error.options)}"
    return " ".join(line.strip() for line in str(error).splitlines() if line.strip())
