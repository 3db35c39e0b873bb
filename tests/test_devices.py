"""The comparison of devices, with the CPU beside itself."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pandas as pd
import pytest
import torch

from recsweep.config import conf_dir


@pytest.fixture(scope="module")
def devices() -> ModuleType:
    path = Path(__file__).parents[1] / "benchmarks" / "devices.py"
    spec = spec_from_file_location("devices", path)
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_a_gpu_it_says_so(devices: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("a GPU is at hand: `make cuda` compares")
    assert devices.main([]) == 0
    assert capsys.readouterr().out == "no CUDA device is visible: nothing to compare with the CPU\n"


def test_the_cpu_equals_itself(devices: ModuleType, tmp_path: Path) -> None:
    arguments = ["--device", "cpu", "--only", "biased_mf", "--users", "20", "--folder", str(tmp_path)]
    assert devices.main(arguments) == 0
    (row,) = pd.read_csv(tmp_path / "devices.csv").to_dict("records")
    assert row["checks"] == "ok" and row["CPU"] == row["cpu"]
    assert row["read: largest gap"] == row["resumed: largest gap"] == 0
    assert (tmp_path / "devices.md").read_text().count("\n|") == 3


def test_a_gap_fails(devices: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one metric, above 1 relative to itself: (6 - 4) / 4."""
    assert devices.differ({"mse": 4.0, "recall@1": 0.5}, {"mse": 6.0, "recall@1": 0.5}) == 0.5
    monkeypatch.setattr(devices, "differ", lambda one, other: 1.0)
    arguments = ["--device", "cpu", "--only", "popularity", "--users", "20", "--folder", str(tmp_path)]
    monkeypatch.setattr(devices, "list_rows", lambda: {"popularity": ("model=popularity", *devices.TABLE)})
    assert devices.main(arguments) == 1
    assert pd.read_csv(tmp_path / "devices.csv").checks.tolist() == ["read, trained"]


def test_a_metric_that_is_nan_fails(devices: ModuleType) -> None:
    """Wherever it stands among the metrics."""
    for names in ("ab", "ba"):
        one, other = ({name: {"a": 1.0, "b": b}[name] for name in names} for b in (2.0, torch.nan))
        assert not devices.differ(one, other) <= 1


@pytest.mark.parametrize(("name", "checks"), [("drr ddpg", "ok"), ("nominator ce", "trained")])
def test_only_the_objective_counts_where_a_model_draws(
    name: str, checks: str, devices: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the other metric, the devices differ by 0.2, and a run that goes on repeats its device."""

    def run_on(device: str, *_: object, **__: object) -> dict[str, object]:
        trained = {"ndcg@10": 0.5, "coverage@10": 0.2 if device == "cuda" else 0.4}
        rest = dict.fromkeys(("steps", "evaluation", "memory", "copies"), 1)
        return {"trained": trained, "objective": {"ndcg@10": 0.5}, **rest}

    monkeypatch.setattr(devices, "run_on", run_on)
    monkeypatch.setattr(devices, "read_on", lambda *_: {"ndcg@10": 0.5})
    row = devices.compare(name, "cuda", [], tmp_path)
    assert (row["checks"], row["CPU"]) == (checks, 0.5)


def test_a_row_that_fails_leaves_the_others(
    devices: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In any way: a tensor on a GPU asked for its NumPy array raises a TypeError, and some errors say nothing."""

    def compare(name: str, *_: object) -> dict[str, str]:
        if name != "mlp":
            raise TypeError
        return {"row": name, "checks": "ok"}

    monkeypatch.setattr(devices, "compare", compare)
    monkeypatch.setattr(devices, "list_rows", lambda: dict.fromkeys(("ease", "mlp"), ()))
    monkeypatch.setattr(devices, "compare_further", lambda *_: {})
    assert devices.main(["--device", "cpu", "--folder", str(tmp_path)]) == 1
    assert pd.read_csv(tmp_path / "devices.csv").checks.tolist() == ["failed: TypeError: no reason given", "ok"]


def test_no_profiler_outlives_a_failure(devices: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second one beside it would fail, and with it every later row."""
    monkeypatch.setattr(devices, "wait", lambda device: None)
    watch = devices.Watch(torch.device("cuda"))
    watch.on_train_epoch_start(SimpleNamespace(current_epoch=2), None)
    assert torch.autograd._profiler_enabled()
    watch.on_exception(None, None, None)
    assert not torch.autograd._profiler_enabled()


def test_every_family_that_trains_has_a_row(devices: ModuleType) -> None:
    """All but the models of `data=bandit` that only its stages use, and baselines without matrices."""
    without = {"simulator", "logging_policy", "ranker", "logged_policy", "means", "popularity", "recent_popularity"}
    names = {path.stem for path in (conf_dir() / "model").glob("*.yaml")}
    rows = devices.list_rows()
    assert {name.split()[0] for name in rows} == names - without
    assert all(any(name.startswith(beginning) for name in rows) for beginning in devices.DRAWING)
