"""Stable unCLIP, held against diffusers' pipeline from noise and against a loop written out from a first picture."""

import numpy as np
import pytest
import torch
from diffusers import StableUnCLIPImg2ImgPipeline
from picture_requests import pictures
from random_checkpoints import save_generator

from stages.ground.errors import InputError
from stages.ground.item_seeds import item_generator
from weights.store import CheckpointError

STEPS = 8


class NoEncoder(torch.nn.Module):
    """Stands where diffusers asks an image encoder for its type."""

    dtype, device = torch.float32, torch.device("cpu")

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))


@pytest.fixture(scope="module")
def generator(load_generator):
    return load_generator("unclip", scheduler="ddim", noise_level=3)


def drawn(generator, request, **options):
    return pictures(generator, [request], num_inference_steps=STEPS, **options)[0].astype(float)


@pytest.mark.parametrize("scheduler", ["ddim", "dpm++", "unipc", None])
@pytest.mark.parametrize("noise_level", [0, 700])
def test_from_noise_vs_diffusers_pipeline(load_generator, request_for, scheduler, noise_level):
    generator = load_generator("unclip", scheduler=scheduler, noise_level=noise_level)
    request = request_for(generator, 3, context_weights=(1, 0.7), strength=1)
    parts = {name: part for name, part in generator.pipeline.components.items() if name != "image_encoder"}
    pipeline = StableUnCLIPImg2ImgPipeline(**parts, image_encoder=NoEncoder())
    pipeline.set_progress_bar_config(disable=True)
    empty = generator.empty_text
    theirs = pipeline(
        image_embeds=torch.from_numpy(request.image_context)[None],
        prompt_embeds=(empty + 0.7 * (torch.from_numpy(request.text_context) - empty))[None],
        negative_prompt_embeds=empty[None],
        noise_level=noise_level,
        generator=[item_generator(0, request.stimulus_id, request.sample)],
        num_inference_steps=STEPS,
        guidance_scale=10,
        output_type="np",
    ).images[0]
    assert np.abs(drawn(generator, request) - theirs * 255).max() <= 1


@torch.no_grad()
def by_hand(generator, request, weight):
    """DDIM from a first picture, its update rule written out (eta 0, noise prediction)."""
    pipeline, noise = generator.pipeline, item_generator(0, request.stimulus_id, request.sample)
    normalizer, level = pipeline.image_normalizer, 3
    embedding = torch.from_numpy(request.image_context)[None]
    alpha = pipeline.image_noising_scheduler.alphas_cumprod[level]
    whitened = (embedding - normalizer.mean) / normalizer.std
    whitened = alpha.sqrt() * whitened + (1 - alpha).sqrt() * torch.randn(1, 12, generator=noise)
    frequencies = level * torch.exp(-np.log(10000) * torch.arange(6) / 6)
    code = torch.cat([frequencies.cos(), frequencies.sin()])[None]
    label = weight * torch.cat([whitened * normalizer.std + normalizer.mean, code], dim=1)

    pixels = torch.from_numpy(request.init_image).permute(2, 0, 1)[None].float() / 127.5 - 1
    latents = pipeline.vae.encode(pixels).latent_dist.mode() * 0.7
    alphas, stride = pipeline.scheduler.alphas_cumprod, 1000 // STEPS
    timesteps = [1 + stride * k for k in range(STEPS)][::-1][STEPS - 6 :]
    start = alphas[timesteps[0]]
    latents = start.sqrt() * latents + (1 - start).sqrt() * torch.randn(1, 4, 8, 8, generator=noise)
    empty = generator.empty_text[None]
    text = torch.from_numpy(request.text_context)[None]
    for t in timesteps:
        without = pipeline.unet(latents, t, empty, class_labels=label * 0).sample
        under = pipeline.unet(latents, t, text, class_labels=label).sample
        predicted = without + 10 * (under - without)
        clean = (latents - (1 - alphas[t]).sqrt() * predicted) / alphas[t].sqrt()
        before = alphas[t - stride] if t > stride else pipeline.scheduler.final_alpha_cumprod
        latents = before.sqrt() * clean + (1 - before).sqrt() * predicted
    pixels = pipeline.vae.decode(latents / 0.7).sample[0]
    return ((pixels.permute(1, 2, 0).numpy() + 1) * 127.5).clip(0, 255)


@pytest.mark.parametrize("weight", [1, 0.4])
def test_image_to_image_vs_a_loop_written_out(generator, request_for, weight):
    request = request_for(generator, 3, context_weights=(weight, 1))
    assert np.abs(drawn(generator, request) - by_hand(generator, request, weight)).max() <= 1


def test_noise_levels_are_heeded_and_checked(load_generator, request_for, generator):
    request = request_for(generator, 0)
    assert np.abs(drawn(generator, request) - drawn(load_generator("unclip", noise_level=900), request)).max() > 1
    with pytest.raises(InputError, match="noise_level is 1000; expected 0..999"):
        load_generator("unclip", noise_level=1000)


def test_shapes_are_told_and_no_encoder_is_kept(generator):
    assert (generator.image_size, generator.takes["clip_image"], generator.takes["clip_text"]) == (16, (12,), (7, 16))
    for part in ("image_encoder", "feature_extractor", "text_encoder", "tokenizer"):
        assert generator.pipeline.components[part] is None


@pytest.mark.parametrize("part", ["unet", "vae", "image_normalizer", "image_noising_scheduler", "scheduler"])
def test_a_part_that_is_absent_is_named(tmp_path, part):
    from stages.generators.diffusion.stable_unclip import StableUnCLIPGenerator

    folder = save_generator("unclip", tmp_path / "generator")
    for path in (folder / part).iterdir():
        path.unlink()
    with pytest.raises(CheckpointError, match=part):
        StableUnCLIPGenerator.from_pretrained(folder)


def test_folders_of_another_model_are_refused(tmp_path):
    from stages.generators.diffusion.stable_unclip import StableUnCLIPGenerator

    folder = save_generator("unclip", tmp_path / "generator")
    other = save_generator("sd", tmp_path / "other")
    (folder / "unet").rename(tmp_path / "aside")
    (other / "unet").rename(folder / "unet")
    with pytest.raises(CheckpointError, match="class_embed_type None, but that of Stable unCLIP has 'projection'"):
        StableUnCLIPGenerator.from_pretrained(folder)
