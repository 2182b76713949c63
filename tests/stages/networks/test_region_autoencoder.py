"""LEA's autoencoder of regions: its tokens written out, what is dropped, its published sizes, and what it begins with."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from stages.ground.errors import InputError
from stages.networks.masked_brain import MaskedBrainAutoencoder
from stages.networks.region_autoencoder import ERROR, RegionAutoencoder, begin_from, dropped

SMALL = {"width": 16, "depth": 1, "n_heads": 2, "decoder_width": 8, "decoder_depth": 1, "n_tokens": 3}
REGIONS = [[4, 0, 6], [1, 2], [3, 5]]
# Of GOD, counted from the masks: voxels of each group, by subject.
GOD = [
    [1004, 801, 476, 588, 431, 249, 157, 760],
    [757, 727, 603, 416, 372, 124, 576, 829],
    [872, 826, 605, 630, 770, 262, 306, 372],
    [719, 652, 676, 597, 494, 236, 308, 451],
    [659, 676, 649, 729, 661, 301, 246, 449],
]


def network(**changes):
    torch.manual_seed(0)
    return RegionAutoencoder(7, {"latent": (5,)}, REGIONS, **SMALL, **changes)


def test_tokens_are_a_convolution_and_a_layer_of_each_region():
    own, patterns = network().eval(), torch.randn(2, 7)
    tokens = own.patch_embed(patterns[:, own.order])
    for place, region in enumerate(REGIONS):
        convolution, layer = own.patch_embed.layers[place]
        line = nn.functional.conv1d(patterns[:, None, region], convolution.weight, convolution.bias, padding=1)
        torch.testing.assert_close(tokens[:, 3 * place : 3 * place + 3], layer(line))


def test_voxels_come_back_to_their_places():
    own = network().eval()
    latents = torch.randn(2, 5)
    found = own.decode(latents)
    tokens = own.decoder_embed(latents)[:, None]
    tokens = torch.cat([tokens, own.mask_token.expand(2, 9, -1)], dim=1) + own.decoder_pos_embed
    for block in own.decoder_blocks:
        tokens = block(tokens)
    tokens = own.decoder_norm(tokens)[:, 1:]
    for place, region in enumerate(REGIONS):
        line = own.decoder_pred(own.channel_mapper[place](tokens[:, 3 * place : 3 * place + 3]))[:, 0]
        torch.testing.assert_close(found[:, region], line)


def test_what_is_dropped_is_in_the_input_alone():
    patterns = torch.rand(400, 103) + 1
    torch.manual_seed(0)
    found = dropped(patterns, 0.25)
    assert ((found == 0).sum(dim=1) == int(0.25 * 103)).all()
    assert torch.equal(found[found != 0], patterns[found != 0])
    shares = (found == 0).float().mean(dim=0)
    assert (shares - 25 / 103).abs().max() < 4.5 * np.sqrt(0.25 * 0.75 / 400)
    own = network()
    given = torch.rand(6, 7) + 1
    before = given.clone()
    torch.manual_seed(1)
    outputs = own.train()(given)
    assert torch.equal(given, before)
    torch.testing.assert_close(outputs[ERROR] + given, own.decode(outputs["latent"]))
    torch.manual_seed(1)
    torch.testing.assert_close(outputs["latent"], own.encode(dropped(given, 0.25)))
    torch.testing.assert_close(own.eval()(given)["latent"], own.encode(given))


def test_published_sizes_and_names():
    counted = []
    for sizes in GOD:
        ends = np.cumsum([0, *sizes])
        regions = [list(range(*pair)) for pair in zip(ends, ends[1:])]
        with torch.device("meta"):
            published = RegionAutoencoder(sum(sizes), {"latent": (1024,)}, regions)
        counted.append(sum(one.numel() for one in published.parameters()))
    assert [sum(sizes) for sizes in GOD] == [4466, 4404, 4643, 4133, 4370]
    assert counted[1] == 172_616_597
    # A voxel has a column of each region's two layers, and a bias of one: 1024 + 512 + 1.
    assert [one - counted[1] for one in counted] == [1537 * (sum(sizes) - 4404) for sizes in GOD]
    names = set(published.state_dict())
    assert {"patch_embed.layers.7.0.weight", "patch_embed.layers.0.1.bias", "cls_token", "pred.weight"} <= names
    assert {"channel_mapper.3.0.weight", "decoder_pred.weight", "decoder_blocks.7.mlp.fc2.bias", "mask_token"} <= names
    assert "blocks.23.attn.qkv.weight" in names and "order" not in names
    assert published.pos_embed.shape == (1, 257, 1024) and not published.pos_embed.requires_grad


def test_it_begins_with_what_fits_of_a_pretrained_encoder(tmp_path):
    sizes = {"width": 16, "depth": 1, "n_heads": 2, "decoder_width": 8, "decoder_depth": 1, "decoder_heads": 2}
    torch.manual_seed(3)
    pretrained = MaskedBrainAutoencoder(64, patch_size=4, **sizes)
    save_file(pretrained.state_dict(), tmp_path / "model.safetensors")
    own = network()
    before = {name: value.clone() for name, value in own.state_dict().items()}
    begin_from(own, tmp_path)
    assert torch.equal(own.cls_token, pretrained.cls_token) and torch.equal(own.norm.weight, pretrained.norm.weight)
    assert torch.equal(own.blocks[0].attn.qkv.weight, pretrained.blocks[0].attn.qkv.weight)
    for name in ("pos_embed", "patch_embed.layers.0.0.weight", "pred.weight", "decoder_embed.weight"):
        assert torch.equal(own.state_dict()[name], before[name]), name
    save_file({"other": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="has the name and the shape of a part of the autoencoder"):
        begin_from(own, tmp_path)


@pytest.mark.parametrize("regions", [[[0, 1, 2], [3, 4, 5]], [[0, 1, 2, 3], [3, 4, 5, 6]], [[0, 1, 2, 3, 4, 5, 7]]])
def test_every_voxel_has_to_be_in_one_region(regions):
    with pytest.raises(InputError, match="expected every voxel in one region"):
        RegionAutoencoder(7, {"latent": (5,)}, regions, **SMALL)
