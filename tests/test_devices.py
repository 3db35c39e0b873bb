"""The comparison of devices, with the CPU beside itself."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

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


def test_every_family_that_trains_has_a_row(devices: ModuleType) -> None:
    """All but the models of `data=bandit` that only its stages use, and baselines without matrices."""
    without = {"simulator", "logging_policy", "ranker", "logged_policy", "means", "popularity"}
    names = {path.stem for path in (conf_dir() / "model").glob("*.yaml")}
    assert {name.split()[0] for name in devices.list_rows()} == names - without
