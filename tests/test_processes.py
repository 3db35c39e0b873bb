"""Several processes that work together: what they exchange, and how they end."""

import os
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
import workers
from shell import wait_for

from recsweep import processes
from recsweep.errors import UserError

pytestmark = [pytest.mark.xdist_group("forkserver"), pytest.mark.usefixtures("forkserver")]


def test_every_process_gets_sums_and_scalars_of_all(tmp_path: Path) -> None:
    processes.launch(2, "gloo", workers.exchange, tmp_path)
    for rank in range(2):
        result = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        both, once, never = result["gradients"]
        assert (both.tolist(), once.tolist(), never) == ([4, 4], [2, 2], None)  # 1 + 3, 2 + nothing
        assert result["table"].tolist() == [[0], [2], [0]]
        assert {name: values.tolist() for name, values in result["scalars"].items()} == {"all": [0, 1], "second": [1]}
        assert result["share"] == [[0, 2, 4], [1, 3]][rank]


def test_an_exception_in_one_process_ends_all() -> None:
    with pytest.raises(UserError) as raised:
        processes.launch(2, "gloo", workers.fail, "mistake")
    assert str(raised.value) == "the second one knows better"


def test_a_process_that_is_killed_ends_all() -> None:
    with pytest.raises(UserError, match=r"^process 1 terminated with signal SIGKILL, one of the 2 that trained"):
        processes.launch(2, "gloo", workers.fail, "killed")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_no_process_outlives_its_parent(tmp_path: Path) -> None:
    """Else it would go on writing to the run while the run is resumed."""
    launch_args = (2, "gloo", workers.wait, tmp_path)
    parent = get_context(processes.START_METHOD).Process(target=processes.launch, args=launch_args)
    parent.start()
    wait_for(lambda: len(list(tmp_path.glob("*.pid"))) == 2, parent)
    pids = [int(path.stem) for path in tmp_path.glob("*.pid")]
    parent.kill()
    wait_for(lambda: not any(map(is_alive, pids)))
