"""Control nets and T2I-adapters, held against diffusers' own pipelines and by their laws: sums, scales, order."""

import dataclasses

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionAdapterPipeline, T2IAdapter, UNet2DConditionModel
from diffusers.models.controlnets.multicontrolnet import MultiControlNetModel
from random_checkpoints import SIZE, save_control_net, save_generator, save_t2i_adapter, save_unet

from stages.generators.diffusion.control_maps import Control, stacked_maps
from stages.generators.diffusion.controls import ControlBranch, ControlBranches, Residuals
from stages.generators.diffusion.ip_adapter import StableDiffusionIPAdapterGenerator
from stages.generators.diffusion.latent_diffusion import Row
from stages.generators.diffusion.sampler import Sampling, denoise
from stages.generators.diffusion.stable_diffusion import StableDiffusionGenerator
from stages.generators.diffusion.start_rule import StartRule
from stages.generators.generator import Item, in_order
from stages.ground.errors import InputError
from stages.ground.item_seeds import item_generator
from stages.networks.feature_control import FeatureControlNetModel
from weights.manifest import CheckpointError

ITEMS = [Item("nsd00003"), Item("nsd00004")]
STEPS = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Stable Diffusion, two control nets "shape" and "depth", and two adapters "colour" and "tint"."""
    folder = save_generator("sd", tmp_path_factory.mktemp("generator"))
    for seed, name in enumerate(("shape", "depth")):
        save_control_net(folder / name, folder / "unet", seed)
    for seed, name in enumerate(("colour", "tint")):
        save_t2i_adapter(folder / name, seed)
    return folder


def load(folder, controls=("shape", "depth"), adapters=(), **options):
    return StableDiffusionGenerator.from_pretrained(
        folder,
        scheduler="ddim",
        start=StartRule(posterior="sample"),
        controls=[Control(name, folder / name) for name in controls],
        adapters=[Control(name, folder / name, (4, 4, 3), "nearest") for name in adapters],
        **options,
    )


@pytest.fixture(scope="module")
def values():
    draws = np.random.default_rng(0)
    return {
        "clip_text": draws.standard_normal((2, 7, 16)).astype(np.float32),
        "first_picture": draws.integers(0, 256, (2, SIZE, SIZE, 3), dtype=np.uint8),
        "shape": draws.random((2, SIZE, SIZE), dtype=np.float32),
        "depth": draws.random((2, 8, 8), dtype=np.float32),
        "colour": draws.random((2, 4, 4, 3), dtype=np.float32),
        "tint": draws.random((2, 4, 4, 3), dtype=np.float32),
    }


def given(generator, values):
    return {name: values[name] for name in generator.takes if name in values}


def latents(generator, values, weights, guidance_scale=3.0, positions=(0, 1)):
    rows = []
    for each in positions:
        own = {name: value[each] for name, value in given(generator, values).items() if name != "first_picture"}
        own |= dict.fromkeys(("first_picture", "first_latent"))
        rows.append(Row(ITEMS[each].stimulus_id, 0, own, {"clip_text": 1.0} | weights, 1.0))
    return generator.latents(rows, 0, STEPS, guidance_scale)


@pytest.mark.parametrize("guidance_scale", [5.0, 1.0])
def test_pictures_under_two_control_nets_vs_diffusers_pipeline(folder, values, guidance_scale):
    generator = load(folder)
    weights, settings = {"shape": 0.7, "depth": 0.4}, {"num_inference_steps": 8, "guidance_scale": guidance_scale}
    found = in_order(generator.draw(given(generator, values), ITEMS, strength=0.75, weights=weights, **settings))
    for item in range(2):
        maps = [stacked_maps([values[name][item]], 3, SIZE) for name in ("shape", "depth")]
        pixels = torch.from_numpy(values["first_picture"][item]).permute(2, 0, 1)[None].float() / 127.5 - 1
        theirs = generator.pipeline(
            image=pixels,
            control_image=maps,
            prompt_embeds=torch.from_numpy(values["clip_text"][item])[None],
            negative_prompt_embeds=generator.empty_text[None],
            generator=[item_generator(0, ITEMS[item].stimulus_id, 0)],
            controlnet_conditioning_scale=[0.7, 0.4],
            strength=0.75,
            output_type="np",
            **settings,
        ).images[0]
        assert np.abs(found[item] - theirs * 255).max() <= 1


def test_residuals_of_several_are_their_sum_in_any_order(folder, values):
    generator = load(folder)
    networks = generator.pipeline.controlnet.nets
    noisy, time, tokens = torch.randn(4, 4, 8, 8), torch.tensor(300), torch.randn(4, 7, 16)
    maps = [stacked_maps(values[name], 3, SIZE) for name in ("shape", "depth")]
    scales = [torch.full((4, 1, 1, 1), each) for each in (0.7, 0.4)]
    both = list(zip(networks, maps, scales))

    def residuals(steered):
        found = Residuals(tuple(steered), guided=True)(noisy, time, tokens, {})
        return [*found["down_block_additional_residuals"], found["mid_block_additional_residual"]]

    with torch.no_grad():
        together, alone = residuals(both), [residuals([each]) for each in both]
        back = residuals(both[::-1])
        doubled = [torch.cat([each, each]) for each in maps]
        down, middle = MultiControlNetModel(networks)(noisy, time, tokens, doubled, [0.7, 0.4], return_dict=False)
        whole = networks[0](noisy, time, tokens, doubled[0], return_dict=False)
    for each, first, second, turned, theirs in zip(together, *alone, back, [*down, middle]):
        torch.testing.assert_close(each, first + second)
        torch.testing.assert_close(each, turned)
        torch.testing.assert_close(each, theirs)
    torch.testing.assert_close(alone[0], [each * 0.7 for each in (*whole[0], whole[1])])


def test_a_scale_of_zero_removes_one_to_the_bit(folder, values):
    generator, plain = load(folder), load(folder, ())
    without = latents(plain, values, {})
    assert torch.equal(latents(generator, values, {"shape": 0.0, "depth": 0.0}), without)
    alone = latents(load(folder, ("shape",)), values, {"shape": 0.7})
    assert torch.equal(latents(generator, values, {"shape": 0.7, "depth": 0.0}), alone)
    assert (alone - without).abs().max() > 1e-3
    steered = load(folder, (), ("colour", "tint"))
    assert torch.equal(latents(steered, values, {"colour": 0.0, "tint": 0.0}), without)


def test_pictures_do_not_depend_on_the_order_of_controls(folder, values):
    forth, back = (
        load(folder, ("shape", "depth"), ("colour", "tint")),
        load(folder, ("depth", "shape"), ("tint", "colour")),
    )
    weights = {"shape": 0.7, "depth": 0.4, "colour": 0.5, "tint": 0.3}
    torch.testing.assert_close(latents(forth, values, weights), latents(back, values, weights), atol=1e-4, rtol=1e-4)


def test_an_adapter_vs_diffusers_pipeline(folder, values):
    generator = load(folder, (), ("colour",))
    found = latents(generator, values, {"colour": 0.6}, positions=(0,))
    parts = {
        name: each
        for name, each in generator.pipeline.components.items()
        if name not in ("controlnet", "image_encoder")
    }
    network = T2IAdapter.from_pretrained(folder / "colour")
    pipeline = StableDiffusionAdapterPipeline(**parts, adapter=network, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        image=stacked_maps([values["colour"][0]], 3, SIZE, "nearest"),
        prompt_embeds=torch.from_numpy(values["clip_text"][0])[None],
        negative_prompt_embeds=generator.empty_text[None],
        generator=[item_generator(0, ITEMS[0].stimulus_id, 0)],
        adapter_conditioning_scale=0.6,
        num_inference_steps=STEPS,
        guidance_scale=3.0,
        output_type="latent",
        height=SIZE,
        width=SIZE,
    ).images
    torch.testing.assert_close(found, theirs, atol=1e-4, rtol=1e-4)


def test_control_nets_and_adapters_together_and_beside_an_ip_adapter(folder, values, adapter_state, tmp_path):
    from safetensors.torch import save_file

    save_file(adapter_state, tmp_path / "ip-adapter.safetensors")
    generator = StableDiffusionIPAdapterGenerator.from_pretrained(
        folder,
        tmp_path / "ip-adapter.safetensors",
        controls=[Control("depth", folder / "depth")],
        adapters=[Control("colour", folder / "colour", (4, 4, 3))],
    )
    assert generator.takes["colour"] == (4, 4, 3) and {"depth", "colour"} <= generator.optional
    assert generator.default_weights == {"clip_image": 1.0, "clip_text": 1.0, "depth": 1.0, "colour": 1.0}
    settings = {"num_inference_steps": STEPS, "strength": 1.0}
    everything = in_order(generator.draw(given(generator, values), ITEMS, **settings))
    for name in ("depth", "colour"):
        other = in_order(generator.draw(given(generator, values), ITEMS, weights={name: 0.2}, **settings))
        absent = in_order(generator.draw(given(generator, values) | {name: None}, ITEMS, **settings))
        # 0 means 0: an absent map and one of scale 0 are the same.
        zero = in_order(generator.draw(given(generator, values), ITEMS, weights={name: 0.0}, **settings))
        assert not np.array_equal(everything[0], other[0]) and np.array_equal(absent[0], zero[0])


def test_rows_without_a_map_are_drawn_as_if_there_were_no_control(folder, values):
    generator = load(folder, ("depth",))
    mixed = given(generator, values) | {"depth": [None, values["depth"][1]]}
    found = in_order(generator.draw(mixed, ITEMS, num_inference_steps=STEPS))
    plain = load(folder, ())
    bare = in_order(plain.draw(given(plain, values), ITEMS, num_inference_steps=STEPS))
    steered = in_order(generator.draw(given(generator, values), ITEMS, num_inference_steps=STEPS))
    assert np.abs(found[0].astype(int) - bare[0]).max() <= 1
    assert np.abs(found[1].astype(int) - steered[1]).max() <= 1 < np.abs(found[1].astype(int) - bare[1]).max()


def test_a_feature_map_is_added_behind_the_first_convolution(folder, tmp_path):
    """As NeuroPictor has it: what the hint encoder would give, given instead of it, makes the same residuals."""
    network = ControlNetModel.from_pretrained(folder / "depth")
    bare = {
        name: each for name, each in network.state_dict().items() if not name.startswith("controlnet_cond_embedding")
    }
    other = FeatureControlNetModel.from_config(network.config)
    other.load_state_dict(bare)
    other.save_pretrained(tmp_path / "bare")
    generator = StableDiffusionGenerator.from_pretrained(
        folder, controls=[Control("manipulation", tmp_path / "bare", hint="features")]
    )
    assert generator.takes["manipulation"] == (16, None, None)
    pixels = torch.rand(2, 3, SIZE, SIZE)
    with torch.no_grad():
        features = network.controlnet_cond_embedding(pixels)
        noisy, time, tokens = torch.randn(2, 4, 8, 8), torch.tensor(10), torch.randn(2, 7, 16)
        theirs = network(noisy, time, tokens, pixels, return_dict=False)[1]
        (branch,) = (each for each in generator.conditioners if isinstance(each, ControlBranches))
        sampling = Sampling(random=(None, None), weights={"manipulation": (1.0, 1.0)})
        (control,) = branch.prepare([(row.numpy(),) for row in features], sampling).controls
        ours = control(noisy, time, tokens, {})["mid_block_additional_residual"]
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("class_embed_type", ["identity", None])
def test_a_branch_reads_class_labels_only_if_its_configuration_says_so(tmp_path, class_embed_type):
    """CMVDM's UNet adds a code to the time, its branch does not read it."""
    save_unet(tmp_path / "unet", class_embed_type="identity")
    save_control_net(tmp_path / "branch", tmp_path / "unet", class_embed_type=class_embed_type)
    unet = UNet2DConditionModel.from_pretrained(tmp_path / "unet")
    network = ControlNetModel.from_pretrained(tmp_path / "branch")
    labels = torch.randn(2, 64)
    noisy, tokens, maps = torch.randn(2, 4, 8, 8), torch.randn(2, 7, 16), torch.rand(2, 3, SIZE, SIZE)
    steered = ((network, maps, torch.ones(2, 1, 1, 1)),)
    seen = []
    network.time_embedding.register_forward_hook(lambda _, __, out: seen.append(out))
    with torch.no_grad():
        found = Residuals(steered, False)(noisy, torch.tensor(5), tokens, {"class_labels": labels})
        named = {"class_labels": labels} if class_embed_type else {}
        theirs = network(noisy, torch.tensor(5), tokens, maps, **named, return_dict=False)
        torch.testing.assert_close(found["mid_block_additional_residual"], theirs[1])
        prediction = unet(noisy, torch.tensor(5), tokens, class_labels=labels, **found).sample
    assert prediction.isfinite().all()
    assert (network.class_embedding is None) == (class_embed_type is None)


def test_a_compiled_network_sees_maps_of_a_full_batch(folder, values):
    generator = load(folder, ("shape",), ("colour",))
    rows = [
        Row(item.stimulus_id, 0, {name: values[name][n] for name in ("clip_text", "shape", "colour")}
            | {"first_picture": None, "first_latent": None}, {"clip_text": 1.0, "shape": 0.5, "colour": 0.5}, 1.0)
        for n, item in enumerate(ITEMS)
    ]  # fmt: skip
    sampling = generator.prepared(rows, 0, STEPS, 3.0)
    scheduler, unet = generator.pipeline.scheduler, generator.pipeline.unet
    expected = denoise(unet, scheduler, sampling)
    sampling = generator.prepared(rows, 0, STEPS, 3.0).of_fixed_shape(3)
    torch.testing.assert_close(denoise(unet, scheduler, sampling)[:2], expected, atol=1e-4, rtol=1e-4)


def test_networks_of_another_generator_are_refused(folder, tmp_path):
    save_unet(tmp_path / "unet", block_out_channels=(16, 48))
    save_control_net(tmp_path / "other", tmp_path / "unet")
    save_t2i_adapter(tmp_path / "adapter", channels=(16, 48))
    with pytest.raises(CheckpointError, match=r"has block_out_channels \[16, 48\], but the UNet .* has \[16, 32\]"):
        StableDiffusionGenerator.from_pretrained(folder, controls=[Control("shape", tmp_path / "other")])
    with pytest.raises(CheckpointError, match=r"features of \[16, 48\] channels, but the UNet .* \[16, 32\]"):
        StableDiffusionGenerator.from_pretrained(folder, adapters=[Control("shape", tmp_path / "adapter")])
    with pytest.raises(CheckpointError, match="absent"):
        StableDiffusionGenerator.from_pretrained(folder, controls=[Control("shape", tmp_path / "nowhere")])
    with pytest.raises(CheckpointError, match="unexpected: controlnet_cond_embedding"):
        StableDiffusionGenerator.from_pretrained(folder, controls=[Control("shape", folder / "shape", hint="features")])
    save_control_net(tmp_path / "bare", folder / "unet", without_hints=True)
    with pytest.raises(CheckpointError, match="missing: controlnet_cond_embedding"):
        StableDiffusionGenerator.from_pretrained(folder, controls=[Control("shape", tmp_path / "bare")])


def test_maps_that_do_not_fit_are_refused(folder, values):
    generator = load(folder, ("shape",))
    with pytest.raises(InputError, match="has 2 channels, but its network reads 3"):
        stacked_maps([np.zeros((4, 4, 2), np.float32)], 3, 8)
    with pytest.raises(InputError, match="shape"):
        in_order(generator.draw({"clip_text": values["clip_text"], "shape": np.zeros((2, 4, 4, 4))}, ITEMS))
    with pytest.raises(InputError, match="The weight of depth is 1.0"):
        in_order(generator.draw({"clip_text": values["clip_text"]}, ITEMS, weights={"depth": 1.0}))
    for field, value in (("enlarged", "cubic"), ("hint", "sounds")):
        with pytest.raises(InputError, match=field):
            Control("shape", folder, **{field: value})


def test_decoded_maps_are_cut_off_and_the_networks_stay_as_they_are(folder):
    found = stacked_maps([np.array([[-3.0, 0.5], [1.0, 9.0]], np.float32)], 1, 2)
    assert found[0, 0].tolist() == [[0.0, 0.5], [1.0, 1.0]]
    generator = load(folder, ("shape",), ("colour",))
    held = [each for part in generator.conditioners for each in getattr(part, "networks", ())]
    assert len(held) == 2 and not any(p.requires_grad for network in held for p in network.parameters())
    assert {id(each) for each in held} <= {id(each) for each in generator.pipeline.controlnet.modules()}
    branch = ControlBranch(held[0], Control("shape", folder))
    assert dataclasses.replace(branch, control=Control("x", folder, (5, 5))).takes == (5, 5)
