"""Networks that pictures are looked at with: names, sizes, and rectifiers that work in place."""

import pytest
import torch
from random_vgg19 import vgg19

from stages.ground.errors import InputError
from stages.inverters.looks import Look


def test_names_shapes_and_size_are_the_networks():
    look = Look(vgg19(), ["conv2_2", "fc7"], prefix="vgg19_")
    assert look.takes == {"vgg19_conv2_2": (4, 16, 16), "vgg19_fc7": (8,)} and look.size == 32
    assert look.own_names == {"vgg19_conv2_2": "conv2_2", "vgg19_fc7": "fc7"}
    pictures = torch.randn(2, 3, 32, 32)
    expected = vgg19()(pictures, ("fc7", "conv2_2"))
    assert {name: torch.equal(values, expected[name[6:]]) for name, values in look(pictures).items()} == {
        "vgg19_conv2_2": True,
        "vgg19_fc7": True,
    }


def test_rectifiers_in_place_are_refused():
    """What is before them would be read behind them."""
    network = vgg19()
    network.features[3] = torch.nn.ReLU(inplace=True)
    network.features[6] = torch.nn.LeakyReLU(0.2, inplace=True)
    with pytest.raises(InputError, match="2 parts of the network work in place"):
        Look(network, ("conv2_2",))


@pytest.mark.parametrize("layers", [(), ("conv2_2", "conv2_2")])
def test_layers_are_one_or_more_each_once(layers):
    with pytest.raises(InputError, match="expected one or more, each once"):
        Look(vgg19(), layers)


def test_a_layer_that_there_is_not_is_refused():
    with pytest.raises(InputError, match="layer is 'fc9'"):
        Look(vgg19(), ("fc9",))
