"""Text from anywhere on the terminal: titles, ids, names, messages. It is shown, and never acts."""

import re

from rich.console import Console
from rich.text import Text

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Controls (C0, C1), separators of lines, controls of writing direction, and bytes that are no text."""


def escape(text: str) -> str:
    r"""The text in one line, with escapes for the characters that a terminal would obey.

    >>> print(escape("\x1b[2J Amélie 映画 🎬\n"))
    \x1b[2J Amélie 映画 🎬\n
    """
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


def cell(text: str, style: str = "") -> Text:
    """The text for a table of Rich, without markup."""
    return Text(escape(text), style)


def print_line(line: str, *, stderr: bool = False) -> None:
    """Prints a line that the terminal wraps by itself, without markup."""
    Console(stderr=stderr, soft_wrap=True).print(escape(line), markup=False, highlight=False, emoji=False)
