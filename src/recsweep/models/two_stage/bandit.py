"""A bandit log with known rewards, derived from ratings by the stages of Ma et al. (WWW 2020, section 5.1).

The paper is doi 10.1145/3366423.3380130. Each arrow is a stage whose result is cached:

    ratings -> simulator -> labels -> logging_policy -> log -> ranker
                              ^
    synthetic truth ----------+   (data.labels=truth: without a simulator)

The name of a cached stage holds a hash of the ratings, this code, and the settings of that stage and all before it.
Jobs of a sweep share the stages up to the first whose settings differ.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import ConfigDict, Field, with_config
from torchmetrics.functional.classification import binary_auroc
from typing_extensions import TypedDict

from recsweep import seeding
from recsweep.cache import Artefact, Cache, fingerprint
from recsweep.data import batches, splits, truth
from recsweep.data.logged import BanditLog, DotScorer, Relevance
from recsweep.data.schema import Interactions, Source, Split
from recsweep.data.splits import Random, Rows
from recsweep.data.truth import SyntheticTruth
from recsweep.errors import UserError
from recsweep.losses import binary
from recsweep.models import layers
from recsweep.models.layers import Dimension
from recsweep.models.two_stage import nets, stages
from recsweep.models.two_stage.nets import NominatorNet, RankerNet, SimulatorNet
from recsweep.models.two_stage.stages import Recipe
from recsweep.seeding import Seed, generator
from recsweep.terminal import print_line

MAX_PAIRS = 2**27  # users x items; all are labelled, which takes about 30 bytes each, 4 GiB in total
SHARES = [3.0, 1.0, 1.0]  # of the ratings: train, validation, test
CODE = (binary, batches, layers, nets, seeding, splits, stages, truth)  # code of the stages, with this file

Count = Annotated[int, Field(ge=1, lt=2**31)]
STRICT = ConfigDict(extra="forbid", strict=True)


@with_config(STRICT)
class SimulatorPlan(TypedDict):
    """Widths of the hidden layers, epochs, and the 3/5 of the ratings to train on: the first rows or random ones."""

    hidden: Annotated[list[Count], Field(min_length=1)]
    epochs: Count
    split: Literal["rows", "random"]


@with_config(STRICT)
class PolicyPlan(TypedDict):
    """Number of random pairs to train on, and epochs."""

    n_pairs: Count
    epochs: Count


@with_config(STRICT)
class RankerPlan(TypedDict):
    """Epochs of the ranker."""

    epochs: Count


@dataclass(frozen=True)
class Bandit:
    """A bandit log derived from a data set, or the rows of an earlier stage.

    Args:
        base: the data set with ratings.
        rows: what the model of a run is trained on: `ratings` (labelled 1 above `positive_above`), `pairs` (the
            logging policy's), or `log` (bandit feedback: rows to train on, then as many held-out rows).
        labels: the source of rewards: the `simulator`, trained on the ratings, or the `truth` of a synthetic base.
        positive_above: ratings above count as positive.
        threshold: lowest probability of a positive at which a pair earns a reward.
        protocol: `reference` draws a user's items without replacement but records the propensity of a single draw, like
            the paper's code; `exact` draws with replacement, which makes that propensity exact. Held-out rows are
            always drawn with replacement.
        items_per_user: logged items of each user.
        val_users: number of users to validate on, the first ones; the others are for testing.
        embedding_dim, feature_dim: sizes of the embeddings of ids and of each feature, in every stage.
        batch_size, lr, weight_decay: of every stage; all are trained by BCE and Adagrad.
        seed: of every stage.
        cache: folder of the cached stages.
    """

    base: Source
    rows: Literal["ratings", "pairs", "log"]
    labels: Literal["simulator", "truth"]
    positive_above: Annotated[int, Field(ge=0)]
    threshold: Annotated[float, Field(gt=0, lt=1)]
    protocol: Literal["reference", "exact"]
    items_per_user: Count
    val_users: Count
    embedding_dim: Dimension
    feature_dim: Dimension
    batch_size: Count
    lr: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    simulator: SimulatorPlan
    logging_policy: PolicyPlan
    ranker: RankerPlan
    seed: Seed
    cache: str

    name: ClassVar[str] = "bandit"
    ships: ClassVar[tuple[str, ...]] = ("given",)

    def ready(self) -> bool:
        """Whether the base is on disk; the stages are built when the data is read."""
        return self.base.ready()

    def parts(self, name: str, data: Interactions) -> Split:
        """`given`: `n_pairs` pairs to train on, as many to validate, the rest to test; held-out log rows by user."""
        if name != "given" or self.rows == "ratings":
            raise UserError(f"data.rows={self.rows} ships no split {name!r}: use split=rows or split=random")
        rows = torch.arange(len(data))
        if self.rows == "pairs":
            n = self.logging_policy["n_pairs"]
            return Split(rows[:n], rows[n : 2 * n], rows[2 * n :])
        train, held_out = rows.chunk(2)
        is_val = data.user[held_out] < self.val_users
        return Split(train, held_out[is_val], held_out[~is_val])

    def read(self) -> Interactions:
        """The rows to train and evaluate on; the stages that they need are built or reused."""
        base = self.base.read()
        ratings = replace(base, rating=(base.rating > self.positive_above).float(), rating_scale=(0.0, 1.0), truth=None)
        if self.rows == "ratings":
            return ratings
        self._check_sizes(base)
        chain = Cache(Path(self.cache), _fingerprint_origin(ratings), _print)
        labels = (
            self._label_by_truth(chain, base) if self.labels == "truth" else self._label_by_simulator(chain, ratings)
        )
        pairs = stages.sample_pairs(labels["reward"], ratings, self.logging_policy["n_pairs"], self.seed)
        data = pairs if self.rows == "pairs" else self._build_log(chain, ratings, pairs, labels)
        if chain.reused:
            _print(f"{base.name}: {', '.join(chain.reused)} reused from {self.cache}")
        return data

    def _check_sizes(self, base: Interactions) -> None:
        """`UserError` if the base is too large or too small for the settings, before anything is trained."""
        n_pairs, total = self.logging_policy["n_pairs"], base.n_users * base.n_items
        if total > MAX_PAIRS:
            raise UserError(
                f"data=bandit labels every pair: {base.n_users} users x {base.n_items} items are more than {MAX_PAIRS}"
            )
        positive = base.rating > self.positive_above
        if positive.all() or not positive.any():
            raise UserError(
                f"data.positive_above={self.positive_above} makes all ratings of {base.name} alike: they go from "
                f"{base.rating.min():g} to {base.rating.max():g}"
            )
        if 3 * n_pairs > total:
            raise UserError(
                f"data.logging_policy.n_pairs={n_pairs}: 3 x as many exceed the {total} pairs of {base.name}"
            )
        if self.items_per_user > base.n_items:
            raise UserError(
                f"data.items_per_user={self.items_per_user} exceeds the {base.n_items} items of {base.name}"
            )
        if self.val_users >= base.n_users:
            raise UserError(f"data.val_users={self.val_users} leaves none of {base.n_users} users to test")

    def _label_by_truth(self, chain: Cache, base: Interactions) -> Artefact:
        """Labels by the model that generated the data."""
        truth = base.truth
        if not isinstance(truth, SyntheticTruth):
            raise UserError(
                f"data.labels=truth: {base.name} is not synthetic, its truth is unknown; use data.labels=simulator"
            )

        def build() -> Artefact:
            chance = truth.chance_above(torch.arange(base.n_users), self.positive_above)
            return {"reward": chance >= self.threshold, "relevant": chance >= self.threshold}

        return chain.stage("labels", {"above": self.positive_above, "threshold": self.threshold}, build)

    def _label_by_simulator(self, chain: Cache, ratings: Interactions) -> Artefact:
        """Labels by a simulator that is trained on the ratings."""
        plan = self.simulator
        splitter = Rows(SHARES, "keep") if plan["split"] == "rows" else Random(0.2, 0.2, self.seed, "keep")
        split = splitter(ratings, self.base)
        train, val = ratings.take(split.train), ratings.take(split.val)
        net = SimulatorNet(train, *self._size, plan["hidden"], 0.0, generator("simulator", self.seed))

        def build() -> Artefact:
            stages.train("simulator", net, stages.time_columns(train), self._recipe(plan["epochs"]))
            with torch.inference_mode():
                auc = binary_auroc(net(*stages.time_columns(val)[:3]).sigmoid(), val.rating.long())
            _print(f"simulator: AUC {auc:.4f} on {len(val):,} held-out ratings")
            return net.state_dict()

        net.load_state_dict(chain.stage("simulator", {**plan, **self._training}, build))
        return chain.stage(
            "labels",
            {"threshold": self.threshold, "seed": self.seed},
            lambda: stages.label_pairs(net, ratings, self.threshold, self.seed),
        )

    def _build_log(self, chain: Cache, ratings: Interactions, pairs: Interactions, labels: Artefact) -> BanditLog:
        """The stages after the labels: logging policy, log and ranker."""
        plan = self.logging_policy
        train = pairs.take(torch.arange(plan["n_pairs"]))
        policy = NominatorNet(train, *self._size, 0.0, generator("logging policy", self.seed))

        def build() -> Artefact:
            stages.train("logging policy", policy, stages.label_columns(train), self._recipe(plan["epochs"]))
            return policy.state_dict()

        policy.load_state_dict(chain.stage("logging_policy", {**plan, **self._training}, build))
        rows = chain.stage(
            "log",
            {"protocol": self.protocol, "items_per_user": self.items_per_user, "seed": self.seed},
            lambda: self._draw_rows(policy, ratings),
        )
        user, item = rows["user"], rows["item"]
        log = BanditLog(
            name=f"{ratings.name}_log",
            user=user,
            item=item,
            rating=labels["reward"][user, item].float(),
            timestamp=rows["seconds"],
            user_ids=ratings.user_ids,
            item_ids=ratings.item_ids,
            rating_scale=(0.0, 1.0),
            user_features=ratings.user_features,
            item_features=ratings.item_features,
            item_titles=ratings.item_titles,
            truth=Relevance(labels["relevant"], labels["reward"]),
            propensity=rows["propensity"],
            recurring=True,
            logging_policy=stages.policy_scorer(policy, ratings),
            reward=labels["reward"],
            relevant=labels["relevant"],
        )
        return replace(log, ranker=self._train_ranker(chain, ratings, log.take(torch.arange(len(log) // 2))))

    def _draw_rows(self, policy: NominatorNet, data: Interactions) -> Artefact:
        """Rows to train on, then as many held-out rows."""
        replacement = self.protocol == "exact"
        train = stages.draw_log(policy, data, self.items_per_user, replacement, generator("log", self.seed))
        held_out = stages.draw_log(policy, data, self.items_per_user, True, generator("held-out log", self.seed))
        rows = {name: torch.cat([train[name], held_out[name]]) for name in train}
        return rows | {"seconds": stages.draw_times(data, self.seed)[rows["user"], rows["item"]]}

    def _train_ranker(self, chain: Cache, ratings: Interactions, log: BanditLog) -> DotScorer:
        """The second stage of recommendation, trained on the log's training rows."""
        if not log.rating.any():
            raise UserError(
                f"the log of {ratings.name} has no reward: lower data.threshold={self.threshold}, or raise "
                f"data.items_per_user={self.items_per_user}"
            )
        net = RankerNet(log, *self._size, 0.0, generator("ranker", self.seed))

        def build() -> Artefact:
            stages.train("ranker", net, stages.time_columns(log), self._recipe(self.ranker["epochs"]))
            return stages.ranker_vectors(net, ratings)

        vectors = chain.stage("ranker", {**self.ranker, **self._training}, build)
        return DotScorer(vectors["users"], vectors["items"])

    def _recipe(self, epochs: int) -> Recipe:
        return Recipe(epochs, self.batch_size, self.lr, self.weight_decay, self.seed)

    @property
    def _size(self) -> tuple[int, int]:
        return self.embedding_dim, self.feature_dim

    @property
    def _training(self) -> dict[str, Any]:
        """The settings that every trained stage depends on."""
        names = ("embedding_dim", "feature_dim", "batch_size", "lr", "weight_decay", "seed")
        return {name: getattr(self, name) for name in names}


def _fingerprint_origin(ratings: Interactions) -> bytes:
    """A hash of what the first stage depends on: rows, features, and the code of the stages."""
    tables = [table for table in (ratings.user_features, ratings.item_features) if table]
    columns = [column for table in tables for column in table.columns.values()]
    files = [__file__, *(module.__file__ for module in CODE if module.__file__)]
    code = b"".join(Path(file).read_bytes() for file in files)
    sizes = torch.tensor(
        [ratings.n_users, ratings.n_items, *(len(names) for t in tables for names in t.labels.values())]
    )
    rows = fingerprint(sizes, ratings.user, ratings.item, ratings.rating, ratings.timestamp, *columns)
    return rows + code + torch.__version__.encode()


def _print(line: str) -> None:
    print_line(line, stderr=True)
