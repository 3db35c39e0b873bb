"""Scores that are not of this project, in the form that every evaluation takes: a table of pairs, or a function."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recsweep.api.tables import encode_pairs
from recsweep.data.schema import Interactions
from recsweep.errors import UserError, summarize_error

ScoreFunction = Callable[[np.ndarray, np.ndarray], "np.ndarray | list[float]"]
"""Raw ids of users [n] and items [n] to scores [n]; higher is better, or a predicted rating."""

PAIRS_AT_ONCE = 2**20
LOWEST = float(np.finfo(np.float32).min)


class FunctionScores:
    """A function of raw ids as a `Scorer`.

    Args:
        function: gives the score of pairs.
        data: that it is judged on.
    """

    def __init__(self, function: ScoreFunction, data: Interactions) -> None:
        self.function = function
        self.data = data

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """Scores [B] of pairs, float64; `UserError` where the function returns something else."""
        raw = self.data.user_ids.decode(user), self.data.item_ids.decode(item)
        scores = _to_numbers(self.function(*raw), "the function's scores")
        if scores.shape != (len(user),):
            raise UserError(f"the function returned scores of shape {scores.shape}, where ({len(user)},) is expected")
        if np.isnan(scores).any():
            user_id, item_id = (ids[np.isnan(scores).argmax()] for ids in raw)
            raise UserError(f"the function returned NaN for user {user_id}, item {item_id}")
        return torch.from_numpy(scores).to(user.device)

    def score_all(self, user: Tensor) -> Tensor:
        """Scores [B, n_items] of the whole catalogue."""
        return _score_catalogue(self.score, user, self.data.n_items)


class TableScores:
    """A table of pairs and their scores as a `Scorer`; a pair that is not in it has the lowest score of all.

    Args:
        frame: with columns `user`, `item` (raw ids) and `score`, each pair once.
        data: that it is judged on.
        name: of the table, for messages.
    """

    def __init__(self, frame: pd.DataFrame, data: Interactions, name: str) -> None:
        if "score" not in frame:
            raise UserError(f"{name}: no column score; there are {', '.join(map(str, frame.columns))}")
        user, item = encode_pairs(frame, data, name)
        scores = torch.from_numpy(_to_numbers(frame["score"].to_numpy(), f"{name}, column score"))
        if scores.isnan().any():
            row = int(scores.isnan().float().argmax())
            raise UserError(f"{name}: no score of user {frame['user'].iloc[row]}, item {frame['item'].iloc[row]} (NaN)")
        self.n_items = data.n_items
        self.pair, order = (user * data.n_items + item).sort()
        self.scores = scores[order]
        if (is_repeated := self.pair.diff() == 0).any():
            row = int(order[int(is_repeated.float().argmax())])
            pair = f"user {frame['user'].iloc[row]}, item {frame['item'].iloc[row]}"
            raise UserError(f"{name}: {pair}: scored more than once; keep one row of each pair")
        self.n_asked = self.n_missing = 0

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """Scores [B] of pairs, float64; counts those that are missing."""
        asked = (user * self.n_items + item).cpu()
        index = torch.searchsorted(self.pair, asked).clamp(max=max(0, len(self.pair) - 1))
        is_there = self.pair[index] == asked if len(self.pair) else torch.zeros_like(asked, dtype=torch.bool)
        scores = self.scores[index] if len(self.pair) else torch.zeros(len(asked), dtype=torch.float64)
        self.n_asked += len(asked)
        self.n_missing += int((~is_there).sum())
        return scores.where(is_there, LOWEST).to(user.device)

    def score_all(self, user: Tensor) -> Tensor:
        """Scores [B, n_items] of the whole catalogue."""
        return _score_catalogue(self.score, user, self.n_items)

    def count_missing(self, user: Tensor, item: Tensor) -> int:
        """How many of these pairs [B] are not in the table."""
        return int((~torch.isin(user * self.n_items + item, self.pair)).sum())


def read_scores(path: Path) -> pd.DataFrame:
    """The table in a Parquet file; `UserError` where it is missing or something else."""
    try:
        return pd.read_parquet(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except Exception as error:  # of pyarrow, which raises many kinds for a damaged file
        advice = "read it yourself and give the data frame"
        raise UserError(f"{path}: not a Parquet file ({summarize_error(error)}); {advice}") from None


def _score_catalogue(score: Callable[[Tensor, Tensor], Tensor], user: Tensor, n_items: int) -> Tensor:
    """Scores [B, n_items] by a function of pairs, which takes some users at once."""
    items = torch.arange(n_items, device=user.device)
    chunks = user.split(max(1, PAIRS_AT_ONCE // n_items))
    scores = [score(chunk.repeat_interleave(n_items), items.repeat(len(chunk))) for chunk in chunks]
    return torch.cat(scores).view(len(user), n_items)


def _to_numbers(values: "np.ndarray | list[float]", name: str) -> np.ndarray:
    try:
        return np.array(values, dtype=np.float64)  # a copy: those of pandas may be read-only
    except (TypeError, ValueError) as error:
        raise UserError(f"{name}: not numbers ({summarize_error(error)})") from None
