"""Networks that look at searched pictures: each sees in a picture what its target says of it, and maps may be searched over."""

import numpy as np
import pytest
import torch
from random_vgg19 import SMALL_GENERATORS, generator, save_vgg19, spreads, vgg19

from stages.generators.generator import Item
from stages.ground.errors import InputError
from stages.inverters.looks import Look
from stages.inverters.network_looks import instance_look, layers_look, published_spreads
from stages.inverters.picture_search_settings import PictureSearchSettings
from stages.inverters.searched_pictures import PictureSearch
from stages.networks.deepsim_bounds import read_bounds
from stages.targets.instance_features import InstanceFeatures
from weights import store


def test_vgg19_is_told_by_its_layers_and_its_spreads_are_read(tmp_path):
    network = save_vgg19(tmp_path)
    look = layers_look(tmp_path, ("conv2_2", "fc7"))
    pictures = 50 * torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(look(pictures)["vgg19_fc7"], network(pictures, ("fc7",))["fc7"])
    found, usual = published_spreads(tmp_path, look), spreads(network)
    assert found.keys() == {"vgg19_conv2_2", "vgg19_fc7"}
    np.testing.assert_allclose(found["vgg19_conv2_2"], usual["conv2_2"])
    assert layers_look(tmp_path, ("fc7",), variant="leaky").takes == {"vgg19_leaky_fc7": (8,)}
    with pytest.raises(InputError, match="expected layers of VGG19.*or of the evaluation network"):
        layers_look(tmp_path, ("fc7", "maps1"))


def test_instance_features_of_greys_are_those_of_the_target():
    folder = store.path("tiny-clip")
    pictures = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    greys = torch.from_numpy(pictures).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        found = instance_look(folder)(greys)["instance"]
    np.testing.assert_allclose(found, InstanceFeatures.from_pretrained(folder).encode(pictures), atol=1e-5)


@pytest.mark.parametrize("layout", ["pool5", "relu", "norm2", "norm1"])
def test_the_input_of_any_generator_is_searched_over(layout, tmp_path):
    """Maps have the generator's own shape, keep to bounds of values or of channels, and what they were drawn from is found."""
    network, draws = vgg19(), generator(config=SMALL_GENERATORS[layout])
    shape = draws.config.shape
    (tmp_path / "bounds.txt").write_text(" ".join(["3"] * shape[0]))
    settings = PictureSearchSettings(steps=60, learning_rate=0.3, decay=0.0, scaling="none", start="zeros")
    look = Look(network, ("conv2_2", "fc7"), prefix="vgg19_")
    searching = PictureSearch([look], draws, settings, bounds=read_bounds(tmp_path / "bounds.txt", shape))
    true = 3 * torch.rand(1, *shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = look(searching.space.middle(draws(true)))
    found, losses = searching.search({name: values.numpy() for name, values in wanted.items()}, [Item("a")])
    assert found.shape == (1, 3, draws.config.picture, draws.config.picture)
    assert losses[0][-1] < 0.5 * losses[0][0]
