"""`recsweep report DIR`: compares a folder of runs in tables and on one HTML page."""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from recsweep.errors import UserError
from recsweep.terminal import cell, print_line

if TYPE_CHECKING:
    from recsweep.report.read import Run

MAX_SUFFIX = 80
"""Letters of a configuration's name in the name of a file."""

USAGE = """\
usage: recsweep report DIR [baseline=NAME | compare=A,B]

Compares the runs found at any depth below DIR: the effect of every swept
setting, and every configuration with its 95 % interval and a paired test
against the baseline, over users and seeds. Prints the tables, and writes into
DIR:

  report.html     the table and plots, in one file that needs no network
  runs.csv        a row a run: what differs between the runs, every metric,
                  seconds, status; also runs.parquet
  comparison.csv  a row for each configuration and metric: mean, deviation, 95 %
                  interval, test against the baseline
  effects.csv     a row for each swept setting and pair of its values:
                  difference, 95 % interval, test

  baseline=NAME   a model (means) or a configuration as the table names it
                  ("svdpp dropout=0.1"), in place of the simple model that is
                  best on validation; writes report_NAME.html and
                  comparison_NAME.csv
  compare=A,B     these two configurations alone: their difference, who gains
                  and who loses by it, and examples; A and B are numbers of jobs
                  as the plots show them, configurations or models; writes
                  report_A_vs_B.html and nothing else

examples:
  recsweep report outputs/multirun/DATE_TIME baseline=means
  recsweep report outputs/multirun/DATE_TIME compare=3,7"""


def run(arguments: list[str]) -> None:
    """`report DIR [baseline=NAME | compare=A,B]`; `UserError` for any other argument."""
    if any(argument in ("-h", "--help") for argument in arguments):
        print(USAGE)
        return
    folders = [argument for argument in arguments if "=" not in argument or Path(argument).is_dir()]
    options: dict[str, str] = {}
    for argument in arguments:
        key, _, name = argument.partition("=")
        if argument in folders:
            continue
        if key not in ("baseline", "compare") or not name:
            raise UserError(f"report: {argument}: the only options are baseline=NAME and compare=A,B")
        if key in options:
            raise UserError(f"report: {key}= stands twice")
        options[key] = name
    if len(folders) != 1:
        raise UserError(
            f"report: wants one folder of runs, got {len(folders)}; recsweep report DIR [baseline=NAME | compare=A,B]"
        )
    if len(options) > 1:
        raise UserError("report: baseline= and compare=: choose one of them")
    if "compare" in options:
        compare(Path(folders[0]), options["compare"])
    else:
        report(Path(folders[0]), options.get("baseline"))


def report(folder: Path, baseline: str | None) -> Path:
    """Prints the comparison of the runs below `folder`, writes it and the page there, and returns the page's path."""
    # Importing pandas and scipy takes a second, matplotlib another: neither `--help` nor a mistake waits for them.
    from recsweep.report.collect import collect

    runs = collect(folder)
    from recsweep.report import console, export, html
    from recsweep.report.answers import HOW_TO_READ, describe_missing_baseline
    from recsweep.report.comparisons import best_runs, comparisons, train_command
    from recsweep.report.doubts import find_doubts
    from recsweep.sweeps.request import REQUEST_FILE

    results = comparisons(runs, baseline)
    suffix = "" if baseline is None else f"_{_make_suffix(baseline)}"
    path = folder / f"report{suffix}.html"
    # Before anything is printed: a reader such as `head` may close the pipe.
    export.write(folder, runs, results, suffix)
    importances, edges, is_log = _describe_search(folder)
    html.write(path, runs, results, suffix, importances, edges, is_log)
    screen = Console()
    for comparison in results:
        console.print_comparison(screen, comparison, find_doubts(comparison, runs, edges))
        hint = describe_missing_baseline(comparison, runs.runs)
        if hint.sentence:
            screen.print(cell(hint.sentence))
        if hint.command:
            print_line(f"  {hint.command}")
        rerun = _repeat_from_record(best_runs(comparison, runs.runs)[0]) or train_command(comparison, runs.runs)
        print_line(f"The best again: {rerun}")
        screen.print()
    if results:
        print_line(HOW_TO_READ)
    if importances:
        shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in importances.items())
        print_line(f"Importance of the searched settings on validation: {shares}")
    console.print_incomplete_runs(screen, runs)
    if (folder / REQUEST_FILE).is_file():
        _print_missing_jobs(folder, len(runs.runs))
    print_line(f"Report: {path}")
    return path


def compare(folder: Path, text: str) -> Path:
    """Prints two configurations against each other, writes the page of the pair, and returns its path."""
    from recsweep.commands.compare import find_examples
    from recsweep.report.collect import collect
    from recsweep.report.comparisons import comparisons
    from recsweep.report.pair import find_pair
    from recsweep.report.pair_page import print_pair, write_pair

    runs = collect(folder)
    pair = find_pair(text, runs, comparisons(runs, None))
    examples, why_none = find_examples(pair, runs)
    path = folder / f"report_{'_vs_'.join(map(_make_suffix, pair.names))}.html"
    write_pair(path, runs, pair, examples, why_none)
    print_pair(Console(), pair, examples, why_none)
    print_line(f"Report: {path}")
    return path


def _make_suffix(name: str) -> str:
    """The name of a configuration as a part of the name of a file."""
    return re.sub(r"[^\w.=-]+", "_", name)[:MAX_SUFFIX]


def _describe_search(folder: Path) -> tuple[Mapping[str, float], Sequence[str], Mapping[str, bool]]:
    """As `sweeps.insight.Insight`; empty where there is no search."""
    if not (folder / "study.db").is_file():
        return {}, [], {}
    from recsweep.sweeps.insight import describe_search  # Optuna takes a second to import

    return describe_search(folder)


def _print_missing_jobs(sweep: Path, n_started: int) -> None:
    """One line where jobs of the sweep have not started, or where its sweep.json does not say."""
    from recsweep.sweeps.request import read_request

    try:
        request = read_request(sweep)
    except UserError as error:
        print_line(str(error))
        return
    n_missing = len(request.records) - n_started
    if request.search is None and n_missing > 0:
        print_line(f"{n_missing} jobs of this sweep have not started: recsweep train sweep.resume={sweep} runs them")


def _repeat_from_record(run: "Run") -> str | None:
    """The command that repeats the run from its record, where its files in --config-dir say something else today."""
    if run.config_dir is None:
        return None
    from recsweep.runs.record import read_record
    from recsweep.runs.recorded import Recorded

    try:
        drift = Recorded(f"run={run.folder}", read_record(run.folder)).drift()
    except UserError:
        return None
    command = shlex.join(["recsweep", "train", f"run={run.folder}", f"seed={run.config.get('seed')}"])
    return f"{command}    # {drift}" if drift else None
