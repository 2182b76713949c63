"""The autoencoder of flattened cortices: what passes its bottleneck, where it is judged, its files and its size."""

import pytest
import torch
from safetensors.torch import save_file
from timm.layers import PatchEmbed
from timm.models.vision_transformer import Block

from stages.ground.errors import InputError
from stages.networks.brain_transformer import plane_waves
from stages.networks.surface_autoencoder import SurfaceAutoencoder, SurfaceEncoder, read_encoder
from weights.manifest import CheckpointError

ENCODER = {"size": 24, "patch_size": 8, "width": 32, "depth": 2, "n_heads": 4}
DECODER = {"bottleneck": 12, "decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}


def autoencoder(**more):
    torch.manual_seed(0)
    return SurfaceAutoencoder(**ENCODER, **DECODER | more).eval()


def test_tokens_vs_timms_vision_transformer():
    network, pictures = autoencoder(), torch.randn(3, 1, 24, 24)
    patches = PatchEmbed(24, 8, 1, 32)
    patches.load_state_dict({f"proj.{name}": value for name, value in network.patch_embed["proj"].state_dict().items()})
    tokens = patches(pictures) + plane_waves(3, 3, 32)
    tokens = torch.cat([network.cls_token.expand(3, -1, -1), tokens], dim=1)
    for own in network.blocks:
        block = Block(32, 4, mlp_ratio=4.0, qkv_bias=True, norm_layer=torch.nn.LayerNorm)
        block.load_state_dict(own.state_dict())
        tokens = block(tokens)
    torch.testing.assert_close(network.encode(pictures), network.norm(tokens), atol=1e-5, rtol=1e-4)
    assert network.encode(pictures).shape == (3, 10, 32)


def test_nothing_but_the_class_token_passes_the_bottleneck():
    network, pictures = autoencoder(), torch.randn(2, 1, 24, 24)
    tokens = network.encode(pictures)
    others = tokens.clone()
    others[:, 1:] += torch.randn(2, 9, 32)
    assert torch.equal(network.decode(others), network.decode(tokens))
    first = tokens.clone()
    first[:, :1] += 1
    assert not torch.allclose(network.decode(first), network.decode(tokens))
    torch.testing.assert_close(network.reconstructed(pictures), network.decode(tokens))


def test_patches_are_put_where_they_were_cut_out():
    """A decoder that says the number of each pixel of each patch puts them in order."""
    network = autoencoder()
    numbers = torch.arange(9 * 64.0).view(1, 9, 64)
    network.decoder_pred = torch.nn.Identity()
    network.decoder_norm = torch.nn.Identity()
    network.decoder_blocks = torch.nn.ModuleList([_Instead(torch.cat([torch.zeros(1, 1, 64), numbers], dim=1))])
    picture = network.decode(torch.zeros(1, 10, 32))[0, 0]
    for row in range(3):
        for column in range(3):
            patch = picture[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            assert torch.equal(patch.flatten(), numbers[0, 3 * row + column])


class _Instead(torch.nn.Module):
    def __init__(self, values):
        super().__init__()
        self.values = values

    def forward(self, tokens):
        return self.values


def test_the_error_is_that_of_the_pixels_inside_the_mask():
    network, pictures = autoencoder(), torch.randn(4, 1, 24, 24)
    mask = torch.rand(24, 24) < 0.4
    found = network.error(pictures, mask)
    inside = (network.reconstructed(pictures) - pictures)[:, 0][:, mask]
    torch.testing.assert_close(found, inside.square().mean())
    outside = (~mask)[None, None].expand(4, 1, -1, -1)
    # What lies outside is seen by the encoder, but the reconstruction is not judged there.
    gradient = torch.autograd.grad(found, network.decoder_pred.weight)[0]
    assert gradient.abs().max() > 0
    decoded = network.reconstructed(pictures).detach().requires_grad_()
    ((decoded - pictures).square() * mask).sum().backward()
    assert not decoded.grad[outside].any()
    # Masks of several subjects: each sample by its own.
    masks = torch.stack([mask, ~mask, mask, mask])[:, None]
    squares = (network.reconstructed(pictures) - pictures).square()
    torch.testing.assert_close(network.error(pictures, masks), squares[masks].mean())


def test_the_encoder_of_a_pretrained_autoencoder_is_read_and_nothing_else(tmp_path):
    pretrained, encoder = autoencoder(), SurfaceEncoder(**ENCODER)
    save_file(pretrained.state_dict(), tmp_path / "model.safetensors")
    read_encoder(encoder, tmp_path)
    pictures = torch.randn(2, 1, 24, 24)
    assert torch.equal(encoder(pictures), pretrained.encode(pictures))
    with pytest.raises(CheckpointError, match="blocks.2"):
        read_encoder(SurfaceEncoder(**{**ENCODER, "depth": 3}), tmp_path)


@pytest.mark.parametrize("sizes", [{"size": 20}, {"patch_size": 0}, {"width": 30}, {"n_heads": 5}])
def test_sizes_that_do_not_fit_are_refused(sizes):
    with pytest.raises(InputError):
        SurfaceEncoder(**{**ENCODER, **sizes})


def test_pictures_of_another_size_are_refused():
    with pytest.raises(InputError, match=r"\(2, 1, 16, 24\)"):
        autoencoder()(torch.zeros(2, 1, 16, 24))


def test_parameters_at_full_size():
    with torch.device("meta"):
        network = SurfaceAutoencoder()
    width, narrow = 1024, 512
    block = {one: 12 * one**2 + 13 * one for one in (width, narrow)}
    encoder = (256 + 1) * width + width + 257 * width + 24 * block[width] + 2 * width
    decoder = (width + 1) * 2048 + (2048 + 1) * narrow + narrow + 257 * narrow + 8 * block[narrow] + 2 * narrow
    assert sum(one.numel() for one in network.parameters()) == encoder + decoder + (narrow + 1) * 256 == 331_470_592
    assert network.n_tokens == 257
