"""Which items, and which users, are alike to a model: by its vectors, or by its weights between items."""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from recsweep.data.schema import Interactions
from recsweep.errors import UserError
from recsweep.evaluation.protocol import MAX_SCORES
from recsweep.models.item_item import USERS_AT_ONCE, ItemItem
from recsweep.vectors.export import Embedded, Embeddings, compute_vectors


def read_vectors(model: nn.Module, data: Interactions) -> Embeddings:
    """The vectors by which a model ranks; `UserError` for a model that ranks by something else."""
    if not isinstance(model, Embedded):
        raise UserError(f"model {type(model).__name__} does not rank by vectors of users and items: it has none")
    return compute_vectors(model, data)


@torch.inference_mode()
def find_similar_items(model: nn.Module, item: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k items [B, k] that are most similar to each of `item` [B], and how similar they are [B, k].

    By the cosine of vectors. For a model with weights between items, by the weights w_ji with which an item j speaks
    for the item i; items without weight have a similarity of -inf.

    Raises:
        UserError: the model has neither.
    """
    if isinstance(model, ItemItem):
        similarity = model.weights[:, item.to(model.weights.device)].T.cpu()
        return _take_best(similarity.where(similarity != 0, -torch.inf), item, k)
    if not isinstance(model, Embedded):
        raise UserError(explain_refusal(model))
    return _compare_vectors(model.item_vectors().float().cpu(), item, k)


def explain_refusal(model: nn.Module) -> str:
    """Why a model does not say which items are alike."""
    return (
        f"model {type(model).__name__} has neither vectors nor weights of items, so it says nothing about which are "
        "alike; ease, item_knn, bpr_mf and two_tower do"
    )


@torch.inference_mode()
def find_similar_users(model: nn.Module, data: Interactions, user: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """As `find_similar_items` for users [B]; a model with weights between items knows a user by a set of items.

    There the similarity is the cosine of the two sets.
    """
    if not isinstance(model, ItemItem):
        if not isinstance(model, Embedded):
            raise UserError(
                f"model {type(model).__name__} has no vectors of users, so it says nothing about which are alike; "
                "ease, item_knn, bpr_mf and two_tower do"
            )
        return _compare_vectors(compute_vectors(model, data).user, user, k)
    device = model.weights.device
    flags = normalize(model.flags(user.to(device)))
    everybody = torch.arange(data.n_users, device=device).split(USERS_AT_ONCE)
    similarity = torch.cat([flags @ normalize(model.flags(users)).T for users in everybody], 1).cpu()
    return _take_best(similarity, user, k)


def _compare_vectors(vectors: Tensor, index: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """By the cosine between the vectors [n, d] at `index` [B] and all of them."""
    vectors = normalize(vectors)
    parts = [_take_best(vectors[part] @ vectors.T, part, k) for part in index.split(max(1, MAX_SCORES // len(vectors)))]
    best, similarity = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    return best, similarity


def _take_best(similarity: Tensor, index: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k columns with the largest similarity [B, n] but for `index` [B] itself; fewer where n is smaller."""
    others = similarity.scatter(1, index[:, None], -torch.inf)
    best = others.topk(min(k, similarity.shape[1]))
    return best.indices, best.values
