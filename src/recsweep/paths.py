"""Where the configuration files are."""

from pathlib import Path


def conf_dir() -> Path:
    """The folder `conf/`: next to `src/` in a checkout, inside the package if installed from a wheel."""
    package = Path(__file__).parent
    checkout = package.parents[1] / "conf"
    return checkout if checkout.is_dir() else package / "conf"
