"""The wheel: built from the checkout, installed elsewhere, it finds its configuration and runs."""

import json
import os
import site
import subprocess
import sys
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest
from shell import SYNTHETIC, TINY

pytestmark = pytest.mark.xdist_group("wheel")

ROOT = Path(__file__).parents[1]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


def succeed(*command: str, cwd: Path) -> str:
    """What the command prints; it sees nothing of the checkout."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    succeed(*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT), cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has the wheel, and borrows its dependencies from this one.

    A folder named in a `.pth` file joins the path without its own `.pth` files, such as that of an editable install.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    python = folder / "bin" / "python"
    succeed(*PIP, "--python", str(python), "install", "--no-deps", "--no-index", str(wheel), cwd=folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "borrowed.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    return python


def test_it_holds_the_package_and_every_configuration_file(wheel: Path) -> None:
    held = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    code = {str(path.relative_to(ROOT / "src")) for path in source_files()}
    conf = {f"recsweep/{path.relative_to(ROOT)}" for path in (ROOT / "conf").rglob("*.yaml")}
    assert len(conf) > 40
    assert held == code | conf


def source_files() -> list[Path]:
    everything = (ROOT / "src").rglob("*")
    return [path for path in everything if path.is_file() and "__pycache__" not in path.parts]


def test_it_runs_where_the_checkout_is_not(python: Path, tmp_path: Path) -> None:
    ask = "from recsweep.config import conf_dir; print(conf_dir())"
    found = Path(succeed(str(python), "-c", ask, cwd=tmp_path).strip())
    assert found.is_relative_to(python.parents[1]) and found.is_dir()
    program = str(python.with_name("recsweep"))
    succeed(program, "train", *TINY, "hydra.run.dir=run", cwd=tmp_path)
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["status"] == "completed"


def test_hydra_finds_its_sweepers_where_the_checkout_is_not(python: Path, tmp_path: Path) -> None:
    program = str(python.with_name("recsweep"))
    words = ("search=means", "hydra.sweeper.n_trials=2", "hydra.sweep.dir=sweep")
    assert "2 completed" in succeed(program, "train", "-m", *words, *SYNTHETIC, "logger=none", cwd=tmp_path)
