"""Overrides such as `model=ease`, as Hydra's grammar reads them."""

from collections.abc import Sequence

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from recsweep.config import check_choices, describe_error, initialize_hydra
from recsweep.errors import UserError


def parse_overrides(overrides: Sequence[str]) -> list[Override]:
    """The overrides as Hydra parses them; `UserError` for the first one that it does not."""
    with initialize_hydra():
        choices = GlobalHydra.instance().config_loader()  # for sweeps such as experiment=glob(rating_*)
    try:
        parsed = OverridesParser.create(choices).parse_overrides(list(overrides))
    except HydraException as error:
        raise UserError(describe_error(error)) from None
    check_choices(parsed)
    return parsed


def check_single(overrides: Sequence[str]) -> None:
    """Raises `UserError` for the first override that is wrong, or stands for several values."""
    for override in parse_overrides(overrides):
        if override.is_sweep_override():
            advice = "quote it" if override.is_hydra_override() else "add -m for a sweep, or write a list as [a,b]"
            raise UserError(f"{override.input_line}: several values: {advice}")
