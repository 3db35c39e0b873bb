"""What Hydra's grammar refuses: the character is named, and what is to be written instead works."""

import shlex
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from shell import recsweep

REPLACEMENTS = {  # by the value that is meant: the character that is refused, and what to write
    "映画.csv": ('"映"', 'data.path="映画.csv"'),
    "résultats": ('"é"', 'data.path="résultats"'),
    "notes (1).csv": ('"("', 'data.path="notes (1).csv"'),
    "lr=0.1.csv": ('"="', 'data.path="lr=0.1.csv"'),
    "a#b": ('"#"', 'data.path="a#b"'),
    "a\u00a0b": (r'"\xa0"', 'data.path="a\u00a0b"'),
    "50%!": ('"!"', 'data.path="50%!"'),
    "data [é].csv": ('"é"', 'data.path="data [é].csv"'),
    "it's": ('"\'"', 'data.path="it\'s"'),
    "a)": ('")"', 'data.path="a)"'),
    "~root/x": ('"~"', 'data.path="~root/x"'),
    'a"b': ("'\"'", r'data.path="a\"b"'),
}

LINES = {
    "data.path=~/r.csv": 'data.path: Hydra does not take "~", nor does the shell replace it there; '
    "write data.path=$HOME/r.csv",
    "data.path=~/é.csv": 'data.path: Hydra does not take "~", nor does the shell replace it there; '
    "write $HOME in its place",
    "seed=0\r": r'seed: Hydra does not take "\r"; take it out: lines of a script end with \n alone',
    "seed=\x1b0": r'seed: Hydra does not take "\x1b"; take it out',
    "seed=0,": "seed=0,: no value after the comma; write values without blanks between them: seed=a,b",
    "1": "1: not of the form key=value; quote a value that holds blanks: 'key=\"a b\"'",
    "é=1": 'é=1: the key cannot hold "é"',
    "a b=1": 'a b=1: the key cannot hold " "',
    "a/=1": "a/=1: the key is not complete",
    "name='a": "name='a: the quote ' has no end",
    "seed=range(1": "seed=range(1: a bracket has no end; as text write 'seed=\"range(1\"'",
    "name=run(1)": "name=run(1): Unknown function 'run'; as text write 'name=\"run(1)\"'",
    "seed=range()": "seed=range(): missing a required argument: 'start'; as text write 'seed=\"range()\"'",
    "name=é,ü": 'name: Hydra does not take "é" unquoted; write \'name="é","ü"\'',
    "name=[é,b]": 'name: Hydra does not take "é" unquoted; write \'name=["é",b]\'',
    "name={b:é}": 'name: Hydra does not take "é" unquoted; write \'name={b:"é"}\'',
}


@pytest.mark.parametrize("value", REPLACEMENTS)
def test_the_character_and_what_to_write(value: str, tmp_path: Path) -> None:
    character, replacement = REPLACEMENTS[value]
    outcome = recsweep(tmp_path, "train", f"data.path={value}")
    line = f"recsweep: data.path: Hydra does not take {character} unquoted; write {shlex.quote(replacement)}\n"
    assert (outcome.status, outcome.err) == (2, line)
    assert OverridesParser.create().parse_override(replacement).value() == value


@pytest.mark.parametrize("override", LINES)
def test_lines(override: str, tmp_path: Path) -> None:
    assert recsweep(tmp_path, "train", override) == (2, "", f"recsweep: {LINES[override]}\n")


def test_brackets_without_end(tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, "train", "name=" + "[" * 3000)
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)


def test_config_dir_with_letters_of_any_kind(tmp_path: Path) -> None:
    experiments = tmp_path / "é, (x)" / "experiment"
    experiments.mkdir(parents=True)
    (experiments / "mine.yaml").write_text("# @package _global_\nseed: -1\n")
    outcome = recsweep(tmp_path, "train", f"--config-dir={experiments.parent}", "experiment=mine")
    assert outcome.err == "recsweep: seed=-1: it should be greater than or equal to 0\n"
