"""MaskGIT's VQGAN: codes by brute force, gradients straight through, blocks by the formula, and its size."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from stages.networks.maskgit_vqgan import MaskGITVQGAN, MaskGITVQGANConfig, Quantiser
from stages.networks.vq_tokenizer import load_tokenizer
from weights.manifest import CheckpointError

SMALL = MaskGITVQGANConfig(16, 4, (1, 1, 2), 2, groups=2, n_codes=9, code=3)


@pytest.fixture
def network():
    torch.manual_seed(0)
    made = MaskGITVQGAN(SMALL).eval()
    torch.nn.init.normal_(made.quantizer.embedding.weight)
    return made


def test_nearest_codes_are_those_of_brute_force():
    torch.manual_seed(0)
    quantiser, vectors = Quantiser(50, 7), torch.randn(3, 7, 4, 5) / 30
    rows, codes = vectors.permute(0, 2, 3, 1).numpy(), quantiser.embedding.weight.detach().numpy()
    wanted = ((rows[..., None, :] - codes) ** 2).sum(-1).argmin(-1)
    np.testing.assert_array_equal(quantiser.nearest(vectors), wanted)
    found = quantiser.vectors(quantiser.nearest(vectors))
    np.testing.assert_array_equal(quantiser.nearest(found), wanted)
    assert torch.equal(quantiser(found)[0].detach(), found.detach())


def test_gradients_go_straight_through_and_each_error_moves_its_side():
    torch.manual_seed(0)
    quantiser, vectors = Quantiser(5, 3), torch.randn(2, 3, 4, 4, requires_grad=True)
    pull = torch.randn(2, 3, 4, 4)
    through, to_codes, to_vectors = quantiser(vectors)
    assert torch.equal(torch.autograd.grad((through * pull).sum(), vectors, retain_graph=True)[0], pull)
    codes = quantiser.embedding.weight
    assert torch.autograd.grad(to_codes, (vectors, codes), retain_graph=True, allow_unused=True)[0] is None
    assert torch.autograd.grad(to_vectors, (vectors, codes), allow_unused=True)[1] is None
    torch.testing.assert_close(to_codes, functional.mse_loss(quantiser.vectors(quantiser.nearest(vectors)), vectors))


def test_the_shortcut_reads_what_the_block_computed(network):
    block = network.encoder.down[2].block[0]
    values = torch.randn(2, 4, 4, 4)
    hidden = functional.silu(functional.group_norm(values, 2, block.norm1.weight, block.norm1.bias))
    hidden = functional.conv2d(hidden, block.conv1.weight, padding=1)
    hidden = functional.silu(functional.group_norm(hidden, 2, block.norm2.weight, block.norm2.bias))
    hidden = functional.conv2d(hidden, block.conv2.weight, padding=1)
    torch.testing.assert_close(block(values), hidden + functional.conv2d(hidden, block.nin_shortcut.weight))
    assert block.conv1.bias is None and network.decoder.up[0].upsample.conv.bias is not None
    same = network.encoder.down[0].block[0]
    assert same.nin_shortcut is None


def test_sides_halve_and_double(network):
    assert SMALL.side == 4
    codes = network.encode(torch.rand(2, 3, 16, 16))
    assert codes.shape == (2, 4, 4) and network.decode(codes).shape == (2, 3, 16, 16)
    pictures, to_codes, to_vectors = network(torch.rand(2, 3, 16, 16))
    assert pictures.shape == (2, 3, 16, 16) and to_codes > 0 and to_vectors > 0


def test_published_size_and_names():
    with torch.device("meta"):
        published = MaskGITVQGAN(MaskGITVQGANConfig())
    assert published.config.side == 16
    assert sum(one.numel() for one in published.parameters()) == 54_515_587
    names = set(published.state_dict())
    assert {
        "encoder.conv_in.weight",
        "encoder.down.4.block.0.nin_shortcut.weight",
        "encoder.mid.1.conv2.weight",
    } <= names
    assert {"decoder.up.0.upsample.conv.bias", "decoder.up.4.block.1.norm2.bias", "quantizer.embedding.weight"} <= names
    assert "encoder.down.0.downsample.conv.weight" not in names and "decoder.up.4.upsample.conv.weight" not in names


def test_a_tokeniser_reads_its_folder_or_that_of_diffusers(network, tmp_path):
    from diffusers import VQModel

    network.save_pretrained(tmp_path / "own" / "vq")
    down, up = ("DownEncoderBlock2D",) * 2, ("UpDecoderBlock2D",) * 2
    sizes = {"block_out_channels": (4, 8), "layers_per_block": 1, "latent_channels": 3, "norm_num_groups": 2}
    torch.manual_seed(0)
    other = VQModel(
        down_block_types=down, up_block_types=up, num_vq_embeddings=6, vq_embed_dim=3, sample_size=8, **sizes
    ).eval()
    other.save_pretrained(tmp_path / "diffusers" / "vae")
    with torch.no_grad():
        for folder, size, n_codes, side in ((tmp_path / "own", 16, 9, 4), (tmp_path / "diffusers", 8, 6, 4)):
            tokenizer = load_tokenizer(folder)
            assert (tokenizer.size, tokenizer.n_codes, tokenizer.side) == (size, n_codes, side)
            pixels = torch.rand(2, 3, size, size)
            codes = tokenizer.encode(pixels)
            assert codes.shape == (2, side**2) and 0 <= codes.min() and codes.max() < n_codes
            assert tokenizer.decode(codes).shape == pixels.shape
            assert torch.equal(tokenizer.encode_together(pixels), codes)
        latents = other.encode(2 * pixels - 1).latents
        wanted = (other.decode(latents).sample + 1) / 2
        torch.testing.assert_close(tokenizer.decode(codes), wanted, atol=1e-5, rtol=1e-5)
    (tmp_path / "own" / "vq" / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="is damaged"):
        load_tokenizer(tmp_path / "own")
