"""`recsweep report DIR`: a folder of runs as tables, and as one HTML page."""

from pathlib import Path

from rich.console import Console

from recsweep.errors import UserError

USAGE = """\
recsweep report DIR [baseline=NAME]

Compares the runs found at any depth below DIR: mean, 95 % interval, paired test against the baseline.
Prints the table, and writes into DIR:

  report.html     the table and plots, in one file that needs no network
  runs.csv        a row a run: what differs between the runs, every metric, seconds, status; also runs.parquet
  comparison.csv  a row a configuration and metric: mean, deviation, 95 % interval, test against the baseline

  baseline=NAME   a model (means) or a configuration as the table names it ("svdpp dropout=0.1");
                  without it, the first simple model among the runs"""


def run(words: list[str]) -> None:
    """`report DIR [baseline=NAME]`; `UserError` for a word that is neither a folder nor a known option."""
    if any(word in ("-h", "--help") for word in words):
        print(USAGE)
        return
    folders = [word for word in words if "=" not in word or Path(word).is_dir()]
    baseline = None
    for word in words:
        key, _, name = word.partition("=")
        if word in folders:
            continue
        if key != "baseline" or not name:
            raise UserError(f"report: {word}: the one option is baseline=NAME")
        baseline = name
    if len(folders) != 1:
        raise UserError(f"report: wants one folder of runs, got {len(folders)}; recsweep report DIR [baseline=NAME]")
    report(Path(folders[0]), baseline)


def report(folder: Path, baseline: str | None) -> Path:
    """Print the comparison of the runs below `folder`, write it and the page there, and return the page's path."""
    # Loading pandas, scipy and matplotlib takes a second that `--help` need not wait for.
    from recsweep.report import console, export, html
    from recsweep.report.collect import collect
    from recsweep.report.comparisons import command, comparisons
    from recsweep.sweeps import jobs

    runs = collect(folder)
    found = comparisons(runs, baseline)
    path = folder / "report.html"
    export.write(folder, runs, found)  # before anything is shown: whoever reads along may leave, as `head` does
    html.write(path, runs, found)
    screen = Console()
    for comparison in found:
        console.show(screen, comparison)
        again = command(comparison, runs.runs)
        screen.print(f"The best again: {again}\n", markup=False, highlight=False, soft_wrap=True)
    console.show_broken(screen, runs)
    if (folder / jobs.ASKED).is_file():
        to_come = len(jobs.asked_before(folder).jobs) - len(runs.runs)
        if to_come > 0:
            line = f"{to_come} jobs of this sweep have not begun: recsweep train sweep.resume={folder} makes them"
            screen.print(line, markup=False, highlight=False, soft_wrap=True)
    screen.print(f"Report: {path}", markup=False, highlight=False, soft_wrap=True)
    return path
