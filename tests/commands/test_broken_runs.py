"""Run folders that are broken, or made to break: every verb that takes one ends in one line."""

import shutil
from pathlib import Path

import pytest
from broken_files import BROKEN_JSON, BROKEN_YAML
from shell import recsweep

pytestmark = pytest.mark.xdist_group("commands")

VERBS = (["evaluate"], ["recommend", "user=3"], ["train", "seed=1"], ["train", "-m", "seed=1,2"])

OTHER_TYPES = {
    ("overrides", "3"): "overrides.yaml: holds a int, not a list",
    ("overrides", "[1, 2]"): "config.yaml: overrides.0: Input should be a valid string",
    ("config", "3"): "config.yaml: holds a int, not a dict",
    ("hydra", "hydra: 3"): "hydra.yaml: hydra: Input should be a valid dictionary or instance of _Hydra",
    (
        "hydra",
        "hydra: {runtime: {cwd: 3, choices: {}}}",
    ): "hydra.yaml: hydra.runtime.cwd: Input should be a valid string",
    ("hydra", "hydra: {runtime: {cwd: /, choices: [a]}}"): "hydra.yaml: hydra.runtime.choices: Input should be a valid",
    ("hydra", "[]"): "hydra.yaml: Input should be a valid dictionary or instance of _HydraFile",
}


@pytest.fixture
def victim(means_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(means_run, tmp_path / "run"))


@pytest.mark.parametrize("name", ["overrides", "hydra", "config"])
@pytest.mark.parametrize("kind", BROKEN_YAML)
def test_broken_yaml(kind: str, name: str, victim: Path, tmp_path: Path) -> None:
    path = victim / ".hydra" / f"{name}.yaml"
    path.write_bytes(BROKEN_YAML[kind][0])
    for verb, *words in VERBS:
        outcome = recsweep(tmp_path, verb, *words, f"run={victim}")
        assert outcome.status == 2 and outcome.err.count("\n") == 1
        assert outcome.err.startswith(f"recsweep: {path}{BROKEN_YAML[kind][1]}")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(("name", "content"), OTHER_TYPES)
def test_other_types(name: str, content: str, victim: Path, tmp_path: Path) -> None:
    (victim / ".hydra" / f"{name}.yaml").write_text(content)
    for verb, *words in VERBS:
        outcome = recsweep(tmp_path, verb, *words, f"run={victim}")
        assert outcome.status == 2 and outcome.err.count("\n") == 1
        assert outcome.err.startswith(f"recsweep: {victim}/.hydra/{OTHER_TYPES[name, content]}")


@pytest.mark.parametrize(
    "content", [*(content for content, _ in BROKEN_JSON.values()), b'{"status": "completed"}', b"[]"]
)
def test_a_broken_result(content: bytes, victim: Path, tmp_path: Path) -> None:
    path = victim / "metrics.json"
    path.write_bytes(content)
    for words in (["evaluate"], ["train", "resume=true"]):
        outcome = recsweep(tmp_path, words[0], f"run={victim}", *words[1:])
        assert outcome.status == 2 and outcome.err.startswith(f"recsweep: {path}:") and outcome.err.count("\n") == 1


@pytest.mark.parametrize("content", ["[" * 200_000, "{}", '{"words": 3, "jobs": []}', '{"words": [], "jobs": [[3]]}'])
def test_a_broken_sweep(content: str, tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text(content)
    outcome = recsweep(tmp_path, "train", "sweep.resume=.")
    assert outcome == (2, "", "recsweep: sweep.resume=.: sweep.json is broken, start a new sweep\n")
