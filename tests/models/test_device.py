"""Every family on a GPU that is pretended: no mixed devices, the CPU's results, and what the host waits for."""

import contextlib
import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig
from pretend_gpu import DEVICE, pretend_gpu
from shell import QUIET, fit_model, read_metrics, recsweep, train_run

from recsweep.config import compose_config
from recsweep.errors import UserError
from recsweep.evaluation import evaluate
from recsweep.models.base import RecModule
from recsweep.models.baselines import Baseline
from recsweep.models.drr.agent import DRR
from recsweep.models.drr.env import Sessions
from recsweep.models.retrieval import find_distinct
from recsweep.runs import build
from recsweep.sampling import group_items

BLOCKS = ("data=table", "data.path={blocks}")
TIMED = ("data=synthetic", "data.n_users=40", "data.n_items=40", "data.n_interactions=400")
BANDIT = (
    "data=bandit",
    "data/base=table",
    "data.base.path={blocks}",
    "data.simulator.split=random",
    "data.threshold=0.5",
    "data.logging_policy.n_pairs=400",
    "data.val_users=10",
    "evaluation.slate_size=20",
)
RATINGS = {"item": 1}
"""One a batch, not one a row: a score that is NaN must end the run before it counts."""
RANKING = {"item": 1}
"""As for ratings."""
JOINT = {"item": 1, "nonzero": 1}
"""Also the ranks of all relevant items, for MRR: lists have different numbers of them."""
ITEM_ITEM = {"item": 1, "repeat_interleave": 2}
"""Also the items of the batch's users, who have different numbers of them."""
TWO_STAGE = {"item": 2, "nonzero": 1}
"""NaN in probabilities or scores; which users have a relevant item."""


POSITIONS = (("item", 1),)
"""How many events the windows of the batch have, in an evaluation of every 128 users: only these are computed."""


class Row(NamedTuple):
    """The overrides of a family and a loss, and what the host waits for in a batch of its evaluation and in a step."""

    overrides: tuple[str, ...]
    evaluation: dict[str, int]
    data: tuple[str, ...] = BLOCKS
    step: tuple[tuple[str, int], ...] = ()


ROWS = {
    "biased_mf": Row(("model=biased_mf", "regularization.l2=0.1", "regularization.augmentation=0.5"), RATINGS),
    "svdpp": Row(("model=svdpp",), RATINGS),
    "mlp": Row(("model=mlp",), RATINGS),
    "bpr_mf": Row(("model=bpr_mf", "loss=bpr"), RANKING),
    "two_tower, mean": Row(("model=two_tower", "loss=mixed", "model.history=mean", "model.hidden=[8]"), RANKING),
    "two_tower, transformer": Row(
        ("model=two_tower", "loss=full_softmax", "model.history=transformer", "model.hidden=[]"),
        RANKING | {"item": 3},
        ("data=synthetic", "data.n_users=200", "data.n_items=40", "data.n_interactions=1600", "split=leave_last_out"),
        step=POSITIONS,
    ),
    "two_tower, no history": Row(("model=two_tower", "loss=in_batch", "model.hidden=[8]"), RANKING),
    "multitask, uncertainty": Row(("model=multitask", "loss=uncertainty"), JOINT),
    "multitask, gradnorm": Row(("model=multitask", "loss=gradnorm"), JOINT),
    "nominator, dr": Row(("model=nominator", "loss=dr"), TWO_STAGE, BANDIT),
    "nominator, ips_2": Row(("model=nominator", "loss=ips_2"), TWO_STAGE, BANDIT),
    "ease": Row(("model=ease",), ITEM_ITEM),
    "ials": Row(("model=ials",), RANKING),
    "slim": Row(("model=slim", "model.l1=1"), ITEM_ITEM),
    "markov_chain": Row(("model=markov_chain",), RANKING, TIMED),
    "user_knn": Row(("model=user_knn",), RANKING),
}
BASELINES = ("ease", "ials", "slim", "markov_chain", "user_knn")


def compose(row: Row, blocks: Path, cache: Path, *overrides: str) -> DictConfig:
    """Two steps of one batch, without random disturbances, which differ between devices."""
    common = [
        "trainer.batch_size=64",
        "trainer.accumulate=1",
        "trainer.limit_batches=2",
        "trainer.steps_per_call=1",
        "trainer.max_epochs=1",
    ]
    quiet = ["regularization.dropout=0", "logger=none", "callbacks.progress=false", f"paths.cache_dir={cache}"]
    is_baseline = row.overrides[0] in {f"model={name}" for name in BASELINES}
    data = [text.format(blocks=blocks) for text in row.data]
    own = [*row.overrides, *data, *(quiet[1:] if is_baseline else [*common, *quiet]), *overrides]
    return compose_config(own)


@pytest.mark.xdist_group("pretended GPU")
@pytest.mark.parametrize(
    "mix",
    [
        lambda host, gpu, _: host[gpu],
        lambda host, gpu, _: gpu.index_put((gpu,), host),
        lambda host, gpu, _: host + gpu,
        lambda host, gpu, draws: torch.randperm(3, generator=draws),
        lambda host, gpu, _: torch.randperm(3, generator=torch.Generator(), device=DEVICE),
    ],
)
def test_the_pretended_gpu_refuses_what_cuda_refuses(mix: Any) -> None:
    """But not an index of the host."""
    with pretend_gpu():
        host = torch.arange(3)
        gpu = host.to(DEVICE)
        assert gpu[host].tolist() == [0, 1, 2]
        with pytest.raises(RuntimeError, match="expected"):
            mix(host, gpu, torch.Generator(DEVICE))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def judge(cfg: DictConfig, model: RecModule | Baseline) -> dict[str, float]:
    """The model's metrics on validation, on its device."""
    device = build.device(cfg)
    return evaluate(model.to(device), build.evaluation(cfg).to(device), build.data(cfg).target("val"))


@pytest.mark.xdist_group("pretended GPU")
@pytest.mark.parametrize("name", ROWS)
def test_what_a_training_step_waits_for(name: str, blocks: Path, cache: Path, tmp_path: Path) -> None:
    """The second step: before the first, the order of the epoch's rows is sent. Metrics equal those of the CPU."""
    row = ROWS[name]
    cfg = compose(row, blocks, cache)
    on_cpu = judge(cfg, fit_model(cfg, tmp_path / "cpu"))
    steps: list[Counter[str]] = []
    training_step = RecModule.training_step
    with pretend_gpu() as counts:

        def count(*arguments: Any) -> None:
            counts.clear()
            training_step(*arguments)
            steps.append(Counter(counts))

        with patch.object(RecModule, "training_step", count):
            model = fit_model(cfg, tmp_path / "gpu")
        assert judge(cfg, model) == pytest.approx(on_cpu, rel=1e-4, abs=1e-6)
        protocol = build.evaluation(cfg).to(DEVICE)
        batch = next(iter(protocol.batches(build.data(cfg).target("val"), DEVICE)))
        counts.clear()
        with torch.inference_mode():
            protocol.update(protocol.measure(model, *batch))
        assert counts == row.evaluation
    assert steps[1:] == ([] if isinstance(model, Baseline) else [Counter(dict(row.step))])


SESSIONS = (
    *("model=drr", "data=positives", "data/base=table", "data.base.path={blocks}", "evaluation=full_ranking"),
    *("trainer.batch_size=16", "trainer.limit_batches=8", "trainer.steps_per_call=1", "trainer.max_epochs=1"),
    *("logger=none", "callbacks.progress=false"),
    *("model.min_positives=5", "model.n_envs=8", "model.buffer_size=500", "model.updates_per_step=0.2"),
)


@pytest.mark.xdist_group("pretended GPU")
def test_what_drr_waits_for(blocks: Path, tmp_path: Path) -> None:
    """A step of all sessions: which are active, hit, and ended (twice: for the environment and for the summary).

    Where one ends, the next user's action set is drawn, whose size depends on the user and on the draws. An update: a
    TD error that is not finite must not reach the priorities.
    """
    cfg = compose_config([text.format(blocks=blocks) for text in SESSIONS])
    waits: dict[str, list[Counter[str]]] = {"_step_sessions": [], "_update": []}
    with pretend_gpu() as counts, contextlib.ExitStack() as stack:
        for name in waits:
            method = getattr(DRR, name)

            def count(*arguments: Any, name: str = name, method: Any = method) -> Any:
                counts.clear()
                result = method(*arguments)
                waits[name].append(Counter(counts))
                return result

            stack.enter_context(patch.object(DRR, name, count))
        model = fit_model(cfg, tmp_path / "gpu")
    assert set(map(str, waits["_update"])) == {str(Counter(item=1))}
    assert Counter(nonzero=4) in waits["_step_sessions"]
    on_gpu, on_cpu = model.objectives, fit_model(cfg, tmp_path / "cpu").objectives
    assert on_gpu == pytest.approx(on_cpu, rel=1e-4)


@pytest.mark.xdist_group("pretended GPU")
@pytest.mark.parametrize("first_on_gpu", [True, False])
def test_a_training_goes_on_and_is_judged_on_the_other_device(
    first_on_gpu: bool, blocks: Path, cache: Path, tmp_path: Path
) -> None:
    """An epoch on one device and the second on the other give what two on the CPU give, to rounding."""
    row = ROWS["bpr_mf"]
    first, both = (compose(row, blocks, cache, f"trainer.max_epochs={n}") for n in (1, 2))

    def train(cfg: DictConfig, folder: Path, on_gpu: bool) -> dict[str, float]:
        with pretend_gpu() if on_gpu else contextlib.nullcontext():
            model = fit_model(cfg, folder)
            return judge(cfg, model)

    train(first, tmp_path / "mixed", first_on_gpu)
    mixed = train(both, tmp_path / "mixed", not first_on_gpu)
    assert mixed == pytest.approx(train(both, tmp_path / "cpu", False), rel=1e-4)


@pytest.mark.xdist_group("pretended GPU")
def test_the_program_on_a_gpu(blocks: Path, tmp_path: Path) -> None:
    """A run with a refit, exported vectors and a comparison, which the CPU then judges alike."""
    further = ("trainer.refit=true", "callbacks.embeddings=true", "callbacks.compare_with=[{{model: ease}}]", *QUIET)
    overrides = [text.format(blocks=blocks) for text in (*ROWS["bpr_mf"].overrides, *BLOCKS, *further)]
    with pretend_gpu():
        run = train_run(tmp_path, *overrides, "trainer.max_epochs=1", "trainer.limit_batches=2")
        assert recsweep(tmp_path, "recommend", f"run={run}", "user=1", "k=2").status == 0
    outcome = recsweep(tmp_path, "evaluate", f"run={run}", "--json")
    assert json.loads(outcome.out) == pytest.approx(read_metrics(run)["metrics"], rel=1e-5)


def test_sessions_need_the_kind_of_device_that_they_began_on() -> None:
    """The state of a CUDA generator is 16 bytes."""
    positives = group_items(torch.tensor([0, 0]), torch.tensor([3, 4]), n_users=1, n_items=9)
    env = Sessions(positives, 9, 1, 2, torch.Generator())
    with pytest.raises(UserError, match="the kind of device that they began on, CPU or GPU"):
        env.load_state_dict({**env.state_dict(), "generator": torch.zeros(16, dtype=torch.uint8)})


@settings(max_examples=20)
@given(st.lists(st.integers(0, 8), min_size=1, max_size=30))
def test_distinct_ids_with_rows_to_spare(ids: list[int]) -> None:
    """As many rows as could be distinct; the indices find the ids, and rows without an index hold one of them."""
    tensor = torch.tensor(ids)
    with pretend_gpu():
        distinct, index = find_distinct(tensor.to(DEVICE), n=9)
        spare, position = distinct.cpu(), index.cpu()
    assert len(spare) == min(len(ids), 9)
    assert torch.equal(spare[position], tensor)
    assert spare.unique().tolist() == sorted(set(ids)) and spare[: len(set(ids))].tolist() == sorted(set(ids))
