"""Matrix factorisation for rankings: s_ui = <p_u, q_i> + b_i (Rendle et al., UAI 2009).

With `loss=bpr` it is BPR-MF; with `loss=sampled_softmax` or `full_softmax` it is the tuned factorisation that beats
many published models (Rendle et al., RecSys 2020). Regularisers: dropout on the vectors, weight decay, and L2 on the
vectors of a batch's positives, once for each row of a user or item.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from recsweep.data.schema import Interactions
from recsweep.evaluation import Scorer
from recsweep.losses.rating import l2
from recsweep.models.base import Training
from recsweep.models.layers import Dimension, Dropout, PairTable, Std
from recsweep.models.new_users import NewUsers, fit_gaussian, maximize_softmax
from recsweep.models.regularization import regularizers_but
from recsweep.models.retrieval import Positives, Retrieval
from recsweep.seeding import generator


class BPRMF(Retrieval):
    """Vectors of users and items, and biases of items.

    Args:
        embedding_dim: d of p_u and q_i.
        init_std: standard deviation of their initial values; biases start at zero.
    """

    sparse = True
    ignores = regularizers_but("dropout", "weight_decay", "l2")
    simple_baseline = True

    l2: Tensor

    def __init__(
        self,
        data: Interactions,
        training: Training,
        *,
        embedding_dim: Dimension,
        init_std: Std,
    ) -> None:
        super().__init__(data, training)
        draws = generator(training.seed)
        self.table = PairTable(data.n_users, data.n_items, embedding_dim, init_std, draws, training.sparse)
        self.dropout = Dropout(training.regularization.dropout)
        self.has_l2 = training.regularization.l2 > 0
        self.register_buffer("l2", torch.tensor(training.regularization.l2), persistent=False)

    def training_loss(self, batch: Positives) -> Tensor:
        loss = super().training_loss(batch)
        if self.has_l2:
            loss = loss + self.l2 * l2(*self.table(batch.user, batch.item)[0])
        return loss

    def encode_users(self, user: Tensor, first: Tensor, end: Tensor) -> Tensor:
        """p_u ⊕ 1, so that a dot product adds the item's bias."""
        vectors = self.table.rows(user)[:, :-1]
        return pad(self.dropout(vectors, self.generator), (0, 1), value=1.0)

    def encode_items(self, item: Tensor) -> Tensor:
        """q_i ⊕ b_i."""
        rows = self.table.rows(item + self.table.n_users)
        return torch.cat([self.dropout(rows[:, :-1], self.generator), rows[:, -1:]], 1)

    @torch.no_grad()
    def fold_in(self, history: Interactions, train: Interactions) -> Scorer:
        """By the vectors of largest posterior probability for the items' vectors as they are.

        The likelihood of an item is its softmax over the catalogue, whatever the loss: no random negatives. The prior
        has the mean and covariance of the users in training.
        """
        items, bias = self.table.items()
        has_rows = torch.bincount(train.user, minlength=train.n_users).to(items.device) > 0
        vectors = maximize_softmax(history, items, bias, fit_gaussian(self.table.users()[0][has_rows]))
        return NewUsers(lambda user: vectors[user] @ items.T + bias)
