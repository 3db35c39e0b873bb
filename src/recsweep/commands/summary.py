"""What the terminal says about one run: where it goes when it starts, and how it went when it ends."""

import os
import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from recsweep.commands.sweep import Sweep
from recsweep.parse import read_json
from recsweep.sweeps.progress import Progress, describe_overrides, show_progress, varying_keys
from recsweep.terminal import format_number, print_line


def relative(folder: Path) -> Path:
    """The folder as seen from the working directory, if it is below."""
    return folder.absolute().relative_to(Path.cwd()) if folder.absolute().is_relative_to(Path.cwd()) else folder


def tensorboard_command(folder: Path) -> str:
    """The command that shows the folder's curves."""
    return shlex.join(["tensorboard", "--logdir", str(relative(folder))])


@contextmanager
def show_sweep(sweep: Sweep) -> Iterator[None]:
    """Says on stderr where the sweep goes, how it goes while the block runs, and how long it took."""
    records = sweep.request.records
    if not records[0].config["callbacks"]["progress"]:
        yield
        return
    keys = sweep.search.space.distributions.keys() if sweep.search else varying_keys(records)
    print_line(f"sweep:  {relative(sweep.folder)}{os.sep}, {sweep.n_jobs} jobs", stderr=True)
    if records[0].config["logger"].get("tensorboard"):
        print_line(f"curves: {tensorboard_command(sweep.folder)}", stderr=True)
    progress = Progress(sweep.folder, sweep.n_jobs, keys)
    if sweep.search is None:  # its jobs are known before they start
        names = (describe_overrides(record.overrides, keys) for record in records)
        progress.names.update(enumerate(names))
    with show_progress(progress):
        yield
    progress.look()
    seconds = round(time.time() - progress.start_time)
    print_line(f"sweep:  {progress.count()}, after {timedelta(seconds=seconds)}", stderr=True)


def print_start(cfg: DictConfig, folder: Path) -> None:
    """One line for the folder, and one for its curves, on stderr."""
    print_line(f"run:    {relative(folder)}{os.sep}", stderr=True)
    if cfg.logger.get("tensorboard") and not cfg.trainer.get("fast_dev_run"):
        print_line(f"curves: {tensorboard_command(folder)}", stderr=True)


def print_outcome(cfg: DictConfig, folder: Path, outcome: Mapping[str, Any]) -> None:
    """Prints what was trained and why it ended, the objective on validation and test, baselines, and the folder."""
    objective, metrics = outcome["objective"]["name"].removeprefix("val/"), outcome["metrics"]
    note = "  (a dry run, no result)" if cfg.trainer.get("fast_dev_run") else ""
    note = "  (no result; train/loss says whether it learned)" if cfg.trainer.get("overfit_batches") else note
    print_line(f"{cfg.name} seed {cfg.seed}, {outcome['seconds']['total']:.1f} s: {_describe_end(outcome)}{note}")
    names = (f"val/{objective}", f"test/{objective}")
    print_line("  ".join(f"{name} {format_number(metrics[name])}" for name in names))
    if cfg.callbacks.compare_with:
        baselines = read_json(folder / "comparison.json")["baselines"]
        values = (f"{name} {format_number(of[f'test/{objective}'])}" for name, of in baselines.items())
        print_line(f"baselines on test/{objective}: {', '.join(values)}")
    print_line(f"run: {relative(folder)}")


def _describe_end(outcome: Mapping[str, Any]) -> str:
    """Which epoch was chosen, of how many, and why there were no more."""
    n_epochs, chosen, ended_by = (outcome[key] for key in ("epochs", "chosen_epoch", "ended_by"))
    if n_epochs is None:
        return str(ended_by)
    if ended_by == "max_epochs" and chosen == n_epochs:
        return f"epoch {chosen} of {n_epochs} chosen, still improving at max_epochs"
    return f"epoch {chosen} of {n_epochs} chosen, ended by {ended_by}"
