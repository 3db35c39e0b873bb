"""The YAML files of `conf/` and of --config-dir: Hydra finds them, and they are read as files that others wrote."""

from copy import deepcopy
from functools import lru_cache, partial
from io import StringIO
from pathlib import Path
from traceback import walk_tb
from typing import Any, cast

from hydra._internal import defaults_list as hydra_defaults
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.defaults_list import Overrides
from hydra.core.default_element import InputDefault
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import DictConfig, OmegaConf

from recsweep.atomic import write_atomically
from recsweep.config.own_files import check_file
from recsweep.config.shape import Config
from recsweep.errors import UserError
from recsweep.parse import name_file, read_yaml_text


def _load_config(source: ConfigSource, config_path: str) -> ConfigResult:
    """Loads a file of `conf/` or --config-dir as Hydra does; `UserError` with its name and line where it is wrong."""
    path = Path(source.path) / source._normalize_file_name(config_path)
    with name_file(path):
        state = path.stat()
    cfg, header = _parse(path, state.st_mtime_ns, state.st_size)
    group = config_path.split("/")[0]
    is_setting = group in (*Config.model_fields, "hydra")
    if "/" in config_path and header["package"] is None and (not is_setting or group in cfg):
        raise UserError(f"{path}:1: the file must begin with # @package _global_")
    if header["package"] == "_global_":
        check_file(path, group, cast(dict[Any, Any], OmegaConf.to_container(cfg)))
    return ConfigResult(
        config=deepcopy(cfg), path=f"file://{source.path}", provider=source.provider, header=dict(header)
    )


@lru_cache(maxsize=1000)
def _parse(path: Path, mtime: int, size: int) -> tuple[DictConfig, dict[str, Any]]:
    """The content of a file as it was at that time, and its header: every composition reads the same thirty files."""
    text = read_yaml_text(path)
    with name_file(path):
        cfg = OmegaConf.load(StringIO(text))
        header = ConfigSource._get_header_dict(text[:512])
    if not isinstance(cfg, DictConfig):
        raise UserError(f"{path}:1: holds a list, not key: value")
    return cfg, header


def _find_source(repository: ConfigRepository, config_path: str, object_type: ObjectType | None) -> ConfigSource | None:
    """The source of a file as Hydra finds it, with our own loading."""
    source = _find_source_as_hydra(repository, config_path, object_type)
    if source and source.scheme() == "file":
        source.load_config = partial(_load_config, source)  # type: ignore[method-assign]
    return source


def _map_choices(overrides: Overrides, defaults_list: list[InputDefault], self_added: bool) -> DictConfig:
    """The choices that `${…}` in a defaults list stand for; empty where it has none: composing takes a sixth less."""
    if any(not default.is_self() and default.is_interpolation() for default in defaults_list):
        return _map_choices_as_hydra(overrides, defaults_list, self_added)
    return OmegaConf.create()


_map_choices_as_hydra = hydra_defaults._create_interpolation_map
hydra_defaults._create_interpolation_map = _map_choices

# Hydra's own loading of a file lets exceptions of any kind through, without the file's name.
_find_source_as_hydra = ConfigRepository._find_object_source
ConfigRepository._find_object_source = _find_source  # type: ignore[method-assign, assignment]


def save_config(cfg: Any, path: Path) -> None:
    """Writes a node of a configuration as YAML, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(path) as partial:
        partial.write_text(OmegaConf.to_yaml(cfg), encoding="utf-8")


def search_path(config_dir: str | None) -> list[str]:
    """--config-dir as an override, empty without it; `UserError` where it is no folder."""
    if config_dir is None:
        return []
    if not Path(config_dir).is_dir():
        raise UserError(f"--config-dir={config_dir}: no such folder")
    entry = QuotedString(f"file://{Path(config_dir).resolve()}", Quote.single)
    return [f"hydra.searchpath=[{entry.with_quotes()}]"]


def find_cycle(error: RecursionError) -> str:
    """The file whose defaults Hydra was following."""
    frames = [
        frame for frame, _ in walk_tb(error.__traceback__) if "root" in frame.f_locals and "repo" in frame.f_locals
    ]
    if not frames:
        raise error
    return f"{frames[-1].f_locals['root'].node.get_config_path()}.yaml"
