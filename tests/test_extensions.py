"""`docs/template/`: models, losses and data from a folder outside the package, and nothing else changes."""

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

TEMPLATE = Path(__file__).parents[1] / "docs" / "template"
CONF = TEMPLATE / "conf"
N = 24

COMPANIONS = {"loss=my_huber": ["model=biased_mf"], "loss=my_hinge": ["model=bpr_mf"]}


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(TEMPLATE)


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """Blocks: a user rates items of their own half 5, the others 1, and leaves out the item of their own number."""
    rows = [
        {"reader": f"u{user}", "book": f"i{item}", "stars": 5 if (user < N // 2) == (item < N // 2) else 1}
        for user in range(N)
        for item in range(N)
        if user != item
    ]
    path = tmp_path / "blocks.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


FILES = [
    f"{path.parent.name}={path.stem}" for group in ("data", "loss", "model") for path in (CONF / group).glob("*.yaml")
]


@pytest.mark.parametrize("choice", sorted(FILES))
def test_its_files_compose_and_build(choice: str) -> None:
    compose_and_build([choice, *COMPANIONS.get(choice, [])], CONF)


def test_its_losses_fit_the_kind_they_are_of() -> None:
    from my_recsys import losses

    assert fits(losses.huber, RatingLoss) and not fits(losses.huber, RankingLoss)
    assert fits(losses.Hinge, RankingLoss) and not fits(losses.Hinge, RatingLoss)
    assert not fits(losses.hinge, RankingLoss)  # a function says nothing of competitors


def test_hinge_by_hand() -> None:
    """Gaps 2 - 1 and 2 - 3 below a margin of 3/2: (1/2 + 5/2) / 2."""
    from my_recsys import losses

    assert losses.hinge(torch.tensor([2.0]), torch.tensor([[1.0, 3.0]]), 1.5).item() == 3 / 2


def train(folder: Path, *overrides: str) -> Path:
    run = folder / f"run_{len(list(folder.glob('run_*')))}"
    outcome = recsweep(folder, "train", "--config-dir", str(CONF), *overrides, f"hydra.run.dir={run}", "logger=none")
    assert outcome.status == 0, outcome.err
    return run


MODELS = {
    "my_item_mean": ["model=my_item_mean", "model.shrinkage=1"],
    "my_biases": ["model=my_biases", "optimizer.lr=0.1"],
    "bpr_mf": ["model=bpr_mf", "loss=my_hinge", "loss.margin=0.5", "model.embedding_dim=4", "evaluation=full_ranking"],
}
SHORT = ["trainer.max_epochs=3", "trainer.batch_size=16"]
"""What the three make possible together: the reader's data, the models, and a built-in model with the new loss."""


@pytest.mark.parametrize("overrides", MODELS.values(), ids=MODELS)
def test_a_run_keeps_the_contract(overrides: list[str], lines: Path, tmp_path: Path) -> None:
    """It repeats bit for bit, and its verbs give the same numbers once they are told whom to trust."""
    settings = ["data=my_lines", f"data.path={lines}", *overrides, *SHORT]
    first, again = train(tmp_path, *settings), train(tmp_path, *settings)
    assert read_metrics(first)["metrics"] == read_metrics(again)["metrics"]
    refused = recsweep(tmp_path, "evaluate", f"run={first}")
    assert refused.status == 2 and refused.err.endswith("; if you trust it: plugins=my_recsys\n")
    plugins = "plugins=my_recsys"
    judged = recsweep(tmp_path, "evaluate", f"run={first}", plugins, "--json")
    assert judged.status == 0, judged.err
    assert json.loads(judged.out) == read_metrics(first)["metrics"]
    recommended = recsweep(tmp_path, "recommend", f"run={first}", "user=u3", "k=1", plugins)
    assert recommended.status == 0 and "i3" in recommended.out  # the only item that u3 has not rated


def test_the_models_score_rows_and_catalogues_alike(lines: Path) -> None:
    for overrides in (MODELS["my_item_mean"], MODELS["my_biases"]):
        cfg = compose_and_build(["data=my_lines", f"data.path={lines}", *overrides], CONF)
        data = build.data(cfg)
        model = build.model(cfg, data)
        if not isinstance(model, RecModule):
            model.fit(data.train)
        users = torch.arange(N)
        pairs = model.score(users.repeat_interleave(N), users.repeat(N))
        torch.testing.assert_close(pairs.view(N, N), model.score_all(users))


def test_a_report_takes_the_baseline_that_says_so(lines: Path, tmp_path: Path) -> None:
    """`simple_baseline` is said by the model and recorded; no list names the models."""
    data = ["data=my_lines", f"data.path={lines}", *SHORT, "logger=none", "hydra.sweep.dir=sweep"]
    sweep = recsweep(
        tmp_path, "train", "-m", "--config-dir", str(CONF), *data, "model=my_biases,my_item_mean,biased_mf"
    )
    assert sweep.status == 0, sweep.err
    simple = [json.loads((tmp_path / "sweep" / job / "metrics.json").read_text())["simple_baseline"] for job in "012"]
    assert simple == [False, True, False]
    assert "the baseline my_item_mean" in " ".join(sweep.out.split())


def test_without_its_folder_on_the_path_a_model_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.undo()
    for name in ("my_recsys", "my_recsys.models"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    outcome = recsweep(tmp_path, "train", "--config-dir", str(CONF), "model=my_item_mean")
    assert outcome.status == 2
    advice = "nothing of that name can be imported; is its folder on PYTHONPATH?"
    assert outcome.err == f"recsweep: model._target_=my_recsys.models.ItemMean: {advice}\n"
    assert list(tmp_path.iterdir()) == [] and caplog.text == ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "import recsweep\nclass Model(recsweep.Baseline)\n    pass\n",
            "2: SyntaxError: expected ':' (broken.py, line 2)",
        ),
        ("import recsweep\nx = 1 + undefined\n", "2: NameError: name 'undefined' is not defined"),
        ("from nowhere_at_all import x\n", "1: ModuleNotFoundError: No module named 'nowhere_at_all'"),
    ],
)
def test_a_module_that_fails_says_where(
    text: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    outcome = recsweep(tmp_path, "train", "model._target_=broken.Model")
    place = f"model._target_=broken.Model: its module fails, {tmp_path}/broken.py"
    assert outcome == (2, "", f"recsweep: {place}:{reason}\n")


@pytest.mark.parametrize("position", [0, 1, 4])
def test_the_folder_may_be_named_anywhere(position: int, lines: Path, tmp_path: Path) -> None:
    arguments = ["data=my_lines", f"data.path={lines}", "model=my_item_mean", "logger=none"]
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
