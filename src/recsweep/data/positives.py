"""Liked items: the rows of another data set with a rating above a threshold."""

import logging
from dataclasses import dataclass
from typing import ClassVar

from recsweep.data.schema import Interactions, Source, Split
from recsweep.errors import UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Positives:
    """The liked rows of `base`. All its users and items stay, those without liked rows as well.

    Args:
        base: the data set with ratings.
        above: ratings above it count as liked.
    """

    base: Source
    above: float

    ships: ClassVar[tuple[str, ...]] = ()

    @property
    def name(self) -> str:
        return self.base.name

    def ready(self) -> bool:
        return self.base.ready()

    def read(self) -> Interactions:
        """The liked rows in their order; `UserError` if there are none."""
        data = self.base.read()
        liked = (data.rating > self.above).nonzero().flatten()
        if not len(liked):
            low, high = data.rating_scale
            raise UserError(
                f"data.above={self.above} keeps no row of {data.name}: its ratings are between {low} and {high}"
            )
        log.info("%s, data.above=%g: %s → %s rows", data.name, self.above, f"{len(data):,}", f"{len(liked):,}")
        return data.take(liked)

    def parts(self, name: str, data: Interactions) -> Split:
        raise UserError(f"the liked rows of {self.name} ship no split {name}: use split=random, temporal or rows")
