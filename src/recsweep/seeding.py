"""Where every random generator comes from: nothing in the project draws from torch's global state."""

import numpy as np
import torch
from torch import Generator


def generator(*key: int, device: torch.device | str = "cpu") -> Generator:
    """A generator whose stream is fixed by the whole key, for example (seed, epoch).

    Keys that differ in one number give independent streams (NumPy's `SeedSequence`).

    Raises:
        ValueError: a number is negative.

    >>> bool((torch.rand(3, generator=generator(0, 1)) == torch.rand(3, generator=generator(0, 1))).all())
    True
    >>> bool((torch.rand(3, generator=generator(0, 1)) == torch.rand(3, generator=generator(1, 0))).any())
    False
    """
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    return Generator(device).manual_seed(int(state >> np.uint64(1)))
