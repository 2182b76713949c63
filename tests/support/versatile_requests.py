"""Requests that fit the tiny Versatile Diffusion, and what it answers."""

from types import SimpleNamespace

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.transformers.dual_transformer_2d import DualTransformer2DModel
from diffusers.pipelines.deprecated.versatile_diffusion import VersatileDiffusionDualGuidedPipeline
from diffusers.pipelines.deprecated.versatile_diffusion.modeling_text_unet import UNetFlatConditionModel
from picture_requests import Request
from picture_requests import pictures as drawn_pictures
from random_checkpoints import SIZE, TEXT_TOKENS
from random_checkpoints import VERSATILE_WIDTH as WIDTH

from stages.generators.diffusion.dual_context import DualContextGenerator

WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
IMAGE_TOKENS = 5


def unet_under(pipeline, rows, weights):
    sample, timesteps, image, text = rows
    weights = torch.tensor([weights], dtype=torch.float32).expand(len(sample), 2)
    with torch.no_grad():
        return pipeline.unet(
            sample, timesteps, torch.cat([image, text], dim=1), cross_attention_kwargs={"context_weights": weights}
        ).sample


def copies(published):
    """Both of diffusers' own networks from the folder, to be changed."""
    flows = (
        UNet2DConditionModel.from_pretrained(published / "image_unet"),
        UNetFlatConditionModel.from_pretrained(published / "text_unet"),
    )
    return SimpleNamespace(image_unet=flows[0].eval(), text_unet=flows[1].eval())


def dual_guided(published, monkeypatch, mix_ratio):
    """diffusers' dual-guided network; its block is given the argument that it does not take any more."""
    flows = copies(published)
    VersatileDiffusionDualGuidedPipeline._convert_to_dual_attention(flows)
    forward = DualTransformer2DModel.forward
    monkeypatch.setattr(
        DualTransformer2DModel, "forward", lambda self, *given, encoder_attention_mask, **o: forward(self, *given, **o)
    )
    for module in flows.image_unet.modules():
        if isinstance(module, DualTransformer2DModel):
            module.mix_ratio, module.condition_lengths = mix_ratio, [TEXT_TOKENS, IMAGE_TOKENS]
            module.transformer_index_for_condition = [1, 0]
    return lambda sample, t, image, text: flows.image_unet(sample, t, torch.cat([text, image], dim=1)).sample


def requests_for(weights, strength):
    random = np.random.default_rng(5)
    return [
        Request(
            f"nsd{number}",
            0,
            random.standard_normal((IMAGE_TOKENS, WIDTH)).astype(np.float32),
            random.standard_normal((TEXT_TOKENS, WIDTH)).astype(np.float32),
            weights,
            random.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8),
            strength,
        )
        for number in range(2)
    ]


def pictures(pipeline, requests, **options):
    return drawn_pictures(DualContextGenerator(pipeline), requests, **options).astype(int)
