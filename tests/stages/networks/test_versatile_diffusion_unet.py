"""The joined UNet at its published size, on the meta device, held against what diffusers builds."""

from types import SimpleNamespace

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.pipelines.deprecated.versatile_diffusion import VersatileDiffusionDualGuidedPipeline
from diffusers.pipelines.deprecated.versatile_diffusion.modeling_text_unet import UNetFlatConditionModel

from stages.networks.dual_context_unet import DualContextUNet2DConditionModel
from stages.networks.versatile_diffusion_unet import flow_names, text_flow_tensors

# As the published conversion writes them: 320 channels times 1, 2, 4, 4, attention on the first three levels, 8 heads.
IMAGE = dict(
    sample_size=64,
    in_channels=4,
    out_channels=4,
    down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    block_out_channels=(320, 640, 1280, 1280),
    layers_per_block=2,
    cross_attention_dim=768,
    attention_head_dim=8,
)
TEXT = IMAGE | dict(
    in_channels=(768, 1, 1),
    out_channels=(768, 1, 1),
    down_block_types=("CrossAttnDownBlockFlat",) * 3 + ("DownBlockFlat",),
    up_block_types=("UpBlockFlat",) + ("CrossAttnUpBlockFlat",) * 3,
)


def shapes(tensors):
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def count(tensors):
    return sum(tensor.numel() for tensor in tensors)


@pytest.fixture
def networks():
    with torch.device("meta"):
        return SimpleNamespace(
            joined=DualContextUNet2DConditionModel(**IMAGE).state_dict(),
            image_unet=UNet2DConditionModel(**IMAGE),
            text_unet=UNetFlatConditionModel(**TEXT),
        )


def test_text_flow_vs_diffusers_flat_network(networks):
    published = networks.text_unet.state_dict()
    assert shapes(text_flow_tensors(networks.joined, TEXT)) == shapes(published)
    assert count(published.values()) == 1_708_848_448


def test_image_flow_vs_diffusers_network(networks):
    image, _ = flow_names(networks.joined)
    published = networks.image_unet.state_dict()
    assert {name: tuple(networks.joined[place].shape) for name, place in image.items()} == shapes(published)
    assert count(published.values()) == 859_520_964


def test_every_place_is_filled_once(networks):
    image, text = flow_names(networks.joined)
    places = [*image.values(), *text.values()]
    assert len(places) == len(set(places)) == len(networks.joined) == 1102
    assert all(".transformers.0." in image[name] for name in text), "both flows have the same transformers"


def test_joined_vs_diffusers_dual_guided_network(networks):
    image, text = flow_names(networks.joined)
    with torch.device("meta"):
        VersatileDiffusionDualGuidedPipeline._convert_to_dual_attention(networks)
    assert shapes(networks.joined) == shapes(networks.image_unet.state_dict())
    assert count(networks.joined.values()) == 859_520_964 + 267_239_360 == 1_126_760_324
    assert count(networks.joined[place] for place in text.values()) == 267_239_360


@pytest.mark.parametrize("channels, width", [((768, 1, 1), 768), ([768, 1, 1], 768), (192, 768), (100, 400)])
def test_width_of_the_text_flow(channels, width):
    tiny = dict(block_out_channels=(8, 8), norm_num_groups=4, cross_attention_dim=8, layers_per_block=1)
    flat = dict(
        down_block_types=("CrossAttnDownBlockFlat", "DownBlockFlat"),
        up_block_types=("UpBlockFlat", "CrossAttnUpBlockFlat"),
        in_channels=channels,
        out_channels=channels,
    )
    convolved = dict(
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D")
    )
    with torch.device("meta"):
        joined = DualContextUNet2DConditionModel(**tiny, **convolved).state_dict()
        published = UNetFlatConditionModel(**tiny, **flat).state_dict()
    expected = text_flow_tensors(joined, flat)
    assert shapes(expected) == shapes(published)
    assert expected["conv_in.weight"].shape[1] == width
