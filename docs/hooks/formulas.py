"""Every metric with its formula, from the docstrings of `recsweep.metrics`."""

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from types import FunctionType

from conf_keys import ARGUMENT
from plain_markdown import escape

MODULES = {
    "rating": "Ratings",
    "ranking": "Rankings",
    "beyond": "Beyond accuracy",
    "calibration": "Calibration",
    "off_policy": "Off-policy estimates",
}
HELPERS = ("ranks", "per_list", "list_mean", "group_by_popularity", "estimates")
"""Functions that are no metric."""


def list_formulas() -> Iterator[str]:
    """A section a module of metrics, with what its arguments are, each function, and the sources."""
    for name, title in MODULES.items():
        module = import_module(f"recsweep.metrics.{name}")
        yield f"## {title}\n"
        yield from _paragraphs(inspect.getdoc(module) or "")
        for function in vars(module).values():
            is_own = isinstance(function, FunctionType) and function.__module__ == module.__name__
            if is_own and function.__name__ not in HELPERS and not function.__name__.startswith("_"):
                yield f"### {function.__name__}\n"
                yield from _paragraphs(inspect.getdoc(function) or "")


def _paragraphs(docstring: str) -> Iterator[str]:
    """A docstring as Markdown, without its examples; arguments as a list."""
    text = re.sub(r"^>>>.*", "", docstring, flags=re.DOTALL | re.MULTILINE)
    for paragraph in text.strip().split("\n\n"):
        head, *_ = paragraph.splitlines()
        if arguments := ARGUMENT.findall(paragraph) if head.endswith(":") else []:
            if head != "Args:":
                yield escape(head) + "\n"
            yield from (f"- `{names}`: {escape(' '.join(text.split()))}" for names, text in arguments)
            rest = re.sub(r"^ {4}.*\n?", "", paragraph.partition("\n")[2], flags=re.MULTILINE)
            yield f"\n{escape(' '.join(rest.split()))}\n"
        else:
            yield escape(" ".join(paragraph.split())) + "\n"
