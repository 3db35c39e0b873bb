"""What a configuration may hold: keys, types and ranges.

A node with a `_target_` is checked against the signature of that target, whose annotations hold the ranges: a new
model, loss or data set needs no line here, wherever it is defined. The other groups are described by the classes below.
"""

import inspect
import logging
from traceback import extract_tb
from typing import Annotated, Any, Literal, cast, get_type_hints

from hydra.utils import get_object
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from typing_extensions import is_protocol

from recsweep.errors import UserError, summarize_error
from recsweep.models.regularization import Regularization
from recsweep.paths import conf_dir
from recsweep.seeding import Seed

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)
Positive = Annotated[int, Field(ge=1, lt=2**31)]
NotNegative = Annotated[float, Field(ge=0)]
MAX_WORKERS = 1024
"""Threads of a process, and processes of a training: OpenMP crashes on many more."""
Rate = Annotated[float, Field(ge=0, lt=1)]


class Trainer(BaseModel):
    """The defaults are those of records from before the setting was there."""

    model_config = STRICT
    max_epochs: Positive
    batch_size: Positive
    accumulate: Positive
    processes: Annotated[int, Field(ge=1, le=MAX_WORKERS)]
    shuffle: Literal["rows", "users"]
    accelerator: Literal["auto", "cpu", "cuda"]
    threads: Annotated[int, Field(ge=1, le=MAX_WORKERS)]
    steps_per_call: Positive
    limit_batches: Positive | None
    refit: bool
    overfit_batches: Positive | None = None
    gradient_clip: Annotated[float, Field(gt=0)] | None = None
    gradient_clip_by: Literal["norm", "value"] = "norm"
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true"] = "32-true"
    profiler: Literal["simple", "advanced", "pytorch"] | None = None
    fast_dev_run: bool | Positive = False
    start_from: str | None = None


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
    evidence: bool = True
    embeddings: bool
    compare_with: list[dict[str, Any]]
    extra: list[dict[str, Any]] = []


class Wandb(BaseModel):
    model_config = STRICT
    project: str
    entity: str | None
    offline: bool


class MLflow(BaseModel):
    model_config = STRICT
    experiment: str


class Logger(BaseModel):
    model_config = STRICT
    tensorboard: bool = False
    csv: bool = False
    wandb: Wandb | None = None
    mlflow: MLflow | None = None


class Paths(BaseModel):
    model_config = STRICT
    data_dir: str
    cache_dir: str
    mlflow: str = "outputs/mlruns"


class Config(BaseModel):
    """The whole configuration. A group that is built from a `_target_` is checked against that target."""

    model_config = STRICT
    name: Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
    seed: Seed
    tags: list[str] = []
    paths: Paths
    trainer: Trainer
    callbacks: Callbacks
    logger: Logger
    regularization: Regularization
    model: dict[str, Any]
    loss: dict[str, Any]
    data: dict[str, Any]
    filter: dict[str, Any] | None = None
    split: dict[str, Any]
    evaluation: dict[str, Any]
    optimizer: dict[str, Any]
    scheduler: dict[str, Any]


BY_TORCH = ("optimizer", "scheduler")
"""Groups whose classes come from torch."""

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
"""Settings of torch's optimizers and schedules, whose own annotations have no ranges."""


GIVEN_LATER = (
    *("params", "weight_decay"),  # of an optimizer
    *("optimizer", "mode", "total_steps", "epochs", "steps_per_epoch", "last_epoch"),  # of a schedule
)
"""Arguments that a run gives itself: of other groups, or of its own length."""


def check_whole_numbers(key: str, node: Any) -> None:
    """Raises `UserError` for the first whole number that 64 bits do not hold: libraries fail on it, each in its way.

    A setting that takes any finite number accepts whole numbers, too.
    """
    if isinstance(node, dict):
        for name, value in node.items():
            check_whole_numbers(f"{key}.{name}" if key else str(name), value)
    elif isinstance(node, list):
        for index, value in enumerate(node):
            check_whole_numbers(f"{key}.{index}", value)
    elif isinstance(node, int) and not -(2**63) <= node < 2**63:
        raise UserError(f"{key}={node}: it should be a whole number of at most 64 bits, or a fraction such as 1e30")


def check_node(key: str, node: dict[str, Any]) -> None:
    """Checks the node's settings against the signature of its target, and the nodes inside it likewise.

    Args:
        key: of the node, such as "loss.ranking".
    """
    if "_target_" not in node:
        raise UserError(f"{key}._target_ is missing")
    target = _target(key, node["_target_"])
    arguments = {key: value for key, value in node.items() if key not in ("_target_", "_partial_")}
    nested = {key for key, value in arguments.items() if isinstance(value, dict) and "_target_" in value}
    for name in nested:
        check_node(f"{key}.{name}", arguments[name])
    is_partial = node.get("_partial_", False)
    if not isinstance(is_partial, bool):
        raise UserError(f"{key}._partial_={is_partial}: it should be a valid boolean")
    _check_partial(key, target, is_partial, arguments)
    try:
        schema = build_schema(target, is_partial, nested) if key not in BY_TORCH else build_torch_schema(target)
    except (TypeError, ValueError, NameError):
        advice = "its arguments cannot be read; give another class or function"
        raise UserError(f"{key}._target_={node['_target_']}: {advice}") from None
    bind(f"{key}.", schema, arguments)


def _check_partial(key: str, target: Any, is_partial: bool, arguments: dict[str, Any]) -> None:
    """Raises `UserError` where a run's own arguments are set, or cannot be given later, for lack of `_partial_`."""
    if key in BY_TORCH or (inspect.isclass(target) and key != "model"):
        return
    parameters = inspect.signature(target).parameters.values()
    given = [a.name for a in parameters if a.kind is a.POSITIONAL_OR_KEYWORD]
    if is_partial and (set_here := [name for name in given if name in arguments]):
        raise UserError(f"{key}.{set_here[0]}: {target.__name__} takes settings behind * only: put it there")
    if not is_partial and (later := [name for name in given if name not in arguments]):
        raise UserError(f"{key}: set _partial_: true, since {target.__name__} gets {', '.join(later)} later")


def _target(key: str, path: Any) -> Any:
    if not isinstance(path, str):
        raise UserError(f"{key}._target_={path}: give the name of a class or a function, such as package.module.Name")
    hydra_utils = logging.getLogger("hydra.utils")  # it would print the error that is raised here
    was_disabled, hydra_utils.disabled = hydra_utils.disabled, True
    try:
        target = get_object(path)
    except (ImportError, ValueError) as error:
        raise UserError(f"{key}._target_={path}: {_explain_import(path, error)}") from None
    finally:
        hydra_utils.disabled = was_disabled
    if not callable(target):
        raise UserError(f"{key}._target_={path}: it cannot be called; give a class or a function")
    return target


def _explain_import(path: str, error: Exception) -> str:
    """Why a class is not there: its module is not found, or fails while it is imported."""
    cause = error.__cause__
    is_missing = isinstance(cause, ModuleNotFoundError) and path.startswith(str(cause.name))
    if not isinstance(cause, Exception) or is_missing or isinstance(cause, AttributeError):
        advice = "" if path.startswith("recsweep.") else "; is its folder on PYTHONPATH?"
        return f"nothing of that name can be imported{advice}"
    frames = [frame for frame in extract_tb(cause.__traceback__) if frame.filename.endswith(".py")]
    if isinstance(cause, SyntaxError):
        place = f"{cause.filename}:{cause.lineno}"
    else:
        place = f"{frames[-1].filename}:{frames[-1].lineno}"
    return f"its module fails, {place}: {summarize_error(cause)}"


def build_torch_schema(target: Any) -> type[BaseModel]:
    """The settings of an optimizer or a schedule, by its annotations, with the ranges of `TORCH_RANGES`."""
    hints = get_type_hints(target.__init__ if inspect.isclass(target) else target, include_extras=True)
    fields: dict[str, Any] = {}
    for name, argument in inspect.signature(target).parameters.items():
        if name not in GIVEN_LATER and argument.kind not in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD):
            default = ... if argument.default is argument.empty else argument.default
            hint = hints.get(name, Any if default in (..., None) else type(default))
            fields[name] = (TORCH_RANGES.get(name, hint), default)
    return create_model(target.__name__, __config__=STRICT, **fields)


def argument_names(group: str, path: str | None) -> list[str]:
    """The settings that an optimizer or a schedule of torch takes, also those that its YAML file leaves out."""
    return list(build_torch_schema(_target(group, path)).model_fields) if group in BY_TORCH and path else []


def build_schema(target: Any, partial: bool, nested: set[str]) -> type[BaseModel]:
    """The arguments of a target that the configuration sets: of a partial one, those behind `*`.

    Arguments named in `nested` are nodes, which are checked by themselves. One without an annotation takes any value.
    """
    arguments = inspect.signature(target).parameters.values()
    hints = get_type_hints(target.__init__ if inspect.isclass(target) else target, include_extras=True)
    fields: dict[str, Any] = {}
    for argument in arguments:
        if argument.kind is argument.KEYWORD_ONLY or (argument.kind is argument.POSITIONAL_OR_KEYWORD and not partial):
            default = ... if argument.default is argument.empty else argument.default
            hint = Any if argument.name in nested else hints.get(argument.name, Any)
            fields[argument.name] = (dict if is_protocol(hint) else hint, default)
    return create_model(target.__name__, __config__=STRICT, **fields)


def bind(prefix: str, schema: type[BaseModel], node: dict[str, Any]) -> None:
    """Raises `UserError` for the first setting in the node that the schema does not allow."""
    try:
        schema.model_validate(node)
    except ValidationError as error:
        first = error.errors()[0]
        key = prefix + ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            siblings = ", ".join(_sibling_keys(node, first["loc"], schema)) or "none"
            raise UserError(f"{key}: no such key; there are {siblings}") from None
        if first["type"] == "list_type":
            raise UserError(f"{key}={first['input']}: it should be a list, such as {key}=[{first['input']}]") from None
        if first["type"] == "missing":
            raise UserError(f"{key} is missing") from None
        if first["type"] == "dict_type":
            group = key.replace(".", "/")
            is_group = (conf_dir() / group).is_dir()
            hint = f"choose a group by {group}={first['input']}" if is_group else "it should hold keys of its own"
            raise UserError(f"{key}={first['input']}: {hint}") from None
        raise UserError(f"{key}={first['input']}: {first['msg'].replace('Input', 'it')}") from None


def _sibling_keys(node: dict[str, Any], path: tuple[int | str, ...], schema: type[BaseModel]) -> list[str]:
    """The keys beside the one at `path`: those of the YAML files, and others that the schema has."""
    others = [name for name in schema.model_fields if name not in node] if len(path) == 1 else []
    for step in path[:-1]:
        node = node[cast(str, step)]
    return [*(key for key in node if key != path[-1] and key not in ("_target_", "_partial_")), *others]
