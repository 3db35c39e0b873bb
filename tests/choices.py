"""The files of `conf/`, what they name, and what they need beside them, all read from the files and from the code."""

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf

from recsweep.config import TARGET_GROUPS, check_config, compose_with_hydra, conf_dir
from recsweep.config.combinations import fits
from recsweep.models.base import RecModule
from recsweep.models.baselines import Baseline
from recsweep.runs import build

GROUPS = sorted({path.parent.name for path in conf_dir().glob("*/*.yaml")})


def names(group: str) -> list[str]:
    """The choices of a group."""
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


@cache
def target(group: str, name: str) -> Any:
    """The class or function that a choice stands for."""
    return get_object(node(group, name)._target_)


def models() -> dict[str, type[RecModule | Baseline]]:
    """Every model by its choice."""
    return {name: target("model", name) for name in names("model")}


def trained_models() -> dict[str, type[RecModule]]:
    """The models that learn by steps, and so have a loss."""
    return {name: model for name, model in models().items() if issubclass(model, RecModule)}


def fitting_losses(model: type[RecModule]) -> list[str]:
    """The choices of loss that a model can be trained with."""
    return [name for name in names("loss") if fits(target("loss", name), model.losses)]


def fitting_evaluations(model: type[RecModule | Baseline]) -> list[str]:
    """The choices of evaluation that a model can be judged by."""
    return [name for name in names("evaluation") if target("evaluation", name) in model.evaluations]


def shipped_splits(data: str) -> list[str]:
    """The splits that a data set ships."""
    return list(target("data", data).ships)


def companions(group: str, name: str) -> list[str]:
    """Overrides that make room for a choice in a configuration that is otherwise the default one."""
    if group == "loss":
        fitting = [model for model, kind in trained_models().items() if fits(target("loss", name), kind.losses)]
        return [] if "biased_mf" in fitting else [f"model={fitting[0]}"]
    if group == "evaluation":
        fitting = [model for model, kind in models().items() if name in fitting_evaluations(kind)]
        return [] if "biased_mf" in fitting else [f"model={fitting[0]}"]
    if group == "split" and "name" in node("split", name):
        return [f"data={next(data for data in names('data') if name in shipped_splits(data))}"]
    if (group, name) == ("optimizer", "sparse_adam"):  # it has no weight decay
        return ["regularization=none"]
    return []


@cache
def node(group: str, name: str) -> DictConfig:
    """A choice's own file, on top of the files that it builds on; whoever changes it takes a copy."""
    content = OmegaConf.load(conf_dir() / group / f"{name}.yaml")
    assert isinstance(content, DictConfig)
    parts = []
    for default in content.pop("defaults", []):
        if isinstance(default, DictConfig):
            ((key, choice),) = default.items()
            source, _, package = key.partition("@")
            parts += [{package: node(group, choice)}] if source == f"/{group}" else []
        elif default != "_self_":
            parts.append(node(group, default.partition("@")[0]))
    own = content.get(group) or OmegaConf.masked_copy(content, [key for key in content if key not in TARGET_GROUPS])
    merged = OmegaConf.merge(*parts, own)
    assert isinstance(merged, DictConfig)
    return merged


@cache
def configuration(*overrides: str) -> DictConfig:
    """What the overrides compose to, before it is checked."""
    cfg = compose_with_hydra(list(overrides))
    OmegaConf.set_struct(cfg, False)
    del cfg["hydra"]
    return cfg


def configure(*overrides: str) -> DictConfig:
    """What the overrides compose to, before it is checked: choices are composed once, values set on a copy."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    cfg = deepcopy(configuration(*(override.input_line for override in parsed if override.key_or_group in GROUPS)))
    for override in parsed:
        if override.key_or_group not in GROUPS:
            OmegaConf.update(cfg, override.key_or_group, override.value(), force_add=True)
    return cfg


def fill_missing(cfg: DictConfig) -> None:
    """Gives a value to what a user must give: names of files, and vectors for what would stay noise."""
    for key in OmegaConf.missing_keys(cfg):
        OmegaConf.update(cfg, key, "file.csv")
    if cfg.model.get("frozen"):
        cfg.model.pretrained = "embeddings"


def compose_and_build(overrides: list[str], conf: Path | None = None) -> DictConfig:
    """Composes the choices, with files from the folder `conf` too, checks them and builds everything but data and
    model. Returns the configuration."""
    search_path = [f"hydra.searchpath=[file://{conf}]"] if conf else []
    cfg = compose_with_hydra([*overrides, *search_path])
    OmegaConf.set_struct(cfg, False)
    del cfg["hydra"]
    fill_missing(cfg)
    check_config(cfg)  # makes the objects of all other groups
    instantiate(cfg.model)
    build.training(cfg)
    return cfg
