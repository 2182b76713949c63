"""The embedded SDXL: tiny-stable-diffusion, rewritten; and the embedded SDXL unCLIP: what it begins with and what it draws."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel

from brainrecon.simulation.world.pictures import draw_pictures
from stages.checkpoints.strict_loading import load_strictly
from stages.checkpoints.transformers_loading import load_transformers_strictly
from stages.generators.diffusion.stable_diffusion import StableDiffusionGenerator
from stages.generators.diffusion.stable_diffusion_xl import StableDiffusionXLGenerator
from stages.generators.diffusion.start_rule import StartRule
from stages.generators.diffusion.unclip_xl import UnCLIPXLGenerator
from stages.generators.generator import Item, in_order
from stages.networks.diffusion_text_encoder import encode_texts
from stages.networks.dual_context_unet import DualContextUNet2DConditionModel
from stages.targets.clip import CLIPImageTokens
from stages.targets.diffusion_text import DiffusionTextTokens
from stages.targets.unclip_tokens import UnclipTokens
from weights import store

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)


def module(name):
    return importlib.import_module(f"tiny_networks.{name}")


@pytest.fixture(scope="module")
def scenes():
    return draw_pictures(43, range(8), kind="scene")


# Stable Diffusion XL


def test_it_draws_what_tiny_stable_diffusion_draws(scenes):
    """The same network under nearly the same texts, from the same noise: by the same solver, pictures are close."""
    captions, items = [each.captions[0] for each in scenes[:3]], [Item(f"nsd0000{one}") for one in range(3)]
    old = StableDiffusionGenerator.from_pretrained(store.path("tiny-stable-diffusion"), scheduler="ddim")
    new = StableDiffusionXLGenerator.from_pretrained(
        store.path("tiny-sdxl"), scheduler="ddim", negative="", start=StartRule()
    )
    texts = DiffusionTextTokens.from_pretrained(store.path("tiny-stable-diffusion")).encode([[one] for one in captions])
    options = {"num_inference_steps": 10, "guidance_scale": 2.0, "strength": 0.5}
    starts = np.stack([each.image for each in scenes[:3]])
    first = in_order(old.draw({"clip_text": texts, "first_picture": starts}, items, **options))
    second = in_order(new.draw({"caption": captions, "first_picture": starts}, items, **options))
    found, expected = np.stack(second).astype(float), np.stack(first).astype(float)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.97
    others = in_order(new.draw({"caption": captions[::-1], "first_picture": starts}, items, **options))
    assert np.abs(found - expected).mean() < np.abs(np.stack(others).astype(float) - expected).mean()


def test_the_longer_tower_gives_the_old_ones_states_before_its_last_layer_norm():
    from transformers import CLIPTextModel

    sdxl = module("sdxl")
    source = store.path("tiny-stable-diffusion")
    tower = load_transformers_strictly(CLIPTextModel, source / "text_encoder")
    tokenizer = sdxl.load_tokenizer(source / "tokenizer", tower.config)
    with torch.no_grad():
        states, _ = encode_texts(sdxl.longer_tower(tower), tokenizer, ["a red car", ""], penultimate=True)
        expected, _ = encode_texts(tower, tokenizer, ["a red car", ""])
    torch.testing.assert_close(tower.final_layer_norm(states), expected)


def test_its_unet_heeds_neither_the_second_tower_nor_sizes():
    generator = StableDiffusionXLGenerator.from_pretrained(store.path("tiny-sdxl"))
    unet, random = generator.pipeline.unet, torch.Generator().manual_seed(0)
    noisy, states = torch.randn(1, 12, 8, 8, generator=random), torch.randn(1, 24, 256, generator=random)
    changed = torch.cat([states[..., :128], torch.randn(1, 24, 128, generator=random)], dim=2)
    with torch.no_grad():
        first, second = (
            unet(noisy, 500, each, added_cond_kwargs={"text_embeds": pooled, "time_ids": sizes}).sample
            for each, pooled, sizes in (
                (states, torch.zeros(1, 64), torch.zeros(1, 6)),
                (changed, torch.ones(1, 64), torch.ones(1, 6)),
            )
        )
        old = load_strictly(UNet2DConditionModel, store.path("tiny-stable-diffusion") / "unet")
        assert old.config.cross_attention_dim == 128
    torch.testing.assert_close(first, second)


def test_a_file_is_written_as_it_is_read(tmp_path):
    sdxl = module("sdxl")
    generator = StableDiffusionXLGenerator.from_pretrained(store.path("tiny-sdxl"))
    from safetensors.torch import load_file

    from stages.checkpoints.single_file_names import second_text_places

    stored = load_file(store.path("tiny-sdxl") / "model.safetensors")
    again = sdxl.as_stored(generator.pipeline.text_encoder_2.state_dict(), second_text_places)
    assert len(again) > 20 and all(torch.equal(value, stored[name]) for name, value in again.items())


# SDXL unCLIP


@pytest.fixture(scope="module")
def tokens(scenes):
    target = UnclipTokens.from_pretrained(store.path("tiny-clip"))
    return target.encode(np.stack([each.image for each in scenes])).reshape(-1, *target.shape)


def test_it_draws_a_scene_from_its_own_tokens_and_not_from_anothers(scenes, tokens):
    generator = UnCLIPXLGenerator.from_pretrained(store.path("tiny-unclip-xl"), n_tokens=64)
    items = [Item(f"nsd0000{one}") for one in range(len(scenes))]
    options = {"num_inference_steps": 20, "guidance_scale": 3.0}
    drawn = np.stack(in_order(generator.draw({"clip_image": tokens}, items, **options))).astype(float)
    shown = np.stack([each.image for each in scenes]).astype(float)

    def correlation(first, second):
        return np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(first, second)])

    own, other = correlation(drawn, shown), correlation(drawn, np.roll(shown, 1, axis=0))
    assert own > 0.3 and own > other + 0.2
    # Neither darker nor paler than what is shown: 0.8 d + 0.2 is the twin's, too.
    assert np.abs(drawn.mean() - shown.mean()) < 30 and drawn.min() < 40 and drawn.max() > 215


def test_it_begins_as_the_image_half_of_the_embedded_generator(scenes, tokens):
    start, unclip = module("unclip_xl_start"), module("unclip_xl")
    images = np.stack([each.image for each in scenes])
    target = CLIPImageTokens.from_pretrained(store.path("tiny-clip"))
    read = target.encode(images).reshape(-1, *target.shape)
    network = start.initialised(unclip.CONFIG, store.path("tiny-generator"), tokens, read)
    old = DualContextUNet2DConditionModel.from_pretrained(store.path("tiny-generator") / "unet").state_dict()
    state = network.state_dict()
    assert torch.equal(state["mid_block.resnets.0.conv1.weight"], old["mid_block.resnets.0.conv1.weight"])
    name = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"
    assert (
        state[name].shape[1] == 128
        and old[name.replace(".transformer_blocks", ".transformers.0.transformer_blocks")].shape[1] == 64
    )
    # Codes of sizes change nothing at first.
    noisy, random = torch.randn(1, 12, 8, 8, generator=torch.Generator().manual_seed(0)), torch.from_numpy(tokens[:1])
    with torch.no_grad():
        first, second = (
            network(noisy, 500, random, class_labels=label).sample
            for label in (torch.zeros(1, 1024), torch.ones(1, 1024))
        )
    torch.testing.assert_close(first, second)
    places = old["token_position"][1:65].numpy()
    assert 0 < start.explained(tokens, read, places) < 1


def test_a_few_steps_of_training_and_the_folder_that_is_written(tmp_path, scenes, tokens, monkeypatch):
    unclip, data = module("unclip_xl"), module("unclip_xl_data")

    class Few:
        images = relit = np.stack([each.image for each in scenes])
        labels = {"kind": ["scene"] * len(scenes)}

        def __len__(self):
            return len(self.images)

    for name in ("unclip_xl_data", "unclip_xl_figures"):
        monkeypatch.setattr(module(name), "load_pool", lambda workspace, held_out=False: Few())
    monkeypatch.setattr(module("unclip_xl_figures"), "SCENES", 2)
    encoded = data.encode_patches(tmp_path)
    np.testing.assert_allclose(encoded.image_tokens, tokens, atol=5e-3)
    trained = unclip.train(tmp_path, steps=2, device="cpu")
    assert all(torch.equal(a, b) for a, b in zip(trained.parameters(), unclip.reached(tmp_path).parameters()))
    unclip.write_folder(tmp_path / "written", unclip.reached(tmp_path))
    generator = UnCLIPXLGenerator.from_pretrained(tmp_path / "written", n_tokens=64)
    assert generator.pipeline.scheduler.config.prediction_type == "v_prediction"
    original = module("unclip_xl").load_autoencoder(store.path("tiny-generator"), torch.float32)
    latents = torch.from_numpy(np.array(encoded.latents[:1], np.float32)) / original.config.scaling_factor
    with torch.no_grad():
        greys = original.decode(latents).sample / 2 + 0.5
        shown = 0.8 * generator.pipeline.vae.decode(latents).sample + 0.2
    torch.testing.assert_close(shown, greys, atol=0.02, rtol=0)
