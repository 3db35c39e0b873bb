"""What retrieval models share: users and items become vectors, a pair's score is their dot product."""

from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple, Self, cast

import torch
from torch import Tensor

from recsweep.data.batches import Columns
from recsweep.data.schema import Interactions
from recsweep.errors import UserError
from recsweep.evaluation import Evaluation, RankingEvaluation, SessionEvaluation
from recsweep.losses import ranking
from recsweep.models.base import RecModule, Training
from recsweep.models.histories import events
from recsweep.models.layers import dot_products
from recsweep.sampling import Unseen, group_items, sample_negatives, unseen

NO_COMPETITOR = torch.finfo(torch.float32).min
ITEMS_AT_ONCE = 2**14  # to encode
USERS_SHOWN = 1024  # in histograms


class Positives(NamedTuple):
    """Training rows: user [B] had item [B] after the items `first` to `end - 1` [B] of the events."""

    user: Tensor
    item: Tensor
    first: Tensor
    end: Tensor


class Retrieval(RecModule):
    """A model of vectors, trained by letting every positive compete with other items.

    A subclass gives `encode_users` and `encode_items`. In a step, every distinct item is encoded once, and so is every
    distinct user unless his histories differ; dropout is therefore the same wherever one stands.
    """

    losses: ClassVar = ranking
    evaluations: ClassVar[tuple[type[Evaluation], ...]] = (RankingEvaluation, SessionEvaluation)

    knows_histories = False
    """Whether a user's vector depends on what the user had before the row, and not on the user alone."""

    events: Tensor
    start: Tensor
    seen: Tensor
    seen_start: Tensor
    frequency: Tensor

    def __init__(self, data: Interactions, training: Training) -> None:
        super().__init__(data, training)
        self.n_items = data.n_items
        sequences = events(data)
        allowed = unseen(group_items(data.user, data.item, data.n_users, data.n_items), data.n_items)
        if isinstance(self.competition, ranking.Sampled):
            _check_negatives(self.competition.n_negatives, allowed, data)
        frequency = torch.bincount(data.item, minlength=data.n_items) / len(data)
        known = {
            "events": sequences.item,
            "start": sequences.start,
            "seen": allowed.key,
            "seen_start": allowed.start,
            "frequency": frequency,
        }
        for name, values in known.items():
            self.register_buffer(name, values, persistent=False)
        self._catalogue: Tensor | None = None

    @property
    def competition(self) -> ranking.Competition:
        """The loss of the ranking, which says what a positive competes with."""
        return cast(Any, self.training_setup.loss)

    @abstractmethod
    def encode_users(self, user: Tensor, first: Tensor, end: Tensor) -> Tensor:
        """[B, d] of users [B] who have had the events `first` to `end - 1`."""

    @abstractmethod
    def encode_items(self, item: Tensor) -> Tensor:
        """[C, d] of items [C]."""

    def columns(self, data: Interactions) -> Columns:
        """The training rows that the model was made for, as they stand in its events."""
        user = torch.arange(data.n_users, device=self.start.device).repeat_interleave(self.start.diff())
        place = torch.arange(len(data), device=self.start.device)
        return Positives(user, self.events, self.start[user], place)

    def training_loss(self, batch: Any) -> Tensor:
        return self.ranking_loss(batch)

    def ranking_loss(self, batch: Positives) -> Tensor:
        """What the positives of a batch lose against their competition, a scalar."""
        user, row = self._encode_batch(batch)
        loss = self.competition
        if isinstance(loss, ranking.Sampled):
            return loss(*self._against_own(user, row, batch, loss.n_negatives))
        if isinstance(loss, ranking.InBatch):
            return loss(*self._against_batch(user[row], batch, loss.n_shared, loss.log_q))
        catalogue = self.encode_items(torch.arange(self.n_items, device=user.device))
        return loss(user @ catalogue.T, row, batch.item)

    def _encode_batch(self, batch: Positives) -> tuple[Tensor, Tensor]:
        """Vectors [U, d] of what is to be encoded, once each, and which of them each row has [B]."""
        if self.knows_histories:
            every = torch.arange(len(batch.user), device=batch.user.device)
            return self.encode_users(batch.user, batch.first, batch.end), every
        distinct, row = batch.user.unique(return_inverse=True)
        return self.user_vectors(distinct), row

    def _against_own(self, user: Tensor, row: Tensor, batch: Positives, n: int) -> tuple[Tensor, Tensor]:
        allowed = Unseen(self.seen, self.seen_start, self.n_items)
        negative = sample_negatives(batch.user, n, allowed, self.generator)
        item, place = self._encode_distinct(torch.cat([batch.item[:, None], negative], 1))
        logits = dot_products(user, row, item, place)
        return logits[:, 0], logits[:, 1:]

    def _encode_distinct(self, item: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors [m, d] and which of them each item has, in the shape of `item`; all of the catalogue for many."""
        if item.numel() > self.n_items and not self.training_setup.sparse:
            return self.encode_items(torch.arange(self.n_items, device=item.device)), item
        distinct, place = item.unique(return_inverse=True)
        return self.encode_items(distinct), place

    def _against_batch(self, user: Tensor, batch: Positives, n_shared: int, log_q: bool) -> tuple[Tensor, Tensor]:
        n_rows = len(user)
        shared = torch.randint(self.n_items, (n_shared,), generator=self.generator, device=user.device)
        item = torch.cat([batch.item, shared])
        encoded, place = self._encode_distinct(item)
        logits = user @ encoded[place].T
        if log_q:
            q = (n_rows * self.frequency[item] + n_shared / self.n_items) / (n_rows + n_shared)
            logits = logits - q.log()
        positive = logits.diagonal()
        own = torch.cat([batch.user == batch.user[:, None], user.new_zeros(n_rows, n_shared, dtype=torch.bool)], 1)
        return positive, logits.masked_fill(own | (item == batch.item[:, None]), NO_COMPETITOR)

    def train(self, mode: bool = True) -> Self:
        self._catalogue = None  # what was encoded before is no longer true
        return super().train(mode)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        self._catalogue = None
        return super().load_state_dict(*args, **kwargs)

    def _apply(self, *args: Any, **kwargs: Any) -> Self:
        self._catalogue = None  # it would stay on the device, or of the type, that the model leaves
        return cast(Any, super())._apply(*args, **kwargs)

    def user_vectors(self, user: Tensor) -> Tensor:
        """[B, d] of users [B], after all their training rows."""
        return self.encode_users(user, self.start[user], self.start[user + 1])

    def item_vectors(self) -> Tensor:
        """[n_items, d]; encoded once while the model is in eval mode and nothing asks for gradients."""
        if self._catalogue is not None and not torch.is_grad_enabled():
            return self._catalogue
        every = torch.arange(self.n_items, device=self.start.device)
        encoded = torch.cat([self.encode_items(some) for some in every.split(ITEMS_AT_ONCE)])
        if not self.training and not torch.is_grad_enabled():
            self._catalogue = encoded
        return encoded

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        distinct, place = user.unique(return_inverse=True)
        return (self.user_vectors(distinct)[place] * self.item_vectors()[item]).sum(-1)

    def score_all(self, user: Tensor) -> Tensor:
        return self.user_vectors(user) @ self.item_vectors().T

    @torch.no_grad()
    def histograms(self) -> dict[str, Tensor]:
        users = torch.arange(min(len(self.start) - 1, USERS_SHOWN), device=self.start.device)
        self.eval()
        return {"length/user": self.user_vectors(users).norm(dim=1), "length/item": self.item_vectors().norm(dim=1)}


def _check_negatives(n: int, allowed: Unseen, data: Interactions) -> None:
    count = allowed.start.diff()
    busiest = int(count.argmax())
    left = data.n_items - int(count[busiest])
    if left < n:
        raise UserError(
            f"n_negatives={n}: user {data.user_ids.raw[busiest]} has only {left} of the {data.n_items} items left "
            "without an interaction; lower it, or take full_softmax"
        )
