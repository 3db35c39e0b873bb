"""How often 95 % intervals of a mean over users and seeds cover the truth, and how often tests find what is not there.

Run: python benchmarks/coverage.py [--draws 10000]
Users' effects have the standard deviation 0.3, the rest 0.2. Prints Markdown: the estimator of the reports beside
Satterthwaite's approximation and Student's tests over seeds alone and users alone; all see the same draws. The effects
of "skewed" users are exponential; of "mostly zero" users 80 % have no effect, and the others an exponential one.
"""

import argparse
import math
from collections.abc import Iterator

import numpy as np
from scipy import special

from recsweep.report.crossed import MeanSquares, critical_value, standard_error

USER_SD, REST_SD = 0.3, 0.2
SEED_SDS = (0.0, 0.003, 0.01, 0.03, 0.1)
LEVELS = (0.05, 0.01, 0.001)
ROWS_AT_ONCE = 500
METHODS = ("users and seeds", "Satterthwaite", "seeds alone", "users alone")


def draw_users(rng: np.random.Generator, kind: str, n_draws: int, n_users: int) -> np.ndarray:
    """[n_draws, n_users] effects with mean 0 and standard deviation `USER_SD`."""
    if kind == "normal":
        return rng.normal(0, USER_SD, (n_draws, n_users))
    effects = rng.exponential(1, (n_draws, n_users))
    if kind == "skewed":
        return USER_SD * (effects - 1)
    return USER_SD * (effects * (rng.random(effects.shape) < 0.2) - 0.2) / math.sqrt(0.36)


def draw(rng: np.random.Generator, kind: str, n_draws: int, n_users: int, n_seeds: int, seed_sd: float) -> MeanSquares:
    """Layouts of true mean 0: the users' means in full, the mean squares of seeds and rest by their laws."""
    parts = []
    for start in range(0, n_draws, ROWS_AT_ONCE):
        n = min(ROWS_AT_ONCE, n_draws - start)
        users = draw_users(rng, kind, n, n_users) + rng.normal(0, REST_SD / math.sqrt(n_seeds), (n, n_users))
        parts.append(np.stack([users.mean(1), n_seeds * users.var(1, ddof=1)]))
    mean, user = np.concatenate(parts, 1)
    mean = mean + rng.normal(0, seed_sd / math.sqrt(n_seeds), n_draws)
    df_seed, df_rest = n_seeds - 1, (n_users - 1) * (n_seeds - 1)
    seed = (n_users * seed_sd**2 + REST_SD**2) * rng.chisquare(df_seed, n_draws) / df_seed
    rest = REST_SD**2 * rng.chisquare(df_rest, n_draws) / df_rest
    return MeanSquares(mean, user, seed, rest, n_users, n_seeds)


def half_widths(squares: MeanSquares, alpha: float) -> Iterator[np.ndarray]:
    """Of the intervals of every method, in the order of `METHODS`."""
    size = squares.n_users * squares.n_seeds
    yield critical_value(squares, alpha) * standard_error(squares)
    df_user, df_seed = squares.n_users - 1, squares.n_seeds - 1
    counts = squares.seed > squares.rest
    seeds = np.where(counts, squares.seed**2 / df_seed + squares.rest**2 / (df_user * df_seed), 0)
    total = size * standard_error(squares) ** 2
    df = total**2 / (squares.user**2 / df_user + seeds)
    for mean_square, freedom in ((total, df), (squares.seed, df_seed), (squares.user, df_user)):
        yield -special.stdtrit(freedom, alpha / 2) * np.sqrt(mean_square / size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=10_000)
    n_draws = parser.parse_args().draws
    rng = np.random.default_rng(0)
    rare: dict[tuple[str, int], np.ndarray] = {}
    for kind in ("normal", "skewed", "mostly zero"):
        print(f"\nCoverage of 95 % intervals in %, {kind} users, {n_draws:,} draws\n")
        print(f"| users | seeds | seeds' sd | {' | '.join(METHODS)} |\n|{'--:|' * 7}")
        for n_users in (200, 943):
            for n_seeds in (2, 3, 5, 10):
                for seed_sd in SEED_SDS:
                    squares = draw(rng, kind, n_draws, n_users, n_seeds, seed_sd)
                    rates = np.array(
                        [[np.mean(np.abs(squares.mean) > width) for width in half_widths(squares, a)] for a in LEVELS]
                    )
                    cells = " | ".join(f"{100 * (1 - rate):.1f}" for rate in rates[0])
                    print(f"| {n_users} | {n_seeds} | {seed_sd} | {cells} |")
                    key = (kind, n_seeds)
                    rare[key] = np.maximum(rare.get(key, 0), rates / np.array(LEVELS)[:, None])
    print("\nFalse positives as a multiple of the level, the worst of the rows above\n")
    print(f"| users | seeds | level | {' | '.join(METHODS)} |\n|:--|{'--:|' * 6}")
    for (kind, n_seeds), ratios in rare.items():
        for level, row in zip(LEVELS, ratios, strict=True):
            print(f"| {kind} | {n_seeds} | {level:g} | {' | '.join(f'{ratio:.1f}' for ratio in row)} |")


if __name__ == "__main__":
    main()
