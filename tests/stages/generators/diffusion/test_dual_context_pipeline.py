"""The pipeline, held against a hand-written loop over diffusers' own parts."""

import inspect
import json

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from PIL import Image

from stages.generators.diffusion.dual_context_pipeline import DualContextImg2ImgPipeline
from stages.ground.errors import InputError
from weights.store import CheckpointError

N = 3


@pytest.fixture(scope="module")
def inputs():
    random = torch.Generator().manual_seed(1)
    images = np.random.default_rng(1).integers(0, 256, (N, 16, 16, 3), dtype=np.uint8)
    return images, torch.randn(N, 5, 16, generator=random), torch.randn(N, 3, 16, generator=random)


def generators():
    return [torch.Generator().manual_seed(k) for k in range(N)]


def plain_unet(unet):
    """diffusers' own UNet that carries the image context's transformers."""
    names = inspect.signature(UNet2DConditionModel.__init__).parameters.keys() & unet.config.keys()
    plain = UNet2DConditionModel(**{name: unet.config[name] for name in names})
    plain.load_state_dict(
        {
            name.replace(".transformers.0", ""): tensor
            for name, tensor in unet.state_dict().items()
            if ".transformers.1." not in name
        }
    )
    return plain.eval()


@torch.no_grad()
def by_hand(pipeline, images, contexts, *, steps, skipped, guidance_scale):
    """DDIM image to image with one context, its update rule written out (eta 0, noise prediction)."""
    unet, vae = plain_unet(pipeline.unet), pipeline.vae
    alphas = pipeline.scheduler.alphas_cumprod
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    latents = vae.encode(pixels).latent_dist.mode() * 0.7
    noise = torch.cat([torch.randn(1, 4, 8, 8, generator=generator) for generator in generators()])
    stride = 1000 // steps
    timesteps = [1 + stride * k for k in range(steps)][::-1][skipped:]
    latents = alphas[timesteps[0]].sqrt() * latents + (1 - alphas[timesteps[0]]).sqrt() * noise
    for t in timesteps:
        nothing = pipeline.unconditional_contexts.image.expand(N, -1, -1)
        without, under = unet(latents, t, nothing).sample, unet(latents, t, contexts).sample
        predicted = without + guidance_scale * (under - without)
        clean = (latents - (1 - alphas[t]).sqrt() * predicted) / alphas[t].sqrt()
        before = alphas[t - stride] if t > stride else alphas[0]
        latents = before.sqrt() * clean + (1 - before).sqrt() * predicted
    return latents


@pytest.mark.parametrize("steps, strength, skipped", [(50, 0.75, 13), (10, 0.5, 5)])
def test_image_context_alone_vs_loop_by_hand(pipeline, inputs, steps, strength, skipped):
    images, image_context, text_context = inputs
    result = pipeline(
        images, image_context, text_context, (1, 0), strength, steps, 3.0, generators(), output_type="latent"
    ).images
    expected = by_hand(pipeline, images, image_context, steps=steps, skipped=skipped, guidance_scale=3.0)
    torch.testing.assert_close(result, expected, atol=2e-3, rtol=1e-3)


def test_strength_three_quarters_of_fifty_is_37_steps_from_the_timestep_that_was_noised(pipeline, inputs, monkeypatch):
    """The published script noises to timestep 741 and denoises from 721; here both are 721."""
    seen, noised = [], []
    forward, add_noise = pipeline.unet.forward, pipeline.scheduler.add_noise
    monkeypatch.setattr(pipeline.unet, "forward", lambda s, t, c, **o: (seen.append(int(t)), forward(s, t, c, **o))[1])
    monkeypatch.setattr(
        pipeline.scheduler, "add_noise", lambda x, e, t: (noised.extend(t.tolist()), add_noise(x, e, t))[1]
    )
    pipeline(*inputs, (0.6, 0.4), generator=generators(), output_type="latent")
    assert noised == [721] * N
    assert seen == list(range(721, 0, -20)) and len(seen) == 37


@pytest.mark.parametrize("image, strength", [("given", 1), ("none", 0.75), ("none", 1)])
def test_noise_alone(pipeline, inputs, image, strength, monkeypatch):
    images, image_context, text_context = inputs
    seen = []
    forward = pipeline.unet.forward
    monkeypatch.setattr(pipeline.unet, "forward", lambda s, t, c, **o: (seen.append(int(t)), forward(s, t, c, **o))[1])
    start = images if image == "given" else None
    arguments = (image_context, text_context, (0.6, 0.4), strength, 10)
    first = pipeline(start, *arguments, generator=generators(), output_type="latent").images
    assert len(seen) == 10 and seen[0] == 901
    other = None if image == "none" else 255 - images
    again = pipeline(other, *arguments, generator=generators(), output_type="latent").images
    assert torch.equal(first, again)


def test_strength_zero_is_the_autoencoder_alone(pipeline, inputs):
    images, image_context, text_context = inputs
    result = pipeline(images, image_context, text_context, (0.6, 0.4), 0, generator=generators(), output_type="uint8")
    with torch.no_grad():
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
        decoded = pipeline.vae.decode(pipeline.vae.encode(pixels).latent_dist.mode()).sample
    expected = ((decoded + 1) * 127.5).clamp(0, 255).round().byte().permute(0, 2, 3, 1).numpy()
    assert np.abs(result.images.astype(int) - expected).max() <= 1


def test_guidance_of_one_vs_conditional_half_alone(pipeline, inputs, monkeypatch):
    rows = []
    forward = pipeline.unet.forward
    monkeypatch.setattr(pipeline.unet, "forward", lambda s, t, c, **o: (rows.append(len(s)), forward(s, t, c, **o))[1])
    first = pipeline(*inputs, (0.6, 0.4), 0.5, 4, 1, generators(), output_type="latent").images
    second = pipeline(*inputs, (0.6, 0.4), 0.5, 4, 1 + 1e-9, generators(), output_type="latent").images
    assert rows == [N, N, 2 * N, 2 * N]
    torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-4)


def test_guidance_comes_from_the_checkpoint(pipeline, inputs):
    default = pipeline(*inputs, (0.6, 0.4), 0.5, 4, generator=generators(), output_type="latent").images
    named = pipeline(*inputs, (0.6, 0.4), 0.5, 4, 3.0, generators(), output_type="latent").images
    assert torch.equal(default, named)


def test_absent_context_of_no_weight(pipeline, inputs):
    images, image_context, text_context = inputs
    absent = pipeline(images, image_context, None, (1, 0), 0.5, 4, generator=generators(), output_type="latent")
    given = pipeline(images, image_context, text_context, (1, 0), 0.5, 4, generator=generators(), output_type="latent")
    torch.testing.assert_close(absent.images, given.images)


def test_pictures_of_any_kind_are_the_same_start(pipeline, inputs):
    images, *contexts = inputs
    larger = [Image.fromarray(image).resize((16, 16)) for image in images]
    first = pipeline(images, *contexts, (0.6, 0.4), 0.5, 4, generator=generators(), output_type="uint8").images
    second = pipeline(larger, *contexts, (0.6, 0.4), 0.5, 4, generator=generators(), output_type="uint8").images
    assert np.array_equal(first, second)
    resized = np.repeat(np.repeat(images, 2, axis=1), 2, axis=2)
    third = pipeline(resized, *contexts, (0.6, 0.4), 0.5, 4, generator=generators(), output_type="uint8").images
    assert third.shape == (N, 16, 16, 3)


def test_output_types_agree(pipeline, inputs):
    results = {
        kind: pipeline(*inputs, (0.6, 0.4), 0.5, 4, generator=generators(), output_type=kind).images
        for kind in ("pil", "np", "uint8")
    }
    assert np.array_equal(np.stack([np.asarray(image) for image in results["pil"]]), results["uint8"])
    assert np.abs(results["np"] * 255 - results["uint8"]).max() <= 0.5001


def test_round_trip_in_diffusers_layout(pipeline, pipeline_folder, inputs, tmp_path):
    pipeline.save_pretrained(tmp_path)
    assert {part.name for part in tmp_path.iterdir()} == {
        "model_index.json", "vae", "unet", "scheduler", "unconditional_contexts"
    }  # fmt: skip
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["unet"] == ["stages.networks.dual_context_unet", "DualContextUNet2DConditionModel"]
    reloaded = DualContextImg2ImgPipeline.from_pretrained(tmp_path)
    assert reloaded.config.guidance_scale == 3.0
    assert torch.equal(reloaded.unconditional_contexts.text, pipeline.unconditional_contexts.text)
    results = [
        p(*inputs, (0.6, 0.4), 0.5, 4, generator=generators(), output_type="uint8").images for p in (pipeline, reloaded)
    ]
    assert np.array_equal(*results)
    for written in tmp_path.rglob("*.json"):
        assert str(pipeline_folder) not in written.read_text(), "no folder of this machine in a checkpoint"


@pytest.mark.parametrize("part", ["model_index.json", "scheduler/scheduler_config.json", "vae/config.json"])
def test_an_absent_part_is_named(pipeline, tmp_path, part):
    pipeline.save_pretrained(tmp_path)
    (tmp_path / part).unlink()
    with pytest.raises(CheckpointError, match=part.rpartition("/")[2]):
        DualContextImg2ImgPipeline.from_pretrained(tmp_path)


def test_clipping_schedulers_are_refused(pipeline):
    with pytest.raises(InputError, match="clip_sample=True"):
        DualContextImg2ImgPipeline(pipeline.vae, pipeline.unet, DDIMScheduler(), pipeline.unconditional_contexts)


@pytest.mark.parametrize("strength", [-0.1, 1.5, float("nan")])
def test_strength_out_of_range(pipeline, inputs, strength):
    with pytest.raises(InputError, match="strength is"):
        pipeline(*inputs, (0.6, 0.4), strength, generator=generators())


def test_pictures_that_do_not_fit(pipeline, inputs):
    images, *contexts = inputs
    with pytest.raises(InputError, match="2 pictures came with contexts for 3"):
        pipeline(images[:2], *contexts, (0.6, 0.4), generator=generators())
    with pytest.raises(InputError, match="expected uint8"):
        pipeline(images / 255, *contexts, (0.6, 0.4), generator=generators())
    with pytest.raises(InputError, match="as many rows"):
        pipeline(images, contexts[0][:2], contexts[1], (0.6, 0.4), generator=generators())
