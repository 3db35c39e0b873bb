"""A trained run: what its model says about users and items, by their raw ids."""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd
import torch
from omegaconf import DictConfig
from torch import Tensor

from recsweep.api.bulk import check_path, write_in_parts
from recsweep.api.histories import read_histories
from recsweep.api.origin import change_settings, read_origin
from recsweep.api.rules import allow_items
from recsweep.api.similar import find_similar_items, find_similar_users, read_vectors
from recsweep.api.tables import Ids, encode_ids, encode_pairs, name_titles, tabulate_recommendations
from recsweep.cache import fingerprint
from recsweep.config.targets import check_plugins
from recsweep.data.datamodules import InteractionData
from recsweep.data.logged import BanditLog
from recsweep.data.schema import IdMap, Interactions
from recsweep.errors import UserError
from recsweep.evaluation.protocol import MAX_SCORES, Scorer, check_scores
from recsweep.models.base import RecModule
from recsweep.models.baselines import Baseline
from recsweep.runs import build
from recsweep.runs.folder import judge, load_final_model
from recsweep.runs.memory import explain_memory
from recsweep.runs.recorded import Recorded
from recsweep.sampling import UserItems, group_items
from recsweep.sweeps import jobs
from recsweep.vectors.exact import best_items

PAIRS_AT_ONCE = 2**16
USERS_AT_ONCE = 1024  # of pairs: some models score all items of each user


class Vectors(NamedTuple):
    """The vectors by which a model ranks: the score of a pair is the dot product of its two vectors.

    Args:
        users: [n_users, d] float32; the index holds the raw ids.
        items: [n_items, d] float32; the index holds the raw ids.
    """

    users: pd.DataFrame
    items: pd.DataFrame


class Known(NamedTuple):
    """Users to recommend to: their rows, the items that each has, and what scores items for them."""

    rows: Interactions
    seen: UserItems
    scorer: Scorer


class Run:
    """A run and its trained model, from `load` or `train`: `run.folder` is its folder, `run.config` its configuration.

    Users and items are raw ids, as the data set has them; one that the data do not have is a `UserError`. The data are
    read and the model is loaded when they are first needed, and kept.
    """

    def __init__(self, folder: Path, origin: Recorded, config: DictConfig) -> None:
        self.folder = folder
        self.config = config
        self.origin = origin  # no part of the stable interface

    def __repr__(self) -> str:
        return f"<Run {self.folder}>"

    @property
    def metrics(self) -> dict[str, float]:
        """The recorded metrics, `val/…` and `test/…`; empty where the run did not complete."""
        return dict((jobs.read_outcome(self.folder) or {}).get("metrics") or {})

    @cached_property
    def data(self) -> InteractionData:
        """The data, read and split; no part of the stable interface."""
        return build.data(self.config)

    @cached_property
    def model(self) -> RecModule | Baseline:
        """The model that the run ended with, a torch module in eval mode; no part of the stable interface."""
        with explain_memory():
            return load_final_model(self.config, self.data, self.folder)

    @cached_property
    def seen(self) -> UserItems:
        """The items of each user's rows; no part of the stable interface."""
        rows = self.data.data
        if isinstance(rows, BanditLog):
            rows = self.data.train.take(self.data.train.rating.nonzero()[:, 0])
        return group_items(rows.user, rows.item, rows.n_users, rows.n_items)

    @property
    def left_out(self) -> UserItems:
        """What `recommend` leaves out for each user if nobody says otherwise; no part of the stable interface."""
        return self.seen if self._masks_seen else _empty(self.seen)

    @property
    def _masks_seen(self) -> bool:
        return self.config.evaluation.get("mask_seen", True)

    @property
    def _train(self) -> Interactions:
        """The rows that the model learned from."""
        return (self.data.refit_data() if self.config.trainer.refit else self.data).train

    def score(self, frame: pd.DataFrame) -> pd.Series:
        """The model's score of each row of a data frame, with the frame's index.

        A model with a rating loss, such as `svdpp`, predicts the rating, not clipped to the scale; of others the order
        of a user's items counts (of `multitask`, too).

        Args:
            frame: with columns `user` and `item`; any others do not matter.
        """
        user, item = encode_pairs(frame, self.data.data, "frame")
        values = torch.empty(len(user))
        with torch.inference_mode(), explain_memory():
            device = build.device(self.config)
            for row in self._split_pairs(user):
                scores = self.model.score(user[row].to(device), item[row].to(device))
                values[row] = check_scores(scores, len(row), 1).float().cpu()
        return pd.Series(values.numpy(), index=frame.index, name="score")

    def _split_pairs(self, user: Tensor) -> list[Tensor]:
        """The positions of pairs with these users [n], in parts that have few users each."""
        order = user.argsort(stable=True)
        _, user_number = user[order].unique_consecutive(return_inverse=True)
        n_users = max(1, min(USERS_AT_ONCE, MAX_SCORES // self.data.data.n_items))
        _, sizes = (user_number // n_users).unique_consecutive(return_counts=True)
        return [row for part in order.split(sizes.tolist()) for row in part.split(PAIRS_AT_ONCE) if len(row)]

    def recommend(
        self,
        users: Ids | None = None,
        k: int = 10,
        *,
        histories: pd.DataFrame | None = None,
        exclude: Ids | None = None,
        only: Ids | None = None,
        filter: str | Sequence[str] = (),
        filter_seen: bool | None = None,
    ) -> pd.DataFrame:
        """The k best items for each user; a user has fewer rows where fewer items are left.

        The columns are `user`, `rank` (from 1), `item`, `title` if the data have titles, and `score`.

        Args:
            users: one raw id, or several.
            histories: in place of `users`, the rows of users who were not in training: columns `user` (any ids), `item`
                and, if there are any, `rating` and `timestamp`; without timestamps, rows are in their order of time.
                Rows with an unknown item are left out, and users without other rows; a line says how many.
            exclude: items to leave out.
            only: the items to choose from; all without it.
            filter: conditions on labels of item features, `"genres!=Horror"` or `"genres=Drama"`; all must hold.
            filter_seen: whether to leave out the items of the user's rows, those of validation and test included;
                None does so unless the run's evaluation ranks them, too (`evaluation.mask_seen=false`).

        Raises:
            UserError: k is below 1, an id is unknown, the model knows users of its training only, or it gives all items
                the same score for a user, so that their order would be arbitrary.
        """
        is_allowed = allow_items(self.data.data, only, exclude, _as_list(filter))
        if histories is None:
            if users is None:
                raise UserError("for whom? give users, or histories of new users")
            user = encode_ids(users, self.data.data.user_ids)
            return self._best(self._gather_known_users(), k, filter_seen, is_allowed)(user)
        if users is not None:
            raise UserError("users and histories: give one of them")
        rows = read_histories(histories, self.data.data)
        seen = group_items(rows.user, rows.item, rows.n_users, rows.n_items)
        with explain_memory():
            known = Known(rows, seen, self.model.fold_in(rows, self._train))
        return self._best(known, k, filter_seen, is_allowed)(torch.arange(rows.n_users))

    def _gather_known_users(self) -> "Known":
        return Known(self.data.data, self.seen, self.model)

    def write_recommendations(
        self,
        to: str | Path,
        users: Ids | Literal["all"] = "all",
        k: int = 10,
        *,
        exclude: Ids | None = None,
        only: Ids | None = None,
        filter: str | Sequence[str] = (),
        filter_seen: bool | None = None,
    ) -> None:
        """Writes what `recommend` returns to a Parquet or CSV file; for all users, it needs little memory.

        The file appears when it is complete. Until then parts are in the folder `TO.parts`, and the same call after a
        kill goes on from there. A user of whom the model has learned nothing, so that all items have the same score,
        gets no rows.

        Args:
            to: the file, `.parquet` or `.csv`.
            users: raw ids, or "all".
            k, exclude, only, filter, filter_seen: as in `recommend`.
        """
        rows = self.data.data
        check_path(Path(to))
        user = (
            torch.arange(rows.n_users)
            if isinstance(users, str) and users == "all"
            else encode_ids(users, rows.user_ids)
        )
        is_allowed = allow_items(rows, only, exclude, _as_list(filter))
        best = self._best(self._gather_known_users(), k, filter_seen, is_allowed, skips_constant=True)
        checkpoints = sorted((self.folder / "checkpoints").iterdir())
        request = {
            "run": str(self.folder.resolve()),
            "checkpoints": [[path.name, path.stat().st_mtime_ns] for path in checkpoints],
            "settings": fingerprint(user, is_allowed).hex(),
            "k": k,
            "filter_seen": filter_seen,
        }
        write_in_parts(Path(to), user, k, request, best)

    def _best(
        self, known: "Known", k: int, filter_seen: bool | None, is_allowed: Tensor, skips_constant: bool = False
    ) -> Callable[[Tensor], pd.DataFrame]:
        """A function from users [B] to the table of their k best items."""
        _check_k(k)
        rows, device = known.rows, build.device(self.config)
        is_left_out = ~is_allowed.to(device)

        def score_all(user: Tensor) -> Tensor:
            """Scores [B, n_items], -inf for items that are left out, and for all of a user who is skipped."""
            scores = check_scores(known.scorer.score_all(user), len(user), 2).float()
            is_constant = scores.amax(1) == scores.amin(1)
            if is_constant.any() and not skips_constant:
                first = rows.user_ids.decode(user[is_constant])[0]
                reason = "the model gives every item the same score: it has learned nothing about this user"
                raise UserError(f"user={first}: {reason}")
            scores = scores.clamp(min=torch.finfo(scores.dtype).min)  # a copy
            scores[is_constant] = -torch.inf
            return scores.masked_fill_(is_left_out, -torch.inf)

        leaves_out = self._masks_seen if filter_seen is None else filter_seen
        seen = known.seen if leaves_out else _empty(known.seen)

        def recommend(user: Tensor) -> pd.DataFrame:
            with explain_memory():
                items, scores = best_items(score_all, user.to(device), seen, rows.n_items, min(k, rows.n_items))
            return tabulate_recommendations(rows, user, items, scores)

        return recommend

    def similar_items(self, items: Ids, k: int = 10) -> pd.DataFrame:
        """The k most similar items of each item: columns `item`, `rank`, `similar`, `title`, `similarity`.

        By the cosine of the model's vectors; by its weights, if it has weights between items (`ease`, `item_knn`):
        there an item has fewer rows where fewer items have a weight. Other models are refused.
        """
        _check_k(k)
        rows = self.data.data
        item = encode_ids(items, rows.item_ids)
        return self._tabulate_similar(rows.item_ids, item, *find_similar_items(self.model, item, k))

    def similar_users(self, users: Ids, k: int = 10) -> pd.DataFrame:
        """The k most similar users of each user: columns `user`, `rank`, `similar`, `similarity`.

        By the cosine of the model's vectors; by the cosine of the users' sets of items, if the model has weights
        between items. Other models are refused.
        """
        _check_k(k)
        rows = self.data.data
        user = encode_ids(users, rows.user_ids)
        return self._tabulate_similar(rows.user_ids, user, *find_similar_users(self.model, rows, user, k))

    def _tabulate_similar(self, ids: IdMap, index: Tensor, similar: Tensor, similarity: Tensor) -> pd.DataFrame:
        row, column = (similarity > -torch.inf).nonzero(as_tuple=True)
        neighbour = similar[row, column]
        content = {ids.kind: ids.decode(index[row]), "rank": 1 + column.numpy(), "similar": ids.decode(neighbour)}
        titles = name_titles(self.data.data, neighbour) if ids.kind == "item" else {}
        return pd.DataFrame(content | titles | {"similarity": similarity[row, column].numpy()})

    def vectors(self) -> Vectors:
        """The vectors of all users and items; `UserError` for a model that does not rank by vectors."""
        vectors = read_vectors(self.model, self.data.data)
        users = pd.DataFrame(vectors.user.numpy(), index=pd.Index(vectors.user_ids.raw, name="user"))
        return Vectors(users, pd.DataFrame(vectors.item.numpy(), index=pd.Index(vectors.item_ids.raw, name="item")))

    def evaluate(self, evaluation: str | Sequence[str] | None = None) -> dict[str, float]:
        """The metrics of the run's checkpoint, as `recsweep evaluate` prints them; nothing is written.

        Args:
            evaluation: another protocol, such as `"full_ranking"`, or overrides, such as `["evaluation.ks=[5,20]"]`;
                None judges as the run did, and gives the same numbers.
        """
        words = [evaluation] if isinstance(evaluation, str) else list(evaluation or ())
        overrides = [word if "=" in word else f"evaluation={word}" for word in words]
        cfg = change_settings(self.origin, overrides)[1] if overrides else self.config
        with explain_memory():
            return judge(cfg, build.data(cfg) if overrides else self.data, self.folder)


def load(folder: str | Path, overrides: Sequence[str] = (), plugins: Sequence[str] = ()) -> Run:
    """The run in this folder.

    Args:
        folder: that `recsweep train` wrote, or the folder of one job of a sweep.
        overrides: settings of today, such as `"trainer.accelerator=cpu"` or `"paths.data_dir=/data"`.
        plugins: modules with models or losses of your own that the run may load; the program's own need no mention.

    Raises:
        UserError: the folder holds no run, or its settings are not valid today.
    """
    check_plugins(tuple(plugins))
    origin, cfg = change_settings(read_origin(Path(folder), tuple(plugins)), list(overrides))
    return Run(Path(folder), origin, cfg)


def _empty(items: UserItems) -> UserItems:
    """No items, for the same users."""
    return UserItems(items.item[:0], torch.zeros_like(items.start))


def _as_list(text: str | Sequence[str]) -> list[str]:
    return [text] if isinstance(text, str) else list(text)


def _check_k(k: int) -> None:
    if k < 1:
        raise UserError(f"k={k}: a whole number from 1 on")
