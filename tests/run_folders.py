"""Folders of runs, written by hand."""

import io
import json
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from recsweep.report import console
from recsweep.report.collect import collect
from recsweep.report.comparisons import comparisons

LOSS = {"means": 0.9, "biased_mf": 0.8, "svdpp": 0.7}


def write_run(folder: Path, *words: str, model: str = "means", value: float = 0.9, **said: Any) -> Path:
    """A run's folder as `recsweep train WORDS` leaves it; `said` replaces parts of metrics.json."""
    (folder / ".hydra").mkdir(parents=True)
    choices = {"model": model, "data": "synthetic", "split": "random", "evaluation": "rating", "loss": "mse"}
    values: dict[str, Any] = {"seed": 0, "model": {}, "regularization": {"dropout": 0.1}, "data": {"n_users": 60}}
    for word in words:
        key, _, text = word.partition("=")
        group, _, leaf = key.partition(".")
        if leaf:
            values[group][leaf] = yaml.safe_load(text)
        elif key in choices:
            choices[key] = text
        else:
            values[key] = yaml.safe_load(text)
    for name, content in {
        "overrides": list(words),
        "config": values,
        "hydra": {"hydra": {"runtime": {"choices": choices}}},
    }.items():
        (folder / ".hydra" / f"{name}.yaml").write_text(yaml.safe_dump(content))
    record = {
        "status": "completed",
        "objective": {"name": "val/mse", "value": value, "mode": "min"},
        "metrics": {"val/mse": value, "test/mse": value + 0.01},
        "oracle": {},
        "seconds": {"data": 1.0, "fit": 2.0, "test": 3.0, "total": 6.0},
        "n_parameters": 12,
        "data": {
            "name": "synthetic",
            "n_users": 60,
            "n_items": 100,
            "n_interactions": 9,
            "train": 7,
            "val": 1,
            "test": 1,
        },
        "versions": {"torch": "2.13.0"},
    }
    (folder / "metrics.json").write_text(json.dumps({**record, **said}))
    return folder


def write_sweep(folder: Path, **said: Any) -> Path:
    """Three models, three seeds; each seed adds a hundredth times its number, more for svdpp."""
    for number, (model, loss) in enumerate(LOSS.items()):
        for seed in range(3):
            value = loss + 0.01 * seed * (1 + number)
            write_run(
                folder / f"{number * 3 + seed}", f"model={model}", f"seed={seed}", model=model, value=value, **said
            )
    return folder


def write_policy_run(folder: Path, loss: str, seed: int, value: float, *left_out: str) -> Path:
    """A run whose policy earns `value`, as the log's estimates see it: SNIPS 0.1 above, DM 0.1 below."""
    estimates = {"ips": value, "snips": value + 0.1, "dm": value - 0.1, "dr": value, "logged": 0.3, "ess": 50.0}
    ends = {f"{name}{end}": estimates[name] + by for name in estimates for end, by in (("_low", -0.2), ("_high", 0.2))}
    said = {f"test/off_policy/{name}": number for name, number in {"true": value, **estimates, **ends}.items()}
    for name in left_out:
        said[f"test/off_policy/{name}"] = None
    metrics = {"val/mse": -value, "test/mse": -value, "test/two_stage/ndcg@5": value, **said}
    words = ("model=nominator", f"loss={loss}", f"seed={seed}")
    return write_run(folder / f"{loss}{seed}", *words, model="nominator", value=-value, metrics=metrics)


def render_report(folder: Path, width: int = 120) -> str:
    """What the report on this folder says on a terminal."""
    runs = collect(folder)
    screen = Console(width=width, record=True, file=io.StringIO())
    for comparison in comparisons(runs, None):
        console.show(screen, comparison)
    console.show_broken(screen, runs)
    return screen.export_text()
