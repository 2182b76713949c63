"""Pictures that were shown, and the networks that judge."""

import numpy as np
import pytest
from stand_in_networks import MeanColours, N


@pytest.fixture
def networks():
    return {"evaluation": MeanColours(), "clip": MeanColours()}


@pytest.fixture
def shown():
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (N, 8, 8, 3), dtype=np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)
