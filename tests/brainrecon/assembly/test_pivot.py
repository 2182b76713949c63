"""Tokens to texts: by the projector of the trained network, whatever stands beside a row."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from brainrecon.assembly.pivot import Pivot
from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.values import Item
from stages.networks.mindtuner import AdaptiveProjector


class Text:
    shape, n_targets = (4,), 4


@pytest.mark.parametrize("n", [1, 130])
def test_each_row_is_the_projection_of_its_tokens(n):
    torch.manual_seed(0)
    network = torch.nn.Module()
    network.network = torch.nn.ModuleDict({"projector": AdaptiveProjector(5, 4)})
    learned = SimpleNamespace(decoder=SimpleNamespace(network=network, gives={"decoded": (3, 5)}))
    step = Pivot(learned, lambda inner: inner["projector"], "likely", "text", TargetSource(Text, ()), like="decoded")
    rows = np.random.default_rng(0).standard_normal((n, 15)).astype(np.float32)
    found = step.run([Item("", str(row)) for row in range(n)], {"likely": rows})["text"]
    matrix = network.network["projector"].weight.detach().numpy()
    np.testing.assert_allclose(found, rows.reshape(n, 3, 5).mean(1) @ matrix, atol=1e-5)
    assert found.dtype == np.float32 and step.targets["text"].target.shape == (4,)
