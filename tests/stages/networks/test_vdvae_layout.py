import dataclasses

import numpy as np
import pytest
import torch

from stages.ground.errors import InputError
from stages.networks.vdvae import VDVAE
from stages.networks.vdvae_blocks import BlockSpec, match_channels, parse_blocks, parse_widths
from stages.networks.vdvae_presets import PRESETS, VDVAEConfig

SMALL = VDVAEConfig(
    image_size=16,
    encoder_blocks="16x1,16d2,8d2,4d4,1",
    decoder_blocks="1x2,4m1,8m4,8x1,16m8",
    width=8,
    custom_widths="8:12,4:16,1:16",
    latent_channels=3,
    n_mixtures=2,
    no_bias_above=8,
    input_mean=120.0,
    input_std=60.0,
    target_layers=3,
)


# --- the block strings


@pytest.mark.parametrize(
    "text, blocks",
    [
        ("4", [BlockSpec(4)]),
        ("64x3", [BlockSpec(64)] * 3),
        ("64x2,64d2,32x1", [BlockSpec(64), BlockSpec(64), BlockSpec(64, pool=2), BlockSpec(32)]),
        ("1x2, 4m1,4", [BlockSpec(1), BlockSpec(1), BlockSpec(4, source=1), BlockSpec(4)]),
    ],
)
def test_block_strings(text, blocks):
    assert parse_blocks(text) == blocks


@pytest.mark.parametrize("text", ["", "64y2", "64x", "x3", "64x0", "64d2,,32", "-4x1", "64x1.5", "６４x1z"])
def test_broken_block_strings_are_refused(text):
    with pytest.raises(InputError, match="RxN"):
        parse_blocks(text)


def test_widths():
    assert parse_widths("64:32,32:48") == {64: 32, 32: 48}
    assert parse_widths("") == {}
    with pytest.raises(InputError, match="64-32"):
        parse_widths("64-32")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"encoder_blocks": "8x1,8d2,4d4,1"}, "start at the image size"),
        ({"encoder_blocks": "16x1,8d2,4d4,1"}, "start at the image size"),
        ({"encoder_blocks": "16d2,8d8,1"}, "works at resolution 4"),
        ({"decoder_blocks": "1x2,4m1,8m4"}, "ends at resolution 8"),
        ({"decoder_blocks": "1x2,8m4,4m1,16m8"}, "8m4"),
        ({"decoder_blocks": "1x2,4m1,8d2,16m8"}, "only grow"),
        ({"custom_widths": "16:12"}, "width 12"),
        ({"target_layers": 7}, "has 6 layers"),
        ({"target_layers": 0}, "has 6 layers"),
    ],
)
def test_impossible_configurations_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(SMALL, **changes)


def test_unknown_preset_is_refused():
    with pytest.raises(InputError, match="imagenet65.*imagenet64"):
        VDVAE("imagenet65")


# --- the published layout


@pytest.mark.parametrize(
    "preset, layers, millions",
    [("imagenet64", 75, 125), ("imagenet32", 78, 119), ("cifar10", 43, 39), ("ffhq256", 66, 115)],
)
def test_published_presets(preset, layers, millions):
    """Layer and parameter counts of the paper's table, without holding the parameters."""
    with torch.device("meta"):
        model = VDVAE(preset)
    assert len(model.latent_shapes) == layers
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    assert n_parameters / 1e6 == pytest.approx(millions, abs=0.75)


def test_imagenet64_layers_per_resolution():
    resolutions = [shape[1] for shape in PRESETS["imagenet64"].latent_shapes]
    assert [resolutions.count(r) for r in (1, 4, 8, 16, 32, 64)] == [2, 4, 8, 16, 32, 13]
    assert sum(int(np.prod(shape)) for shape in PRESETS["imagenet64"].latent_shapes) == 1_451_040


def test_imagenet64_published_names_and_shapes():
    """Spot checks at both ends of the published imagenet64 state dict."""
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in VDVAE("imagenet64").state_dict().items()}
    assert shapes["encoder.in_conv.weight"] == (512, 3, 3, 3)
    assert shapes["encoder.enc_blocks.0.c2.weight"] == (128, 128, 3, 3)
    assert shapes["encoder.enc_blocks.64.c3.weight"] == (128, 128, 1, 1)
    assert shapes["decoder.dec_blocks.0.enc.c1.weight"] == (128, 1024, 1, 1)
    assert shapes["decoder.dec_blocks.0.enc.c4.weight"] == (32, 128, 1, 1)
    assert shapes["decoder.dec_blocks.74.prior.c4.weight"] == (544, 128, 1, 1)
    assert shapes["decoder.dec_blocks.74.z_proj.weight"] == (512, 16, 1, 1)
    for k, resolution in enumerate((1, 4, 8, 16, 32, 64)):
        assert shapes[f"decoder.bias_xs.{k}"] == (1, 512, resolution, resolution)
    assert shapes["decoder.out_net.out_conv.weight"] == (100, 512, 1, 1)
    assert shapes["decoder.gain"] == shapes["decoder.bias"] == (1, 512, 1, 1)


def test_no_bias_above():
    with torch.device("meta"):
        names = VDVAE("ffhq256").state_dict()
    assert "decoder.bias_xs.5" in names and "decoder.bias_xs.6" not in names  # 1, 4, 8, 16, 32, 64, not 128


def test_parameter_names_by_hand():
    config = VDVAEConfig(4, "4d4", "1,4m1", width=8, input_mean=0.0, input_std=1.0)
    convolutions = ["encoder.in_conv", "decoder.out_net.out_conv"]
    convolutions += [f"encoder.enc_blocks.0.c{k}" for k in (1, 2, 3, 4)]
    for layer in (0, 1):
        convolutions.append(f"decoder.dec_blocks.{layer}.z_proj")
        for part in ("enc", "prior", "resnet"):
            convolutions += [f"decoder.dec_blocks.{layer}.{part}.c{k}" for k in (1, 2, 3, 4)]
    expected = {f"{name}.{kind}" for name in convolutions for kind in ("weight", "bias")}
    expected |= {"decoder.bias_xs.0", "decoder.bias_xs.1", "decoder.gain", "decoder.bias"}
    assert set(VDVAE(config).state_dict()) == expected


def test_match_channels():
    x = torch.arange(6.0).reshape(1, 3, 1, 2)
    assert torch.equal(match_channels(x, 2), x[:, :2])
    assert torch.equal(match_channels(x, 5)[:, :3], x) and not match_channels(x, 5)[:, 3:].any()
