"""The embedded generator's recipe: what it shows the network, and what it writes."""

import functools
import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from stages.generators.diffusion.dual_context import DualContextGenerator
from stages.networks.dual_context_unet import DualContextUNet2DConditionModel

SCRIPTS = Path(__file__).parents[2] / "scripts"
N = 6


@pytest.fixture
def modules(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    names = ("generator", "generator_data", "generator_figures", "generator_start", "autoencoder")
    return {name: importlib.import_module(f"tiny_networks.{name}") for name in names}


@pytest.fixture
def recipe(modules):
    return modules["generator"]


class FewPictures:
    def __init__(self):
        self.images = np.random.default_rng(0).integers(0, 256, (N, 64, 64, 3), dtype=np.uint8)
        self.captions = [["a red ball"] * 5] * N
        self.labels = {"kind": ["scene"] * N}

    def __len__(self):
        return N


@pytest.fixture
def workspace(modules, tmp_path, monkeypatch):
    """A workspace whose pictures are already encoded, by chance."""
    random = np.random.default_rng(1)
    arrays = {
        "latents": random.standard_normal((N, 12, 8, 8)),
        "image_tokens": 0.1 * random.standard_normal((N, 65, 64)),
        "caption_tokens": 0.1 * random.standard_normal((7, 24, 64)),
        "captions_of": random.integers(0, 7, (N, 5)).astype(np.int32),
        "unconditional_image": 0.1 * random.standard_normal((65, 64)),
        "unconditional_text": 0.1 * random.standard_normal((24, 64)),
    }
    for part in ("encoded", "encoded_held_out"):
        (tmp_path / "generator" / part).mkdir(parents=True)
        for name, array in arrays.items():
            modules["generator_data"].write_array(tmp_path / "generator" / part, name, array)
    encoders = tmp_path / "generator" / "encoders"
    torch.manual_seed(0)
    AutoencoderKL(**modules["autoencoder"].CONFIG).half().save_pretrained(encoders / "vae")
    (encoders / "clip").mkdir()
    for part in ("vae", "clip"):
        (encoders / part / "card.md").write_text("of the test")
    for module in ("generator_data", "generator_figures"):
        monkeypatch.setattr(modules[module], "load_pool", lambda workspace, held_out=False: FewPictures())
    return tmp_path


@pytest.fixture
def encoded(modules, workspace):
    return modules["generator_data"].encode_pool(workspace)


def test_size(recipe):
    with torch.device("meta"):
        unet = DualContextUNet2DConditionModel(**recipe.CONFIG)
    assert sum(parameter.numel() for parameter in unet.parameters()) <= 6_000_000


def test_caption_means(encoded):
    rows = np.array([1, 4])
    by_hand = np.stack([encoded.caption_tokens[encoded.captions_of[row]].astype(np.float32).mean(0) for row in rows])
    np.testing.assert_allclose(encoded.text_tokens(rows), by_hand, rtol=1e-4, atol=1e-5)
    only_last = np.zeros((2, 5), np.float32)
    only_last[:, 4] = 1
    np.testing.assert_allclose(
        encoded.text_tokens(rows, only_last), encoded.caption_tokens[encoded.captions_of[rows, 4]], atol=1e-6
    )


def test_shares_of_dropped_contexts(recipe):
    image, text = recipe.dropped_contexts(20_000, torch.Generator().manual_seed(0))
    share = {"both": image & text, "image": image & ~text, "text": text & ~image}
    assert share["both"].float().mean().item() == pytest.approx(recipe.DROP_BOTH, abs=0.01)
    assert share["image"].float().mean().item() == pytest.approx(recipe.DROP_IMAGE, abs=0.01)
    assert share["text"].float().mean().item() == pytest.approx(recipe.DROP_TEXT, abs=0.01)


def test_mixing_weights(recipe):
    weights = recipe.mixing_weights(10_000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(weights.sum(1), torch.ones(10_000))
    for image, share in ((0.6, 1 / 3), (1.0, 0.1), (0.0, 0.1)):
        assert (weights[:, 0] == image).float().mean().item() == pytest.approx(share, abs=0.02)


def test_aligned_heads_look_at_the_token_of_their_place(modules, recipe):
    """Queries and keys of the first heads, multiplied by hand, find it, though the tokens tell nothing of it."""
    content = np.random.default_rng(2).standard_normal((200, 65, 64))

    class Encoded:
        image_tokens = (0.1 * content).astype(np.float16)

        def text_tokens(self, rows):
            return 0.1 * np.ones((len(rows), 24, 64), np.float32)

        def __len__(self):
            return 200

    start = modules["generator_start"]
    model = start.initialised(recipe.CONFIG, Encoded())
    for block in (model.down_blocks[0], model.up_blocks[-1]):
        attention = block.attentions[0].transformers[0].transformer_blocks[0].attn2
        width = attention.to_q.weight.shape[0] // attention.heads
        places = torch.nn.functional.layer_norm(model.conv_in.position.flatten(1).T, (80,))
        tokens = torch.from_numpy(Encoded.image_tokens.astype(np.float32)) + model.token_position[:65]
        for head in range(start.ALIGNED_HEADS):
            part = slice(head * width, (head + 1) * width)
            query, key = places @ attention.to_q.weight[part].T, tokens @ attention.to_k.weight[part].T
            found = (query @ key.transpose(1, 2) / width**0.5).softmax(-1)
            own = found[:, :, 1:].diagonal(dim1=1, dim2=2).mean()
            assert own > 0.5


def test_loss_vs_velocity_by_hand(modules, recipe, encoded):
    """An untrained network predicts nothing, so its loss is the mean square of the velocity."""
    model, objective = modules["generator_start"].initialised(recipe.CONFIG, encoded), recipe.Objective(encoded)
    batch = {
        "latents": torch.from_numpy(np.array(encoded.latents)),
        "image": torch.from_numpy(np.array(encoded.image_tokens)),
        "text": torch.from_numpy(encoded.text_tokens(np.arange(N))),
    }
    seen = {}
    model.register_forward_pre_hook(lambda module, args: seen.update(sample=args[0], timesteps=args[1]))
    value, _ = objective(model, batch, torch.Generator().manual_seed(0))
    alpha = objective.scheduler.alphas_cumprod[seen["timesteps"]][:, None, None, None]
    noise = (seen["sample"] - alpha.sqrt() * batch["latents"]) / (1 - alpha).sqrt()
    velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * batch["latents"]
    assert value.item() == pytest.approx(velocity.square().mean().item(), rel=1e-3)


@pytest.mark.slow
def test_recipe_runs_whole(modules, recipe, workspace, tmp_path, monkeypatch):
    monkeypatch.setattr(recipe, "BATCH_SIZE", 4)
    judge = functools.partial(modules["generator_figures"].figures, n=2)
    monkeypatch.setattr(modules["generator_figures"], "figures", judge)
    recipe.train(workspace, steps=2, device="cpu")
    folder = tmp_path / "export"
    figures = recipe.export(workspace, folder)
    assert {path.name for path in folder.iterdir()} == {
        "card.md", "model_index.json", "scheduler", "unconditional_contexts", "unet", "vae"
    }  # fmt: skip
    assert not list(tmp_path.glob(".export*"))
    generator = DualContextGenerator.from_pretrained(folder)
    assert generator.image_size == 64
    assert (generator.takes["clip_image"], generator.takes["clip_text"]) == ((65, 64), (24, 64))
    assert generator.pipeline.config.guidance_scale == recipe.GUIDANCE_SCALE
    assert {"oracle_category", "from_noise_pixel_correlation", "stage_one_two_way_identification"} <= set(figures)
    assert "2 of 2 steps" in (folder / "card.md").read_text()
