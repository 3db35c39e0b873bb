"""A broken run among others: the report lists it with a reason and compares the others."""

import json
import shutil
from pathlib import Path

import pytest
from broken_files import BROKEN_JSON, BROKEN_YAML
from run_folders import write_run

from recsweep.report import export, html
from recsweep.report.collect import collect
from recsweep.report.comparisons import comparisons

RECORD = {"status": "completed", "objective": {"name": "val/mse", "value": 1.0, "mode": "min"}}

OTHER_TYPES: dict[tuple[str, str], str] = {
    ("config", "3"): ".hydra/config.yaml: holds a int, not a dict",
    ("config", "[1]"): ".hydra/config.yaml: holds a list, not a dict",
    ("overrides", "3"): ".hydra/overrides.yaml: holds a int, not a list",
    ("hydra", "hydra: 3"): ".hydra/hydra.yaml: Input should be",
    ("hydra", "hydra: {runtime: {choices: [a, b]}}"): ".hydra/hydra.yaml: runtime.choices: Input should be",
    ("hydra", "hydra: {runtime: {choices: {model: [a]}}}"): ".hydra/hydra.yaml: runtime.choices.model: Input should be",
    ("hydra", "hydra: {sweeper: {objectives: 3}}"): ".hydra/hydra.yaml: sweeper.objectives: Input should be",
}

RECORDS = {
    '{"status": "completed"}': "metrics.json: completed, but without an objective",
    "[]": "metrics.json: Input should be",
    '{"status": 3}': "metrics.json: status: Input should be",
    json.dumps({**RECORD, "metrics": {"status": 1.0}}): "metrics.json: metrics.status.[key]: String should match",
    json.dumps(
        {**RECORD, "metrics": {f"val/{n}": 1.0 for n in range(301)}}
    ): "metrics.json: metrics: Dictionary should",
    json.dumps({**RECORD, "n_parameters": 10**40}): "metrics.json: n_parameters: Input should be less than",
    json.dumps({**RECORD, "data": {"n_users": [1]}}): "metrics.json: data.n_users: Input should be",
    json.dumps({**RECORD, "seconds": {"total": "x"}}): "metrics.json: seconds.total: Input should be",
}

ODD = [
    "1: 2",
    "status: a\nregularization: {dropout: 0.1}\ndata: {n_users: 60}",
    "status: a\nrun: 3\nlabel: q\nmodel: 3\nseed: [1, 2]",
    "model: {a: !!set {b, c}}",
    "model: {a: 2020-01-01}",
    "model: {a: !!binary aGVsbG8=}",
    f"model: {{a: {'9' * 40}}}",
    "model: {a: .nan}\nseed: .inf",
]
"""Configurations that no run has, but that can be compared."""


def report_on(folder: Path) -> dict[str, tuple[str, str]]:
    """Status and reason of each run of the folder, and of two whole ones beside them, which are compared."""
    for seed in range(2):
        write_run(folder / f"whole {seed}", f"seed={seed}")
    runs = collect(folder)
    results = comparisons(runs, None)
    export.write(folder, runs, results)
    html.render(runs, results, folder)
    assert len(results[0].table) >= 2
    return {row.run: (row.status, row.reason) for row in runs.table.itertuples()}


def assert_unreadable(folder: Path, file: str, reasons: dict[bytes, str]) -> None:
    """Of many runs in one report, each with one of these contents in this file, every one is listed with its reason."""
    for number, content in enumerate(reasons):
        (write_run(folder / str(number)) / file).write_bytes(content)
    listed = report_on(folder)
    for number, message in enumerate(reasons.values()):
        status, reason = listed[str(number)]
        assert status == "unreadable" and reason.startswith(message)


@pytest.mark.parametrize("name", ["overrides", "config", "hydra"])
def test_broken_yaml_and_other_types(name: str, tmp_path: Path) -> None:
    file = f".hydra/{name}.yaml"
    broken = {content: f"{file}{message}" for content, message in BROKEN_YAML.values()}
    other_types = {content.encode(): message for (of, content), message in OTHER_TYPES.items() if of == name}
    assert_unreadable(tmp_path, file, broken | other_types)


def test_broken_json_and_other_records(tmp_path: Path) -> None:
    broken = {content: f"metrics.json{message}" for content, message in BROKEN_JSON.values()}
    assert_unreadable(tmp_path, "metrics.json", broken | {text.encode(): message for text, message in RECORDS.items()})


@pytest.mark.parametrize("content", ODD)
def test_odd_configurations_are_compared(content: str, tmp_path: Path) -> None:
    (write_run(tmp_path / "7") / ".hydra" / "config.yaml").write_text(content)
    assert report_on(tmp_path)["7"] == ("completed", "")


def test_a_folder_in_the_place_of_a_file(tmp_path: Path) -> None:
    run = write_run(tmp_path / "7")
    shutil.move(run / ".hydra" / "config.yaml", run / "config.yaml")
    (run / ".hydra" / "config.yaml").mkdir()
    assert report_on(tmp_path)["7"] == ("unreadable", ".hydra/config.yaml: not a file")


def test_a_folder_whose_name_is_no_text(tmp_path: Path) -> None:
    write_run(tmp_path / "\udcff")
    assert report_on(tmp_path)[r"\udcff"] == ("completed", "")
