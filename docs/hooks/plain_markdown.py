"""Text, code and tables as Markdown."""

import re
from collections.abc import Iterable, Iterator

CODE_OR_LINK = re.compile(r"(`[^`]*`|https?://[^\s,;)]+[^\s,;:.)])")


def escape(text: str) -> str:
    """Text that means nothing but itself, also in a table; what stands in backticks is code, addresses are links."""
    parts = CODE_OR_LINK.split(text)
    parts[::2] = [re.sub(r"([*_\[\]|<{])", r"\\\1", part) for part in parts[::2]]
    parts[1::2] = [code(part.strip("`")) if part.startswith("`") else f"<{part}>" for part in parts[1::2]]
    return "".join(parts)


def code(text: str) -> str:
    """Text as code, also in a table."""
    return f"`{text}`".replace("|", "\\|")


def table(header: list[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """The lines of a table whose cells are Markdown."""
    yield f"\n| {' | '.join(header)} |"
    yield "|" + " --- |" * len(header)
    yield from (f"| {' | '.join(cells)} |" for cells in rows)
    yield ""
