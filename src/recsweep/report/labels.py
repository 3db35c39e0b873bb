"""The keys that distinguish runs, and the shortest labels that say so."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from recsweep.report.read import Run

Value = str | int | float | None
"""What a configuration key holds: text, a number, or None if the run has no such key."""

PROTOCOL = ("data", "split", "evaluation")
"""The groups that must agree before two numbers may stand in one table."""

REFIT = "trainer.refit"
"""Whether the judged model was trained on train + validation; that must agree, too."""

DRY_RUN = ("trainer.fast_dev_run", "trainer.overfit_batches")
"""How many batches a run had that only tried whether everything works, or learns: its numbers are no result."""

FILTER = "filter"
"""The group that must agree, too; it holds a choice only in runs whose data are filtered."""

SEEDS = ("seed", "split.seed", "split.fold", "data.seed", "filter.seed")
"""Runs that differ only in these keys are repetitions of one configuration."""

NEUTRAL = (
    "name",
    "paths",
    "logger",
    "tags",
    "trainer.profiler",
    "callbacks.progress",
    "callbacks.checkpoint",
    "trainer.threads",
    "trainer.accelerator",
    "trainer.steps_per_call",
    "evaluation.batch_size",
)
"""Keys that change no result, only place, speed or logging; they make a configuration only if they were overridden."""


BEFORE = {
    ("recsweep.evaluation.RankingEvaluation", "mask_seen"): "True",
    ("recsweep.data.time_splits.GlobalTime", "targets"): "all",
    ("recsweep.data.time_splits.Rolling", "targets"): "all",
    ("recsweep.data.sequences.Sequences", "duplicates"): "first",
}
"""What runs did before there was a choice, by `_target_` and key: later runs that do the same are comparable."""


def value(run: Run, key: str) -> Value:
    """The key's value in this run: the group's choice, else the value in the composed configuration."""
    if key in run.choices:
        return run.choices[key]
    node: Any = run.config
    for part in key.split("."):
        older = BEFORE.get((str(node.get("_target_")), part)) if isinstance(node, dict) else None
        node = node.get(part, older) if isinstance(node, dict) else None
    return node if node is None or (isinstance(node, str | int | float) and not isinstance(node, bool)) else str(node)


def protocol_keys(runs: Sequence[Run]) -> tuple[str, ...]:
    """Keys below `PROTOCOL`'s groups, such as `data.n_users`, that separate runs with the same choices of groups.

    The filter comes first, if any run has one.
    """
    filters = (FILTER,) if any(value(run, FILTER) is not None for run in runs) else ()
    keys = (key for key in _config_keys(runs) if key.split(".")[0] in (*PROTOCOL, FILTER))
    return (*filters, *_keys_that_separate(runs, (*PROTOCOL, *filters), keys))


def sweep_keys(runs: Sequence[Run], protocol: Iterable[str]) -> tuple[str, ...]:
    """Keys besides the model that separate configurations: overrides first, then values that nobody typed.

    A key of the second kind is kept only if it separates runs that all keys before it do not: a model's own default
    loss adds nothing to the model's name, but a default that changed between two sweeps does. Names of groups and
    experiments come before single values, since one name stands for several values.

    Args:
        protocol: from `protocol_keys`.
    """
    typed = dict.fromkeys(override.split("=", 1)[0].lstrip("+~") for run in runs for override in run.overrides)
    keys = [
        key
        for key in typed
        if key not in ("experiment", "model", "tags", REFIT, *SEEDS) and key.split(".")[0] not in (*PROTOCOL, FILTER)
    ]
    varying = [key for key in keys if len({value(run, key) for run in runs}) > 1]
    keys = [key for key in varying if key != "name"]
    base = (*PROTOCOL, REFIT, *protocol, "model", *keys)
    names = _keys_that_separate(runs, (*base, *SEEDS), [key for key in varying if key == "name"])
    keys, base = [*keys, *names], (*base, *names)
    if not _keys_that_separate(runs, base, _config_keys(runs)):
        return tuple(keys)
    groups = dict.fromkeys(group for run in runs for group in run.choices if group not in NEUTRAL)
    return (*keys, *_keys_that_separate(runs, base, ["experiment", *groups, *_config_keys(runs)]))


def labels(runs: Sequence[Run], keys: Sequence[str]) -> list[str]:
    """Each run's configuration in words, `svdpp dropout=0.1`: the model, and those of `keys` that vary within it.

    A model that all runs share is left out, unless nothing else is left.
    """
    models = [run.choices.get("model", "?") for run in runs]
    parts: list[list[str]] = [[model] if len(set(models)) > 1 else [] for model in models]
    for key, name in shorten_keys(keys).items():
        values = [value(run, key) for run in runs]
        texts = format_values(values)
        varies = {model for model in models if len({v for m, v in zip(models, values, strict=True) if m == model}) > 1}
        for part, model, v in zip(parts, models, values, strict=True):
            if model in varies and v is not None:
                part.append(f"{name}={texts[v]}")
    return [" ".join(part) or model for part, model in zip(parts, models, strict=True)]


def describe(run: Run, keys: Sequence[str]) -> str:
    """The values of `keys` that the run has, in words: `n_users=100 noise=0.5`."""
    names = shorten_keys(keys)
    return " ".join(f"{names[key]}={value(run, key)}" for key in keys if value(run, key) is not None)


def _keys_that_separate(runs: Sequence[Run], base: Iterable[str], candidates: Iterable[str]) -> tuple[str, ...]:
    """Those candidates that separate runs with equal values of `base` and of the candidates before."""
    keys: list[str] = []
    classes = [tuple(value(run, key) for key in base) for run in runs]
    for key in candidates:
        finer = [(*values, value(run, key)) for values, run in zip(classes, runs, strict=True)]
        if len(set(finer)) > len(set(classes)):
            keys.append(key)
            classes = finer
    return tuple(keys)


def _config_keys(runs: Iterable[Run]) -> Iterator[str]:
    """Dotted keys of all values in the configurations, each once, without `SEEDS` and `NEUTRAL`."""
    for key in dict.fromkeys(key for run in runs for key in _dotted_keys(run.config)):
        if key not in SEEDS and not any(key == neutral or key.startswith(f"{neutral}.") for neutral in NEUTRAL):
            yield key


def _dotted_keys(node: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, child in node.items():
        if isinstance(child, dict):
            yield from _dotted_keys(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def shorten_keys(keys: Iterable[str]) -> dict[str, str]:
    """`regularization.dropout` -> `dropout`, unless another key ends alike."""
    last = {key: key.rsplit(".", 1)[-1] for key in keys}
    return {key: name if list(last.values()).count(name) == 1 else key for key, name in last.items()}


def format_values(values: Iterable[Value]) -> dict[Value, str]:
    """Each value as text: floats with four digits, or more if needed to tell different floats apart."""
    distinct = dict.fromkeys(values)
    for digits in range(4, 18):
        texts = {v: f"{v:.{digits}g}" if isinstance(v, float) else str(v) for v in distinct}
        if len(set(texts.values())) == len(texts):
            break
    return texts
