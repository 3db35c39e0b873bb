"""Liked items: the rows of another data set with a rating above a threshold."""

from dataclasses import dataclass
from typing import ClassVar

from recsweep.data.schema import Interactions, Source, Split
from recsweep.data.sheet import note_once
from recsweep.errors import UserError


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
        note_once(f"{data.name}, data.above={self.above}: {len(data):,} → {len(liked):,} rows")
        return data.take(liked)

    def parts(self, name: str, data: Interactions) -> Split:
        raise UserError(f"the liked rows of {self.name} ship no split {name}: use split=random, temporal or rows")
