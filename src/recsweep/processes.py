"""Training on several processes of one machine: each does its share of a step's work, and all get the sums.

Outside of `launch` there is one process: it does all the work and exchanges nothing.
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

START_METHOD = "forkserver"  # unlike fork, safe with threads and CUDA; imports cost time only at the first start
GRACE_SECONDS = 2.0  # for the others to end by themselves after one has failed


def rank() -> int:
    """This process's number, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def count() -> int:
    """Number of processes."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def share(work: Iterable[T]) -> Iterator[T]:
    """This process's share of the work: every `count`-th piece.

    >>> list(share("abc"))  # with one process
    ['a', 'b', 'c']
    """
    return islice(work, rank(), None, count())


def sum_gradients(parameters: Sequence[Tensor], sparse: bool) -> None:
    """Replaces every gradient by its sum over the processes; it stays None if it is None in all of them.

    Args:
        parameters: the same ones in all processes.
        sparse: whether the gradients are sparse in their first dimension, as those of embeddings may be.
    """
    if count() == 1:
        return
    if sparse:
        for parameter in parameters:
            if parameter.grad is None:
                no_rows = torch.empty(1, 0, dtype=torch.int64, device=parameter.device)
                no_values = parameter.new_empty(0, *parameter.shape[1:])
                parameter.grad = torch.sparse_coo_tensor(no_rows, no_values, parameter.shape)
            distributed.all_reduce(parameter.grad)
        return
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    has_gradient = gradients[0].new_tensor([p.grad is not None for p in parameters])
    flat = torch.cat([*(gradient.flatten() for gradient in gradients), has_gradient])
    distributed.all_reduce(flat)
    *sums, n_gradients = flat.split([*(p.numel() for p in parameters), len(has_gradient)])
    for parameter, total, n in zip(parameters, sums, n_gradients.tolist(), strict=True):
        parameter.grad = total.view_as(parameter) if n else None


def gather(scalars: Mapping[str, list[Tensor]]) -> dict[str, Tensor]:
    """The scalars of all processes under each name, [N], on the CPU; a process need not have every name.

    >>> gather({"train/loss": [torch.tensor(1.0), torch.tensor(3.0)]})
    {'train/loss': tensor([1., 3.])}
    """
    own = {name: torch.stack(values).cpu() for name, values in scalars.items()}
    if count() == 1:
        return own
    by_rank: list[dict[str, Tensor]] = [{}] * count()
    distributed.all_gather_object(by_rank, own)
    names = dict.fromkeys(name for values in by_rank for name in values)
    return {name: torch.cat([values[name] for values in by_rank if name in values]) for name in names}


def launch(n: int, backend: str, work: Callable[..., None], *args: Any) -> None:
    """Runs `work(*args)` in `n` processes, each with its own copy of the arguments, until all are done.

    The first one's log messages go to this process's handlers, the others' are dropped. An exception in one of them
    ends the others, and this process raises it.

    Args:
        backend: of `torch.distributed`.

    Raises:
        UserError: one of them was killed from outside.
    """
    set_forkserver_preload([work.__module__])
    context = get_context(START_METHOD)
    failures, records = context.SimpleQueue(), context.Queue()
    listener = logging.handlers.QueueListener(records, *logging.getLogger().handlers, respect_handler_level=True)
    job = pickle.dumps((work, args))  # torch's own pickling would have the processes share the weights' memory
    with tempfile.TemporaryDirectory() as folder:
        rendezvous = f"file://{Path(folder) / 'rendezvous'}"
        worker_args = (n, backend, rendezvous, job, torch.get_num_threads(), failures, records)
        listener.start()
        group = start_processes(_work, worker_args, n, join=False, start_method=START_METHOD)
        try:
            while not group.join(grace_period=GRACE_SECONDS):
                pass
        except ProcessExitedException as end:
            if end.exit_code < 0 or failures.empty():
                raise UserError(
                    f"{end}, one of the {n} that trained: out of memory? resume=true continues the run"
                ) from None
            raise failures.get() from None
        finally:
            for process in group.processes:
                process.kill()
            listener.stop()


def _work(
    number: int, n: int, backend: str, rendezvous: str, job: bytes, n_threads: int, failures: Any, records: Any
) -> None:
    Thread(target=_end_with_parent, daemon=True).start()
    _send_to(logging.NullHandler() if number else logging.handlers.QueueHandler(records))
    torch.set_num_threads(n_threads)
    if backend == "nccl":
        torch.cuda.set_device(number)
    try:
        distributed.init_process_group(backend, init_method=rendezvous, rank=number, world_size=n)
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
    """Ends this process when its parent does; else it would survive, since the fork server between them does."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _send_to(handler: logging.Handler) -> None:
    """Sends all logs and warnings to this handler only, not to the handlers of libraries."""
    for logger in logging.root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.handlers.clear()
            logger.propagate = True
    handler.setLevel(logging.INFO)
    logging.root.handlers = [handler]
    logging.root.setLevel(logging.INFO)
    logging.captureWarnings(True)
