"""The configuration of a run: Hydra composes it, and it is checked before anything is read or written."""

import gc
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, open_dict
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationKeyError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from recsweep.config.files import find_cycle
from recsweep.config.grammar import describe_syntax
from recsweep.config.interpolation import resolve
from recsweep.config.shape import Config, argument_names, bind, check_node, check_whole_numbers
from recsweep.errors import UserError
from recsweep.paths import conf_dir

__all__ = [
    "TARGET_GROUPS",
    "check_choices",
    "check_config",
    "compose_config",
    "compose_with_hydra",
    "conf_dir",
    "describe_error",
    "initialize_hydra",
    "resolve",
]

TARGET_GROUPS = ("model", "loss", "data", "split", "evaluation", "optimizer", "scheduler")
PATH_PARTS = re.compile(r"[=,/]\.{1,2}/")
"""`model=../x`, `model=x/../y`: other files than the choices of the group."""


def compose_with_hydra(overrides: list[str]) -> DictConfig:
    """The configuration with Hydra's own node `hydra`; `UserError` where it does not compose."""
    with initialize_hydra():
        try:
            return compose("config", overrides, return_hydra_config=True)
        except ValueError as error:
            check_choices(OverridesParser.create().parse_overrides(overrides))
            raise UserError(describe_error(error)) from None
        except (HydraException, OmegaConfBaseException, RecursionError) as error:
            raise UserError(describe_error(error)) from None


@contextmanager
def initialize_hydra() -> Iterator[None]:
    """Lets the block compose, also within a job that Hydra runs: Hydra itself allows one at a time."""
    hydra = GlobalHydra.instance()
    outer = hydra.hydra
    hydra.clear()
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().hydra = outer


def check_choices(overrides: list[Override]) -> None:
    """Raises `UserError` for the first group that gets something else than a name, or a folder that is not there."""
    for override in overrides:
        if override.key_or_group == "hydra.searchpath":
            _check_search_path(override)
        folder = conf_dir() / override.key_or_group
        is_name = isinstance(override.value(), str | list | QuotedString)
        is_plain = is_name or override.is_delete() or override.is_sweep_override()
        if folder.is_dir() and (not is_plain or PATH_PARTS.search(override.input_line or "")):
            choices = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
            raise UserError(f"{override.input_line}: a name is wanted; there are {choices}")


def _check_search_path(override: Override) -> None:
    entries = override.value()
    for entry in entries if isinstance(entries, list) else []:
        scheme, separator, path = str(entry).rpartition("://")
        source = SourcesRegistry.instance().resolve(scheme or "file")
        if not source(override.key_or_group, entry if separator else f"file://{path}").available():
            raise UserError(f"hydra.searchpath: {entry}: no such folder")


def compose_config(overrides: list[str]) -> DictConfig:
    """The checked configuration of one run; `UserError` for the first mistake in it."""
    cfg = compose_with_hydra(overrides)
    with open_dict(cfg):
        del cfg["hydra"]
    check_config(cfg)
    return cfg


def check_config(cfg: DictConfig) -> None:
    """Raises `UserError` for the first wrong key, type, range or combination."""
    try:
        node = resolve(cfg, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise UserError(describe_error(error)) from None
    groups = cast(dict[str, Any], node)
    check_whole_numbers("", groups)
    bind("", Config, groups)
    check_combination = _load_engine()
    for group in (*TARGET_GROUPS, "filter"):
        if groups.get(group) is not None:
            check_node(group, groups[group])
    check_combination(cfg)


def _load_engine() -> Callable[[DictConfig], None]:
    """`check_combination`, the first of all that loads torch and Lightning.

    Their import makes a million objects and hardly any garbage: looking for some takes a fifth of the time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        from recsweep.config.combinations import check_combination
    finally:
        if was_enabled:
            gc.enable()
    return check_combination


def describe_error(error: Exception) -> str:
    """An error of Hydra or OmegaConf as one line that says what is allowed instead."""
    cause = error.__cause__
    if isinstance(cause, ConfigKeyError | ConfigAttributeError) and (conf_dir() / str(cause.full_key)).is_dir():
        choices = "|".join(sorted(path.stem for path in (conf_dir() / str(cause.full_key)).glob("*.yaml")))
        return f"{cause.full_key}: nothing is chosen, so it has no keys; choose {cause.full_key}={choices} first"
    if isinstance(error, RecursionError):
        return f"{find_cycle(error)}: its defaults lead back to itself"
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and isinstance(cause.parent_node, DictConfig):
        keys = [str(key) for key in cause.parent_node if key not in ("_target_", "_partial_", "hydra")]
        group, _, key = str(cause.full_key).rpartition(".")
        if key in argument_names(group, cast(Any, cause.parent_node).get("_target_")):
            return f"{cause.full_key}: the YAML file does not set it, so add it with a plus: +{cause.full_key}=…"
        allowed = f"there are {', '.join(keys)}" if keys else f"{cause.parent_node.get('_target_', group)} has none"
        return f"{cause.full_key}: no such key; {allowed}"
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} has no default: give {error.full_key}=..."
    if isinstance(error, InterpolationKeyError):
        source = str(error).split("'")[1]
        hint = ": use data=bandit" if source.startswith("data.") else ""
        return f"{error.full_key} takes its value from {source}, which does not exist{hint}"
    if variable := re.search(r"Environment variable '(.+?)' not found", str(error)):
        key, name = cast(Any, error).full_key, variable[1]
        advice = f"set it, or write ${{oc.env:{name},DEFAULT}}"
        return f"{key}: the environment variable {name} is not set, which its value ${{oc.env:{name}}} names; {advice}"
    if isinstance(error, OverrideParseException):
        return describe_syntax(error)
    if isinstance(error, MissingConfigException) and error.options is not None:
        choice = "=".join(str(error.missing_cfg_file).rsplit("/", 1))
        return f"{choice}: no such choice; there are {', '.join(error.options)}; yours need --config-dir DIR"
    return " ".join(line.strip() for line in str(error).splitlines() if line.strip())
