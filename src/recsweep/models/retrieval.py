"""Retrieval models: users and items become vectors, and the score of a pair is their dot product."""

from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple, Self, cast

import torch
from torch import Tensor
from torch.nn.functional import pad

from recsweep.data.batches import Columns
from recsweep.data.schema import Interactions
from recsweep.errors import UserError
from recsweep.evaluation import Evaluation, RankingEvaluation, SessionEvaluation
from recsweep.losses.ranking import CatalogueVectors, RankingLoss
from recsweep.models.base import RecModule, Training
from recsweep.models.histories import events
from recsweep.models.layers import dot_products
from recsweep.models.regularization import regularizers_but
from recsweep.sampling import UnseenItems, group_items, sample_negatives, unseen_items

MASKED = torch.finfo(torch.float32).min
ITEMS_AT_ONCE = 2**14  # encoded in one call
USERS_SHOWN = 1024  # in histograms


class Positives(NamedTuple):
    """Training rows: user [B] chose item [B] after the items `first` to `end - 1` [B] of the model's events."""

    user: Tensor
    item: Tensor
    first: Tensor
    end: Tensor


class Retrieval(RecModule):
    """A model of vectors, trained with a ranking loss.

    A subclass defines `encode_users` and `encode_items`. A training step encodes each distinct item once, and each
    distinct user once unless their history changes from row to row. So all rows of an entity in a batch share its
    dropout mask.
    """

    losses: ClassVar[type] = RankingLoss
    ignores: ClassVar[tuple[str, ...]] = regularizers_but("dropout", "weight_decay")
    evaluations: ClassVar[tuple[type[Evaluation], ...]] = (RankingEvaluation, SessionEvaluation)

    knows_histories = False
    """Whether a user's vector depends on the items before the row, not only on the user."""

    events: Tensor
    start: Tensor
    unseen_key: Tensor
    unseen_start: Tensor
    frequency: Tensor

    def __init__(self, data: Interactions, training: Training) -> None:
        super().__init__(data, training)
        self.n_items = data.n_items
        unseen = unseen_items(group_items(data.user, data.item, data.n_users, data.n_items), data.n_items)
        n_seen = unseen.start.diff()
        self.busiest_user = data.user_ids.raw[int(n_seen.argmax())]
        self.fewest_unseen = unseen.fewest
        buffers = {
            "unseen_key": unseen.key,
            "unseen_start": unseen.start,
            "frequency": torch.bincount(data.item, minlength=data.n_items) / len(data),
        }
        for name, values in buffers.items():
            self.register_buffer(name, values, persistent=False)
        self.remember(data)
        self._catalogue: Tensor | None = None

    def remember(self, data: Interactions) -> None:
        """Takes the rows of `data`, of the same users and items, for the histories of users."""
        for name, values in events(data)._asdict().items():
            self.register_buffer(name if name != "item" else "events", values.to(self.device), persistent=False)
        self.most_events = int(self.start.diff().max())

    @abstractmethod
    def encode_users(self, user: Tensor, first: Tensor, end: Tensor) -> Tensor:
        """Vectors [B, d] of users [B] with the events `first` to `end - 1` as their history."""

    @abstractmethod
    def encode_items(self, item: Tensor) -> Tensor:
        """Vectors [C, d] of items [C]."""

    def columns(self, data: Interactions) -> Columns:
        """The training rows in the order of the events, each with the user's events before it."""
        user = torch.arange(data.n_users, device=self.start.device).repeat_interleave(self.start.diff())
        event_index = torch.arange(len(data), device=self.start.device)
        return Positives(user, self.events, self.start[user], event_index)

    def training_loss(self, batch: Any) -> Tensor:
        return self.ranking_loss(batch, cast(RankingLoss, self.training_setup.loss))

    def ranking_loss(self, batch: Positives, loss: RankingLoss) -> Tensor:
        """The loss of a batch of positives against the competitors that the loss asks for, a scalar."""
        return loss(PositiveLogits(self, batch.user, batch.item, *self.encode_distinct_users(batch)))

    def encode_distinct_users(self, batch: Positives) -> tuple[Tensor, Tensor]:
        """Vectors [U, d] of the distinct users, or of all rows with histories; each row's index in them [B]."""
        if self.knows_histories:
            user_index = torch.arange(len(batch.user), device=batch.user.device)
            return self.encode_users(batch.user, batch.first, batch.end), user_index
        distinct, user_index = find_distinct(batch.user, len(self.start) - 1)
        return self.user_vectors(distinct), user_index

    def encode_distinct_items(self, item: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors [m, d] of the distinct items, or of the catalogue where it is smaller; each item's index in them."""
        if item.numel() > self.n_items and not self.training_setup.sparse:
            return self.encode_items(torch.arange(self.n_items, device=item.device)), item
        distinct, item_index = find_distinct(item, self.n_items)
        return self.encode_items(distinct), item_index

    def train(self, mode: bool = True) -> Self:
        self._catalogue = None  # training changes the vectors
        return super().train(mode)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        self._catalogue = None
        return super().load_state_dict(*args, **kwargs)

    def _apply(self, *args: Any, **kwargs: Any) -> Self:
        self._catalogue = None  # it has the old device or type
        return cast(Any, super())._apply(*args, **kwargs)

    def user_vectors(self, user: Tensor) -> Tensor:
        """Vectors [B, d] of users [B] after all their training rows."""
        return self.encode_users(user, self.start[user], self.start[user + 1])

    def item_vectors(self) -> Tensor:
        """Vectors [n_items, d]; cached in eval mode while no gradients are recorded."""
        if self._catalogue is not None and not torch.is_grad_enabled():
            return self._catalogue
        items = torch.arange(self.n_items, device=self.start.device)
        encoded = torch.cat([self.encode_items(chunk) for chunk in items.split(ITEMS_AT_ONCE)])
        if not self.training and not torch.is_grad_enabled():
            self._catalogue = encoded
        return encoded

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        distinct, user_index = user.unique(return_inverse=True)
        return (self.user_vectors(distinct)[user_index] * self.item_vectors()[item]).sum(-1)

    def score_all(self, user: Tensor) -> Tensor:
        return self.user_vectors(user) @ self.item_vectors().T

    @torch.no_grad()
    def histograms(self) -> dict[str, Tensor]:
        users = torch.arange(min(len(self.start) - 1, USERS_SHOWN), device=self.start.device)
        self.eval()
        return {
            "norm of vectors/user": self.user_vectors(users).norm(dim=1),
            "norm of vectors/item": self.item_vectors().norm(dim=1),
        }


def find_distinct(ids: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The distinct `ids` [U], ascending, and the index of each id in them, in the shape of `ids`.

    On a GPU the host would have to wait for U. There are as many as could be distinct of `n` entities, the largest
    repeated: rows without an index, which get no gradient.

    >>> find_distinct(torch.tensor([[7, 3], [7, 7]]), n=9)
    (tensor([3, 7]), tensor([[1, 0],
            [1, 1]]))
    """
    if ids.device.type == "cpu":
        return ids.unique(return_inverse=True)
    ascending, order = ids.flatten().sort()
    position = pad((ascending.diff() != 0).cumsum(0), (1, 0))
    index = torch.empty_like(order).scatter_(0, order, position)
    distinct = ascending[-1:].repeat(min(len(ascending), n)).scatter_(0, position, ascending)
    return distinct, index.view_as(ids)


class PositiveLogits:
    """`BatchLogits` of a retrieval model: a batch of positives, with the vectors of its users.

    Args:
        user, item: [B] the positives.
        user_vectors: [U, d].
        user_index: [B] index of each positive's vector; None where each has its own.
    """

    def __init__(
        self, model: Retrieval, user: Tensor, item: Tensor, user_vectors: Tensor, user_index: Tensor | None
    ) -> None:
        self.model = model
        self.user, self.item = user, item
        self.n_items = model.n_items
        self.user_vectors, self.user_index = user_vectors, user_index

    def _own_vectors(self) -> Tensor:
        """The vector [B, d] of each positive's user."""
        return self.user_vectors if self.user_index is None else self.user_vectors[self.user_index]

    def against_negatives(self, n: int) -> tuple[Tensor, Tensor]:
        """Logits of the positives [B], and of `n` distinct items that each row's user does not have [B, n]."""
        model = self.model
        if model.fewest_unseen < n:
            raise UserError(
                f"n_negatives={n}: user {model.busiest_user} has interacted with all but {model.fewest_unseen} of "
                f"the {model.n_items} items; lower it, or use loss=full_softmax"
            )
        unseen = UnseenItems(model.unseen_key, model.unseen_start, model.n_items, model.fewest_unseen)
        negative = sample_negatives(self.user, n, unseen, model.generator)
        vectors, item_index = model.encode_distinct_items(torch.cat([self.item[:, None], negative], 1))
        user_index = (
            torch.arange(len(self.item), device=self.item.device) if self.user_index is None else self.user_index
        )
        logits = dot_products(self.user_vectors, user_index, vectors, item_index)
        return logits[:, 0], logits[:, 1:]

    def against_shared(self, n: int) -> tuple[Tensor, Tensor]:
        """Logits of the positives [B], and of `n` distinct items drawn for the whole batch [B, n].

        A row's own item is masked.
        """
        model = self.model
        if n > model.n_items:
            raise UserError(f"n_negatives={n}: the catalogue has {model.n_items} items; lower it")
        shared = torch.randperm(model.n_items, generator=model.generator, device=self.item.device)[:n]
        vectors, item_index = model.encode_distinct_items(torch.cat([self.item, shared]))
        users, items = self._own_vectors(), vectors[item_index]
        positive = (users * items[: len(self.item)]).sum(1)
        logits = users @ items[len(self.item) :].T
        return positive, logits.masked_fill(self.item[:, None] == shared, MASKED)

    def against_batch(self, n_shared: int, log_q: bool) -> tuple[Tensor, Tensor]:
        """Logits of the positives [B], and of the batch's positives and `n_shared` uniform draws [B, C].

        The row's own item and positives of the same user are masked. With `log_q`, log q(item) is subtracted from every
        logit, where q is the probability that a competitor is that item.

        Each positive has a column. Where each has a vector of its own, and they are many, each distinct item has one
        instead, with the logarithm of how many positives of other users it is: a softmax cannot tell the difference.
        """
        model, n_rows = self.model, len(self.user)
        shared = torch.randint(model.n_items, (n_shared,), generator=model.generator, device=self.user.device)
        if self.user_index is None:
            items, column = find_distinct(self.item, model.n_items)
            n_others = self._count_positives_of_others(column, len(items))
            column = column[:, None]
        else:
            items, column, n_others = self.item, torch.arange(n_rows, device=self.user.device)[:, None], None
        item = torch.cat([items, shared])
        item_vectors, item_index = model.encode_distinct_items(item)
        logits = self._own_vectors() @ item_vectors[item_index].T
        if log_q:
            q = (n_rows * model.frequency[item] + n_shared / model.n_items) / (n_rows + n_shared)
            logits = logits - q.log()
        positive = logits.gather(1, column)[:, 0]
        if n_others is None:
            is_masked = self.user == self.user[:, None]
        else:
            is_masked = n_others == 0
            logits = logits + pad(n_others.clamp(min=1).log(), (0, n_shared))
        is_masked = pad(is_masked, (0, n_shared)) | (item == self.item[:, None])
        return positive, logits.masked_fill(is_masked, MASKED)

    def _count_positives_of_others(self, column: Tensor, n_columns: int) -> Tensor:
        """For each row [B, n_columns], how many positives of other users are the item of each column.

        Args:
            column: [B] that of each positive's item.
        """
        users, user_index = find_distinct(self.user, len(self.model.start) - 1)
        n_of_user = self.model.frequency.new_zeros(len(users), n_columns)
        n_of_user.index_put_((user_index, column), n_of_user.new_ones(()), accumulate=True)
        return (n_of_user.sum(0) - n_of_user)[user_index]

    def against_catalogue(self) -> CatalogueVectors:
        """Vectors of the distinct users and of all items."""
        catalogue = self.model.encode_items(torch.arange(self.model.n_items, device=self.item.device))
        return CatalogueVectors(self.user_vectors, catalogue, self.user_index, self.item)
