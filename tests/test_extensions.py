"""A model, a loss and a data set from a folder outside the package: files of their own, and nothing else changes."""

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from choices import compose_and_build
from shell import TINY, read_metrics, recsweep
from torch import Tensor

from recsweep.config.combinations import fits
from recsweep.data.schema import Interactions
from recsweep.evaluation import RatingEvaluation
from recsweep.losses.ranking import RankingLoss
from recsweep.losses.rating import RatingLoss
from recsweep.models.base import RecModule
from recsweep.models.baselines import Baseline
from recsweep.runs import build

EXTENSION = Path(__file__).parent / "extension"
CONF = EXTENSION / "conf"
N = 24

COMPANIONS = {"loss=toy_huber": ["model=biased_mf"], "loss=toy_hinge": ["model=bpr_mf"]}


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXTENSION)


@pytest.fixture
def atomic(tmp_path: Path) -> Path:
    """Blocks as a RecBole file: a user rates items of their own half 5, the others 1, and leaves out their number's."""
    rows = [
        f"u{user}\ti{item}\t{5 if (user < N // 2) == (item < N // 2) else 1}"
        for user in range(N)
        for item in range(N)
        if user != item
    ]
    path = tmp_path / "blocks.inter"
    path.write_text("\n".join(["user_id:token\titem_id:token\trating:float", *rows]) + "\n")
    return path


FILES = [
    f"{path.parent.name}={path.stem}" for group in ("data", "loss", "model") for path in (CONF / group).glob("*.yaml")
]


@pytest.mark.parametrize("choice", sorted(FILES))
def test_its_files_compose_and_build(choice: str) -> None:
    compose_and_build([choice, *COMPANIONS.get(choice, [])], CONF)


def test_its_losses_fit_the_kind_they_are_of() -> None:
    import toy_losses

    assert fits(toy_losses.huber, RatingLoss) and not fits(toy_losses.huber, RankingLoss)
    assert fits(toy_losses.Hinge, RankingLoss) and not fits(toy_losses.Hinge, RatingLoss)
    assert not fits(toy_losses.hinge, RankingLoss)  # a function says nothing of competitors


def test_hinge_by_hand() -> None:
    """Gaps 2 - 1 and 2 - 3 below a margin of 3/2: (1/2 + 5/2) / 2."""
    import toy_losses

    assert toy_losses.hinge(torch.tensor([2.0]), torch.tensor([[1.0, 3.0]]), 1.5).item() == 3 / 2


def train(folder: Path, *overrides: str) -> Path:
    run = folder / f"run_{len(list(folder.glob('run_*')))}"
    outcome = recsweep(folder, "train", "--config-dir", str(CONF), *overrides, f"hydra.run.dir={run}", "logger=none")
    assert outcome.status == 0, outcome.err
    return run


MODELS = {
    "toy_item_mean": ["model=toy_item_mean", "model.shrinkage=1"],
    "toy_biases": ["model=toy_biases", "optimizer.lr=0.1"],
    "bpr_mf": ["model=bpr_mf", "loss=toy_hinge", "loss.margin=0.5", "model.embedding_dim=4", "evaluation=full_ranking"],
}
SHORT = ["trainer.max_epochs=3", "trainer.batch_size=16"]
"""What the three make possible together: the reader's data, the models, and a built-in model with the new loss."""


@pytest.mark.parametrize("overrides", MODELS.values(), ids=MODELS)
def test_a_run_keeps_the_contract(overrides: list[str], atomic: Path, tmp_path: Path) -> None:
    """It repeats bit for bit, and its verbs give the same numbers once they are told whom to trust."""
    settings = ["data=toy_atomic", f"data.path={atomic}", *overrides, *SHORT]
    first, again = train(tmp_path, *settings), train(tmp_path, *settings)
    assert read_metrics(first)["metrics"] == read_metrics(again)["metrics"]
    refused = recsweep(tmp_path, "evaluate", f"run={first}")
    assert refused.status == 2 and "; if you trust it: plugins=toy_" in refused.err
    plugins = refused.err.rpartition(" ")[2].strip()
    judged = recsweep(tmp_path, "evaluate", f"run={first}", plugins)
    assert judged.status == 0, judged.err
    cells = [line.split("│")[1:3] for line in judged.out.splitlines() if line.startswith("│")]
    assert {metric.strip(): float(value) for metric, value in cells} == read_metrics(first)["metrics"]
    recommended = recsweep(tmp_path, "recommend", f"run={first}", "user=u3", "k=1", plugins)
    assert recommended.status == 0 and "i3" in recommended.out  # the only item that u3 has not rated


def test_the_models_score_rows_and_catalogues_alike(atomic: Path) -> None:
    for overrides in (MODELS["toy_item_mean"], MODELS["toy_biases"]):
        cfg = compose_and_build(["data=toy_atomic", f"data.path={atomic}", *overrides], CONF)
        data = build.data(cfg)
        model = build.model(cfg, data)
        if not isinstance(model, RecModule):
            model.fit(data.train)
        users = torch.arange(N)
        pairs = model.score(users.repeat_interleave(N), users.repeat(N))
        torch.testing.assert_close(pairs.view(N, N), model.score_all(users))


def test_a_report_takes_the_baseline_that_says_so(atomic: Path, tmp_path: Path) -> None:
    """`simple_baseline` is said by the model and recorded; no list names the models."""
    data = ["data=toy_atomic", f"data.path={atomic}", *SHORT, "logger=none", "hydra.sweep.dir=sweep"]
    sweep = recsweep(
        tmp_path, "train", "-m", "--config-dir", str(CONF), *data, "model=toy_biases,toy_item_mean,biased_mf"
    )
    assert sweep.status == 0, sweep.err
    simple = [json.loads((tmp_path / "sweep" / job / "metrics.json").read_text())["simple_baseline"] for job in "012"]
    assert simple == [False, True, False]
    assert "minus that of toy_item_mean" in sweep.out


def test_without_its_folder_on_the_path_a_model_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.undo()
    monkeypatch.delitem(sys.modules, "toy_models", raising=False)
    outcome = recsweep(tmp_path, "train", "--config-dir", str(CONF), "model=toy_item_mean")
    assert outcome.status == 2
    advice = "nothing of that name can be imported; is its folder on PYTHONPATH?"
    assert outcome.err == f"recsweep: model._target_=toy_models.ItemMean: {advice}\n"
    assert list(tmp_path.iterdir()) == [] and caplog.text == ""


@pytest.mark.parametrize("position", [0, 1, 4])
def test_the_folder_may_be_named_anywhere(position: int, atomic: Path, tmp_path: Path) -> None:
    arguments = ["data=toy_atomic", f"data.path={atomic}", "model=toy_item_mean", "logger=none"]
    arguments[position:position] = ["--config-dir", str(CONF)]
    outcome = recsweep(tmp_path, "train", "-m", *arguments, "seed=0,1")
    assert outcome.status == 0, outcome.err


class Unfinished(RecModule):
    """Lacks what a model must define."""

    evaluations = (RatingEvaluation,)


class WrongShape(Baseline):
    """Scores of pairs are [B, 1] where [B] is right."""

    evaluations = (RatingEvaluation,)

    def __init__(self, data: Interactions) -> None:
        super().__init__()
        self.register_buffer("n_items", torch.tensor(data.n_items))

    def fit(self, data: Interactions) -> None:
        pass

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return torch.ones(len(user), 1)

    def score_all(self, user: Tensor) -> Tensor:
        return torch.ones(len(user), int(self.n_items))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["model._target_=mistakes.Unfinished", "~model.embedding_dim", "~model.init_std"],
            "model Unfinished does not define columns, training_loss, score, score_all, losses, sparse",
        ),
        (
            ["model._target_=mistakes.WrongShape", "~model.embedding_dim", "~model.init_std"],
            "the model returned scores of shape [24, 1], where [24] is expected",
        ),
        (["~loss._partial_"], "loss: set _partial_: true, since mse gets prediction, rating later"),
        (["~model._partial_"], "model: set _partial_: true, since BiasedMF gets data, training later"),
    ],
)
def test_mistakes_of_an_author_are_one_line(
    overrides: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("mistakes")
    module.Unfinished, module.WrongShape = Unfinished, WrongShape
    monkeypatch.setitem(sys.modules, "mistakes", module)
    outcome = recsweep(tmp_path, "train", *TINY, *overrides, "evaluation.batch_size=24")
    assert outcome == (2, "", f"recsweep: {message}\n")
