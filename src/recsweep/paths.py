"""Where the configuration's files are."""

from pathlib import Path


def conf_dir() -> Path:
    """The folder `conf/`: beside the source in a checkout, inside the package when installed from a wheel."""
    package = Path(__file__).parent
    checkout = package.parents[1] / "conf"
    return checkout if checkout.is_dir() else package / "conf"
