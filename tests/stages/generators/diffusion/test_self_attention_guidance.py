"""Self-attention guidance, held against diffusers' own pipeline and its parts."""

import numpy as np
import pytest
import torch
from diffusers.pipelines.deprecated.stable_diffusion_sag.pipeline_stable_diffusion_sag import (
    CrossAttnStoreProcessor,
    StableDiffusionSAGPipeline,
    gaussian_blur_2d,
)
from random_checkpoints import save_generator

from stages.generators.diffusion import self_attention_guidance
from stages.generators.diffusion.latent_diffusion import Row
from stages.generators.diffusion.self_attention_guidance import SelfAttentionGuidance, blurred_where, gaussian_blurred
from stages.generators.diffusion.stable_diffusion import StableDiffusionGenerator
from stages.ground.errors import InputError
from stages.ground.item_seeds import item_generator

STEPS = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_generator("sd", tmp_path_factory.mktemp("generator"))


@pytest.fixture(scope="module")
def text():
    return np.random.default_rng(0).standard_normal((3, 7, 16)).astype(np.float32)


def generator_of(folder, scale, kind="epsilon"):
    generator = StableDiffusionGenerator.from_pretrained(folder, scheduler="ddim")
    generator.pipeline.scheduler.register_to_config(prediction_type=kind)
    guided = SelfAttentionGuidance(generator.pipeline.unet, generator.pipeline.scheduler, scale)
    generator.conditioners = (*generator.conditioners, guided)
    return generator


def rows_of(text):
    values = {"first_picture": None, "first_latent": None}
    return [Row(f"nsd{row}", 0, values | {"clip_text": one}, {"clip_text": 1.0}, 1.0) for row, one in enumerate(text)]


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("guidance_scale", [5.0, 1.0])
def test_as_diffusers_draws_from_noise(folder, text, kind, guidance_scale):
    generator = generator_of(folder, 0.75, kind)
    ours = generator.latents(rows_of(text), 0, STEPS, guidance_scale)
    components = {name: part for name, part in generator.pipeline.components.items() if name != "image_encoder"}
    theirs = StableDiffusionSAGPipeline(**components, requires_safety_checker=False)
    theirs.set_progress_bar_config(disable=True)
    noise = [torch.randn(4, 8, 8, generator=item_generator(0, row.stimulus_id, 0)) for row in rows_of(text)]
    found = theirs(
        prompt_embeds=torch.from_numpy(text),
        negative_prompt_embeds=generator.empty_text.expand(3, -1, -1),
        latents=torch.stack(noise),
        num_inference_steps=STEPS,
        guidance_scale=guidance_scale,
        sag_scale=0.75,
        output_type="latent",
    ).images
    torch.testing.assert_close(ours, found, atol=1e-4, rtol=1e-4)
    plain = StableDiffusionGenerator.from_pretrained(folder, scheduler="ddim")
    plain.pipeline.scheduler.register_to_config(prediction_type=kind)
    assert float((plain.latents(rows_of(text), 0, STEPS, guidance_scale) - ours).abs().max()) > 0.01


def test_what_is_attended_to_is_kept_as_diffusers_keeps_it(folder):
    unet = StableDiffusionGenerator.from_pretrained(folder, scheduler="ddim").pipeline.unet
    attention = unet.mid_block.attentions[0].transformer_blocks[0].attn1
    values = torch.randn(2, 16, attention.to_q.in_features, generator=torch.Generator().manual_seed(0))
    ours, theirs = self_attention_guidance.KeptAttention(), CrossAttnStoreProcessor()
    with torch.no_grad():
        torch.testing.assert_close(ours(attention, values), theirs(attention, values))
        # And as the network computes without either.
        torch.testing.assert_close(ours(attention, values), attention(values), atol=1e-5, rtol=1e-5)
    assert ours.probabilities.shape == (2, attention.heads, 16, 16)
    torch.testing.assert_close(ours.probabilities.flatten(0, 1), theirs.attention_probs)


def test_blurring_is_that_of_diffusers():
    maps = torch.randn(2, 3, 9, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(gaussian_blurred(maps), gaussian_blur_2d(maps, kernel_size=9, sigma=1.0))
    places = torch.zeros(2, 16, dtype=torch.bool)
    maps = maps[:, :, :8]
    assert blurred_where(places, maps).equal(maps)
    places[1, 0] = True
    found = blurred_where(places, maps)
    assert (
        found[0].equal(maps[0])
        and found[1, :, 2:].equal(maps[1, :, 2:])
        and found[1, :, :, 2:].equal(maps[1, :, :, 2:])
    )
    assert found[1, :, :2, :2].equal(gaussian_blurred(maps)[1, :, :2, :2])


def test_where_nothing_is_attended_to_nothing_changes(folder, text, monkeypatch):
    """Without a blurred place the latents are noised to what they were, and the network says the same of them."""
    plain = StableDiffusionGenerator.from_pretrained(folder, scheduler="ddim").latents(rows_of(text), 0, STEPS, 5.0)
    monkeypatch.setattr(
        self_attention_guidance, "attended", lambda kept: torch.zeros(kept.shape[0], kept.shape[-1], dtype=torch.bool)
    )
    found = generator_of(folder, 0.75).latents(rows_of(text), 0, STEPS, 5.0)
    torch.testing.assert_close(found, plain, atol=1e-4, rtol=1e-4)


def test_a_picture_does_not_depend_on_those_beside_it(folder, text):
    generator = generator_of(folder, 0.75)
    together = generator.latents(rows_of(text), 0, STEPS, 5.0)
    alone = generator.latents(rows_of(text)[1:2], 0, STEPS, 5.0)
    torch.testing.assert_close(alone[0], together[1], atol=1e-4, rtol=1e-4)


def test_a_network_without_attention_in_its_middle_is_refused(folder):
    pipeline = StableDiffusionGenerator.from_pretrained(folder, scheduler="ddim").pipeline
    pipeline.unet.mid_block = None
    with pytest.raises(InputError, match="guidance.self_attention=0"):
        SelfAttentionGuidance(pipeline.unet, pipeline.scheduler, 0.75)
