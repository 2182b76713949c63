"""What is not finite is named, and becomes no grey level."""

import numpy as np
import pytest
import torch

from stages.ground.not_finite import NotFinite, check_rows, finite_rows
from stages.ground.pictures import to_uint8
from stages.networks.latent_space import to_greys

VALUES = np.zeros((4, 3, 2, 2), dtype=np.float32)
VALUES[1, 2, 1, 0], VALUES[3, 0, 0, 0] = np.nan, -np.inf


@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy, lambda values: torch.from_numpy(values).bfloat16()])
def test_rows_that_are_not_finite_are_found(make):
    assert finite_rows(make(VALUES)) == [True, False, True, False]
    assert finite_rows(make(VALUES[:0])) == []
    with pytest.raises(NotFinite) as raised:
        check_rows(make(VALUES))
    assert raised.value.positions == (1, 3)
    check_rows(make(VALUES[::2]))


@pytest.mark.parametrize("to_bytes", [lambda: to_uint8(VALUES), lambda: to_greys(torch.from_numpy(VALUES))])
def test_no_picture_is_made_of_them(to_bytes):
    with pytest.raises(NotFinite):
        to_bytes()


def test_many_names_are_not_all_listed_and_none_twice():
    error = NotFinite.together([NotFinite([k], [f"nsd{k}"], "in float16") for k in (0, 1, 2, 3, 4, 5, 6, 0)])
    said = str(error)
    assert "7 outputs are missing, of nsd0, nsd1, nsd2, nsd3, nsd4 and 2 more: values on their way" in said
    assert said.count("in float16") == 1 and said.count(". ") == 0
