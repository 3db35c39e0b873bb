"""A training step of the transformer beside a plain loop: padded batches, torch's own layers and cross entropy.

    python benchmarks/bench_sequences.py FILE [--steps 8] [--threads 1]

FILE has `user item` a line, oldest first, such as MovieLens 1M in the copy of SASRec. Both have two blocks of 64
dimensions with two heads, dropout 0.2, at most 200 items, a softmax over the catalogue, AdamW, and batches of the last
windows of 128 users. They take turns, so that the load of other processes affects both. Printed are medians, the ratio,
and the seconds of an epoch.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from recsweep.config import compose_config
from recsweep.models.two_tower import TwoTower
from recsweep.runs import build

DIM, BLOCKS, HEADS, LENGTH, BATCH, DROPOUT = 64, 2, 2, 200, 128, 0.2
SETTINGS = [
    *("data=sequence_text", "split=leave_last_out", "model=two_tower", "loss=full_softmax", "evaluation=full_ranking"),
    *("model.history=transformer", "model.similarity=dot", "model.hidden=[]", "model.user_ids=false"),
    *(f"model.embedding_dim={DIM}", f"model.blocks={BLOCKS}", f"model.heads={HEADS}", f"model.max_history={LENGTH}"),
    *("model.windows=last", f"trainer.batch_size={BATCH}", "trainer.accumulate=1", "trainer.steps_per_call=1"),
    f"regularization.dropout={DROPOUT}",
]


class PlainTransformer(nn.Module):
    """The model as one would write it without the project."""

    def __init__(self, n_items: int) -> None:
        super().__init__()
        self.items = nn.Embedding(n_items + 1, DIM, padding_idx=n_items)
        self.positions = nn.Parameter(torch.zeros(LENGTH, DIM))
        layer = nn.TransformerEncoderLayer(
            DIM, HEADS, 2 * DIM, DROPOUT, activation="relu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, BLOCKS, nn.LayerNorm(DIM), enable_nested_tensor=False)
        self.dropout = nn.Dropout(DROPOUT)

    def loss(self, item: Tensor) -> Tensor:
        """Cross entropy of each item [B, L + 1] but the first; padding does not count."""
        before, target = item[:, :-1], item[:, 1:]
        length = before.shape[1]
        later = torch.ones(length, length, dtype=torch.bool).triu(1)
        x = self.dropout(self.items(before) * DIM**0.5 + self.positions[:length])
        logits = self.blocks(x, mask=later, is_causal=True) @ self.items.weight[:-1].T
        return cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=self.items.num_embeddings - 1)


def seconds(step: Callable[[], None]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cfg = compose_config([*SETTINGS, f"data.path={options.file}"])
    data = build.data(cfg)
    model = build.model(cfg, data)
    assert isinstance(model, TwoTower)
    plain = PlainTransformer(data.data.n_items)
    windows = model.columns(data.train)
    n_windows = len(windows.user)
    batches = torch.randperm(n_windows, generator=torch.Generator().manual_seed(0)).split(BATCH)[: options.steps + 1]
    optimizers = {id(m): torch.optim.AdamW(m.parameters(), lr=1e-3) for m in (model, plain)}

    def learn(module: nn.Module, loss: Callable[[Any], Tensor], batch: Any) -> None:
        optimizer = optimizers[id(module)]
        optimizer.zero_grad()
        loss(batch).backward()
        optimizer.step()

    times: dict[str, list[float]] = {"recsweep": [], "plain loop": []}
    for batch in batches:
        rows = type(windows)(*(column[batch] for column in windows))
        spans = zip(rows.first.tolist(), rows.end.tolist(), strict=True)
        items = [model.events[first : end + 1] for first, end in spans]
        padded = pad_sequence(items, batch_first=True, padding_value=data.data.n_items)
        times["recsweep"].append(seconds(partial(learn, model, model.training_loss, rows)))
        times["plain loop"].append(seconds(partial(learn, plain, plain.loss, padded)))
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}  # the first warms up
    for name, median in medians.items():
        print(f"{name}: {median:.3f} s a step, {median * n_windows / BATCH:.1f} s an epoch")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"ratio {medians['plain loop'] / medians['recsweep']:.2f}, at most {memory:.2f} GB of memory for both")


if __name__ == "__main__":
    main()
