"""Figures as SVG in the colours and font of the page around them, dark or light."""

import re
import textwrap
from collections.abc import Iterable
from io import StringIO
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import matplotlib as mpl
import numpy as np
from markupsafe import escape
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

if TYPE_CHECKING:  # older matplotlibs do not have it
    from matplotlib.typing import RcKeyType

# Placeholder colours: matplotlib writes them, `to_svg` replaces them by the page's CSS variables.
INK, MUTED, GRID, ACCENT, ORACLE, PAGE = "#010101", "#020202", "#030303", "#040404", "#050505", "#060606"
SERIES = ("#0a0101", "#0a0202", "#0a0303", "#0a0404", "#0a0505", "#0a0606")
DASHED = (0, (4, 3))
TEXT_BOX = {"facecolor": PAGE, "edgecolor": "none", "alpha": 0.85, "pad": 1.5}
"""Background of text that lines may cross."""
TITLED = "titled|"
"""Begins the ids of artists with a title; then come the series and the title, quoted as in an address."""
MARKERS = ("o", "s", "^", "D", "v", "P")
CSS_VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", ACCENT: "accent", ORACLE: "oracle", PAGE: "page"} | {
    colour: f"series-{number}" for number, colour in enumerate(SERIES)
}
STYLE: "dict[RcKeyType, Any]" = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",  # matplotlib's own measures the text; its list of others would stand in every text
    "font.size": 12,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}


def canvas(width: int, height: int) -> tuple[Figure, Axes]:
    """An empty figure of this size in px: one point of matplotlib is one px of the page."""
    figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    return figure, axes


def shorten(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def wrap(text: str, length: int) -> str:
    """The text in lines of at most `length` letters, broken at spaces where there are any."""
    return "\n".join(textwrap.wrap(text, length, break_on_hyphens=False)) or text


def to_svg(figure: Figure, name: str) -> str:
    """The figure as an `<svg>` element; `name` salts its ids, so that those of several figures on a page differ."""
    out = StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(out, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"\n +<", "\n<", text)
    text = re.sub(r'<g id="([^"]*)">', _write_title, text)
    return re.sub("|".join(CSS_VARIABLES), lambda match: f"var(--{CSS_VARIABLES[match[0]]})", text)


def add_title(artists: Iterable[Artist], text: str, series: int | None = None) -> None:
    """Says what these artists show, where the pointer is on them.

    Args:
        text: empty for none.
        series: the number of the legend's entry that hides and shows them on the page; None without a legend.
    """
    for artist in artists:
        quoted = quote(text, safe="", errors="surrogatepass")
        artist.set_gid(f"{TITLED}{'' if series is None else series}|{quoted}")


def _write_title(group: re.Match[str]) -> str:
    """The start of a group without its id, and with the title that the id holds, as text."""
    if not group[1].startswith(TITLED):
        return "<g>"
    series, _, quoted = group[1].removeprefix(TITLED).partition("|")
    title = escape(unquote(quoted, errors="surrogatepass"))
    start = f'<g data-series="{series}">' if series else "<g>"
    return f"{start}<title>{title}</title>" if title else start


def mark_level(axes: Axes, name: str, level: float, colour: str) -> None:
    """A dashed vertical line with its name on top, within the current x limits; nothing if the level is NaN."""
    if np.isfinite(level):
        axes.axvline(level, color=colour, linewidth=1.2, linestyle=DASHED)
        low, high = axes.get_xlim()
        side = "left" if level < low + (high - low) / 3 else "right" if level > high - (high - low) / 3 else "center"
        annotate(axes, shorten(name, 22), (level, 1), ("data", "axes fraction"), 4, ha=side, color=colour, fontsize=11)


def annotate(
    axes: Axes, text: str, point: tuple[float, float], coordinates: tuple[str, str], above: int, **style: Any
) -> None:
    """Text `above` px over a point, with its x and y in these of matplotlib's coordinate systems."""
    axes.annotate(text, point, xycoords=coordinates, xytext=(0, above), textcoords="offset points", **style)
