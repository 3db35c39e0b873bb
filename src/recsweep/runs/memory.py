"""Memory that a run asks for, and that the machine does not have."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def explain_memory() -> Iterator[None]:
    """An error for want of memory, of the CPU or the GPU, becomes a `MemoryError` that says what to lower."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        if not (isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in text):
            raise
        device = "GPU" if isinstance(error, torch.OutOfMemoryError) else "machine"
        advice = "lower trainer.batch_size, evaluation.batch_size, loss.n_negatives or model.embedding_dim"
        raise MemoryError(f"the {device} has too little memory for this run: {advice}") from None
