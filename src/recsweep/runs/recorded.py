"""An earlier run's settings as they were recorded, and what overrides change in them.

Files of today decide nothing but what a changed group brings along. The record may be a stranger's: it is data.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, cast

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from recsweep.config import check_config, compose_with_hydra, describe_error, resolve
from recsweep.config.files import search_path
from recsweep.config.shape import Config
from recsweep.config.targets import check_targets
from recsweep.errors import UserError
from recsweep.paths import conf_dir
from recsweep.runs.record import RESOLVER, Record
from recsweep.terminal import escape, print_line

Key = tuple[str, ...]
Leaves = dict[Key, Any]
OWN_KEYS = {*Config.model_fields, "experiment", "search", "debug"}
ABSENT = object()


class Today(NamedTuple):
    """What overrides say with today's files: the values of the configuration, and the choice of each group."""

    leaves: Leaves
    choices: dict[str, str | None]


def key_of(override: str) -> str:
    """What an override sets: `model`, `model.embedding_dim`, `loss@loss.ranking`."""
    return override.lstrip("+~").partition("=")[0]


def is_own(override: str) -> bool:
    """Whether an override sets something of the project, not of Hydra, and not the cache's folder."""
    key = key_of(override)
    return re.split("[./@]", key)[0] in OWN_KEYS and key != "paths.cache_dir"


def is_path(override: str) -> bool:
    """Whether an override sets `paths`, or one of its keys."""
    return re.split("[./@]", key_of(override))[0] == "paths"


def compose_today(overrides: list[str]) -> tuple[DictConfig, dict[str, str | None]]:
    """The configuration that these overrides give with today's files, not checked, and the choice of each group."""
    cfg = compose_with_hydra(overrides)
    choices = {group: name for group, name in cfg.hydra.runtime.choices.items() if not group.startswith("hydra/")}
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg, choices


@dataclass(frozen=True)
class Recorded:
    """An earlier run's settings.

    Args:
        source: what to call it in messages, such as `run=outputs/x`.
        record: its record.
        plugins: modules that the user trusts besides the project's own.
        config_dir: --config-dir of today; None takes the recorded one, if that is there.
        paths: overrides of today that set `paths`.
        is_trusted: whether the user wrote all of it just now.
    """

    source: str
    record: Record
    plugins: tuple[str, ...] = ()
    config_dir: str | None = None
    paths: tuple[str, ...] = ()
    is_trusted: bool = False

    @property
    def overrides(self) -> list[str]:
        """Those of its overrides that count; any others are not the project's own, and a file has no say in them."""
        return [override for override in self.record.overrides if is_own(override)]

    def change(self, overrides: Sequence[str]) -> "Recorded":
        """The same with these overrides.

        A key that neither they nor what they bring along touches keeps its recorded value, whatever files say today.
        A recorded setting of a choice that they replace is left out if the new choice has no such setting.
        """
        if not overrides:
            return self
        keys = {key_of(override) for override in overrides}
        known = [word for word in self.overrides if key_of(word) not in keys]
        words, before = self._before
        kept = known if "experiment" in keys else [word for word in words if key_of(word) not in keys]
        groups = {key for key in keys if (conf_dir() / key).is_dir()}
        lost = self._lost(kept, overrides) if groups or "experiment" in keys else []
        known, kept = ([word for word in words if word not in lost] for words in (known, kept))
        after = self._compose([*kept, *overrides])
        if "experiment" in keys:  # another one sets anything: nothing is left of the recorded one but what was typed
            config, choices = _nest(after.leaves), after.choices
        else:
            config = self._merge(before, after, groups, keys - groups)
            changed = {name: of for name, of in after.choices.items() if of != before.choices.get(name, ABSENT)}
            choices = {**self.record.choices, **changed, **{group: after.choices.get(group) for group in groups}}
        update = {"config": config, "choices": choices, "overrides": [*known, *overrides]}
        paths = (*(path for path in self.paths if key_of(path) not in keys), *(o for o in overrides if is_path(o)))
        return replace(self, record=self.record.model_copy(update=update), paths=paths)

    def _lost(self, words: Sequence[str], overrides: Sequence[str]) -> list[str]:
        """The words that set a key of a group whose choice the overrides replace by one without such a key."""
        group_of = {word: key_of(word).split(".")[0] for word in words if "." in key_of(word)}
        group_of = {word: group for word, group in group_of.items() if (conf_dir() / group).is_dir()}
        if not group_of:
            return []
        plain = self._compose([*(word for word in words if word not in group_of), *overrides])
        names = {".".join(key[:length]) for key in plain.leaves for length in range(1, len(key) + 1)}
        replaced = {group for group, name in self.record.choices.items() if plain.choices.get(group) != name}
        return [word for word, group in group_of.items() if group in replaced and key_of(word) not in names]

    def _merge(self, before: Today, after: Today, groups: set[str], named: set[str]) -> dict[str, Any]:
        """The record with the difference between two configurations, both of which today's files give.

        Args:
            groups: that are chosen anew.
            named: keys whose values in `after` count in any case.
        """
        recorded = _leaves(self.record.config)
        other = {group for group, name in self.record.choices.items() if before.choices.get(group, ABSENT) != name}
        replaced = groups & other  # today's files do not have the recorded choice
        has_all = self._before[0] == self.overrides  # else an experiment is gone, whose settings differ from `before`
        merged: Leaves = {}
        for key, value in after.leaves.items():
            is_named = any(".".join(key[:length]) in named for length in range(1, len(key) + 1))
            was_set = not has_all and key in recorded and recorded[key] != before.leaves.get(key, recorded[key])
            is_touched = before.leaves.get(key, ABSENT) != value
            if is_named or key[0] in replaced or (is_touched and not was_set):
                merged[key] = value
            elif key in recorded:
                merged[key] = recorded[key]
            elif key[0] not in other:  # a setting that was not there yet
                merged[key] = value
        for key, value in recorded.items():
            if key not in after.leaves and key not in before.leaves and key[0] not in replaced:
                merged[key] = value
        return _nest(merged)

    @cached_property
    def _before(self) -> tuple[list[str], Today]:
        """Overrides that stand for the record today, and what they say; where its own do not compose, its choices."""
        try:
            return self.overrides, self._compose(self.overrides)
        except UserError:
            recorded = {
                group: name
                for group, name in self.record.choices.items()
                if group in Config.model_fields and (conf_dir() / group / f"{name}.yaml").is_file()
            }
            words = [f"{group}={recorded[group]}" for group in ("data", "model") if group in recorded]
            brought = self._compose(words).choices  # by the model's own file: another model brings others
            words += [f"{group}={name}" for group, name in recorded.items() if brought.get(group) != name]
            return words, self._compose(words)

    def _compose(self, overrides: list[str]) -> Today:
        config_dir = Path(self.config_dir) if self.config_dir else None
        if config_dir is None and self.record.config_dir:
            config_dir = Path(self.record.cwd) / self.record.config_dir
        is_there = config_dir is not None and config_dir.is_dir()
        config, choices = compose_today(overrides + (search_path(str(config_dir)) if is_there else []))
        return Today(_leaves(OmegaConf.to_container(config)), choices)

    def print_drift(self) -> None:
        """One line where today's files say something else than the record."""
        if drift := self.drift():
            print_line(f"{self.source}: {drift}: what was recorded counts", stderr=True)

    def drift(self) -> str:
        """What today's files say otherwise, or lack; empty where they agree, but for settings that are new."""
        words, today = self._before
        if words != self.overrides:
            missing = [word for word in self.overrides if key_of(word) == "experiment"] or ["what it was made of"]
            return f"today's files lack {' '.join(missing)}"
        recorded = _leaves(self.record.config)
        keys = [
            key
            for key, value in today.leaves.items()
            if key in recorded and key[0] != "paths" and not _is_from_outside(value) and value != recorded[key]
        ]
        shown = [f"{'.'.join(key)}={today.leaves[key]}, not {recorded[key]}" for key in keys[:3]]
        more = f", and {len(keys) - 3} keys more" if len(keys) > 3 else ""
        return f"files say {'; '.join(shown)}{more}" if keys else ""

    def build(self) -> DictConfig:
        """The configuration, checked; `UserError` for the first mistake, and for what a stranger's record may not say.

        There `paths` are those of this machine; a recorded `paths.data_dir` counts where the data are there already.
        """
        if self.is_trusted:
            cfg = OmegaConf.create(self.record.config)
            check_config(cfg)
            return cfg
        config = {group: node for group, node in self.record.config.items() if group != "paths"}
        check_targets(config, self.plugins)
        for key, value in _leaves(config).items():
            if _is_from_outside(value):
                place = f"{self.source}: {'.'.join(key)}={escape(str(value))}"
                raise UserError(f"{place}: a record holds no values of the environment; give the value")
        config = _nest({k: "${paths.cache_dir}" if _is_cache(k, v) else v for k, v in _leaves(config).items()})
        today = compose_with_hydra(list(self.paths))
        config |= cast(dict[str, Any], OmegaConf.to_container(OmegaConf.masked_copy(today, "paths")))
        try:
            cfg = OmegaConf.create(config)
            if not OmegaConf.is_dict(cfg.paths):
                raise UserError(f"paths={cfg.paths}: it should hold keys of its own")
            self._check_downloads(cfg, Path(cfg.paths.data_dir))
        except OmegaConfBaseException as error:
            raise UserError(f"{self.source}: {describe_error(error)}") from None
        check_config(cfg)
        recorded_paths = self.record.config.get("paths")
        data_dir = recorded_paths.get("data_dir") if isinstance(recorded_paths, dict) else None
        if isinstance(data_dir, str) and not _is_from_outside(data_dir) and not self.paths:
            from recsweep.runs import build  # it loads torch and Lightning

            elsewhere = cfg.copy()
            elsewhere.paths.data_dir = data_dir
            if build.source(elsewhere).ready():
                self._check_downloads(elsewhere, Path(cfg.paths.data_dir))
                return elsewhere
        self._check_data(cfg)
        return cfg

    def _check_downloads(self, cfg: DictConfig, data_dir: Path) -> None:
        """Raises `UserError` where a data set would be fetched into a folder outside of this machine's data folder."""
        for key, value in _leaves(resolve(cfg)).items():
            if key[-1] != "folder" or not isinstance(value, str) or Path(value).is_dir():
                continue
            if not Path(value).resolve().is_relative_to(data_dir.resolve()):
                raise UserError(self._explain_missing(".".join(key), value))

    def _check_data(self, cfg: DictConfig) -> None:
        """Raises `UserError` where the data are not on disk, unless they belong into this machine's data folder."""
        from recsweep.runs import build  # it loads torch and Lightning

        if build.source(cfg).ready():
            return
        for key, value in _leaves(resolve(cfg.data)).items():
            if key[-1] not in ("path", "folder") or not isinstance(value, str) or Path(value).exists():
                continue
            if not Path(value).absolute().is_relative_to(Path(cfg.paths.data_dir).absolute()):
                raise UserError(self._explain_missing(f"data.{'.'.join(key)}", value))

    def _explain_missing(self, key: str, value: str) -> str:
        there = Path(self.record.cwd) / value
        advice = f"give {key}={there}" if there.exists() else f"give {key}=PATH"
        return f"{value}: not in {Path.cwd()}; {self.source} was made in {self.record.cwd}: {advice}"


def _leaves(node: Any, key: Key = ()) -> Leaves:
    """The values of a tree, with lists and empty nodes as values."""
    return dict(_walk(node, key))


def _walk(node: Any, key: Key) -> Iterator[tuple[Key, Any]]:
    if isinstance(node, dict) and node:
        for name, value in node.items():
            yield from _walk(value, (*key, str(name)))
    else:
        yield key, node


def _nest(leaves: Mapping[Key, Any]) -> dict[str, Any]:
    """The tree that has these values; a key below one that holds a value is left out."""
    tree: dict[str, Any] = {}
    for key, value in leaves.items():
        node: Any = tree
        for name in key[:-1]:
            node = node.setdefault(name, {}) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node[key[-1]] = value
    return tree


def _is_cache(key: Key, value: Any) -> bool:
    return key[-1] == "cache" and isinstance(value, str)


def _is_from_outside(value: Any) -> bool:
    if isinstance(value, list | dict):
        return any(map(_is_from_outside, value.values() if isinstance(value, dict) else value))
    return RESOLVER.search(str(value)) is not None
