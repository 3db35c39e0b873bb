"""What the child processes of the tests do. Each child imports this file, so it imports little at the top."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from recsweep import processes
from recsweep.errors import UserError

COUNTS = ("n_lists", "count")
ROWS = ("labels", "rows")
"""States of evaluations that say how much they have seen: as a number, or as a list of tensors."""


def fail(how: str) -> None:
    """The second process ends while the first waits for it."""
    if processes.rank() == 1:
        if how == "mistake":
            raise UserError("the second one knows better")
        os.kill(os.getpid(), signal.SIGKILL)
    distributed.barrier()


def wait(folder: Path) -> None:
    (folder / f"{os.getpid()}.pid").touch()
    time.sleep(600)


def exchange(folder: Path) -> None:
    """Gradients and scalars of two processes: the second has none of `once`, and neither has any of `never`."""
    both, once, never = (torch.nn.Parameter(torch.zeros(2)) for _ in range(3))
    (both.sum() * 3 if processes.rank() else both.sum() + once.sum() * 2).backward()
    processes.sum_gradients([both, once, never], sparse=False)
    table = torch.nn.Parameter(torch.zeros(3, 1))
    if processes.rank() == 0:
        torch.nn.functional.embedding(torch.tensor([1, 1]), table, sparse=True).sum().backward()
    processes.sum_gradients([table], sparse=True)
    assert table.grad is not None
    scalars = {"all": [torch.tensor(float(processes.rank()))]}
    if processes.rank() == 1:
        scalars["second"] = [torch.ones(())]
    result: dict[str, Any] = {
        "gradients": [both.grad, once.grad, never.grad],
        "table": table.grad.to_dense(),
        "scalars": processes.gather(scalars),
        "share": list(processes.share(range(5))),
    }
    torch.save(result, folder / f"{processes.rank()}.pt")


def judge(folder: Path, cases: dict[str, list[str]]) -> None:
    """The metrics of untrained models, and how many lists or rows this process has judged."""
    from recsweep.config import compose_config
    from recsweep.evaluation import evaluate
    from recsweep.runs import build

    results = {}
    for name, overrides in cases.items():
        cfg = compose_config([*overrides, f"paths.cache_dir={folder}"])
        data = build.data(cfg)
        model, evaluation = build.model(cfg, data).eval(), build.evaluation(cfg)
        metrics = evaluate(model, evaluation, data.target("val"))
        parts = [evaluation, *evaluation.children()]
        counts = [float(part.metric_state[n]) for part in parts for n in COUNTS if n in part.metric_state]
        lists = [getattr(part, n) for part in parts for n in ROWS if hasattr(part, n)]
        results[name] = {"metrics": metrics, "counts": [*counts, *(sum(map(len, rows)) for rows in lists)]}
    (folder / f"{processes.rank()} of {processes.count()}.json").write_text(json.dumps(results))
