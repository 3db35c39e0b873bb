"""The wheel: built from the checkout and installed elsewhere, it finds its configuration and its sweepers."""

import json
import os
import site
import subprocess
import sys
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest
from shell import PROGRESS, TINY

pytestmark = pytest.mark.xdist_group("wheel")

ROOT = Path(__file__).parents[1]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


def run_command(*command: str, cwd: Path) -> tuple[str, str]:
    """Output and errors of a command that must succeed; it sees nothing of the checkout."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    process = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr
    return process.stdout, process.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run_command(*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT), cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has the wheel, and borrows its dependencies from this one.

    A folder named in a `.pth` file joins the path without its own `.pth` files, such as that of an editable install.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    python = folder / "bin" / "python"
    run_command(*PIP, "--python", str(python), "install", "--no-deps", "--no-index", str(wheel), cwd=folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "borrowed.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    return python


def source_files() -> list[Path]:
    paths = (ROOT / "src").rglob("*")
    return [path for path in paths if path.is_file() and "__pycache__" not in path.parts]


def test_it_has_the_package_and_every_configuration_file(wheel: Path) -> None:
    names = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    code = {str(path.relative_to(ROOT / "src")) for path in source_files()}
    conf = {f"recsweep/{path.relative_to(ROOT)}" for path in (ROOT / "conf").rglob("*.yaml")}
    assert len(conf) > 40
    assert names == code | conf


def test_it_finds_its_own_configuration(python: Path, tmp_path: Path) -> None:
    code = "from recsweep.paths import conf_dir; print(conf_dir())"
    folder = Path(run_command(str(python), "-c", code, cwd=tmp_path)[0].strip())
    assert folder.is_relative_to(python.parents[1]) and folder.is_dir()


def test_it_trains_and_hydra_finds_its_sweepers(python: Path, tmp_path: Path) -> None:
    """In processes of its own: nothing but results is printed."""
    program = str(python.with_name("recsweep"))
    overrides = ("search=biased_mf", "hydra.sweeper.n_trials=2", "hydra.sweep.dir=sweep", *TINY)
    output, errors = run_command(program, "train", "-m", *overrides, cwd=tmp_path)
    assert "2 completed" in output
    assert PROGRESS.sub("", errors) == ""
    for job in "01":
        assert json.loads((tmp_path / "sweep" / job / "metrics.json").read_text())["status"] == "completed"
