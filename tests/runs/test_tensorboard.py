"""A sweep in TensorBoard's HParams tab, read over its HTTP API as the page does."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

import pytest
from shell import TINY, read_metrics, recsweep

STATUSES = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]
JOBS = 4


def query(port: int, endpoint: str, **body: Any) -> dict[str, Any]:
    """The answer of the HParams plugin; OSError while the server is not up."""
    url = f"http://127.0.0.1:{port}/data/plugin/hparams/{endpoint}"
    request = Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with build_opener(ProxyHandler({})).open(request, timeout=30) as answer:
        return json.load(answer)


def has_read_all(port: int) -> bool:
    """Whether the server is up and has read every job."""
    try:
        groups = query(port, "session_groups", allowedStatuses=STATUSES, sliceSize=100, startIndex=0)
    except OSError:
        return False
    return groups.get("totalSize") == JOBS


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, two seeds, and settings that are the same everywhere."""
    tiny = [override for override in TINY if override != "logger=none"]
    overrides = [*tiny, "model=means,biased_mf", "seed=0,1"]
    folder = tmp_path_factory.mktemp("tensorboard") / "sweep"
    outcome = recsweep(folder.parent, "train", "-m", *overrides, f"hydra.sweep.dir={folder}")
    assert outcome.status == 0, outcome.err
    return folder


@pytest.fixture(scope="module")
def server(sweep: Path) -> Iterator[int]:
    """The port of a TensorBoard that has read the sweep."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", sweep, "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not has_read_all(port):
            assert process.poll() is None, "tensorboard ended"
            assert time.monotonic() < deadline, "tensorboard did not read the sweep in a minute"
            time.sleep(0.2)
        yield port
        process.terminate()


@pytest.mark.xdist_group("tensorboard")
def test_every_job_is_a_row_with_its_settings_and_metrics(server: int, sweep: Path) -> None:
    columns = [{"metric": metric["name"]} for metric in query(server, "experiment")["metricInfos"]]
    assert [column["metric"]["tag"] for column in columns[:2]] == ["Objective/best val/mse", "Objective/val/mse"]
    answer = query(server, "session_groups", allowedStatuses=STATUSES, sliceSize=100, startIndex=0, colParams=columns)
    rows = {group["name"]: group for group in answer["sessionGroups"]}
    assert len(rows) == JOBS
    for job, (model, seed) in enumerate([("means", 0), ("means", 1), ("biased_mf", 0), ("biased_mf", 1)]):
        row = rows[f"{job}/tb/model={model} seed={seed}"]
        assert (row["hparams"]["model"], row["hparams"]["seed"]) == (model, seed)
        assert [session["status"] for session in row["sessions"]] == ["STATUS_SUCCESS"]
        values = {cell["name"]["tag"]: cell["value"] for cell in row["metricValues"]}
        metrics = read_metrics(sweep / str(job))["metrics"]
        assert values["Objective/best val/mse"] == pytest.approx(metrics["val/mse"], rel=1e-6)
        assert values["test/mse"] == pytest.approx(metrics["test/mse"], rel=1e-6)


@pytest.mark.xdist_group("tensorboard")
def test_the_columns_are_what_varies(server: int) -> None:
    """The loss is always one: of these two models only one has it."""
    settings = {info["name"]: info for info in query(server, "experiment")["hparamInfos"]}
    assert set(settings) == {"model", "loss", "seed"}
    assert sorted(settings["model"]["domainDiscrete"]) == ["biased_mf", "means"]
    assert settings["seed"]["differs"]
