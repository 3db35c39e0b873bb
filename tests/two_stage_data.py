"""Data and expected values for tests of the two-stage models."""

import numpy as np
import torch
from torch import Tensor

from recsweep.data.schema import Features, IdMap, Interactions
from recsweep.models.two_stage.nets import NominatorNet

# MovieLens 1M has 2 genders, 7 ages, 21 occupations and 3439 zip codes, 81 years and 18 genres.
USER_CATEGORIES = {"gender": 2, "age": 7, "occupation": 21, "zip": 50}


def rows_with_features(n_users: int = 30, n_items: int = 20, n_rows: int = 200) -> Interactions:
    """Random rows with the features of MovieLens; the last user has no rows."""
    generator = torch.Generator().manual_seed(0)
    codes = {name: torch.randint(n, (n_users,), generator=generator) for name, n in USER_CATEGORIES.items()}
    genres = (torch.rand(n_items, 18, generator=generator) < 0.2).float()
    genres[0] = 0  # a movie without a genre
    return Interactions(
        name="featured",
        user=torch.randint(n_users - 1, (n_rows,), generator=generator),
        item=torch.randint(n_items, (n_rows,), generator=generator),
        rating=torch.randint(2, (n_rows,), generator=generator).float(),
        timestamp=torch.randint(956_703_932, 1_046_454_590, (n_rows,), generator=generator),
        user_ids=IdMap(np.arange(n_users), "user"),
        item_ids=IdMap(np.arange(n_items), "item"),
        rating_scale=(0.0, 1.0),
        user_features=Features(codes, {name: tuple(map(str, range(n))) for name, n in USER_CATEGORIES.items()}),
        item_features=Features(
            {"year": torch.randint(81, (n_items,), generator=generator), "genres": genres},
            {"year": tuple(map(str, range(81))), "genres": tuple(map(str, range(18)))},
        ),
    )


def item_probabilities(net: NominatorNet) -> Tensor:
    """Softmax [n_users, n_items] of the logits of all pairs."""
    user, item = torch.cartesian_prod(torch.arange(len(net.users.codes)), torch.arange(len(net.items.codes))).T
    return net(user, item).view(len(net.users.codes), -1).softmax(1)
