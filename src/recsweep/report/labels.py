"""What sets runs apart, and the shortest words that say so."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from recsweep.report.read import Run

Value = str | int | float | None
"""What a configuration key holds: text, a number, or None where the run has no such key."""

PROTOCOL = ("data", "split", "evaluation")
"""The groups that must agree before two numbers may stand in one table."""

SEEDS = ("seed", "split.seed", "data.seed")
"""What makes a run a repetition of another, not another configuration."""

NEUTRAL = (
    "name",
    "paths",
    "logger",
    "callbacks.progress",
    "callbacks.checkpoint",
    "trainer.threads",
    "trainer.accelerator",
    "trainer.steps_per_call",
    "evaluation.batch_size",
)
"""Where, how fast and how visibly a run ran: no configuration of its own, unless somebody swept it."""


def value(run: Run, key: str) -> Value:
    """What a key is in this run: the group's choice, else the composed configuration's value."""
    if key in run.choices:
        return run.choices[key]
    node: Any = run.config
    for part in key.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return str(node) if isinstance(node, bool | list | dict) else node


def settings(runs: Sequence[Run]) -> tuple[str, ...]:
    """Keys below `PROTOCOL`'s groups, `data.n_users`, that tell runs apart where the choices do not."""
    return _finer(runs, PROTOCOL, (leaf for leaf in _implied(runs) if leaf.split(".")[0] in PROTOCOL))


def swept(runs: Sequence[Run], settings: Iterable[str]) -> tuple[str, ...]:
    """Keys that tell configurations apart, beside the model: what was overridden, then what nobody typed.

    A key of the second kind is kept only where it separates runs that the keys before it do not: a model's own
    default loss says nothing new beside the model, a default that changed between two sweeps does. Names of groups
    and experiments go before single values there, for they say in a word what several values say.
    """
    typed = dict.fromkeys(word.split("=", 1)[0].lstrip("+~") for run in runs for word in run.overrides)
    apart = [key for key in typed if key not in ("experiment", "model", *SEEDS) and key.split(".")[0] not in PROTOCOL]
    apart = [key for key in apart if len({value(run, key) for run in runs}) > 1]
    known = (*PROTOCOL, *settings, "model", *apart)
    if not _finer(runs, known, _implied(runs)):
        return tuple(apart)
    choices = dict.fromkeys(group for run in runs for group in run.choices if group not in NEUTRAL)
    return (*apart, *_finer(runs, known, ["experiment", *choices, *_implied(runs)]))


def labels(runs: Sequence[Run], keys: Sequence[str]) -> list[str]:
    """Each run's configuration in words, `svdpp dropout=0.1`: the model, and those of `keys` that vary within it."""
    models = [run.choices.get("model", "?") for run in runs]
    words = [[model] for model in models]
    for key, name in _short_names(keys).items():
        values = [value(run, key) for run in runs]
        texts = _texts(values)
        several = {model for model in models if len({v for m, v in zip(models, values, strict=True) if m == model}) > 1}
        for word, model, v in zip(words, models, values, strict=True):
            if model in several and v is not None:
                word.append(f"{name}={texts[v]}")
    return [" ".join(word) for word in words]


def described(run: Run, keys: Sequence[str]) -> str:
    """The values of `keys` that the run has, in words: `n_users=100 noise=0.5`."""
    names = _short_names(keys)
    return " ".join(f"{names[key]}={value(run, key)}" for key in keys if value(run, key) is not None)


def _finer(runs: Sequence[Run], known: Iterable[str], candidates: Iterable[str]) -> tuple[str, ...]:
    """Those candidates that tell apart runs which are alike in `known` and in the candidates before."""
    kept: list[str] = []
    parts = [tuple(value(run, key) for key in known) for run in runs]
    for key in candidates:
        finer = [(*part, value(run, key)) for part, run in zip(parts, runs, strict=True)]
        if len(set(finer)) > len(set(parts)):
            kept.append(key)
            parts = finer
    return tuple(kept)


def _implied(runs: Iterable[Run]) -> Iterator[str]:
    """Dotted keys of the configurations' values, each once, without seeds and what changes no result."""
    for leaf in dict.fromkeys(leaf for run in runs for leaf in _leaves(run.config)):
        if leaf not in SEEDS and not any(leaf == key or leaf.startswith(f"{key}.") for key in NEUTRAL):
            yield leaf


def _leaves(node: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, below in node.items():
        if isinstance(below, dict):
            yield from _leaves(below, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _short_names(keys: Iterable[str]) -> dict[str, str]:
    """`regularization.dropout` -> `dropout`, where no other key ends so."""
    last = {key: key.rsplit(".", 1)[-1] for key in keys}
    return {key: name if list(last.values()).count(name) == 1 else key for key, name in last.items()}


def _texts(values: Iterable[Value]) -> dict[Value, str]:
    """Each value as text: floats with four digits, or as many as keep different ones different."""
    distinct = dict.fromkeys(values)
    for digits in range(4, 18):
        texts = {v: f"{v:.{digits}g}" if isinstance(v, float) else str(v) for v in distinct}
        if len(set(texts.values())) == len(texts):
            break
    return texts
