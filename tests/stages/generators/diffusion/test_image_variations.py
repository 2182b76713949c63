"""Stable Diffusion image variations, held against diffusers' pipeline from noise and against its image-to-image one."""

import json

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionImageVariationPipeline, StableDiffusionImg2ImgPipeline
from picture_requests import pictures
from random_checkpoints import save_generator
from transformers import CLIPVisionModelWithProjection

from stages.generators.diffusion.image_variations import ImageVariationsGenerator
from stages.generators.diffusion.start_rule import StartRule
from stages.ground.errors import InputError
from stages.ground.item_seeds import item_generator
from weights.store import CheckpointError

STEPS = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_generator("variations", tmp_path_factory.mktemp("generator"))


@pytest.fixture(scope="module")
def encoder(folder):
    return CLIPVisionModelWithProjection.from_pretrained(folder / "image_encoder").eval()


def drawn(generator, request, **options):
    return pictures(generator, [request], num_inference_steps=STEPS, **options)[0].astype(float)


@pytest.mark.parametrize("scheduler", ["ddim", "dpm++", "unipc", None])
@pytest.mark.parametrize("guidance_scale", [None, 3.0])
def test_from_noise_vs_diffusers_pipeline(folder, encoder, request_for, scheduler, guidance_scale):
    """The pipeline is given the picture, and the generator the embedding that the pipeline's own encoder has of it."""
    generator = ImageVariationsGenerator.from_pretrained(folder, scheduler=scheduler)
    picture = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        embedding = encoder(picture).image_embeds[0].numpy()
    request = request_for(generator, 3, image_context=embedding, context_weights=(1, 0), init_image=None)
    pipeline = StableDiffusionImageVariationPipeline(
        **generator.pipeline.components | {"image_encoder": encoder}, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        picture,
        generator=[item_generator(0, request.stimulus_id, request.sample)],
        num_inference_steps=STEPS,
        output_type="np",
        **({} if guidance_scale is None else {"guidance_scale": guidance_scale}),
    ).images[0]
    assert np.abs(drawn(generator, request, guidance_scale=guidance_scale) - theirs * 255).max() <= 1


@pytest.mark.parametrize("weight", [1, 0.4])
def test_from_a_first_picture_vs_diffusers_pipeline(folder, request_for, weight):
    """Whose context is the vector as one token, by its weight, and zeros in guidance's unconditional half."""
    generator = ImageVariationsGenerator.from_pretrained(folder, scheduler="unipc")
    request = request_for(generator, 3, context_weights=(weight, 0))
    parts = {name: generator.pipeline.components[name] for name in ("unet", "vae", "scheduler")}
    absent = dict.fromkeys(("text_encoder", "tokenizer", "safety_checker", "feature_extractor"))
    pipeline = StableDiffusionImg2ImgPipeline(**parts, **absent, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    pixels = torch.from_numpy(request.init_image).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        latents = pipeline.vae.encode(pixels).latent_dist.mode() * 0.7
    context = weight * torch.from_numpy(request.image_context)[None, None]
    theirs = pipeline(
        image=latents,
        prompt_embeds=context,
        negative_prompt_embeds=torch.zeros_like(context),
        generator=[item_generator(0, request.stimulus_id, request.sample)],
        strength=0.75,
        num_inference_steps=STEPS,
        guidance_scale=7.5,
        output_type="np",
    ).images[0]
    assert np.abs(drawn(generator, request) - theirs * 255).max() <= 1


def test_the_length_of_an_embedding_counts(load_generator, request_for):
    generator = load_generator("variations", scheduler="ddim")
    request = request_for(generator, 0)
    longer = request_for(generator, 0, image_context=3 * request.image_context)
    assert np.abs(drawn(generator, request) - drawn(generator, longer)).max() > 1


def test_without_an_embedding_it_reads_zeros(load_generator, request_for):
    generator = load_generator("variations", scheduler="ddim")
    absent = request_for(generator, 0, image_context=None)
    zeros = request_for(generator, 0, image_context=np.zeros(12, np.float32))
    np.testing.assert_array_equal(drawn(generator, absent), drawn(generator, zeros))


def test_shapes_are_told_and_a_start_may_be_prepared_otherwise(folder):
    start = StartRule(posterior="sample", pixels="for CLIP")
    generator = ImageVariationsGenerator.from_pretrained(folder, start=start)
    assert (generator.image_size, generator.takes["clip_image"], generator.start) == (16, (12,), start)
    assert generator.optional == {"clip_image", "first_picture", "first_latent"}
    for part in ("image_encoder", "feature_extractor", "safety_checker"):
        assert generator.pipeline.components[part] is None


def test_embeddings_of_another_model_are_refused(load_generator, request_for):
    generator = load_generator("variations")
    request = request_for(generator, 0, image_context=np.zeros(16, np.float32))
    with pytest.raises(InputError, match=r"shape \(16,\), but ImageVariationsGenerator reads \(12,\)"):
        drawn(generator, request)


@pytest.mark.parametrize("part", ["unet", "vae", "scheduler"])
def test_a_part_that_is_absent_is_named(tmp_path, part):
    folder = save_generator("variations", tmp_path / "generator")
    for path in (folder / part).iterdir():
        path.unlink()
    with pytest.raises(CheckpointError, match=part):
        ImageVariationsGenerator.from_pretrained(folder)


def test_the_folder_of_another_model_is_refused(tmp_path):
    """Stable Diffusion's UNet could be loaded, but reads texts."""
    folder = save_generator("sd", tmp_path / "sd")
    with pytest.raises(CheckpointError, match="holds a None, but a StableDiffusionImageVariationPipeline was expected"):
        ImageVariationsGenerator.from_pretrained(folder)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    with pytest.raises(CheckpointError, match="holds a StableDiffusionPipeline"):
        ImageVariationsGenerator.from_pretrained(folder)
