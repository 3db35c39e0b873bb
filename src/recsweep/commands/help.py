"""`--help` of each verb, and the keys of a configuration with the comments of its files. Nothing here loads torch."""

import re
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from textwrap import wrap
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console
from rich.padding import Padding

from recsweep.commands.flags import parse_flags
from recsweep.config import compose_with_hydra, conf_dir
from recsweep.config.files import search_path
from recsweep.terminal import cell

TEXTS = {
    "train": """\
usage: recsweep train [-m] [key=value …]
           one run; with -m a sweep over values separated by commas
       recsweep train [-m] run=DIR key=value …
           the same as an earlier run, but for these keys
       recsweep train run=DIR resume=true
           goes on with an interrupted run
       recsweep train sweep.resume=DIR
           runs the jobs of a sweep that are not completed

  --cfg job            prints the configuration and runs nothing
  --config-dir DIR     a folder with model/, loss/, … of your own
  --hydra-help         more flags, which are Hydra's
  plugins=MODULE,…     with run= or sweep.resume=: modules of your own that its
                       record names
  hydra.run.dir=DIR    where the run goes; hydra.sweep.dir=DIR for a sweep

examples:
  recsweep train model=svdpp data=ml_100k regularization.dropout=0.2
  recsweep train -m model=means,biased_mf,svdpp seed=0,1,2
""",
    "evaluate": """\
usage: recsweep evaluate run=DIR [key=value …]
           metrics on validation and test, from the run's checkpoints
       recsweep evaluate sweep=DIR [key=value …]
           the objective of every completed job, a row a run
       recsweep evaluate sweep=DIR ensemble=seed|all [key=value …]
           the completed jobs averaged, left as a run in DIR that stands in
           its report: seed, the runs of each configuration; all, one ensemble
           of all runs, weighted by validation

  key=value            another protocol, such as evaluation=full_ranking; the
                       rest is as recorded
  --json, --csv        every metric with all digits instead of a table
  --cfg job            prints the configuration and evaluates nothing
  plugins=MODULE,…     modules of your own that the record names

examples:
  recsweep evaluate run=outputs/svdpp/DATE_TIME evaluation=full_ranking
  recsweep evaluate sweep=outputs/multirun/DATE_TIME --csv > metrics.csv
""",
    "recommend": """\
usage: recsweep recommend run=DIR user=ID[,ID…] [k=10] [index=NAME]
           the best items that a user has not seen
       recsweep recommend run=DIR history=FILE [k=10]
           the same for users who were not in training
       recsweep recommend run=DIR users=all to=FILE [k=10]
           those of all users, into a Parquet or CSV file; goes on after a kill

  user=ID,…            ids as in the data set
  history=FILE         their rows, text or Parquet: item and, if there are any,
                       user, rating, timestamp
  k=10                 how many items
  to=FILE              .parquet or .csv, instead of a table
  only=FILE            choose from these items: a file with a column item, or
                       with an id a line
  exclude=FILE         leave these items out
  filter=genres!=Horror,…
                       conditions on labels of item features; all must hold
  diversity=0.3        0 to 1: items like those before them count less
  index=HNSW32         by an approximate index over the run's embeddings/
                       (Flat, HNSW32, IVF64,Flat)
  plugins=MODULE,…     modules of your own that the record names

examples:
  recsweep recommend run=outputs/two_tower/DATE_TIME user=42,7 k=5 index=HNSW32
  recsweep recommend run=outputs/ease/DATE_TIME users=all k=100 to=recs.parquet
""",
    "export": """\
usage: recsweep export run=DIR to=FILE.onnx
           the model with its ids, for onnxruntime and other programs

  to=FILE.onnx         appears once onnxruntime has computed the model's scores
                       from it; a file that is there is replaced
  plugins=MODULE,…     modules of your own that the record names

examples:
  recsweep export run=outputs/svdpp/DATE_TIME to=svdpp.onnx
  recsweep export run=outputs/two_tower/DATE_TIME to=models/towers.onnx
""",
    "data": """\
usage: recsweep data list
           the data sets, and which of them are on disk
       recsweep data prepare data=NAME [key=value …]
           fetches, verifies and summarises one

  key=value            as for train: filter=, split=, data.path=, …
  sequences=DIR        also writes its parts as sequences in Parquet
  max_history=50       the longest history of such a sequence

examples:
  recsweep data prepare data=ml_100k split=leave_last_out
  recsweep data prepare data=table data.path=a.csv data.user=who data.item=what
""",
}

KEY = re.compile(r"(?P<indent> *)(?P<key>\w+):(?P<value>.*)")
GAP = 2
"""Characters between a key and its comment."""
HIDDEN = ("_target_", "_partial_", "_global_")


def run(verb: str, arguments: list[str]) -> None:
    """Prints a verb's help; for `train` also the keys of the configuration that the overrides give."""
    flags = parse_flags(arguments)
    print(TEXTS[verb], end="")
    if verb == "train":
        config_dir = flags.config_dir
        cfg = compose_with_hydra(flags.overrides + search_path(config_dir))
        print("\nkeys of this configuration (add model=NAME, data=NAME, … to see others):\n")
        folders = [conf_dir(), *([Path(config_dir)] if config_dir else [])]
        _print_keys(OmegaConf.to_container(cfg), dict(cfg.hydra.runtime.choices), folders)


def _print_keys(config: Any, choices: Mapping[str, str | None], folders: list[Path]) -> None:
    """The groups with their choices, then each key with its value and its comment."""
    console = Console(highlight=False)
    groups = [path.name for path in sorted(conf_dir().iterdir()) if path.is_dir() and path.name != "hydra"]
    own = {key: node for key, node in config.items() if key not in (*groups, "hydra")}
    _print_settings(console, own, dict(read_comments(conf_dir() / "config.yaml", "")))
    for group in groups:
        names = {path.stem for folder in folders for path in (folder / group).glob("*.yaml")}
        console.print()
        console.print(cell(f"{group}={choices.get(group) or 'null'}", "bold"))
        console.print(Padding(cell(", ".join(sorted(names)), "dim"), (0, 0, 0, 2)))
        files = _files(group, choices.get(group), folders)
        comments = {key: text for file in reversed(files) for key, text in read_comments(file, group)}
        if config.get(group):
            _print_settings(console, {group: config[group]}, comments)


def _print_settings(console: Console, node: Any, comments: Mapping[str, str]) -> None:
    """A line a key, with its comment beside it, or below where the key takes more than half of the width."""
    comment_by_setting = {f"  {key}={show_value(value)}": comments.get(key, "") for key, value in walk_leaves(node, "")}
    width = min(max(map(len, comment_by_setting), default=0), console.width // 2)
    for setting, comment in comment_by_setting.items():
        lines = wrap(comment, console.width - width - GAP)
        beside = lines.pop(0) if lines and len(setting) <= width else ""
        text = cell(setting.ljust(width + GAP) if beside else setting) + cell(beside, "dim")
        console.print(text, *(cell(" " * (width + GAP) + line, "dim") for line in lines), sep="\n", soft_wrap=True)


def _files(group: str, choice: str | None, folders: list[Path]) -> list[Path]:
    """The file of the choice, then the others of its group: a file may take keys from another one."""
    files = list(chain.from_iterable(sorted((folder / group).glob("*.yaml")) for folder in folders))
    return sorted(files, key=lambda path: (path.stem != choice, path.stem != "default"))


def read_comments(path: Path, group: str) -> Iterator[tuple[str, str]]:
    """The dotted keys of a file that have a comment behind their value, with the comment."""
    text = path.read_text(encoding="utf-8")
    parents = [] if text.startswith("# @package _global_") else [group] * bool(group)
    indents: list[tuple[int, str]] = []
    for match in filter(None, map(KEY.fullmatch, text.splitlines())):
        indent = len(match["indent"])
        indents = [*((i, key) for i, key in indents if i < indent), (indent, match["key"])]
        _, separator, comment = match["value"].partition(" #")
        if separator:
            yield ".".join([*parents, *(key for _, key in indents)]), comment.strip()


def walk_leaves(node: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(node, dict) or not node:
        yield prefix.removesuffix("."), node
        return
    for key, value in node.items():
        if key not in HIDDEN:
            yield from walk_leaves(value, f"{prefix}{key}.")


def show_value(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
