"""Random generators from keys, so that no draw depends on torch's global state."""

from typing import TYPE_CHECKING, Annotated
from zlib import crc32

import numpy as np
from pydantic import Field

if TYPE_CHECKING:
    import torch
    from torch import Generator

Seed = Annotated[int, Field(ge=0, lt=2**32)]


def generator(*key: int | str, device: "torch.device | str" = "cpu") -> "Generator":
    """A generator with a stream that depends on the whole key, for example ("order", seed, epoch).

    Different keys, also of different lengths, give independent streams (NumPy's `SeedSequence`). Strings in a key keep
    the uses of one seed apart.

    Raises:
        ValueError: a number outside [0, 2**32).

    >>> import torch
    >>> bool((torch.rand(3, generator=generator(0, 1)) == torch.rand(3, generator=generator(0, 1))).all())
    True
    >>> bool((torch.rand(3, generator=generator(0, 1)) == torch.rand(3, generator=generator(1, 0))).any())
    False
    """
    from torch import Generator  # the configuration needs `Seed` alone, and torch takes a second

    numbers = [crc32(part.encode()) if isinstance(part, str) else part for part in key]
    if not all(0 <= number < 2**32 for number in numbers):
        raise ValueError(f"{key}: allowed are numbers from 0 to {2**32 - 1}")
    # The length goes first because SeedSequence gives (0,) and (0, 0) the same stream.
    state = np.random.SeedSequence((len(numbers), *numbers)).generate_state(1, np.uint64)[0]
    return Generator(device).manual_seed(int(state >> np.uint64(1)))
