"""Full ranking of 6,040 users over 3,706 items (the size of MovieLens 1M), beside a naive loop over users.

Run: python benchmarks/bench_evaluation.py
The naive loop ranks a subset of the users; its time is scaled up to all of them, and the output says so.
"""

import math
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from recsweep.data.schema import IdMap, Interactions
from recsweep.evaluation import RankingEvaluation, Target, evaluate

N_USERS, N_ITEMS, DIM = 6040, 3706, 32
KS = [5, 10, 20]
NAIVE_USERS = 60
REPEATS = 3


class DotProduct:
    """User and item embeddings of DIM numbers each."""

    def __init__(self, generator: torch.Generator) -> None:
        self.users = torch.randn(N_USERS, DIM, generator=generator)
        self.items = torch.randn(N_ITEMS, DIM, generator=generator)

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return (self.users[user] * self.items[item]).sum(1)

    def score_all(self, user: Tensor) -> Tensor:
        return self.users[user] @ self.items.T


def random_target(seen_per_user: int, held_out_per_user: int, generator: torch.Generator) -> Target:
    """Distinct random items for each user, the first `held_out_per_user` of them held out."""
    per_user = seen_per_user + held_out_per_user
    item = torch.rand(N_USERS, N_ITEMS, generator=generator).topk(per_user).indices
    held_out = (torch.arange(per_user) < held_out_per_user).expand_as(item).flatten()
    data = Interactions(
        name="random",
        user=torch.arange(N_USERS).repeat_interleave(per_user),
        item=item.flatten(),
        rating=torch.ones(N_USERS * per_user),
        timestamp=None,
        user_ids=IdMap(np.arange(N_USERS), "user"),
        item_ids=IdMap(np.arange(N_ITEMS), "item"),
        rating_scale=(1.0, 1.0),
    )
    return Target(data, seen=(~held_out).nonzero()[:, 0], held_out=held_out.nonzero()[:, 0])


def naive_ranking(scorer: DotProduct, target: Target, n_users: int) -> dict[str, float]:
    """NDCG and recall of the first `n_users` users, one user and one item at a time."""
    seen: list[set[int]] = [set() for _ in range(n_users)]
    relevant: list[set[int]] = [set() for _ in range(n_users)]
    for rows, sets in ((target.seen, seen), (target.held_out, relevant)):
        rows = rows[target.data.user[rows] < n_users]
        for user, item in zip(target.data.user[rows].tolist(), target.data.item[rows].tolist(), strict=True):
            sets[user].add(item)
    totals = dict.fromkeys([f"{name}@{k}" for k in KS for name in ("ndcg", "recall")], 0.0)
    for user in range(n_users):
        scores = scorer.score_all(torch.tensor([user]))[0].tolist()
        candidates = [item for item in range(target.data.n_items) if item not in seen[user]]
        candidates.sort(key=lambda item: (-scores[item], item in relevant[user]))
        for k in KS:
            gains = [1 / math.log2(rank + 2) for rank in range(k) if candidates[rank] in relevant[user]]
            ideal = sum(1 / math.log2(rank + 2) for rank in range(min(k, len(relevant[user]))))
            totals[f"ndcg@{k}"] += sum(gains) / ideal / n_users
            totals[f"recall@{k}"] += len(gains) / len(relevant[user]) / n_users
    return totals


def seconds(call: Callable[[], object]) -> float:
    """Seconds of the fastest of REPEATS calls."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    generator = torch.Generator().manual_seed(0)
    scorer = DotProduct(generator)
    full = RankingEvaluation(n_negatives=None, negatives="exact", ks=KS, objective="ndcg@10", seed=0, batch_size=1024)
    sampled = RankingEvaluation(n_negatives=99, negatives="exact", ks=KS, objective="ndcg@10", seed=0, batch_size=1024)
    protocols = {
        "full ranking, 1 held-out item a user": (full, random_target(163, 1, generator)),
        "full ranking, 33 held-out items a user": (full, random_target(130, 33, generator)),
        "1 + 99 sampled, 1 held-out item a user": (sampled, random_target(163, 1, generator)),
    }
    threads = torch.get_num_threads()
    for n_threads in (1, 2):
        torch.set_num_threads(n_threads)
        for name, (evaluation, target) in protocols.items():
            ours = seconds(partial(evaluate, scorer, evaluation, target))
            line = f"{name}, {n_threads} thread(s): {ours:.3f} s"
            if evaluation is full:
                naive = seconds(partial(naive_ranking, scorer, target, NAIVE_USERS)) * N_USERS / NAIVE_USERS
                line += f"; naive loop {naive:.1f} s (scaled from {NAIVE_USERS} users): {naive / ours:.0f} x"
            print(line)
    torch.set_num_threads(threads)


if __name__ == "__main__":
    main()
