"""Every key of `conf/` with values of other types and outside of its range, generated from the files."""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from choices import companions, configuration, fill_missing, names, node, target
from omegaconf import DictConfig, OmegaConf

from recsweep.config import conf_dir, resolve
from recsweep.config.shape import Config, bind, check_node, check_whole_numbers

GROUPS = (
    *("model", "loss", "split", "filter", "evaluation", "optimizer", "scheduler"),
    *("trainer", "callbacks", "logger", "regularization", "data"),
)
BUILT = GROUPS[:7] + GROUPS[-1:]
NAN, INF = float("nan"), float("inf")
HUGE = 10**30
"""More than 64 bits hold."""

WRONG: dict[type, list[Any]] = {
    bool: ["x", None, [True], 1],
    int: ["x", None, [1], True, -1, 1.5, HUGE],
    float: ["x", None, {"a": 1.0}, True, NAN, INF, HUGE],
    str: [None, ["x"], {"a": "x"}, 1.5],
    list: ["x", None, {"a": 1}, [{"a": 1}], [NAN]],
    type(None): [[{"a": 1}], -1, NAN],
}
"""Default's type -> values that no key with such a default takes, but those in `ALLOWED`."""

ALLOWED = {
    "callbacks.compare_with": [[{"a": 1}]],  # what an entry holds is checked with the model
    "callbacks.extra": [[{"a": 1}]],  # likewise
    "trainer.fast_dev_run": [1],  # so many batches
    "data.user": ["x", -1],  # a column's name or number: `Table` looks whether there is one
    "data.item": ["x", -1],
    "data.rating_scale": [None],  # the lowest and highest in the file
    "data.separator": [None],  # found in the file
    "data.header": [None],
    "callbacks.early_stopping.patience": [None],  # no early stopping
    "callbacks.checkpoint.every_seconds": [1.5],
    "callbacks.checkpoint.max_mb": [1.5],
    "data.above": [-1, 1.5],
    "data.rating": [None, "x", -1],  # None: no column of ratings, every row counts
    "filter.k_core": [None],  # no such step
    "split.val_from": ["x"],  # text may be a date: `GlobalTime` looks whether it is one
    "split.test_from": ["x"],
    "data.timestamp": [None, "x", -1],
}
"""Values that a key takes all the same, such as a float whose default is a whole number."""

INNER = ("base", "ranking", "source")
"""Nodes that are choices of a group themselves, and checked there."""


class Case(NamedTuple):
    """A key, and a value that it does not take, in the settings of one choice."""

    group: str
    key: str
    value: Any
    settings: dict[str, Any]


def leaves(node: dict[str, Any], key: str) -> Iterator[tuple[str, Any]]:
    """The keys of a choice with their defaults, those of nodes inside of it too."""
    for name, value in node.items():
        if isinstance(value, dict) and value and name not in INNER:
            yield from leaves(value, f"{key}.{name}")
        elif name not in INNER:
            yield f"{key}.{name}", value


@cache
def settings(group: str, choice: str) -> dict[str, Any]:
    """The settings of a choice, with values for what a user must give."""
    own = OmegaConf.create(OmegaConf.to_container(node(group, choice)))
    assert isinstance(own, DictConfig)
    text = (conf_dir() / group / f"{choice}.yaml").read_text()
    if "@data" in text or "${" in OmegaConf.to_yaml(own):
        cfg = configuration(f"{group}={choice}", *companions(group, choice)).copy()
        fill_missing(cfg)
        return resolve(cfg[group])
    for key in OmegaConf.missing_keys(own):
        OmegaConf.update(own, key, "file.csv")
    return resolve(own)


def check(group: str, own: dict[str, Any]) -> None:
    """Checks the settings of a group as `check_config` does."""
    check_whole_numbers(group, own)
    if group in BUILT:
        check_node(group, own)
    else:
        bind(f"{group}.", Config.model_fields[group].annotation, own)  # type: ignore[arg-type]


@cache
def cases() -> list[Case]:
    """Each key once for each class that has it."""
    found, seen = [], set()
    for group in GROUPS:
        for choice in names(group):
            owner = target(group, choice) if group in BUILT else None
            own = settings(group, choice)
            for key, default in leaves(own, group):
                if (key, owner) not in seen:
                    wrong = [value for value in WRONG[type(default)] if value not in ALLOWED.get(key, [])]
                    found += [Case(group, key, value, own) for value in wrong]
                seen.add((key, owner))
    return found


def replace(node: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """The settings with another value for one key."""
    first, _, rest = key.partition(".")
    return {**node, first: replace(node[first], rest, value) if rest else value}
