"""Latent diffusion on a codebook's latents: its steps, its ways of being led, and what it refuses."""

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, DDIMScheduler
from single_files import CLASS_WIDTH, CLASSES_SCHEDULE, N_CLASSES, classes_state, save_classes

from stages.generators.diffusion.control_maps import Control
from stages.generators.diffusion.controls import ControlBranch, ControlBranches
from stages.generators.diffusion.sampler import Sampling, denoise
from stages.generators.diffusion.schedulers import last_timesteps, make_scheduler
from stages.generators.diffusion.vq_diffusion import VQDiffusionGenerator
from stages.generators.diffusion.vq_diffusion_model import load_vq_unet
from stages.generators.generator import Item, in_order
from stages.ground.errors import InputError
from stages.ground.item_seeds import item_generator
from stages.networks.codebook_autoencoder import load_vq
from stages.networks.latent_space import CodebookLatentSpace
from stages.networks.time_mapper import TimeMapper
from stages.networks.token_denoiser import TokenDenoiser
from stages.networks.tuned_network import TunedNetwork
from stages.targets.codebook_latents import CodebookLatents
from weights.manifest import read_manifest

N_TOKENS, ADDED = 6, 64
ITEMS = [Item("nsd00001"), Item("nsd00002")]
SCHEDULE = read_manifest()["label2img-ldm"].writes["scheduler/scheduler_config.json"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_classes(tmp_path_factory.mktemp("classes"))


def mapper():
    """One whose vectors are large enough to show after three steps."""
    torch.manual_seed(3)
    network = TimeMapper(N_TOKENS, CLASS_WIDTH, ADDED)
    torch.nn.init.normal_(network.time_embed_condtion[-1].weight)
    return network


def tokens(seed=0):
    return np.random.default_rng(seed).standard_normal((2, N_TOKENS, CLASS_WIDTH)).astype(np.float32)


def led_by_tokens(folder, **options):
    return VQDiffusionGenerator.from_pretrained(folder, n_tokens=N_TOKENS, **options)


def led_by_labels(folder):
    return VQDiffusionGenerator.from_pretrained(folder, reads="class_label")


def drawn(generator, values, items=ITEMS, **options):
    return np.stack(in_order(generator.draw(values, items, **{"num_inference_steps": 3} | options)))


# The sampler


class Counting(torch.nn.Module):
    """A network that finds the same noise at every step."""

    def __init__(self, noise):
        super().__init__()
        self.noise, self.timesteps = noise, []

    def forward(self, rows, timestep, tokens, return_dict=True):
        self.timesteps.append(int(timestep))
        return (self.noise.expand_as(rows),)


def test_the_schedule_is_the_published_one():
    betas = make_scheduler(SCHEDULE).betas
    assert (len(betas), round(float(betas[0]), 7), round(float(betas[-1]), 7)) == (1000, 0.0015, 0.0195)
    assert np.allclose(np.diff(betas.double().sqrt()), (0.0195**0.5 - 0.0015**0.5) / 999, atol=1e-6)


@pytest.mark.parametrize("steps", [7, 250])
def test_plms_asks_once_more_than_it_has_steps_and_of_constant_noise_is_ddim(steps):
    random = torch.Generator().manual_seed(0)
    noise, start = torch.randn(1, 3, 4, 4, generator=random), torch.randn(1, 3, 4, 4, generator=random)
    found = {}
    for name, scheduler in (("plms", make_scheduler(SCHEDULE)), ("ddim", make_scheduler(SCHEDULE, "ddim"))):
        network = Counting(noise)
        sampling = Sampling(random=(), latents=start, timesteps=last_timesteps(scheduler, steps, steps))
        found[name] = denoise(network, scheduler, sampling), network.timesteps
    # One step after the other is the way from the first noise level to none that DDIM goes at once.
    torch.testing.assert_close(found["plms"][0], found["ddim"][0], rtol=1e-4, atol=1e-4)
    assert isinstance(make_scheduler(SCHEDULE, "ddim"), DDIMScheduler)
    asked, plain = found["plms"][1], found["ddim"][1]
    assert (len(asked), len(plain)) == (steps + 1, steps)
    if steps == 250:
        assert plain == list(range(997, 0, -4))
        # The first step is gone back to after a look at the second.
        assert asked == [997, 993, 993, *range(989, 0, -4)]


def test_it_draws_what_a_loop_written_out_draws(folder):
    generator = led_by_tokens(folder, time_mapper=mapper())
    pictures = drawn(generator, {"brain_tokens": tokens()}, greys="cut off", seed=5)
    denoiser = TokenDenoiser(load_vq_unet(folder), mapper(), ADDED)
    vae = load_vq(folder)
    scheduler = make_scheduler(CLASSES_SCHEDULE)
    for item, context, picture in zip(ITEMS, torch.from_numpy(tokens()), pictures):
        latents = torch.randn(1, 3, 8, 8, generator=item_generator(5, item.stimulus_id, item.sample))
        scheduler.set_timesteps(3)
        for timestep in scheduler.timesteps:
            with torch.no_grad():
                found = denoiser(latents, timestep[None], context[None])
            latents = scheduler.step(found, timestep, latents).prev_sample
        with torch.no_grad():
            expected = vae.decode(latents).sample[0].permute(1, 2, 0)
        expected = (((expected + 1) / 2).clamp(0, 1) * 255).to(torch.uint8).numpy()
        assert np.abs(picture.astype(int) - expected).max() <= 1


# What leads it


def test_a_mapper_of_zeros_is_none_and_the_time_is_a_way_in_of_its_own(folder):
    zeros = mapper()
    for parameter in zeros.parameters():
        torch.nn.init.zeros_(parameter)
    values = {"brain_tokens": tokens()}
    plain = drawn(led_by_tokens(folder), values)
    np.testing.assert_array_equal(drawn(led_by_tokens(folder, time_mapper=zeros), values), plain)
    assert np.abs(drawn(led_by_tokens(folder, time_mapper=mapper()), values).astype(int) - plain).max() > 1


def test_a_label_is_its_token(folder):
    table = classes_state()["cond_stage_model.embedding.weight"]
    by_label = drawn(led_by_labels(folder), {"class_label": np.float32([[4], [1]])})
    by_token = VQDiffusionGenerator.from_pretrained(folder, n_tokens=1)
    np.testing.assert_array_equal(drawn(by_token, {"brain_tokens": table[[4, 1]][:, None].numpy()}), by_label)
    # Under guidance the token of no class, the last one, is what it is led away from.
    guided = drawn(led_by_labels(folder), {"class_label": np.float32([[4], [1]])}, guidance_scale=3.0)
    assert np.abs(guided.astype(int) - by_label).max() > 1
    nothing = table[[-1, -1]][:, None].numpy()
    np.testing.assert_array_equal(
        drawn(by_token, {"brain_tokens": nothing}, guidance_scale=3.0), drawn(by_token, {"brain_tokens": nothing})
    )


def test_what_was_tuned_takes_the_place_of_the_files(folder):
    tuned = TunedNetwork(load_vq_unet(folder), [r".*\.attn2\..*"])
    values = {"brain_tokens": tokens()}
    np.testing.assert_array_equal(
        drawn(led_by_tokens(folder, tuned=tuned), values), drawn(led_by_tokens(folder), values)
    )
    with torch.no_grad():
        for parameter in tuned.parameters():
            parameter.mul_(-2)
    generator = led_by_tokens(folder, tuned=tuned)
    assert np.abs(drawn(generator, values).astype(int) - drawn(led_by_tokens(folder), values)).max() > 1
    before = load_vq_unet(folder).state_dict()
    changed = {
        name for name, value in generator.pipeline.unet.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed == set(tuned.state_dict())


def test_labels_that_are_none_are_refused(folder, tmp_path):
    generator = led_by_labels(folder)
    for number in (-1, N_CLASSES, 0.5):
        with pytest.raises(
            InputError, match=f"label of nsd00002 is {number:g}; expected the number of a class, from 0 to 4"
        ):
            generator.draw({"class_label": np.float32([[0], [number]])}, ITEMS)
    state = {name: value for name, value in classes_state().items() if not name.startswith("cond_stage_model")}
    with pytest.raises(InputError, match="no tokens of labels"):
        led_by_labels(save_classes(tmp_path, state))


# Its latents


def test_latents_are_not_quantised_and_pictures_are_of_codes(folder):
    vae = load_vq(folder)
    space = CodebookLatentSpace(vae)
    pixels = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        latents = space.encode(pixels)
        torch.testing.assert_close(latents, vae.quant_conv(vae.encoder(pixels)))
        table = vae.quantize.embedding.weight
        nearest = ((latents[:, :, :, :, None] - table.T[None, :, None, None]) ** 2).sum(1).argmin(-1)
        assert torch.equal(space.codes(latents), nearest) and len(nearest.unique()) > 5
        expected = vae.decoder(vae.post_quant_conv(table[nearest].permute(0, 3, 1, 2)))
        torch.testing.assert_close(space.decode(latents), expected)
        torch.testing.assert_close(vae.decode(latents).sample, expected)
        # What lies as near to the same codes draws the same.
        assert torch.equal(space.decode(table[nearest].permute(0, 3, 1, 2)), space.decode(latents))
        vae.register_to_config(scaling_factor=0.5)
        torch.testing.assert_close(space.encode(pixels), 0.5 * latents)
        torch.testing.assert_close(space.decode(0.5 * latents), expected)


def test_the_target_is_what_the_generator_starts_from(folder):
    target, generator = CodebookLatents.from_pretrained(folder), led_by_tokens(folder)
    picture = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    latents = target.encode(picture)
    values = {"brain_tokens": tokens(), "first_latent": latents}
    # With no step to do, a start is decoded as it is.
    kept = drawn(generator, values, strength=0.0)
    np.testing.assert_array_equal(kept, target.decode(latents))
    assert generator.takes["first_latent"] == target.shape == (3, 8, 8)


def test_a_control_net_steers_it_beside_the_tokens(folder):
    unet = load_vq_unet(folder)
    torch.manual_seed(4)
    network = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 8))
    for layer in (*network.controlnet_down_blocks, network.controlnet_cond_embedding.conv_out):
        # Zeros before a training.
        torch.nn.init.normal_(layer.weight)
    control = ControlBranches([ControlBranch(network.eval(), Control("silhouette", "", (16, 16)))], 16)
    generator, values = led_by_tokens(folder, controls=(control,), time_mapper=mapper()), {"brain_tokens": tokens()}
    plain = drawn(led_by_tokens(folder, time_mapper=mapper()), values)
    # An absent map, and one of weight 0, change nothing.
    np.testing.assert_array_equal(drawn(generator, values), plain)
    values["silhouette"] = np.random.default_rng(1).random((2, 16, 16)).astype(np.float32)
    np.testing.assert_array_equal(drawn(generator, values, weights={"silhouette": 0.0}), plain)
    steered = drawn(generator, values).astype(int)
    assert np.abs(steered - plain).max() > 1
    other = drawn(generator, values | {"silhouette": values["silhouette"][::-1].copy()})
    assert np.abs(other - steered).max() > 1
