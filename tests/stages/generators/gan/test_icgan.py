"""IC-GAN as a generator: one picture whoever shares its batch, the network's own picture in bytes, hostile input."""

import numpy as np
import pytest
import torch

from stages.generators.gan.icgan import ICGANGenerator
from stages.generators.generator import Item, in_order
from weights import store


@pytest.fixture(scope="module")
def generator():
    return ICGANGenerator.from_pretrained(store.path("tiny-icgan"))


@pytest.fixture(scope="module")
def inputs(generator):
    draws = np.random.default_rng(0)
    values = {name: draws.normal(size=(5, *shape)).astype(np.float32) for name, shape in generator.takes.items()}
    values["instance"] /= np.linalg.norm(values["instance"], axis=1, keepdims=True)
    values["dense"] *= 0.1
    return values


def drawn(generator, values, **options):
    items = [Item(f"s{row}") for row in range(len(values["instance"]))]
    return np.stack(in_order(generator.draw(values, items, **options))).astype(int)


def test_a_picture_is_the_networks_output_in_grey_levels(generator, inputs):
    with torch.no_grad():
        output = generator.network(*(torch.from_numpy(inputs[name]) for name in ("noise", "instance", "dense")))
    expected = (output.numpy().transpose(0, 2, 3, 1).astype(np.float64) + 1) / 2 * 255
    pictures = drawn(generator, inputs)
    assert pictures.shape == (5, 64, 64, 3)
    assert np.abs(pictures - expected).max() <= 1 and np.abs(pictures - expected).mean() < 0.3


def test_each_input_matters(generator, inputs):
    usual = drawn(generator, inputs)
    for name in inputs:
        others = inputs | {name: inputs[name][::-1]}
        assert np.abs(usual - drawn(generator, others)).mean() > 1, name
    assert np.abs(usual - drawn(generator, inputs | {"dense": None})).mean() > 1
