"""Kandinsky 2.2's decoder, held against diffusers' pipelines, one picture at a time."""

import re

import numpy as np
import pytest
import torch
from diffusers import KandinskyV22Pipeline
from picture_requests import pictures
from PIL import Image
from random_checkpoints import save_generator, save_prior
from safetensors.torch import load_file, save_file

from stages.generators.diffusion.kandinsky import KandinskyGenerator, encode_zero_image
from stages.generators.generator import Item
from stages.ground.errors import InputError
from stages.ground.item_seeds import item_generator
from weights.store import CheckpointError

STEPS = 8


def drawn(generator, request, **options):
    return pictures(generator, [request], num_inference_steps=STEPS, **options)[0].astype(float)


def conditions(generator, request):
    negative = generator.negative_image_embedding
    image = torch.from_numpy(request.image_context)
    return {
        "image_embeds": (negative + request.context_weights[0] * (image - negative))[None],
        "negative_image_embeds": negative[None],
        "generator": [item_generator(0, request.stimulus_id, request.sample)],
        "num_inference_steps": STEPS,
        "height": 16,
        "width": 16,
        "output_type": "np",
    }


@pytest.fixture(scope="module")
def prior(tmp_path_factory):
    return save_prior(tmp_path_factory.mktemp("prior"))


# UniPC is left out: diffusers' pipeline hands a random generator to its step, which takes none.
@pytest.mark.parametrize("scheduler", ["ddim", "dpm++"])
@pytest.mark.parametrize("guidance_scale", [4.0, 2.0])
def test_image_to_image_vs_diffusers_pipeline(load_generator, request_for, scheduler, guidance_scale):
    generator = load_generator("kandinsky", scheduler=scheduler)
    request = request_for(generator, 3)
    theirs = generator.pipeline(
        image=Image.fromarray(request.init_image),
        strength=0.75,
        guidance_scale=guidance_scale,
        **conditions(generator, request),
    ).images[0]
    assert np.abs(drawn(generator, request, guidance_scale=guidance_scale) - theirs * 255).max() <= 1


@pytest.mark.parametrize("scheduler", ["ddim", "dpm++"])
def test_from_noise_vs_diffusers_pipeline(load_generator, request_for, scheduler):
    generator = load_generator("kandinsky", scheduler=scheduler)
    request = request_for(generator, 3, strength=1)
    pipeline = KandinskyV22Pipeline(**generator.pipeline.components)
    pipeline.set_progress_bar_config(disable=True)
    # diffusers rounds sizes to multiples of the square of the downscaling: 2² here, 8² in the published model.
    theirs = pipeline(**conditions(generator, request)).images[0]
    assert np.abs(drawn(generator, request) - theirs * 255).max() <= 1


def test_the_zero_image_is_embedded_once_and_stored(request_for, prior, tmp_path):
    from transformers import CLIPVisionModelWithProjection

    folder = save_generator("kandinsky", tmp_path / "decoder")
    without = KandinskyGenerator.from_pretrained(folder)
    assert without.negative_image == "zeros" and not without.negative_image_embedding.any()
    assert not (folder / "unconditional_contexts").exists()
    given = KandinskyGenerator.from_pretrained(folder, prior_folder=prior)
    with torch.no_grad():
        encoder = CLIPVisionModelWithProjection.from_pretrained(prior / "image_encoder").eval()
        expected = encoder(torch.zeros(1, 3, 8, 8)).image_embeds[0]
    assert torch.allclose(given.negative_image_embedding, expected, atol=1e-6)
    stored = KandinskyGenerator.from_pretrained(folder)
    assert (given.negative_image, stored.negative_image) == ("zero image", "zero image")
    request = request_for(given, 0)
    assert np.array_equal(drawn(given, request), drawn(stored, request))
    assert np.abs(drawn(given, request) - drawn(without, request)).max() > 1
    nothing = request_for(given, 0, context_weights=(0, 0))
    assert np.abs(drawn(given, nothing, guidance_scale=9) - drawn(given, nothing, guidance_scale=1)).max() <= 1


def test_text_is_not_taken(load_generator, request_for):
    generator = load_generator("kandinsky")
    assert generator.takes["clip_image"] == (12,) and "clip_text" not in generator.takes
    with pytest.raises(
        InputError, match="weight of clip_text is 0.4; KandinskyGenerator takes a finite number for clip_im"
    ):
        generator.draw({"clip_image": np.zeros((1, 12))}, [Item("nsd00001")], weights={"clip_text": 0.4})


def test_the_folders_own_noisy_scheduler_is_refused_only_where_it_is_asked_for(load_generator):
    assert load_generator("kandinsky").pipeline.scheduler.__class__.__name__ == "DDIMScheduler"
    with pytest.raises(InputError, match="DDPMScheduler, which draws noise at every step"):
        load_generator("kandinsky", scheduler=None)


def test_other_folders_are_refused(tmp_path, prior):
    folder = save_generator("sd", tmp_path / "sd")
    with pytest.raises(CheckpointError, match="that of Kandinsky 2.2 decoder has 'image'"):
        KandinskyGenerator.from_pretrained(folder)
    with pytest.raises(CheckpointError, match="image_encoder"):
        KandinskyGenerator.from_pretrained(
            save_generator("kandinsky", tmp_path / "decoder"), prior_folder=tmp_path / "absent"
        )


def test_a_misshapen_tensor_of_the_vision_model_is_named(tmp_path):
    folder = save_prior(tmp_path / "prior")
    path = folder / "image_encoder" / "model.safetensors"
    state = load_file(path)
    shape = tuple(state["visual_projection.weight"].shape)
    save_file(state | {"visual_projection.weight": torch.zeros(3)}, path, metadata={"format": "pt"})
    with pytest.raises(
        CheckpointError, match=f"misshapen: visual_projection.weight {re.escape(f'(3,) instead of {shape}')}"
    ):
        encode_zero_image(folder)
