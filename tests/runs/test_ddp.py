"""Two processes end where one does: the same steps, the same metrics, the same messages."""

import json
import os
import time
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
import workers
from interruptions import DISTURBED
from shell import TINY, TINY_BANDIT, fit_model, read_metrics, recsweep, same, tiny, train_run, weights
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from recsweep import processes
from recsweep.config import compose_config
from recsweep.errors import UserError
from recsweep.evaluation import evaluate
from recsweep.models.base import RecModule
from recsweep.runs import build
from recsweep.runs.folder import BEST, LAST, judge

pytestmark = pytest.mark.xdist_group("ddp")  # what is started once serves them all

UNEVEN = ["data.n_interactions=1300", "trainer.max_epochs=3"]
"""1040 training rows: 17 batches of 64, the last of 16 rows and alone in its step, which one process then makes."""

SHARED = ["trainer=ddp", *UNEVEN]
ALONE = [*SHARED, "trainer.processes=1"]

MODELS = {
    "biased_mf": [*DISTURBED, "scheduler=one_cycle"],
    "sparse": ["optimizer=sparse_adam", "regularization=none"],
    "svdpp": ["model=svdpp", "regularization.dropout=0.2", "trainer.limit_batches=6"],
    "bpr": ["model=bpr_mf", "loss=bpr", "regularization.dropout=0.2"],
    "in_batch": ["model=two_tower", "loss=in_batch", "model.hidden=[8]", "model.history=mean"],
    "uncertainty": ["model=multitask", "loss=uncertainty", "model.embedding_dim=4", "trainer.refit=true"],
}


def outcome(folder: Path, *words: str) -> tuple[RecModule, dict[str, float]]:
    """The model when training ends, and what its checkpoints are judged by."""
    cfg = tiny(*words)
    model = fit_model(cfg, folder / "checkpoints")
    assert isinstance(model, RecModule)
    return model, judge(cfg, build.data(cfg), folder)


def assert_close(found: RecModule, expected: RecModule, tolerance: float) -> None:
    """Weights, loss curves and validation curves."""
    torch.testing.assert_close(found.state_dict(), expected.state_dict(), rtol=tolerance, atol=tolerance)
    assert found.objectives == pytest.approx(expected.objectives, rel=tolerance)
    assert [epoch.keys() for epoch in found.epochs] == [epoch.keys() for epoch in expected.epochs]
    for ours, theirs in zip(found.epochs, expected.epochs, strict=True):
        assert ours == pytest.approx(theirs, rel=tolerance)


@pytest.mark.parametrize("words", MODELS.values(), ids=MODELS.keys())
def test_two_processes_train_like_one(words: list[str], tmp_path: Path) -> None:
    """Whatever is drawn, and also where the rows of a batch compete with each other."""
    found, metrics = outcome(tmp_path / "two", *SHARED, *words)
    expected, expected_metrics = outcome(tmp_path / "one", *ALONE, *words)
    assert_close(found, expected, 1e-5)
    assert metrics == pytest.approx(expected_metrics, rel=1e-5)


def test_batches_of_one_step_weigh_by_their_rows(tmp_path: Path) -> None:
    """2 x 64 rows are a step of 128, also at the end: 1104 = 8 x 128 + 80 rows, and 8 x (64 + 64) + (64 + 16)."""
    words = ["model=bpr_mf", "loss=full_softmax", "regularization=none", "optimizer=sgd", "optimizer.lr=0.5"]
    words = ["data.n_interactions=1380", "trainer.max_epochs=3", *words]
    found, _ = outcome(tmp_path / "two", "trainer=ddp", *words, "trainer.batch_size=64")
    expected, _ = outcome(tmp_path / "one", *words, "trainer.batch_size=128")
    torch.testing.assert_close(found.state_dict(), expected.state_dict(), rtol=1e-4, atol=1e-6)
    assert found.objectives == pytest.approx(expected.objectives, rel=1e-4)


def test_a_resumed_training_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    """Bit for bit; the first two epochs do not know that there is to be a third."""
    words = [*SHARED, *DISTURBED, "optimizer.lr=0.1", "scheduler.patience=0"]
    fit_model(tiny(*words, "trainer.max_epochs=2"), tmp_path / "resumed")
    found = fit_model(tiny(*words), tmp_path / "resumed")
    expected = fit_model(tiny(*words), tmp_path / "undisturbed")
    assert isinstance(found, RecModule) and isinstance(expected, RecModule)
    assert same(found.state_dict(), expected.state_dict())
    assert (found.objectives, found.epochs) == (expected.objectives, expected.epochs)


def test_the_command(tmp_path: Path) -> None:
    """Everything is written once, by the first process, and nothing but the result is shown."""
    words = [*TINY, *UNEVEN, "trainer=ddp", "logger=tensorboard", "callbacks.checkpoint.every_seconds=0"]
    shown = recsweep(tmp_path, "train", *words, "hydra.run.dir=two")
    two = tmp_path / "two"
    assert (shown.status, shown.err, shown.out.count("\n")) == (0, "", 1) and shown.out.startswith(f"{two}  biased_mf")
    one = train_run(tmp_path, *words, "trainer.processes=1")
    assert read_metrics(two)["metrics"] == pytest.approx(read_metrics(one)["metrics"], rel=1e-6)
    assert read_metrics(two)["training"] == pytest.approx(read_metrics(one)["training"], rel=1e-6)
    for name in (BEST, LAST):
        torch.testing.assert_close(weights(two / "checkpoints" / name), weights(one / "checkpoints" / name))
    assert sorted(path.name for path in two.rglob("*.*pt*")) == [BEST, LAST]
    events = EventAccumulator(str(two / "tb")).Reload()
    assert [event.step for event in events.Scalars("val/mse")] == [1, 2, 3]
    assert "`Trainer.fit` stopped: `max_epochs=3` reached" in (two / "run.log").read_text()
    assert (two / "run.log").read_text().count("reached") == 1


def test_a_baseline_needs_one_process(tmp_path: Path) -> None:
    run = train_run(tmp_path, *TINY, "model=means", "trainer=ddp")
    assert "trainer.processes=2: means has no steps, one process fits it" in (run / "run.log").read_text()


REFUSED = {
    "model=drr data=synthetic evaluation=full_ranking": (
        "trainer.processes=2: model DRR goes on from what the batch before left, so one process sees all of them"
    ),
    "model=multitask loss=gradnorm": (
        "trainer.processes=2: gradnorm goes on from what the batch before left, so one process sees all of them"
    ),
    "trainer.processes=3": (
        "trainer.accumulate=2: the processes share out the batches of a step, so there must be trainer.processes=3 at "
        "least; a smaller trainer.batch_size keeps the step as it was"
    ),
    "trainer.processes=0": "trainer.processes=0: it should be greater than or equal to 1",
    "optimizer=sgd optimizer.lr=1e20": (
        "training diverged: the loss of epoch 1 is nan; lower optimizer.lr, or raise the regularisation"
    ),
}


@pytest.mark.parametrize("words", REFUSED)
def test_mistakes_end_in_one_line(words: str, tmp_path: Path) -> None:
    found = recsweep(tmp_path, "train", *TINY, "trainer=ddp", "hydra.run.dir=run", *words.split())
    assert found == (2, "", f"recsweep: {REFUSED[words]}\n")


def test_a_mistake_in_one_process_ends_all() -> None:
    with pytest.raises(UserError) as raised:
        processes.launch(2, "gloo", workers.fails, "mistake")
    assert str(raised.value) == "the second one knows better"


def test_a_process_that_is_killed_ends_all() -> None:
    with pytest.raises(UserError, match=r"^process 1 terminated with signal SIGKILL, of the 2 that trained"):
        processes.launch(2, "gloo", workers.fails, "killed")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_nobody_survives_who_started_them(tmp_path: Path) -> None:
    """Else they would go on writing beside the run that is resumed."""
    starts = get_context(processes.START).Process(target=processes.launch, args=(2, "gloo", workers.waits, tmp_path))
    starts.start()
    deadline = time.monotonic() + 120
    while len(pids := [int(path.stem) for path in tmp_path.glob("*.pid")]) < 2:
        assert starts.is_alive() and time.monotonic() < deadline
        time.sleep(0.05)
    starts.kill()
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_sums_are_known_to_all(tmp_path: Path) -> None:
    processes.launch(2, "gloo", workers.sums, tmp_path)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        both, once, never = found["gradients"]
        assert (both.tolist(), once.tolist(), never) == ([4, 4], [2, 2], None)  # 1 + 3, 2 + nothing
        assert found["table"].tolist() == [[0], [2], [0]]
        assert {name: values.tolist() for name, values in found["noted"].items()} == {"all": [0, 1], "one": [1]}
        assert found["share"] == [[0, 2, 4], [1, 3]][rank]


JUDGED = {
    "rating": [*TINY, "model=biased_mf"],
    "full_ranking": [*TINY, "model=bpr_mf", "evaluation=full_ranking"],
    "sampled_99": [*TINY, "data.n_items=250", "model=bpr_mf", "evaluation=sampled_99"],
    "joint": [*TINY, "model=multitask"],
    "binary": [*TINY_BANDIT, "model=ranker", "evaluation=binary"],
    "two_stage, no policy": [*TINY_BANDIT, "model=ranker", "evaluation=two_stage"],
    "two_stage": [*TINY_BANDIT, "model=nominator", "evaluation=two_stage"],
    "off_policy": [*TINY_BANDIT, "model=nominator", "evaluation=off_policy"],
}


def test_metrics_are_those_of_one_process_and_count_once(tmp_path: Path) -> None:
    cases = {name: [*words, "evaluation.batch_size=7"] for name, words in JUDGED.items()}
    idle = ("rating", "binary", "two_stage")  # one large batch leaves nothing to the second process
    cases |= {f"{name}, one batch": [*JUDGED[name], "evaluation.batch_size=10000"] for name in idle}
    workers.judged(tmp_path, cases)
    processes.launch(2, "gloo", workers.judged, tmp_path, cases)
    alone, first, second = (
        json.loads((tmp_path / f"{name}.json").read_text()) for name in ("0 of 1", "0 of 2", "1 of 2")
    )
    for case, expected in alone.items():
        assert first[case]["metrics"] == second[case]["metrics"]
        assert first[case]["metrics"] == pytest.approx(expected["metrics"], rel=1e-12, nan_ok=True), case
        shares = zip(first[case]["counts"], second[case]["counts"], strict=True)
        assert [sum(pair) for pair in shares] == expected["counts"] != [0] * len(expected["counts"]), case


@pytest.mark.parametrize("name", JUDGED)
def test_states_that_were_merged_are_those_of_all_batches(name: str, tmp_path: Path) -> None:
    cfg = compose_config([*JUDGED[name], "evaluation.batch_size=7", f"paths.cache_dir={tmp_path}"])
    data = build.data(cfg)
    model = build.model(cfg, data).eval()
    whole, *halves = (build.evaluation(cfg) for _ in range(3))
    expected = evaluate(model, whole, data.target("val"))
    with torch.inference_mode():
        for place, half in enumerate(halves):
            half.reset()
            for batch in islice(half.batches(data.target("val"), half.device), place, None, 2):
                half.update(model, *batch)
    halves[0].merge_state(halves[1])
    found: dict[str, Tensor] = halves[0].compute()
    assert {name: value.item() for name, value in found.items()} == pytest.approx(expected, rel=1e-12, nan_ok=True)
