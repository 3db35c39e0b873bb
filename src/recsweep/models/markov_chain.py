"""An item-to-item baseline that knows order: which items follow which, within a few steps."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import embedding_bag

from recsweep.data.schema import Interactions
from recsweep.errors import UserError
from recsweep.models.baselines import Shrinkage
from recsweep.models.histories import Events, events, windows
from recsweep.models.item_item import ItemItem
from recsweep.sampling import UserItems

Share = Annotated[float, Field(ge=0, le=1)]


class MarkovChain(ItemItem):
    """Sequential neighbours: what came up to `reach` steps after the user's latest items in the sequences of all users.

    n_ji = Σ step_decay^(steps - 1) over all pairs of events of a user in which i comes 1 to `reach` steps after j;
    n_j· and n_·i are its sums over a row and a column, and

        w_ji = n_ji / (n_j·^(1 - popularity_exponent) n_·i^popularity_exponent + shrinkage)
        s_ui = Σ_a history_decay^(a - 1) w_{j_a, i} over a = 1 … max_history, where j_a is the user's a-th latest event

    Items that repeat in a sequence count each time. With reach=1, max_history=1, popularity_exponent=0 and shrinkage=0
    this is a first-order Markov chain, as in Rendle et al. (WWW 2010) before factors;
    with more steps and events it is the sequential rules (SR) of Ludewig and Jannach (UMUAI 2018) with
    the recency weights of their sequential nearest neighbours (V-SKNN).

    Args:
        reach: longest step from an event to a later one.
        step_decay: factor for each further step; 0 counts single steps alone, 1 all steps alike.
        popularity_exponent: 0 for transition probabilities, 0.5 for a cosine, 1 for a lift, where popularity has no
            advantage.
        shrinkage: in transitions; lowers weights that rest on few transitions.
        max_history: the latest events that count.
        history_decay: factor for each event further back.

    Raises:
        UserError: the data have no timestamps.
    """

    def __init__(
        self,
        data: Interactions,
        *,
        reach: Annotated[int, Field(ge=1)],
        step_decay: Share,
        popularity_exponent: Share,
        shrinkage: Shrinkage,
        max_history: Annotated[int, Field(ge=1)],
        history_decay: Share,
    ) -> None:
        if data.timestamp is None:
            raise UserError(f"model markov_chain needs an order, and {data.name} has no timestamps: take item_knn")
        super().__init__(data)
        self.reach = reach
        self.step_decay = step_decay
        self.popularity_exponent = popularity_exponent
        self.shrinkage = shrinkage
        self.max_history = max_history
        self.history_decay = history_decay

    def group_rows(self, data: Interactions) -> Events:
        """The sequence of each user's items."""
        return events(data)

    def count_pairs(self) -> Tensor:
        """n [n_items, n_items] float64: the weighted transitions from the item of a row to that of a column."""
        n_items = len(self.weights)
        user = torch.arange(len(self.start) - 1, device=self.start.device).repeat_interleave(self.start.diff())
        counts = torch.zeros(n_items * n_items, dtype=torch.float64, device=self.start.device)
        for step in range(1, self.reach + 1):
            is_pair = user[step:] == user[:-step]
            pair = (self.items[:-step] * n_items + self.items[step:])[is_pair]
            weight = counts.new_full((1,), self.step_decay ** (step - 1))
            counts.index_add_(0, pair, weight.expand(len(pair)))
        return counts.view(n_items, n_items)

    def compute_weights(self, counts: Tensor) -> Tensor:
        source = counts.sum(1, keepdim=True) ** (1 - self.popularity_exponent)
        target = counts.sum(0) ** self.popularity_exponent
        return counts.div_((source * target).add_(self.shrinkage).clamp_(min=1e-9))

    def score_users(self, rows: UserItems, user: Tensor) -> Tensor:
        item, count = windows(rows.item, rows.start[user], rows.start[user + 1], self.max_history)
        age = count[:, None] - 1 - torch.arange(item.shape[1], device=item.device)  # negative in the padding
        decay = self.weights.new_full((), self.history_decay)
        weight = torch.where(age < 0, 0.0, decay ** age.clamp(min=0))
        return embedding_bag(item, self.weights, mode="sum", per_sample_weights=weight)
