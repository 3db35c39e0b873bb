"""Every family and loss on a GPU beside the CPU: does it work, are the numbers the same, and is it faster?

    make cuda                                                        # one line where there is no GPU
    python benchmarks/devices.py --device cpu --only biased_mf       # tries the program itself, the CPU beside the CPU

Each row trains 3 short epochs on a checkerboard of ratings, with the same seed on either device, then:

- checks: an interrupted training goes on and ends like an undisturbed one; the checkpoint, read on either device, gives
  the same metrics; training on either device gives the same metrics. Tolerances are below; models that draw while they
  train draw other numbers on a GPU, so of theirs only the objective counts, within a wide tolerance;
- steps a second in the second epoch, of one CPU thread and of the GPU, seconds of an evaluation, and the peak of the
  GPU's memory;
- copies between host and device in a step, of the third epoch, as torch's profiler counts them.

Then `ips_2` beside `ce`, two jobs of a sweep on one GPU, and two processes where there are two GPUs. Writes
`devices.csv` and `devices.md` into --folder; the status is 1 where a check fails.
"""

import argparse
import gc
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback
from torch.profiler import ProfilerActivity, profile

from recsweep.config import compose_config
from recsweep.errors import summarize_error
from recsweep.evaluation import evaluate
from recsweep.models.base import RecModule
from recsweep.runs import build
from recsweep.runs.fit import fit
from recsweep.runs.folder import BEST, load_weights

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from checkerboard import write_checkerboard

N = 120
"""Users, and items, of the checkerboard."""
SAME = 1e-4
"""Largest difference of a metric between devices, from the same checkpoint; 1e-7 in the scores makes up to 4e-6."""
TRAINED = 1e-2
"""The same from the same seed, relative, for models that train without random draws."""
DRAWN = 0.1
"""The same of the objective, for those that draw. Other draws move it by up to 0.035, other metrics by up to 0.4."""
DRAWING = (
    *("bpr_mf bpr", "bpr_mf mixed", "bpr_mf sampled_softmax", "bpr_mf gbce", "two_tower", "nominator ips_2", "drr"),
    *("multitask bpr_mse", "multitask uncertainty", "multitask gradnorm"),
)
"""How the names of rows begin that draw while they train: negatives, slates, action sets."""
LIMIT = 420
"""Seconds after which no further row begins."""
COMMAND_LIMIT = 60
"""Seconds of one command: what hangs on a GPU, such as nccl, must not hold up the table."""
MAX_RATIO = 2.0
"""Time of a step of `ips_2`, in steps of `ce`."""

TABLE = ("data=table", "data.path={path}")
BANDIT = (
    *("data=bandit", "data/base=table", "data.base.path={path}", "data.simulator.split=random", "data.threshold=0.5"),
    *("data.logging_policy.n_pairs=1000", "data.val_users=20", "paths.cache_dir={folder}/cache"),
)
SESSIONS = ("data=positives", "data/base=table", "data.base.path={path}", "model.min_positives=5")
TIMED = ("data=synthetic", "data.n_users=300", "data.n_items=300", "data.n_interactions=20_000")
NARROW = ("model.embedding_dim=32", "model.hidden=[64]")
FEWER = ("trainer.limit_batches=8", "model.updates_per_step=0.02")  # else 512 updates a batch, for minutes
FEW = ("loss.n_negatives=5",)  # a user of the checkerboard has few items without a rating
SHORT = ("trainer.max_epochs=3", "trainer.limit_batches=40", "trainer.accumulate=1", "regularization.dropout=0")


def list_rows() -> dict[str, tuple[str, ...]]:
    """The overrides of each row, by its name."""
    rows = {name: (f"model={name}", *TABLE, *SHORT) for name in ("biased_mf", "svdpp", "mlp")}
    for loss in ("bpr", "in_batch", "mixed", "sampled_softmax", "gbce", "full_softmax"):
        few = FEW if loss in ("sampled_softmax", "gbce") else ()
        rows[f"bpr_mf {loss}"] = ("model=bpr_mf", f"loss={loss}", *few, *TABLE, *SHORT)
    for history in ("none", "mean", "attention", "gru", "transformer"):  # the last three need times
        data = TABLE if history in ("none", "mean") else TIMED
        rows[f"two_tower {history}"] = ("model=two_tower", f"model.history={history}", *FEW, *data, *SHORT, *NARROW)
    for loss in ("bpr_mse", "uncertainty", "gradnorm", "full_softmax_mse"):
        rows[f"multitask {loss}"] = ("model=multitask", f"loss={loss}", *TABLE, *SHORT)
    for loss in ("ce", "ips_1", "ips_2", "snips", "dr", "top_k"):
        rows[f"nominator {loss}"] = ("model=nominator", f"loss={loss}", *BANDIT, *SHORT)
    for loss in ("ddpg", "td3"):
        rows[f"drr {loss}"] = ("model=drr", f"loss={loss}", *SESSIONS, *SHORT[:3], *FEWER, "evaluation=full_ranking")
    rows["markov_chain"] = ("model=markov_chain", *TIMED)
    return rows | {name: (f"model={name}", *TABLE) for name in ("ials", "ease", "slim", "item_knn", "user_knn")}


class Watch(Callback):
    """Times the second epoch and profiles the third."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.seconds, self.n_copies = device, 0.0, 0
        self.profiler = profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA])
        self.profiling = ExitStack()

    def on_train_epoch_start(self, trainer: Any, _: Any) -> None:
        if trainer.current_epoch == 2 and self.device.type == "cuda":
            self.profiling.enter_context(self.profiler)
        wait(self.device)
        self.start = time.perf_counter()

    def on_train_epoch_end(self, trainer: Any, _: Any) -> None:
        wait(self.device)
        if trainer.current_epoch == 1:
            self.seconds = time.perf_counter() - self.start
        if trainer.current_epoch == 2 and self.device.type == "cuda":
            self.profiling.close()
            kinds = ("Memcpy HtoD", "Memcpy DtoH")
            self.n_copies = sum(event.name.startswith(kinds) for event in self.profiler.events())

    def on_exception(self, *_: Any) -> None:
        self.profiling.close()  # while a profiler is on, no other row could begin one


def wait(device: torch.device) -> None:
    """Waits until the device has done what it was asked to."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def run_on(device: str, overrides: list[str], folder: Path, epochs: int | None = None) -> dict[str, Any]:
    """Trains in `folder`, from its checkpoints on where there are some, and evaluates."""
    last = [f"trainer.max_epochs={epochs}"] if epochs else []
    cfg = compose_config([*overrides, f"trainer.accelerator={device}", *last])
    where, data = build.device(cfg), build.data(cfg)
    if where.type == "cuda":
        gc.collect()  # the trainer of an earlier row, which holds its model
        torch.cuda.reset_peak_memory_stats()
    model, watch = build.model(cfg, data), Watch(where)
    folder.mkdir(exist_ok=True)
    fit(cfg, data, model, folder, [], [watch])
    model.eval().to(where)
    protocol, target = build.evaluation(cfg).to(where), data.target("val")
    evaluate(model, protocol, target)
    start = time.perf_counter()
    trained = evaluate(model, protocol, target)
    seconds = time.perf_counter() - start
    n_steps = data.batches.n_batches if isinstance(model, RecModule) else 0
    return {
        "trained": trained,
        "objective": {protocol.objective: trained[protocol.objective]},
        "steps": n_steps / watch.seconds if watch.seconds else None,
        "evaluation": seconds,
        "memory": torch.cuda.max_memory_allocated() / 2**20 if where.type == "cuda" else None,
        "copies": watch.n_copies / n_steps if n_steps and where.type == "cuda" else None,
    }


def read_on(device: str, overrides: list[str], folder: Path) -> dict[str, float]:
    """The metrics of the best checkpoint in `folder`."""
    cfg = compose_config([*overrides, f"trainer.accelerator={device}"])
    where, data = build.device(cfg), build.data(cfg)
    model = build.model(cfg, data)
    load_weights(folder / BEST, model, data)
    return evaluate(model.eval().to(where), build.evaluation(cfg).to(where), data.target("val"))


def differ(one: dict[str, float], other: dict[str, float]) -> float:
    """The largest difference of a metric, relative to 1 or to the metric where that is larger; NaN if one is NaN."""
    return float(np.max([abs(value - other[name]) / max(1.0, abs(value)) for name, value in one.items()]))


def compare(name: str, device: str, overrides: list[str], folder: Path) -> dict[str, Any]:
    """A row of the table."""
    on_cpu = run_on("cpu", overrides, folder / "cpu")
    on_device = run_on(device, overrides, folder / "device")
    is_baseline = on_cpu["steps"] is None
    compared, tolerance = ("objective", DRAWN) if name.startswith(DRAWING) else ("trained", TRAINED)
    reads = [read_on(where, overrides, folder / "device") for where in ("cpu", device)]
    gaps = {"read": differ(*reads), "trained": differ(on_cpu[compared], on_device[compared])}
    problems = [kind for kind, limit in (("read", SAME), ("trained", tolerance)) if not gaps[kind] <= limit]
    if not is_baseline:
        run_on(device, overrides, folder / "resumed", epochs=1)
        resumed = run_on(device, overrides, folder / "resumed")
        gaps["resumed"] = differ(on_device["trained"], resumed["trained"])
        problems += ["resumed"] * (not gaps["resumed"] <= TRAINED)
    return {
        "row": name,
        "checks": ", ".join(problems) or "ok",
        "CPU": next(iter(on_cpu["objective"].values())),
        device: next(iter(on_device["objective"].values())),
        **{f"{kind}: largest gap": gap for kind, gap in gaps.items()},
        "steps/s CPU": on_cpu["steps"],
        f"steps/s {device}": on_device["steps"],
        "evaluation s CPU": on_cpu["evaluation"],
        f"evaluation s {device}": on_device["evaluation"],
        "peak MiB": on_device["memory"],
        "copies a step": on_device["copies"],
    }


def run_command(*overrides: str) -> str:
    """ "ok" and the seconds of `recsweep train OVERRIDES` in a process of its own, or the last line of its output."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "recsweep", "train", *overrides, "logger=none"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=COMMAND_LIMIT)
    except subprocess.TimeoutExpired:
        return f"failed: not done in {COMMAND_LIMIT} s"
    lines = (done.stdout + done.stderr).strip().splitlines()
    return (
        f"ok, {time.perf_counter() - start:.0f} s" if done.returncode == 0 else f"failed: {lines[-1] if lines else ''}"
    )


def compare_further(table: pd.DataFrame, device: str, path: Path, folder: Path) -> dict[str, str]:
    """What one row cannot show, as sentences."""
    steps, results = table.set_index("row").get(f"steps/s {device}", pd.Series(dtype=float)), {}
    if {"nominator ce", "nominator ips_2"} <= set(steps.index):
        ratio = steps["nominator ce"] / steps["nominator ips_2"]
        results["a step of ips_2, in steps of ce"] = f"{ratio:.2f} (at most {MAX_RATIO:g})"
        if device == "cuda" and ratio > MAX_RATIO:
            results["a step of ips_2, in steps of ce"] += ": failed"
    small = [text.format(path=path, folder=folder) for text in (*TABLE, *SHORT)]
    common = ["model=biased_mf", *small, f"trainer.accelerator={device}"]
    sweep = ["-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "seed=0,1", f"hydra.sweep.dir={folder}/sweep"]
    results[f"two jobs on one {device}, joblib"] = run_command(*sweep, *common)
    if device == "cuda" and torch.cuda.device_count() > 1:
        accumulate = [text for text in common if not text.startswith("trainer.accumulate")]
        results["trainer=ddp, two GPUs, nccl"] = run_command("trainer=ddp", *accumulate, f"hydra.run.dir={folder}/ddp")
    else:
        results["trainer=ddp, two GPUs, nccl"] = "not run: there are not two GPUs"
    return results


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="what stands beside the CPU")
    parser.add_argument("--folder", type=Path, default=Path("outputs/devices"), help="where the table goes")
    parser.add_argument("--only", default="", help="rows whose name begins so, and nothing else")
    parser.add_argument("--users", type=int, default=N, help="users, and items, of the checkerboard")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device is visible: nothing to compare with the CPU")
        return 0
    chosen = {name: overrides for name, overrides in list_rows().items() if name.startswith(options.only)}
    if not chosen:
        parser.error(f"--only {options.only}: no row begins so; there are {', '.join(list_rows())}")
    torch.set_num_threads(1)  # beside each other on any machine: a thread and a GPU
    rows, device, start = [], options.device, time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path = folder / "checkerboard.csv"
        write_checkerboard(path, options.users)
        for number, (name, overrides) in enumerate(chosen.items()):
            texts = [text.format(path=path, folder=folder) for text in overrides]
            own, quiet = folder / str(number), ["logger=none", "callbacks.progress=false"]
            own.mkdir()
            if time.monotonic() - start > LIMIT:
                rows.append({"row": name, "checks": f"not run: {LIMIT} s are over"})
                continue
            try:
                rows.append(compare(name, device, [*texts, *quiet], own))
            except Exception as error:  # of one row, of any kind: the others still show what works
                rows.append({"row": name, "checks": f"failed: {summarize_error(error)}"})
            print(f"{name}: {rows[-1]['checks']}", flush=True)
        table = pd.DataFrame(rows)
        further = {} if options.only else compare_further(table, device, path, folder)
    card = torch.cuda.get_device_name() if device == "cuda" else "the CPU itself"
    write_table(table, further, f"{card}, torch {torch.__version__}", options.folder)
    return int(bool((table.checks != "ok").any() or any("failed" in result for result in further.values())))


def write_table(table: pd.DataFrame, further: dict[str, str], title: str, folder: Path) -> None:
    """Writes and prints the table and the sentences."""
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "devices.csv", index=False)
    cells = table.map(lambda value: value if isinstance(value, str) else "" if pd.isna(value) else f"{value:.4g}")
    lines = [list(table.columns), ["---"] * len(table.columns), *cells.to_numpy().tolist()]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    notes = "".join(f"\n- {what}: {result}" for what, result in further.items())
    (folder / "devices.md").write_text(f"# The CPU beside {title}\n\n{text}\n{notes}\n")
    print((folder / "devices.md").read_text(), end="")


if __name__ == "__main__":
    sys.exit(main())
