"""An evaluation that several processes share ends like that of one."""

import json
from itertools import islice
from pathlib import Path

import pytest
import torch
import workers
from evaluation_cases import own_metrics
from shell import TINY, TINY_BANDIT
from torch import Tensor

from recsweep import processes
from recsweep.config import compose_config
from recsweep.runs import build

pytestmark = [pytest.mark.xdist_group("forkserver"), pytest.mark.usefixtures("forkserver")]

EVALUATIONS = {
    "rating": [*TINY, "model=biased_mf"],
    "full_ranking": [*TINY, "model=bpr_mf", "evaluation=full_ranking"],
    "sampled_99": [*TINY, "data.n_items=250", "model=bpr_mf", "evaluation=sampled_99"],
    "joint": [*TINY, "model=multitask"],
    "binary": [*TINY_BANDIT, "model=ranker", "evaluation=binary"],
    "two_stage, no policy": [*TINY_BANDIT, "model=ranker", "evaluation=two_stage"],
    "two_stage": [*TINY_BANDIT, "model=nominator", "evaluation=two_stage"],
    "off_policy": [*TINY_BANDIT, "model=nominator", "evaluation=off_policy"],
}


def test_two_processes_get_the_metrics_of_one_and_judge_everything_once(tmp_path: Path) -> None:
    cases = {name: [*overrides, "evaluation.batch_size=7"] for name, overrides in EVALUATIONS.items()}
    idle = ("rating", "binary", "two_stage")  # one large batch leaves nothing to the second process
    cases |= {f"{name}, one batch": [*EVALUATIONS[name], "evaluation.batch_size=10000"] for name in idle}
    workers.judge(tmp_path, cases)
    processes.launch(2, "gloo", workers.judge, tmp_path, cases)
    alone, first, second = (
        json.loads((tmp_path / f"{name}.json").read_text()) for name in ("0 of 1", "0 of 2", "1 of 2")
    )
    for case, expected in alone.items():
        assert first[case]["metrics"] == second[case]["metrics"]
        assert first[case]["metrics"] == pytest.approx(expected["metrics"], rel=1e-12, nan_ok=True), case
        shares = zip(first[case]["counts"], second[case]["counts"], strict=True)
        assert [sum(pair) for pair in shares] == expected["counts"] != [0] * len(expected["counts"]), case


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stages of the bandit, which several evaluations judge."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("name", EVALUATIONS)
def test_the_states_of_two_halves_merge_into_that_of_the_whole(name: str, cache: Path) -> None:
    cfg = compose_config([*EVALUATIONS[name], "evaluation.batch_size=7", f"paths.cache_dir={cache}"])
    data = build.data(cfg)
    model = build.model(cfg, data).eval()
    whole, *halves = (build.evaluation(cfg) for _ in range(3))
    expected = own_metrics(model, whole, data.target("val"))
    with torch.inference_mode():
        for first_batch, half in enumerate(halves):
            half.reset()
            for batch in islice(half.batches(data.target("val"), half.device), first_batch, None, 2):
                half.update(half.measure(model, *batch))
    halves[0].merge_state(halves[1])
    metrics: dict[str, Tensor] = halves[0].compute()
    assert {name: value.item() for name, value in metrics.items()} == pytest.approx(expected, rel=1e-12, nan_ok=True)
