"""A training step of the nominator with each off-policy loss, as a multiple of a step with cross entropy.

Run: python benchmarks/bench_off_policy.py [--rows 128] [--users 6040] [--items 3883] [--repeats 15] [--threads 1]
A step is forward, backward and Adagrad. Sizes are those of MovieLens 1M, features those of `synthetic`. 2-IPS is
also timed as a loop over the rows of a batch. The losses take turns, so that the load of other processes affects all.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.optim import Optimizer

from recsweep.data.synthetic import Synthetic
from recsweep.losses.off_policy import ce, dr, ips_1, ips_2, snips, top_k
from recsweep.models.two_stage.nets import NominatorNet

N_SLATES, SLATE_SIZE, ALPHA = 100, 30, 1e-3
LIMITS = {"max_weight": 10.0, "min_weight": 0.01}
Loss = Callable[[Tensor], Tensor]


def ips_2_by_row(
    logits: Tensor, action: Tensor, propensity: Tensor, ranker_logits: Tensor, generator: torch.Generator
) -> Tensor:
    """2-IPS with a loop over the batch: samples, distinct items and both terms of one row at a time."""
    log_probs = logits.log_softmax(1)
    log_pi = log_probs.gather(1, action[:, None])[:, 0]
    weight = (log_pi.detach().exp() / propensity).clamp(LIMITS["min_weight"], LIMITS["max_weight"])
    weight = weight / weight.mean()
    total = logits.new_zeros(())
    for row, logged in enumerate(action.tolist()):
        probs = (logits[row].detach() / math.e).softmax(0)
        draws = torch.multinomial(probs, N_SLATES * SLATE_SIZE, replacement=True, generator=generator)
        logged_column = torch.full((N_SLATES, 1), logged, device=logits.device)
        slates = torch.cat([draws.view(N_SLATES, SLATE_SIZE), logged_column], 1).sort(1).values
        is_repeated = torch.zeros_like(slates, dtype=torch.bool)
        is_repeated[:, 1:] = slates[:, 1:] == slates[:, :-1]
        shares = ranker_logits[row][slates].masked_fill(is_repeated, -math.inf).softmax(1)
        share = shares.masked_fill(slates != logged, 0).sum(1)
        rest_log_pi = log_probs[row][slates].masked_fill(is_repeated, 0).sum(1) - log_pi[row]
        total = total - weight[row] * (share.mean() * log_pi[row] + ALPHA * (share * rest_log_pi).mean())
    return total / len(action)


def losses(n_rows: int, n_items: int, device: torch.device) -> dict[str, Loss]:
    """Each loss with all arguments except the logits."""
    draws = torch.Generator(device).manual_seed(1)
    action = torch.randint(n_items, (n_rows,), generator=draws, device=device)
    propensity = torch.rand(n_rows, generator=draws, device=device) / n_items + 1e-5
    reward = torch.rand(n_rows, generator=draws, device=device).round()
    ranking, predicted = torch.randn(2, n_rows, n_items, generator=draws, device=device)
    logged = {"action": action, "propensity": propensity}
    two_stage = {**logged, "ranker_logits": ranking, "generator": draws}
    slates = {"n_slates": N_SLATES, "slate_size": SLATE_SIZE, "temperature": math.e, "alpha": ALPHA}
    return {
        "ce": partial(ce, action=action),
        "ips_1": partial(ips_1, **logged, **LIMITS),
        "top_k": partial(top_k, **logged, k=10, **LIMITS),
        "snips": partial(snips, **logged, reward=reward, max_weight=100.0),
        "dr": partial(dr, **logged, reward=reward, predicted_reward=predicted, max_weight=100.0),
        "ips_2": partial(ips_2, **two_stage, **slates, **LIMITS),
        "ips_2, row by row": partial(ips_2_by_row, **two_stage),
    }


def seconds(loss: Loss, net: NominatorNet, optimizer: Optimizer, user: Tensor) -> float:
    """Seconds of one training step."""
    wait = torch.cuda.synchronize if user.is_cuda else lambda: None
    for parameter in net.parameters():
        parameter.grad = None
    wait()
    start = time.perf_counter()
    loss(net.item_logits(user)).backward()
    optimizer.step()
    wait()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--users", type=int, default=6040)
    parser.add_argument("--items", type=int, default=3883)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)  # as in training
    data = Synthetic(args.users, args.items, 10 * args.users, 0.88, 0).read()
    for device in map(torch.device, ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]):
        net = NominatorNet(data, 10, 5, 0.0, torch.Generator().manual_seed(0)).to(device)
        optimizer = torch.optim.Adagrad(net.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)
        user = torch.randint(args.users, (args.rows,), generator=torch.Generator().manual_seed(0)).to(device)
        steps = losses(args.rows, args.items, device)
        times: dict[str, list[float]] = {name: [] for name in steps}
        for _ in range(args.repeats + 1):
            for name, loss in steps.items():
                times[name].append(seconds(loss, net, optimizer, user))
        typical = {name: statistics.median(steps[1:]) for name, steps in times.items()}
        print(f"{device.type}, {args.rows} rows, {args.items} items, medians of {args.repeats}, least in brackets:")
        for name, seconds_by_step in times.items():
            best = 1000 * min(seconds_by_step[1:])
            ratio, least = typical[name] / typical["ce"], min(seconds_by_step[1:]) / min(times["ce"][1:])
            print(f"  {name:18}{1000 * typical[name]:8.2f} ms ({best:.2f}), {ratio:6.1f} x ce ({least:.1f})")


if __name__ == "__main__":
    main()
