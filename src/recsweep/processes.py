"""One training on several processes of a machine: each does its share of the work, and all know the sums.

A process that was not started by `launch` is the only one: it does everything, and nothing is exchanged.
"""

import logging
import logging.handlers
import os
import pickle
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from multiprocessing import get_context, parent_process, set_forkserver_preload
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed
from torch.multiprocessing.spawn import ProcessExitedException, start_processes

from recsweep.errors import UserError

T = TypeVar("T")

START = "forkserver"  # safe beside threads and CUDA, as fork is not, and only the first start waits for the imports
PATIENCE = 2.0  # seconds in which the others may end by themselves when one has failed


def rank() -> int:
    """Which of the processes this is, from 0 on."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def count() -> int:
    """How many processes there are."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def share(work: Iterable[T]) -> Iterator[T]:
    """This process's part of the work: every `count`-th piece.

    >>> list(share("abc"))  # of one process
    ['a', 'b', 'c']
    """
    return islice(work, rank(), None, count())


def sum_gradients(parameters: Sequence[Tensor], sparse: bool) -> None:
    """Replaces every gradient by its sum over the processes; a parameter that has none anywhere is left without.

    Args:
        parameters: the same in all processes.
        sparse: whether the gradients are sparse in their first dimension, those of embeddings.
    """
    if count() == 1:
        return
    if sparse:
        for parameter in parameters:
            if parameter.grad is None:
                nowhere = torch.empty(1, 0, dtype=torch.int64, device=parameter.device)
                nothing = parameter.new_empty(0, *parameter.shape[1:])
                parameter.grad = torch.sparse_coo_tensor(nowhere, nothing, parameter.shape)
            distributed.all_reduce(parameter.grad)
        return
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    there = gradients[0].new_tensor([p.grad is not None for p in parameters])
    together = torch.cat([*(gradient.flatten() for gradient in gradients), there])
    distributed.all_reduce(together)
    *sums, there = together.split([*(p.numel() for p in parameters), len(there)])
    for parameter, total, n in zip(parameters, sums, there.tolist(), strict=True):
        parameter.grad = total.view_as(parameter) if n else None


def gathered(noted: Mapping[str, list[Tensor]]) -> dict[str, Tensor]:
    """The scalars that the processes have noted under each name, [N], on the CPU.

    >>> gathered({"train/loss": [torch.tensor(1.0), torch.tensor(3.0)]})
    {'train/loss': tensor([1., 3.])}
    """
    own = {name: torch.stack(values).cpu() for name, values in noted.items()}
    if count() == 1:
        return own
    everyone: list[dict[str, Tensor]] = [{}] * count()
    distributed.all_gather_object(everyone, own)
    names = dict.fromkeys(name for some in everyone for name in some)
    return {name: torch.cat([some[name] for some in everyone if name in some]) for name in names}


def launch(n: int, backend: str, work: Callable[..., None], *args: Any) -> None:
    """Runs `work(*args)` in `n` processes, each with its own copy of the arguments, until all are done.

    What the first of them logs goes where this process logs to. Where one raises an exception, the others are ended
    and this process raises it.

    Args:
        backend: of `torch.distributed`.

    Raises:
        UserError: one of them was killed from outside.
    """
    set_forkserver_preload([work.__module__])
    context = get_context(START)
    failures, records = context.SimpleQueue(), context.Queue()
    listener = logging.handlers.QueueListener(records, *logging.getLogger().handlers, respect_handler_level=True)
    job = pickle.dumps((work, args))  # torch's own way would have the processes share the weights
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"file://{Path(folder) / 'meeting'}"
        given = (n, backend, meeting, job, torch.get_num_threads(), failures, records)
        listener.start()
        started = start_processes(_work, given, n, join=False, start_method=START)
        try:
            while not started.join(grace_period=PATIENCE):
                pass
        except ProcessExitedException as end:
            if end.exit_code < 0 or failures.empty():
                raise UserError(f"{end}, of the {n} that trained: was memory short? resume=true goes on") from None
            raise failures.get() from None
        finally:
            for process in started.processes:
                process.kill()
            listener.stop()


def _work(number: int, n: int, backend: str, meeting: str, job: bytes, n_threads: int, failures: Any, log: Any) -> None:
    Thread(target=_end_with_parent, daemon=True).start()
    _send_to(logging.NullHandler() if number else logging.handlers.QueueHandler(log))
    torch.set_num_threads(n_threads)
    if backend == "nccl":
        torch.cuda.set_device(number)
    try:
        distributed.init_process_group(backend, init_method=meeting, rank=number, world_size=n)
        work, args = pickle.loads(job)
        work(*args)
        distributed.destroy_process_group()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        error.add_note(traceback.format_exc())
        failures.put(error)
        sys.exit(1)


def _end_with_parent() -> None:
    """A parent that is killed takes nobody with it: the fork server stands between, and lives on."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _send_to(handler: logging.Handler) -> None:
    """Whatever is logged or warned of goes to this handler alone, not to those that libraries bring."""
    for logger in logging.root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.handlers.clear()
            logger.propagate = True
    handler.setLevel(logging.INFO)
    logging.root.handlers = [handler]
    logging.root.setLevel(logging.INFO)
    logging.captureWarnings(True)
