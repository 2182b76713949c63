"""The embedded Stable Diffusion: its text half, what it begins with, what it learns from, and what it draws."""

import functools
import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel

from brainrecon.simulation.world.captions import VOCABULARY
from brainrecon.simulation.world.pictures import draw_pictures
from stages.generators.diffusion.stable_diffusion import StableDiffusionGenerator
from stages.networks.dual_context_unet import DualContextUNet2DConditionModel
from stages.targets.clip import CLIPTextTokens
from stages.targets.diffusion_text import DiffusionTextTokens
from weights import store

SCRIPTS = Path(__file__).parents[2] / "scripts"
PARTS = ("stable_diffusion", "stable_diffusion_data", "stable_diffusion_figures")
CAPTIONS = ["a red car in front of the sea", "a large yellow tree", "somebody wrote the digit seven by hand", ""]


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)


def module(name):
    return importlib.import_module(f"tiny_networks.{name}")


@pytest.fixture(scope="module")
def drawn():
    return draw_pictures(43, range(6), kind="scene")


@pytest.fixture
def pool(drawn, monkeypatch):
    class Few:
        images = np.stack([picture.image for picture in drawn])
        captions = [list(picture.captions) for picture in drawn]
        labels = {"kind": ["scene"] * len(drawn)}

        def __len__(self):
            return len(self.images)

    for name in PARTS:
        monkeypatch.setattr(module(name), "load_pool", lambda workspace, held_out=False: Few())
    return Few()


@pytest.fixture
def half(tmp_path):
    module("stable_diffusion_text").write_text_half(store.path("tiny-clip"), tmp_path / "half")
    return DiffusionTextTokens.from_pretrained(tmp_path / "half")


# The text half


def test_words_keep_their_numbers_and_others_stand_for_the_unknown(half):
    tokenizer, clip = half.tokenizers[0], module("clip")
    texts = [*CAPTIONS, *VOCABULARY, "A Red, red car."]
    written = tokenizer(texts, padding="max_length", max_length=24, truncation=True)["input_ids"]
    np.testing.assert_array_equal(written, clip.tokenize(texts))
    # Its last letter is the word "a".
    pieces = tokenizer("zebra")["input_ids"][1:-2]
    words = half.encoders[0].get_input_embeddings().weight
    assert len(pieces) > 1 and min(pieces) >= len(clip.WORDS)
    assert all(torch.equal(words[piece], words[clip.WORDS.index("<unknown>")]) for piece in pieces)


def test_states_vs_open_clips_own_tower(half):
    target = CLIPTextTokens.from_pretrained(store.path("tiny-clip"))
    with torch.no_grad():
        _, expected = target._text_tokens(CAPTIONS)
        states = half._encode(CAPTIONS).reshape(-1, 24, 128)
    torch.testing.assert_close(states @ target.model.text.text_projection.detach(), expected, rtol=1e-4, atol=1e-4)


# What it begins with

SMALL = {
    "sample_size": 8,
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "attention_head_dim": 2,
    "use_linear_projection": True,
}


@pytest.fixture
def generator_folder(tmp_path):
    """A random generator whose codes of the place are one value per channel."""
    torch.manual_seed(0)
    more = {"cross_attention_dim": 6, "image_context_tokens": 3, "text_context_tokens": 5, "position_embedding": True}
    model = DualContextUNet2DConditionModel(**SMALL, **more)
    model.conv_in.position.data.copy_(torch.randn(8, 1, 1).expand(8, 8, 8))
    model.save_pretrained(tmp_path / "generator" / "unet")
    return tmp_path / "generator"


def test_it_begins_as_the_generator_under_text_alone(generator_folder):
    random = np.random.default_rng(0)
    tokens = random.standard_normal((50, 5, 6)).astype(np.float32)
    states = tokens @ random.standard_normal((6, 10)).astype(np.float32)
    start = module("stable_diffusion_start")
    found = start.initialised(SMALL | {"cross_attention_dim": 10}, generator_folder, states, tokens).eval()
    generator = DualContextUNet2DConditionModel.from_pretrained(generator_folder / "unet")
    sample, context = torch.randn(4, 4, 8, 8), torch.cat([torch.zeros(4, 3, 6), torch.from_numpy(tokens[:4])], dim=1)
    weights = {"context_weights": torch.tensor([[0.0, 1.0]] * 4)}
    with torch.no_grad():
        expected = generator(sample, 300, context, cross_attention_kwargs=weights, return_dict=False)[0]
        drawn = found(sample, 300, torch.from_numpy(states[:4]), return_dict=False)[0]
    assert (drawn - expected).abs().max() < 0.01 * expected.std()


def test_a_narrower_network_takes_over_the_first_channels_of_each_group():
    narrow = module("stable_diffusion_start").Narrowing((8, 16), (8, 12), n_groups=4)
    kept = [0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14]
    assert narrow("norm1.weight", torch.arange(16), (12,)).tolist() == kept
    upwards = torch.arange(32).expand(16, 32)
    assert narrow("conv1.weight", upwards, (12, 24))[0].tolist() == kept + [16 + each for each in kept]
    beside = narrow("conv1.weight", torch.arange(24).expand(16, 24), (12, 20))[0]
    assert beside.tolist() == [*kept, *range(16, 24)]
    assert narrow("block.attn1.to_q.weight", torch.arange(16)[:, None].expand(16, 16), (12, 12))[:, 0].tolist() == [
        *range(12)
    ]
    gated = narrow("ff.net.0.proj.bias", torch.arange(128), (96,))
    assert gated.tolist() == [*range(48), *range(64, 112)]


def test_size():
    with torch.device("meta"):
        unet = UNet2DConditionModel(**module("stable_diffusion").CONFIG)
    assert sum(parameter.numel() for parameter in unet.parameters()) <= 2_700_000


# What it learns from


def test_loss_vs_velocity_by_hand_and_the_share_of_empty_texts(pool, tmp_path):
    recipe, n = module("stable_diffusion"), 4000
    objective = recipe.Objective(module("stable_diffusion_data").encode_captioned(tmp_path))
    seen = {}

    def silent(sample, timesteps, contexts, return_dict):
        seen.update(sample=sample, timesteps=timesteps, contexts=contexts)
        return (torch.zeros_like(sample),)

    latents = torch.randn(n, 12, 1, 1)
    value, _ = objective(
        silent, {"latents": latents, "text": torch.randn(n, 24, 128)}, torch.Generator().manual_seed(0)
    )
    alpha = objective.scheduler.alphas_cumprod[seen["timesteps"]][:, None, None, None]
    noise = (seen["sample"] - alpha.sqrt() * latents) / (1 - alpha).sqrt()
    velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * latents
    assert value.item() == pytest.approx(velocity.square().mean().item(), rel=1e-3)
    empty = (seen["contexts"] == objective.empty).all(dim=(1, 2)).float().mean().item()
    assert empty == pytest.approx(recipe.DROPPED, abs=0.02)


@pytest.mark.slow
def test_recipe_runs_whole(pool, tmp_path, monkeypatch):
    recipe, figures = module("stable_diffusion"), module("stable_diffusion_figures")
    monkeypatch.setattr(module("generator"), "BATCH_SIZE", 4)
    monkeypatch.setattr(figures, "figures", functools.partial(figures.figures, n=2))
    monkeypatch.setattr(figures, "STEPS", 2)
    recipe.train(tmp_path / "workspace", steps=2, device="cpu")
    folder = tmp_path / "export"
    found = recipe.export(tmp_path / "workspace", folder)
    published = {
        file.path for file in store.entry("stable-diffusion-1-4").files if "special_tokens_map" not in file.path
    }
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    of_its_own = {"card.md", "unconditional_contexts/config.json"}
    assert written == published | of_its_own | {"unconditional_contexts/diffusion_pytorch_model.safetensors"}
    card = (folder / "card.md").read_text()
    assert "2 of 2 steps of 4" in card and "under guidance" in card
    for label in ("from_noise", "from_noise_shuffled", "redrawn", "redrawn_shuffled", "small_picture"):
        assert {f"{label}_clip_similarity", f"{label}_two_way_identification"} <= set(found)


# What it draws


def test_diffusers_own_pipeline_loads_it_and_reads_the_same_texts():
    folder = store.path("tiny-stable-diffusion")
    pipeline = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True, torch_dtype=torch.float32)
    theirs, empty = pipeline.encode_prompt(CAPTIONS[0], "cpu", 1, True, negative_prompt="")
    ours = DiffusionTextTokens.from_pretrained(folder).encode([CAPTIONS[:1]]).reshape(1, 24, 128)
    torch.testing.assert_close(torch.from_numpy(ours), theirs.detach(), rtol=1e-4, atol=1e-4)
    stored = StableDiffusionGenerator.from_pretrained(folder).empty_text
    torch.testing.assert_close(stored, empty.detach()[0], rtol=2e-3, atol=2e-3)


def test_it_draws_what_captions_say(pool):
    """From noise, under true contexts; under those of other pictures it does not."""
    figures = module("stable_diffusion_figures")
    drawing = figures.Drawing(store.path("tiny-stable-diffusion"), pool, np.arange(len(pool)))
    right, wrong = (drawing.pictures(started=False, shuffled=each) for each in (False, True))
    found = [figures.scores(pool.images, pictures) for pictures in (right, wrong)]
    assert found[0]["two_way_identification"] >= 0.9 and found[0]["background"] >= 0.8
    assert found[1]["two_way_identification"] <= 0.7
    assert figures.clip_similarity(right, pool.captions) > figures.clip_similarity(wrong, pool.captions) + 0.1
