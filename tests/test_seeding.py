"""Generators depend on the whole key and on nothing else."""

import pytest
import torch

from recsweep.seeding import generator


def test_different_keys_give_different_streams() -> None:
    keys = [(0,), (0, 0), (1,), (1, 0), (0, 1), ("order", 0, 1), ("disturbance", 0, 1), ("order", 1, 0), (2**32 - 1,)]
    draws = {key: tuple(torch.rand(4, generator=generator(*key)).tolist()) for key in keys}
    assert len(set(draws.values())) == len(keys)
    assert all(tuple(torch.rand(4, generator=generator(*key)).tolist()) == draws[key] for key in keys)


@pytest.mark.parametrize("number", [-1, 2**32])
def test_numbers_out_of_range_are_an_error(number: int) -> None:
    with pytest.raises(ValueError, match="allowed are numbers from 0 to 4294967295"):
        generator(0, number)
