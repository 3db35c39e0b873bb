"""Numbers as the report prints them: as many digits as the intervals support."""

from collections.abc import Iterable

import numpy as np

from recsweep.report.crossed import Estimate

DASH = "–"


def choose_digits(estimates: Iterable[Estimate]) -> int:
    """Decimals that show two digits of the median interval; 4 if there are no intervals."""
    widths = [one.half_width for one in estimates if one.half_width > 1e-9 * abs(one.mean)]
    return int(np.clip(1 - np.floor(np.log10(np.median(widths))), 0, 6)) if widths else 4


def format_number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".replace("-", "−") if np.isfinite(value) else DASH


def format_estimate(estimate: Estimate, digits: int) -> str:
    """`0.068 ± 0.012`; without an interval only the mean."""
    if not np.isfinite(estimate.mean):
        return DASH
    return _add_interval(format_number(estimate.mean, digits), estimate, digits)


def format_difference(estimate: Estimate, digits: int) -> str:
    """`+0.007 ± 0.011`; a dash if unknown."""
    if not np.isfinite(estimate.mean):
        return DASH
    return _add_interval(f"{estimate.mean:+.{digits}f}".replace("-", "−"), estimate, digits)


def format_p(p: float, equals: str = "") -> str:
    if np.isnan(p):
        return DASH
    return "< 0.001" if p < 0.001 else f"{equals}{p:.3f}"


def format_integer(value: float) -> str:
    return f"{value:,.0f}" if np.isfinite(value) else DASH


def format_seconds(seconds: float) -> str:
    if not np.isfinite(seconds):
        return DASH
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _add_interval(mean: str, estimate: Estimate, digits: int) -> str:
    return f"{mean} ± {format_number(estimate.half_width, digits)}" if np.isfinite(estimate.half_width) else mean
