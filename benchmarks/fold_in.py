"""Recommendations for users who were not in training beside those of a model that was trained with them.

A share of the users is left out of training and validation, the model is trained without them, and their training rows
are folded in. Their held-out rows judge that, and the same model trained on the rows of all users: NDCG@10 of full
rankings, the mean difference over these users with its 95 % interval, and for models of ratings the RMSE.

    python benchmarks/fold_in.py [--data ml_100k] [--models ease bpr_mf …] [--share 0.1] [--folds 1] [--csv FILE]

With `--folds 10` each user is left out once. Prints Markdown; `--csv` also writes a table.
"""

import argparse
import logging
import tempfile
import time
from copy import copy
from pathlib import Path

import pandas as pd
import torch
from omegaconf import DictConfig
from torch import Tensor

from recsweep.config import compose_config
from recsweep.data.datamodules import InteractionData
from recsweep.evaluation import Evidence, RatingEvaluation, Scorer, Target, evaluate
from recsweep.models.base import RecModule
from recsweep.models.baselines import Baseline
from recsweep.runs import build
from recsweep.runs.fit import fit
from recsweep.runs.folder import BEST, load_weights

HISTORY = ["model=two_tower", "model.user_ids=false", "model.embedding_dim=64", "model.hidden=[]", "loss=full_softmax"]
MODELS = {
    "popularity": ["model=popularity"],
    "ease": ["model=ease"],
    "item_knn": ["model=item_knn"],
    "user_knn": ["model=user_knn"],
    "slim": ["model=slim"],
    "markov_chain": ["model=markov_chain"],
    "ials": ["model=ials"],
    "bpr_mf": ["model=bpr_mf"],
    "bpr_mf, full_softmax": ["model=bpr_mf", "loss=full_softmax"],
    "means": ["model=means"],
    "biased_mf": ["model=biased_mf"],
    "svdpp": ["model=svdpp"],
    "mean": [*HISTORY, "model.history=mean"],
    "attention": [*HISTORY, "model.history=attention"],
    "gru": [*HISTORY, "model.history=gru"],
    "transformer": [*HISTORY, "model.history=transformer", "trainer.batch_size=64", "trainer.accumulate=1"],
}


def train(cfg: DictConfig, data: InteractionData) -> RecModule | Baseline:
    """The model of the epoch that validation chose."""
    model = build.model(cfg, data)
    with tempfile.TemporaryDirectory() as folder:
        fit(cfg, data, model, Path(folder) / "checkpoints", [])
        load_weights(Path(folder) / "checkpoints" / BEST, model, data)
    return model.eval()


def leave_out(data: InteractionData, is_out: Tensor) -> InteractionData:
    """The data without the training and validation rows of the users that `is_out` [n_users] marks."""
    less, split = copy(data), data.split
    kept = {part: rows[~is_out[data.data.user[rows]]] for part, rows in (("train", split.train), ("val", split.val))}
    less.split = split._replace(**kept)
    less.train = data.data.take(less.split.train)
    return less


def judge(scorer: Scorer, cfg: DictConfig, target: Target) -> tuple[pd.Series, float]:
    """NDCG@10 of each user, and the RMSE; NaN for a model of rankings."""
    evidence: list[Evidence] = []
    ranking = compose_config(["model=popularity", "evaluation=full_ranking"])
    evaluate(scorer, build.evaluation(ranking), target, evidence.append)
    users = [part["user"] for part in evidence]
    user, ndcg = torch.cat([rows.user for rows in users]), torch.cat([rows.values["ndcg@10"] for rows in users])
    protocol = build.evaluation(cfg)
    rmse = evaluate(scorer, protocol, target)["rmse"] if isinstance(protocol, RatingEvaluation) else float("nan")
    return pd.Series(ndcg.numpy(), index=user.numpy()), rmse


def compare(cfg: DictConfig, folds: Tensor, n_folds: int) -> dict[str, float]:
    """A row of the table.

    Args:
        folds: [n_users] the fold of each user.
    """
    data = build.data(cfg)
    whole, target = train(cfg, data), data.target("test")
    parts: list[tuple[pd.Series, pd.Series]] = []
    errors: list[tuple[float, float]] = []
    seconds = 0.0
    for fold in range(n_folds):
        is_out = folds == fold
        of_left_out = target._replace(held_out=target.held_out[is_out[data.data.user[target.held_out]]])
        less = leave_out(data, is_out)
        model, history = train(cfg, less), data.train.take(is_out[data.train.user].nonzero()[:, 0])
        start = time.perf_counter()
        folded = model.fold_in(history, less.train)
        seconds += time.perf_counter() - start
        (all_ndcg, all_rmse), (ndcg, rmse) = (judge(scorer, cfg, of_left_out) for scorer in (whole, folded))
        parts.append((all_ndcg, ndcg))
        errors.append((all_rmse, rmse))
    on_all, folded_in = (pd.concat(column) for column in zip(*parts, strict=True))
    difference = folded_in - on_all
    rmse_all, rmse_folded = torch.tensor(errors).mean(0).tolist()
    return {
        "users": len(difference),
        "trained on all": on_all.mean(),
        "folded in": folded_in.mean(),
        "difference": difference.mean(),
        "±": 1.96 * difference.sem(),
        "rmse, trained on all": rmse_all,
        "rmse, folded in": rmse_folded,
        "seconds of fold-in": seconds / n_folds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="ml_100k", help="a data set of conf/data")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS), metavar="MODEL")
    parser.add_argument("--share", type=float, default=0.1, help="of the users, left out at a time")
    parser.add_argument("--folds", type=int, default=1, help="how many such shares are left out in turn")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings of every model")
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # no notices at every fit
    fixed = [f"data={options.data}", "split=random", "trainer.accelerator=cpu", "callbacks.progress=false"]
    rows: dict[str, dict[str, float]] = {}
    for name in options.models:
        cfg = compose_config([*MODELS[name], *fixed, *options.set])
        n_users = build.data(cfg).data.n_users
        order = torch.randperm(n_users, generator=torch.Generator().manual_seed(0))
        rows[name] = row = compare(cfg, (order / (n_users * options.share)).long(), options.folds)
        if len(rows) == 1:
            print(f"| model | {' | '.join(row)} |\n|:--|{'--:|' * len(row)}")
        cells = (f"{value:.4f}" if isinstance(value, float) else str(value) for value in row.values())
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
        if options.csv:
            pd.DataFrame.from_dict(rows, orient="index").rename_axis("model").to_csv(options.csv)


if __name__ == "__main__":
    main()
