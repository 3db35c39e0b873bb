"""Rating models: predictions by hand, and the effect of each regulariser on the loss."""

import pytest
import torch
from rows import interactions
from shell import tiny_config
from torch import Tensor

from recsweep.data.batches import Ratings, ratings
from recsweep.models.base import RecModule
from recsweep.models.baselines import shrunk_means
from recsweep.models.biased_mf import MLP, BiasedMF, SVDpp
from recsweep.runs import build
from recsweep.seeding import generator

DATA = interactions([(0, 0, 5), (0, 1, 1), (1, 0, 3)], n_users=2, n_items=2)  # mean 3
P, Q = torch.tensor([[1.0, 2.0], [0.5, -1.0]]), torch.tensor([[3.0, -1.0], [2.0, 4.0]])
USER_BIAS, ITEM_BIAS = torch.tensor([[0.5], [-0.25]]), torch.tensor([[0.125], [1.0]])


def with_weights(model: BiasedMF) -> BiasedMF:
    with torch.no_grad():
        model.table.rows.weight.copy_(torch.cat([torch.cat([P, USER_BIAS], 1), torch.cat([Q, ITEM_BIAS], 1)]))
    return model


def new_biased_mf(*overrides: str) -> BiasedMF:
    training = build.training(tiny_config("regularization=none", *overrides))
    return with_weights(BiasedMF(DATA, training, embedding_dim=2, init_std=0.1))


def loss(model: RecModule, seed: int = 0, batch: Ratings | None = None) -> Tensor:
    model.generator = generator(seed)
    return model.training_loss(batch or ratings(DATA))


def test_a_prediction_by_hand() -> None:
    expected = [
        [3 + 0.5 + 0.125 + (1 * 3 - 2 * 1), 3 + 0.5 + 1 + (1 * 2 + 2 * 4)],
        [3 - 0.25 + 0.125 + (0.5 * 3 + 1 * 1), 3 - 0.25 + 1 + (0.5 * 2 - 1 * 4)],
    ]
    assert new_biased_mf().score_all(torch.tensor([0, 1])).tolist() == expected


def test_the_loss_without_regularisers_by_hand() -> None:
    errors = [4.625 - 5, 14.5 - 1, 5.375 - 3]  # predictions as above
    assert loss(new_biased_mf()).item() == pytest.approx(sum(error**2 for error in errors) / 3, abs=1e-5)


def test_l2_shrinks_factors_and_l2_bias_shrinks_biases() -> None:
    plain, penalised = new_biased_mf(), new_biased_mf("regularization.l2=0.5", "regularization.l2_bias=0.25")
    for model in (plain, penalised):
        loss(model).backward()
    # User 0 is in two of the three rows, user 1 in one; the same for items: 2 · strength · value · rows / 3.
    users, items = (penalised.table.rows.weight.grad - plain.table.rows.weight.grad).split(2)
    for extra, vectors, biases in ((users, P, USER_BIAS), (items, Q, ITEM_BIAS)):
        shrunk = torch.cat([0.5 * vectors, 0.25 * biases], 1)
        torch.testing.assert_close(extra, 2 * shrunk * torch.tensor([[2.0], [1.0]]) / 3)


def many_rows(n: int) -> Ratings:
    return Ratings(*(column.repeat(n) for column in ratings(DATA)))


def test_rating_noise_adds_its_variance_to_the_loss() -> None:
    batch, plain = many_rows(100_000), new_biased_mf()
    noisy = loss(new_biased_mf("regularization.rating_noise=0.5"), batch=batch)
    error = 13.5 * 0.5 * 2 / 100_000**0.5  # the largest error times the noise
    assert abs(noisy.item() - loss(plain, batch=batch).item() - 0.25) < 4 * error


def test_augmentation_adds_rows_labelled_by_the_means() -> None:
    """With all embeddings zero the model predicts the mean, so the error of an added row is its offsets."""
    model = new_biased_mf("regularization.augmentation=1")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    batch = many_rows(50_000)
    _, user, item = shrunk_means(DATA, user_shrinkage=5, item_shrinkage=5)
    augmented = (user[:, None] + item).square().mean()  # pairs are uniform over 2 × 2
    assert loss(model, batch=batch).item() == pytest.approx((8 / 3 + augmented.item()) / 2, abs=1e-3)


@pytest.mark.parametrize(("share", "n_extra"), [(0.5, 2), (0.2, 1), (0.1, 0), (2.0, 6)])
def test_augmentation_is_a_share_of_the_batch(share: float, n_extra: int) -> None:
    rows, rated = new_biased_mf(f"regularization.augmentation={share}")._augment(ratings(DATA))
    assert len(rows.user) == 3 + n_extra
    assert rated.tolist() == [1.0] * 3 + [0.0] * n_extra
    assert all(torch.equal(column[:3], original) for column, original in zip(rows, ratings(DATA), strict=True))


@pytest.mark.parametrize("name", ["dropout", "embedding_noise", "rating_noise", "augmentation"])
def test_disturbances_are_drawn_by_the_generator_and_leave_scores_alone(name: str) -> None:
    model = new_biased_mf(f"regularization.{name}=0.5")
    assert loss(model, seed=1) == loss(model, seed=1)
    assert len({loss(model, seed=seed).item() for seed in range(8)}) > 1
    assert torch.equal(model.eval().score_all(torch.tensor([0, 1])), new_biased_mf().score_all(torch.tensor([0, 1])))


def new_svdpp(*, item_side: bool) -> SVDpp:
    training = build.training(tiny_config("regularization=none"))
    options = {"item_side": item_side, "user_features": [], "item_features": []}
    model = with_weights(SVDpp(DATA, training, embedding_dim=2, init_std=0.1, **options))
    with torch.no_grad():
        model.rated_items.vectors.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        if model.raters:
            model.raters.vectors.weight.copy_(torch.tensor([[0.0, 2.0], [2.0, 0.0]]))
    return model


def test_svdpp_by_hand() -> None:
    """User 0 rated both items, user 1 item 0."""
    p = [P[0] + torch.tensor([1.0, 1.0]) / 2**0.5, P[1] + torch.tensor([1.0, 0.0])]
    expected = 3 + USER_BIAS + ITEM_BIAS.T + torch.stack(p) @ Q.T
    torch.testing.assert_close(new_svdpp(item_side=False).score_all(torch.tensor([0, 1])), expected)
    q = [Q[0] + torch.tensor([2.0, 2.0]) / 2**0.5, Q[1] + torch.tensor([0.0, 2.0])]
    expected = 3 + USER_BIAS + ITEM_BIAS.T + torch.stack(p) @ torch.stack(q).T
    torch.testing.assert_close(new_svdpp(item_side=True).score_all(torch.tensor([0, 1])), expected)


def test_svdpp_trains_without_the_pair_itself() -> None:
    """For row (0, 0, 5), user 0 is p_0 and item 1's vector alone, item 0 is q_0 and user 1's."""
    row = Ratings(torch.tensor([0]), torch.tensor([0]), torch.tensor([5.0]))
    p, q = P[0] + torch.tensor([0.0, 1.0]), Q[0] + torch.tensor([2.0, 0.0])
    prediction = 3 + 0.5 + 0.125 + p @ q
    torch.testing.assert_close(loss(new_svdpp(item_side=True), batch=row), (prediction - 5).square())


def test_mlp_feeds_user_item_and_product_to_its_perceptron() -> None:
    training = build.training(tiny_config("regularization=none"))
    model = with_weights(MLP(DATA, training, embedding_dim=2, init_std=0.1, hidden=[1]))
    with torch.no_grad():
        model.perceptron[0].weight.copy_(torch.tensor([[1.0, 10, 100, 1000, 10_000, 100_000]]))
        model.perceptron[2].weight.fill_(2.0)
    # p = (1, 2), q = (2, 4), p·q = (2, 8)
    hidden = 1 + 20 + 200 + 4000 + 20_000 + 800_000
    assert model.score(torch.tensor([0]), torch.tensor([1])).item() == 3 + 0.5 + 1 + 2 * hidden
