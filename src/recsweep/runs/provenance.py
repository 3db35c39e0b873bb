"""Where a run comes from: the command, the code in the working directory, the machine, the time."""

import shlex
import socket
import subprocess
from datetime import datetime
from typing import TypedDict


class Command(TypedDict):
    """A command as typed, and the git commit of its working directory.

    Args:
        command: one line for a shell.
        git_commit: None outside of a git repository.
        git_dirty: whether files that git tracks differ from that commit; None if unknown.
    """

    command: str
    git_commit: str | None
    git_dirty: bool | None


def describe_command(arguments: list[str]) -> Command:
    """The command `recsweep ARGUMENTS` in the current working directory."""
    head = _run_git("rev-parse", "--verify", "HEAD")
    commit = head.stdout.strip() if head and head.returncode == 0 else None
    is_dirty = _has_changes() if commit else None
    return {"command": shlex.join(["recsweep", *arguments]), "git_commit": commit, "git_dirty": is_dirty}


def describe_start() -> dict[str, str]:
    """This machine and the current time, with its offset from UTC."""
    return {"host": socket.gethostname(), "start": datetime.now().astimezone().isoformat(timespec="seconds")}


def _has_changes() -> bool | None:
    """Whether tracked files differ from the commit; None where git cannot say, or only by the repository's filters.

    A filter is a program, and the working directory may be a stranger's: only the user's own filters may run.
    """
    filters = _run_git("config", "--show-scope", "--get-regexp", r"^filter\.")
    if filters is None or filters.returncode > 1:
        return None
    if any(not line.startswith(("system\t", "global\t")) for line in filters.stdout.splitlines()):
        return None
    changes = _run_git("diff-index", "--quiet", "--ignore-submodules=all", "HEAD")
    return bool(changes.returncode) if changes and changes.returncode in (0, 1) else None


def _run_git(*arguments: str) -> "subprocess.CompletedProcess[str] | None":
    """Runs git without the programs that a repository can name; None where git is not installed or takes too long."""
    safe = ("-c", "core.fsmonitor=false", "-c", "protocol.allow=never")
    try:
        return subprocess.run(["git", *safe, *arguments], capture_output=True, text=True, errors="replace", timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
