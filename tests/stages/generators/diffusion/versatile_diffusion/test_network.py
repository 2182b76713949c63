"""The network of Versatile Diffusion, held against diffusers' own deprecated classes for it."""

import pytest
import torch
from diffusers.pipelines.deprecated.versatile_diffusion import VersatileDiffusionTextToImagePipeline
from random_checkpoints import TEXT_TOKENS
from versatile_requests import IMAGE_TOKENS, copies, dual_guided, unet_under


def test_image_alone_vs_image_flow(pipeline, published, rows):
    sample, timesteps, image, _ = rows
    with torch.no_grad():
        expected = copies(published).image_unet(sample, timesteps, image).sample
    torch.testing.assert_close(unet_under(pipeline, rows, (1, 0)), expected, atol=1e-5, rtol=1e-5)


def test_text_alone_vs_image_flow_with_exchanged_transformers(pipeline, published, rows):
    sample, timesteps, _, text = rows
    flows = copies(published)
    VersatileDiffusionTextToImagePipeline._swap_unet_attention_blocks(flows)
    with torch.no_grad():
        expected = flows.image_unet(sample, timesteps, text).sample
    torch.testing.assert_close(unet_under(pipeline, rows, (0, 1)), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("text_share", [0.4, 0.9])
def test_mixture_vs_dual_guided_network(pipeline, published, rows, text_share, monkeypatch):
    with torch.no_grad():
        expected = dual_guided(published, monkeypatch, text_share)(*rows)
    result = unet_under(pipeline, rows, (1 - text_share, text_share))
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-5)
    assert (result - unet_under(pipeline, rows, (text_share, 1 - text_share))).abs().max() > 1e-3


def test_every_tensor_has_its_place(pipeline, parts):
    state, image, text = (part.state_dict() for part in (pipeline.unet, parts["image_unet"], parts["text_unet"]))
    from_image = {name for name in state if ".transformers.1." not in name}
    assert len(from_image) == len(image)
    for name, tensor in state.items():
        source = image if name in from_image else text
        assert torch.equal(tensor, source[name.replace(".transformers.0", "").replace(".transformers.1", "")]), name
    assert pipeline.unet.context_tokens == (IMAGE_TOKENS, TEXT_TOKENS)
    assert not pipeline.unet.training
