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
from recsweep.api.diversity import make_chooser
from recsweep.api.onnx_export import check_export, export_onnx
from recsweep.api.origin import change_settings, read_origin
from recsweep.api.pairs import score_pairs
from recsweep.api.recommend import (
    Known,
    check_k,
    describe_request,
    drop_items,
    fold_in_histories,
    make_recommender,
)
from recsweep.api.rules import allow_items
from recsweep.api.similar import find_similar_items, find_similar_users, read_vectors
from recsweep.api.tables import Ids, encode_ids, encode_pairs, tabulate_similar
from recsweep.config.targets import check_plugins
from recsweep.data.datamodules import InteractionData
from recsweep.data.logged import BanditLog
from recsweep.data.schema import Interactions
from recsweep.errors import UserError
from recsweep.models.base import RecModule
from recsweep.models.baselines import Baseline
from recsweep.runs import build
from recsweep.runs.folder import judge, load_final_model
from recsweep.runs.memory import explain_memory
from recsweep.runs.recorded import Recorded
from recsweep.sampling import UserItems, group_items
from recsweep.sweeps import jobs


class Vectors(NamedTuple):
    """The vectors by which a model ranks: the score of a pair is the dot product of its two vectors.

    Args:
        users: [n_users, d] float32; the index holds the raw ids.
        items: [n_items, d] float32; the index holds the raw ids.
    """

    users: pd.DataFrame
    items: pd.DataFrame


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
        return self.seen if self._masks_seen else drop_items(self.seen)

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
        with explain_memory():
            values = score_pairs(self.model, user, item, self.data.data.n_items, build.device(self.config))
        return pd.Series(values.numpy(), index=frame.index, name="score")

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
        diversity: float = 0.0,
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
            diversity: in [0, 1]; above 0, items are chosen one by one, and those like earlier ones count less: by the
                largest (1 - diversity) · relevance - diversity · similarity to those before (maximal marginal
                relevance). The `score` stays the model's; the rank is the order of choice.

        Raises:
            UserError: k is below 1, an id is unknown, the model knows users of its training only, it gives all items
                the same score for a user, so that their order would be arbitrary, or it cannot say how alike items are.
        """
        is_allowed = allow_items(self.data.data, only, exclude, _as_list(filter))
        if histories is None:
            if users is None:
                raise UserError("for whom? give users, or histories of new users")
            user = encode_ids(users, self.data.data.user_ids)
            return self._rank(self._gather_known_users(), k, filter_seen, is_allowed, diversity)(user)
        if users is not None:
            raise UserError("users and histories: give one of them")
        known = fold_in_histories(self.model, histories, self.data.data, self._train)
        return self._rank(known, k, filter_seen, is_allowed, diversity)(torch.arange(known.rows.n_users))

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
        diversity: float = 0.0,
    ) -> None:
        """Writes what `recommend` returns to a Parquet or CSV file; for all users, it needs little memory.

        The file appears when it is complete. Until then parts are in the folder `TO.parts`, and the same call after a
        kill goes on from there. A user of whom the model has learned nothing, so that all items have the same score,
        gets no rows.

        Args:
            to: the file, `.parquet` or `.csv`.
            users: raw ids, or "all".
            k, exclude, only, filter, filter_seen, diversity: as in `recommend`.
        """
        rows = self.data.data
        check_path(Path(to))
        user = (
            torch.arange(rows.n_users)
            if isinstance(users, str) and users == "all"
            else encode_ids(users, rows.user_ids)
        )
        is_allowed = allow_items(rows, only, exclude, _as_list(filter))
        recommend = self._rank(self._gather_known_users(), k, filter_seen, is_allowed, diversity, skips_constant=True)
        request = describe_request(self.folder, k, filter_seen, diversity, user, is_allowed)
        write_in_parts(Path(to), user, k, request, recommend)

    def _gather_known_users(self) -> Known:
        return Known(self.data.data, self.seen, self.model)

    def _rank(
        self,
        known: Known,
        k: int,
        filter_seen: bool | None,
        is_allowed: Tensor,
        diversity: float,
        skips_constant: bool = False,
    ) -> Callable[[Tensor], pd.DataFrame]:
        """A function from users [B] to the table of their k best items."""
        if not (self._masks_seen if filter_seen is None else filter_seen):
            known = known._replace(seen=drop_items(known.seen))
        with explain_memory():
            choose = make_chooser(self.model, diversity)
        device = build.device(self.config)
        return make_recommender(known, k, is_allowed, device, choose=choose, skips_constant=skips_constant)

    def similar_items(self, items: Ids, k: int = 10) -> pd.DataFrame:
        """The k most similar items of each item: columns `item`, `rank`, `similar`, `title`, `similarity`.

        By the cosine of the model's vectors; by its weights, if it has weights between items (`ease`, `item_knn`):
        there an item has fewer rows where fewer items have a weight. Other models are refused.
        """
        check_k(k)
        rows = self.data.data
        item = encode_ids(items, rows.item_ids)
        return tabulate_similar(rows, rows.item_ids, item, *find_similar_items(self.model, item, k))

    def similar_users(self, users: Ids, k: int = 10) -> pd.DataFrame:
        """The k most similar users of each user: columns `user`, `rank`, `similar`, `similarity`.

        By the cosine of the model's vectors; by the cosine of the users' sets of items, if the model has weights
        between items. Other models are refused.
        """
        check_k(k)
        rows = self.data.data
        user = encode_ids(users, rows.user_ids)
        return tabulate_similar(rows, rows.user_ids, user, *find_similar_users(self.model, rows, user, k))

    def vectors(self) -> Vectors:
        """The vectors of all users and items; `UserError` for a model that does not rank by vectors."""
        vectors = read_vectors(self.model, self.data.data)
        users = pd.DataFrame(vectors.user.numpy(), index=pd.Index(vectors.user_ids.raw, name="user"))
        return Vectors(users, pd.DataFrame(vectors.item.numpy(), index=pd.Index(vectors.item_ids.raw, name="item")))

    def export(self, to: str | Path) -> None:
        """Writes the model as an ONNX file, with the raw ids in its metadata, which is run without recsweep and torch.

        Ratings: inputs `user` and `item` [B], output `score` [B]. Vectors: input `user` [B], or of a `two_tower` with
        `user_ids=false` `history` [B, L] (with `time_gaps` also `seconds` [B, L]), output `scores` [B, n_items]. Other
        models are refused. Inputs are int64; users and items are the places of their ids in the lists.

        Args:
            to: the file, `.onnx`. It appears once onnxruntime has computed the model's scores from it.
        """
        check_export(Path(to))
        try:
            export_onnx(self.model.cpu(), self.data.data, Path(to))
        finally:
            self.model.to(build.device(self.config))

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


def _as_list(text: str | Sequence[str]) -> list[str]:
    return [text] if isinstance(text, str) else list(text)
