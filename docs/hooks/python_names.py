"""The names that `import recsweep` offers, from their docstrings."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

from conf_keys import ARGUMENT
from plain_markdown import escape

import recsweep
from recsweep.api.given import ScoreFunction
from recsweep.api.tables import Ids

ALIASES: dict[Any, str] = {Ids: "Ids", ScoreFunction: "function"}
MODULES = re.compile(r"\b(?:[a-z_]+\.)+(?=[A-Z])|\bNoneType\b")


def list_names() -> Iterator[str]:
    """A section a name; of a class also its properties and methods."""
    for name in sorted(recsweep.__all__, key=list(recsweep.HOMES).index):
        entry = getattr(recsweep, name)
        if inspect.isfunction(entry):
            yield from _describe(f"recsweep.{name}", entry)
            continue
        yield f"### recsweep.{name}\n"
        yield from describe_docstring(entry)
        if name == "Run":
            members = ((member, value) for member, value in vars(entry).items() if not member.startswith("_"))
            for member, value in members:
                function = getattr(value, "fget", None) or getattr(value, "func", None) or value
                yield from _describe(f"run.{member}", function, is_property=function is not value)


def _describe(name: str, function: Any, is_property: bool = False) -> Iterator[str]:
    yield f"### {name}\n"
    signature = inspect.signature(function)
    arguments = [argument for argument in signature.parameters.values() if argument.name != "self"]
    returns = f" -> {_name_type(signature.return_annotation)}"
    if is_property:
        yield f"```text\n{name}{returns}\n```\n"
    else:
        texts = [_name_type(argument) for argument in arguments]
        keyword_only = [index for index, argument in enumerate(arguments) if argument.kind is argument.KEYWORD_ONLY]
        texts.insert(keyword_only[0] if keyword_only else len(texts), "*" if keyword_only else "")
        yield f"```text\n{name}({', '.join(filter(None, texts))}){returns}\n```\n"
    yield from describe_docstring(function)


def _name_type(annotation: Any) -> str:
    """An annotation or argument as written, without the modules of the types."""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    if isinstance(annotation, inspect.Parameter):
        text = str(annotation)
    text = text.replace("int | str | collections.abc.Iterable[int | str]", "Ids")
    text = text.replace(
        "collections.abc.Callable[[numpy.ndarray, numpy.ndarray], 'np.ndarray | list[float]']", "function"
    )
    return MODULES.sub(lambda match: "None" if match[0] == "NoneType" else "", text)


def describe_docstring(entry: Any) -> Iterator[str]:
    """A docstring as Markdown; arguments, results and errors as lists."""
    for paragraph in (inspect.getdoc(entry) or "").split("\n\n"):
        head, _, rest = paragraph.partition("\n")
        if head.endswith(":") and rest.startswith("    "):
            yield f"{head}\n"
            found = ARGUMENT.findall(paragraph)
            lines = [f"- `{names}`: {escape(' '.join(text.split()))}" for names, text in found]
            yield from lines or [f"- {escape(' '.join(rest.split()))}"]
            yield ""
        else:
            yield escape(" ".join(paragraph.split())) + "\n"
