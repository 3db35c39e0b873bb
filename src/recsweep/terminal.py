"""Text from anywhere on the terminal: titles, ids, names, messages. It is shown, and never acts."""

import logging
import re
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

T = TypeVar("T")
PATIENCE, LINE_EVERY = 3, 30  # seconds until a progress bar appears, and between lines off a terminal

log = logging.getLogger(__name__)
logging.raiseExceptions = False  # on a full disk each message that run.log cannot take would print a traceback

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


def format_number(value: float) -> str:
    """Four decimals; four significant digits for what is very small or large.

    >>> format_number(0.050675431838879466), format_number(0.00012345), format_number(123456.7), format_number(0.0)
    ('0.0507', '0.0001234', '1.235e+05', '0.0000')
    """
    return f"{value:.4f}" if value == 0 or 0.01 <= abs(value) < 10_000 else f"{value:.4g}"


@contextmanager
def announce(text: str) -> Iterator[None]:
    """Shows the text while the block runs, if stderr is a terminal: what takes seconds should not look like nothing."""
    if not sys.stderr.isatty():
        yield
        return
    sys.stderr.write(f"{text}\r")
    sys.stderr.flush()
    try:
        yield
    finally:
        sys.stderr.write("\x1b[2K\r")
        sys.stderr.flush()


def show_progress(parts: Iterable[T], size: Callable[[T], int], total: int, text: str, done: int = 0) -> Iterator[T]:
    """The same parts, one after another; shows on stderr how far they are, if they take long.

    On a terminal a bar, from the third second on; off it a line every half minute.

    Args:
        size: how much a part is of `total`.
        text: what is counted, such as "users".
        done: how much of `total` was done before.
    """
    start = shown = time.monotonic()
    columns = (TextColumn(text), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(text, total=total, completed=done, visible=False)
        for part in parts:
            yield part
            done, now = done + size(part), time.monotonic()
            bar.update(task, completed=done, visible=now - start > PATIENCE)
            if bar.disable and now - shown > LINE_EVERY:
                shown = now
                print_line(f"{done:,} of {total:,} {text}, {now - start:.0f} s", stderr=True)


def send_logs_to_file() -> None:
    """Keeps messages of libraries off the terminal, which is for progress and results: they go to run.log."""
    logging.captureWarnings(True)
    warnings.filterwarnings("ignore", ".* is deprecated", FutureWarning, r"lightning\.")  # its own use of torch
    threading.excepthook = _log_thread_error
    for name in ("hydra", "lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
        logging.getLogger(name).setLevel(logging.WARNING)  # below are hardware, adverts, the next job


def _log_thread_error(thread: threading.ExceptHookArgs) -> None:
    """For what ends TensorBoard's thread; its next call raises the same error in the main thread."""
    if isinstance(thread.exc_value, OSError):
        log.info("A thread ended.", exc_info=thread.exc_value)
    else:
        threading.__excepthook__(thread)
