"""Where a run comes from: the command, the git commit of the working directory, the machine and the time."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recsweep.runs.provenance import describe_command, describe_start

AUTHOR = ("-c", "user.name=Ann", "-c", "user.email=ann@example.org")


def git(folder: Path, *arguments: str) -> str:
    process = subprocess.run(["git", *AUTHOR, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return process.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one committed file, as the working directory."""
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "ratings.csv").write_text("user,item,rating\n")
    git(folder, "init", "--quiet")
    git(folder, "add", "ratings.csv")
    git(folder, "commit", "--quiet", "--message=First")
    monkeypatch.chdir(folder)
    return folder


def test_a_command_is_one_line_for_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    expected = "recsweep train -m 'data.path=my ratings.csv' seed=0,1"
    description = describe_command(["train", "-m", "data.path=my ratings.csv", "seed=0,1"])
    assert description == {"command": expected, "git_commit": None, "git_dirty": None}


def test_the_commit_of_the_working_directory(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """New files do not count, such as a run's own folder; a file that was only touched does not, either."""
    (repository / "outputs").mkdir()
    (repository / "outputs" / "run.log").touch()
    file = repository / "ratings.csv"
    file.write_text(file.read_text())
    description = describe_command([])
    assert description["git_commit"] == git(repository, "rev-parse", "HEAD")
    assert description["git_dirty"] is False
    monkeypatch.chdir(repository / "outputs")
    assert describe_command([]) == description


@pytest.mark.parametrize("is_staged", [False, True])
def test_changes_since_the_commit(repository: Path, is_staged: bool) -> None:
    (repository / "ratings.csv").write_text("user,item,rating\n1,2,3\n")
    if is_staged:
        git(repository, "add", "ratings.csv")
    assert describe_command([])["git_dirty"] is True


def test_without_a_commit_or_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    git(tmp_path, "init", "--quiet")
    nothing = {"command": "recsweep", "git_commit": None, "git_dirty": None}
    assert describe_command([]) == nothing
    monkeypatch.setenv("PATH", "")
    assert describe_command([]) == nothing


@pytest.mark.parametrize("key", ["core.fsmonitor", "filter.x.clean", "filter.x.process", "filter.a=b.clean"])
def test_a_repository_runs_no_program(key: str, repository: Path) -> None:
    """Git would run those that its configuration names, whenever it looks for changes."""
    victim = repository.parent / "executed"
    name = key.split(".")[1]
    (repository / ".git" / "info" / "attributes").write_text(f"* filter={name}\n")
    git(repository, "config", key, f"touch {victim}; cat")
    (repository / "ratings.csv").touch()
    description = describe_command([])
    assert not victim.exists()
    assert description["git_commit"] is not None
    assert description["git_dirty"] is (False if name == "fsmonitor" else None)


def test_the_start_has_its_offset_from_utc() -> None:
    start = datetime.fromisoformat(describe_start()["start"])
    assert abs(datetime.now(UTC) - start) < timedelta(seconds=10)
