"""Figures as SVG of the page."""

import matplotlib as mpl

from recsweep.report.svg import STYLE, add_title, canvas, to_svg


def test_titles_are_text_and_series_have_numbers() -> None:
    with mpl.rc_context(STYLE):
        figure, axes = canvas(300, 200)
        add_title(axes.plot([1], [1], "o"), "a|b \"'<script>&\nfolder 3", series=2)
        add_title(axes.plot([2], [2], "o"), "", series=0)
        add_title(axes.plot([3], [3], "o"), "alone")
        plot = to_svg(figure, "titles")
    assert '<g data-series="2"><title>a|b &#34;&#39;&lt;script&gt;&amp;\nfolder 3</title>' in plot
    assert '<g data-series="0">' in plot and "<g><title>alone</title>" in plot
    assert plot.count("<title>") == 2 and "titled" not in plot
