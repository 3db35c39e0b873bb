"""The synthetic data set: its shape, its truth and its policy; baselines beat a constant, and the oracle beats them."""

from pathlib import Path

import pytest
import torch
import yaml
from scipy import stats
from torch import Tensor

from recsweep.data.schema import Interactions
from recsweep.data.splits import Random
from recsweep.data.synthetic import Synthetic
from recsweep.data.truth import Exposure, SyntheticTruth, expected_rating
from recsweep.errors import UserError

CONF = Path(__file__).parents[2] / "conf" / "data" / "base" / "synthetic.yaml"


@pytest.fixture(scope="module")
def source() -> Synthetic:
    values = yaml.safe_load(CONF.read_text())
    return Synthetic(**{name: value for name, value in values.items() if name != "_target_"})


@pytest.fixture(scope="module")
def data(source: Synthetic) -> Interactions:
    return source.read()


@pytest.fixture(scope="module")
def truth(data: Interactions) -> SyntheticTruth:
    assert isinstance(data.truth, SyntheticTruth)
    return data.truth


def pairs(data: Interactions) -> Tensor:
    return data.user * data.n_items + data.item


def test_has_the_configured_sizes_and_distinct_pairs(data: Interactions) -> None:
    assert (data.n_users, data.n_items, len(data)) == (943, 1682, 100_000)
    assert len(pairs(data).unique()) == 100_000
    assert data.rating.unique().tolist() == [1, 2, 3, 4, 5]
    assert data.user_ids.raw[[0, -1]].tolist() == [1, 943]
    assert data.item_ids.raw[[0, -1]].tolist() == [1, 1682]


def test_features_and_titles_describe_all_users_and_items(data: Interactions) -> None:
    assert data.user_features
    assert data.item_features
    assert data.item_titles
    for features, n in ((data.user_features, data.n_users), (data.item_features, data.n_items)):
        for name, column in features.columns.items():
            width = column.shape[1] if column.ndim == 2 else int(column.max()) + 1
            assert len(column) == n
            assert width == len(features.labels[name])
    year = data.item_features.labels["year"][int(data.item_features.columns["year"][16])]
    assert data.item_titles[16] == f"Item 17 ({year})"
    assert len(data.item_titles) == data.n_items
    assert int(data.item_features.columns["genres"].sum(1).min()) >= 1


def test_rows_are_sorted_by_time_and_a_user_rates_one_item_a_second(data: Interactions) -> None:
    assert data.timestamp is not None
    assert (data.timestamp.diff() >= 0).all()
    assert len(torch.stack([data.user, data.timestamp]).unique(dim=1).T) == len(data)


def test_popularity_and_activity_have_long_tails(data: Interactions) -> None:
    items, users = (torch.bincount(ids).sort(descending=True).values for ids in (data.item, data.user))
    assert items[:168].sum() > 0.4 * len(data)  # a tenth of the items has over 40 % of the rows
    assert users[:94].sum() > 0.25 * len(data)
    assert users.min() >= 100_000 // (5 * 943)  # and no user has only a few


def tensors(data: Interactions) -> list[Tensor]:
    assert data.timestamp is not None
    assert data.user_features
    assert data.item_features
    features = [*data.user_features.columns.values(), *data.item_features.columns.values()]
    return [data.user, data.item, data.rating, data.timestamp, *features]


def test_the_seed_decides_all_tensors() -> None:
    first, same_seed, next_seed = (tensors(Synthetic(50, 80, 900, 0.8, seed).read()) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, same_seed, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, next_seed, strict=True))


def test_reading_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    Synthetic(50, 80, 900, 0.8, 0).read()
    assert torch.equal(torch.get_rng_state(), before)


def rating_probabilities(latent: Tensor, noise: float) -> Tensor:
    """P(rating = 1..5) [..., 5] by scipy: the mass of N(latent, noise²) between the rounding edges."""
    edges = torch.tensor([-torch.inf, 1.5, 2.5, 3.5, 4.5, torch.inf], dtype=torch.float64)
    return torch.from_numpy(stats.norm.cdf(edges, loc=latent.double()[..., None], scale=noise)).diff(dim=-1)


def test_expected_rating_is_the_mean_over_the_five_ratings() -> None:
    latent = torch.linspace(-2, 8, 41, dtype=torch.float64)
    by_definition = rating_probabilities(latent, 0.6) @ torch.arange(1.0, 6.0, dtype=torch.float64)
    torch.testing.assert_close(expected_rating(latent, 0.6), by_definition, rtol=0, atol=1e-12)


def test_score_all_holds_the_scores_of_the_pairs(truth: SyntheticTruth) -> None:
    user, item = torch.tensor([0, 7, 942]), torch.tensor([1681, 3, 0])
    scores = truth.score_all(user)
    assert scores.shape == (3, 1682)
    torch.testing.assert_close(scores[torch.arange(3), item], truth.score(user, item))


def test_oracle_error_is_the_irreducible_one(data: Interactions, truth: SyntheticTruth) -> None:
    probability = rating_probabilities(truth.latent(data.user, data.item), truth.noise)
    stars = torch.arange(1.0, 6.0, dtype=torch.float64)
    variance = probability @ stars**2 - (probability @ stars) ** 2
    error = (truth.score(data.user, data.item) - data.rating).double()
    excess = error**2 - variance
    assert abs(float(excess.mean())) < 3.5 * float(excess.std()) / len(data) ** 0.5
    assert abs(float(error.mean())) < 3.5 * float(error.std()) / len(data) ** 0.5


def means_baseline(data: Interactions, train: Tensor) -> Tensor:
    """Predictions [N] of all rows: global + item + user means, shrunk by 5 rows, in five sweeps."""
    mean = data.rating[train].mean()
    bias = {"user": torch.zeros(data.n_users), "item": torch.zeros(data.n_items)}
    for _ in range(5):
        for kind, fixed in (("item", "user"), ("user", "item")):
            ids = getattr(data, kind)[train]
            residual = data.rating[train] - mean - bias[fixed][getattr(data, fixed)[train]]
            count = torch.bincount(ids, minlength=len(bias[kind]))
            bias[kind] = torch.zeros(len(count)).index_add_(0, ids, residual) / (count + 5)
    return mean + bias["user"][data.user] + bias["item"][data.item]


@pytest.mark.parametrize("seed", [0, 1])
def test_biases_explain_a_part_of_the_ratings_and_factors_another(source: Synthetic, seed: int) -> None:
    data = Synthetic(943, 1682, 100_000, source.noise, seed).read()
    split = Random(0.2, 0.1, 0, "error")(data, source)
    assert data.truth
    predictions = {
        "constant": data.rating[split.train].mean().expand(len(data)),
        "means": means_baseline(data, split.train),
        "oracle": data.truth.score(data.user, data.item),
    }
    mse = {name: float((p - data.rating)[split.test].square().mean()) for name, p in predictions.items()}
    assert mse["means"] < mse["constant"] - 0.25
    assert mse["oracle"] < mse["means"] - 0.15


def test_popularity_ranks_better_than_chance_and_the_policy_better_than_popularity(
    source: Synthetic, data: Interactions, truth: SyntheticTruth
) -> None:
    split = Random(0.2, 0.1, 0, "error")(data, source)
    seen = torch.cat([split.train, split.val])
    unseen = torch.ones(data.n_users, data.n_items, dtype=torch.bool)
    unseen[data.user[seen], data.item[seen]] = False
    relevant = torch.zeros(data.n_users, data.n_items)
    relevant[data.user[split.test], data.item[split.test]] = 1.0

    def precision_at_10(scores: Tensor) -> float:
        top = scores.masked_fill(~unseen, -1.0).topk(10).indices
        return float(relevant.gather(1, top).mean())

    chance = float(relevant[unseen].mean())
    popularity = torch.bincount(data.item[seen], minlength=data.n_items).double().expand(data.n_users, -1)
    assert precision_at_10(popularity) > 5 * chance
    assert precision_at_10(truth.propensity(torch.arange(data.n_users))) > 1.3 * precision_at_10(popularity)


def r_squared(target: Tensor, *codes: Tensor) -> float:
    """R² of a linear regression of `target` [n] on one-hot or multi-hot features."""
    hot = [torch.nn.functional.one_hot(code).float() if code.ndim == 1 else code for code in codes]
    x = torch.cat([torch.ones(len(target), 1), *hot], 1)
    fitted = x @ torch.linalg.lstsq(x, target[:, None], driver="gelsd").solution
    return float(fitted.var() / target.var())


def test_features_carry_signal(data: Interactions, truth: SyntheticTruth) -> None:
    assert data.user_features
    assert data.item_features
    by_user = r_squared(truth.user_factors[:, 0], *data.user_features.columns.values())
    by_genre = r_squared(truth.item_factors[:, 0], data.item_features.columns["genres"])
    # 0.4 by design; the effects of genres are divided by the root of their number, which a line fits only roughly.
    assert 0.3 < by_user < 0.5
    assert 0.25 < by_genre < 0.5


def test_a_users_rows_are_draws_of_the_policy_without_replacement() -> None:
    """First items follow P(i | u), second items P(i | u) / (1 - P(first | u)) over the remaining items."""
    n_users, n_items = 30_000, 12
    data = Synthetic(n_users, n_items, 2 * n_users, 0.8, 3).read()
    assert isinstance(data.truth, SyntheticTruth)
    order = data.user.argsort(stable=True)  # rows are sorted by time, so within a user too
    count = torch.bincount(data.user, minlength=n_users)
    start = count.cumsum(0) - count
    taste = (data.truth.user_factors[:, 0] > 0).long()  # two groups of users with different tastes

    users = (count >= 2).nonzero().flatten()
    first, second = (data.item[order[start[users] + position]] for position in (0, 1))
    policy = data.truth.propensity(users)
    torch.testing.assert_close(policy.sum(1), torch.ones(len(users), dtype=torch.float64))
    remaining = policy.scatter(1, first[:, None], 0.0)
    for items, probability in ((first, policy), (second, remaining / remaining.sum(1, keepdim=True))):
        observed = torch.bincount(taste[users] * n_items + items, minlength=2 * n_items).double()
        expected = torch.zeros(2, n_items, dtype=torch.float64).index_add_(0, taste[users], probability).flatten()
        assert stats.chisquare(observed.numpy(), expected.numpy()).pvalue > 1e-3


def test_a_large_catalogue_needs_no_matrix_of_users_by_items() -> None:
    data = Synthetic(200_000, 200_000, 150_000, 0.8, 0).read()  # such a matrix would take 160 GB
    assert len(pairs(data).unique()) == len(data) == 150_000


def test_a_small_catalogue_gives_distinct_pairs() -> None:
    data = Synthetic(40, 20, 200, 0.8, 0).read()
    assert len(pairs(data).unique()) == 200


def test_too_many_interactions_are_refused_and_the_limit_named() -> None:
    with pytest.raises(UserError, match=r"^data\.n_interactions 201 is too many .* at most .*, 200$"):
        Synthetic(40, 20, 201, 0.8, 0)


def test_ships_no_split(source: Synthetic, data: Interactions) -> None:
    with pytest.raises(UserError, match="synthetic ships no split 'u1'"):
        source.parts("u1", data)


def test_exposure_scores_are_the_policy_up_to_a_constant_of_the_user(truth: SyntheticTruth) -> None:
    users, n_items = torch.arange(20), len(truth.slots)
    scores = Exposure(truth).score_all(users)
    torch.testing.assert_close(scores.double().softmax(1), truth.propensity(users), rtol=1e-4, atol=1e-9)
    pairs = Exposure(truth).score(users.repeat_interleave(n_items), torch.arange(n_items).repeat(20))
    torch.testing.assert_close(pairs.view(20, n_items), scores)


@pytest.mark.parametrize("above", [3, 3.7])
def test_exposure_above_a_rating_counts_likes(above: float, truth: SyntheticTruth) -> None:
    """P(i | u) P(rating > 3), up to a constant of the user; ratings are whole numbers, so 3.7 gives the same."""
    users, n_items = torch.arange(20), len(truth.slots)
    scores = Exposure(truth, above).score_all(users)
    assert scores.isfinite().all()
    chance = truth.chance_above(users, 3).double()
    difference = scores.double() - (truth.propensity(users) * chance).log()
    constant = (Exposure(truth).score_all(users) - truth.propensity(users).log()).mean(1, keepdim=True)
    # For tiny probabilities float32 is too coarse, though not for their logarithms.
    error = (difference - constant)[chance > 1e-3]
    torch.testing.assert_close(error, torch.zeros_like(error), rtol=0, atol=1e-3)
    pairs = Exposure(truth, above).score(users.repeat_interleave(n_items), torch.arange(n_items).repeat(20))
    torch.testing.assert_close(pairs.view(20, n_items), scores)
