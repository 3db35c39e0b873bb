"""What the page says where the pointer is on a mark of a plot: the configuration, its values, its runs' folders."""

from recsweep.report.comparisons import Comparison
from recsweep.report.numbers import choose_digits, format_estimate

MAX_FOLDERS = 6
"""Folders that are named; of the others only the number is."""


def describe_configurations(comparison: Comparison, *metrics: str) -> dict[str, str]:
    """By label: the configuration, its estimates of these metrics, and its runs' folders, a line each.

    Args:
        metrics: as `Comparison.estimates` takes them.
    """
    c = comparison
    estimates = {name: c.estimates(name) for name in dict.fromkeys(metrics)}
    digits = {name: choose_digits(column.values()) for name, column in estimates.items()}
    return {
        label: "\n".join(
            (
                label,
                *(f"{name} {format_estimate(column[label], digits[name])}" for name, column in estimates.items()),
                list_folders(c, label),
            )
        )
        for label in c.labels
    }


def list_folders(comparison: Comparison, label: str) -> str:
    """The folders of a configuration's runs, below that of the report."""
    names = list(comparison.rows(label)["run"])
    more = f", {len(names) - MAX_FOLDERS} more" if len(names) > MAX_FOLDERS else ""
    return f"{'folder' if len(names) == 1 else 'folders'} {', '.join(names[:MAX_FOLDERS])}{more}"
