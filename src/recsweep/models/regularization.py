"""The regularisers that models share, with their ranges; the configuration is checked without loading torch."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Strength = Annotated[float, Field(ge=0)]


class Regularization(BaseModel):
    """Values of `conf/regularization`; each family uses those that apply to it."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)
    dropout: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Strength
    l2: Strength
    l2_bias: Strength
    rating_noise: Strength
    embedding_noise: Strength
    augmentation: Strength


def regularizers_but(*used: str) -> tuple[str, ...]:
    """What `RecModule.ignores` says of a model that knows only the regularisers `used`."""
    return tuple(f"regularization.{name}" for name in Regularization.model_fields if name not in used)
