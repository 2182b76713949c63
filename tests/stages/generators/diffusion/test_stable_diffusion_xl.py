"""Stable Diffusion XL under captions, held against MindEye2's refinement written out, and its texts against diffusers."""

import inspect

import numpy as np
import pytest
import single_files
import torch
from diffusers import StableDiffusionXLPipeline
from diffusers.loaders.single_file_utils import convert_open_clip_checkpoint
from single_files import save_sdxl, sdxl_state
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from stages.checkpoints.single_file_names import first_text_places, second_text_places
from stages.generators.diffusion.sdxl_texts import clip_tokenizer, encode_sdxl_text, load_sdxl_texts
from stages.generators.diffusion.stable_diffusion_xl import NEGATIVE, StableDiffusionXLGenerator
from stages.generators.generator import Item, in_order
from stages.ground.item_seeds import item_generator
from weights.manifest import CheckpointError

ITEMS = [Item("nsd00001"), Item("nsd00002"), Item("nsd00001", sample=1)]
CAPTIONS = ["a b", "c d a", "a"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_sdxl(tmp_path_factory.mktemp("sdxl"))


@pytest.fixture(scope="module")
def generator(folder):
    return StableDiffusionXLGenerator.from_pretrained(folder, negative="b c")


def first_pictures(size=5):
    return np.random.default_rng(0).integers(0, 256, (3, size, size, 3), dtype=np.uint8)


def refined(generator, captions=CAPTIONS, **options):
    values = {"caption": captions, "first_picture": first_pictures()}
    return np.stack(in_order(generator.draw(values, ITEMS, strength=0.48, **options))).astype(int)


# Texts


def theirs(folder):
    """diffusers' own pipeline over the same text encoders."""
    encoders, tokenizers = load_sdxl_texts(folder)
    given = {
        "text_encoder": encoders[0],
        "text_encoder_2": encoders[1],
        "tokenizer": tokenizers[0],
        "tokenizer_2": tokenizers[1],
    }
    absent = {"vae": None, "unet": None, "scheduler": None}
    return StableDiffusionXLPipeline(**given, **absent, add_watermarker=False)


@pytest.mark.parametrize("text", ["a b", "d", "", "a b c d a b c d a b"])
def test_a_text_vs_diffusers(folder, text):
    with torch.no_grad():
        expected, _, pooled, _ = theirs(folder).encode_prompt(text, device="cpu", do_classifier_free_guidance=False)
        found = encode_sdxl_text(*load_sdxl_texts(folder), text)
    torch.testing.assert_close(found[0], expected[0])
    torch.testing.assert_close(found[1], pooled[0])
    assert found[0].shape == (7, 16) and found[1].shape == (8,)


def test_the_second_encoder_vs_diffusers_converter(folder):
    (first, second), _ = load_sdxl_texts(folder)
    config = CLIPTextConfig(**single_files.text_config(**single_files.SECOND_TEXT))
    # The converter takes the projection's width for the tower's: of equal ones it can be held against.
    state = sdxl_state()
    converted = convert_open_clip_checkpoint(
        CLIPTextModelWithProjection(config), {**state}, prefix="conditioner.embedders.1.model."
    )
    for name, value in second.state_dict().items():
        assert torch.equal(value, converted[name if name in converted else f"text_model.{name}"]), name
    for name, value in first.state_dict().items():
        stored = f"conditioner.embedders.0.transformer.text_model.{name.removeprefix('text_model.')}"
        assert torch.equal(value, state[stored]), name


@pytest.mark.parametrize(
    "network, places, tensors, sizes, count",
    [
        (CLIPTextModel, first_text_places, single_files.first_text_tensors, single_files.SDXL_FIRST_TEXT, 123_060_480),
        (
            CLIPTextModelWithProjection,
            second_text_places,
            single_files.second_text_tensors,
            single_files.SDXL_SECOND_TEXT,
            694_659_840,
        ),
    ],
)
def test_published_text_encoders_have_a_place_for_every_tensor(network, places, tensors, sizes, count):
    config = CLIPTextConfig(**single_files.text_config(**sizes, heads=sizes["width"] // 64))
    with torch.device("meta"):
        state = network(config).state_dict()
    stored = dict(tensors(**sizes))
    found = places(state)
    beginning = {
        place.name.rpartition("text_model.")[0] or "conditioner.embedders.1.model." for place in found.values()
    }
    (beginning,) = {each + ("text_model." if each.endswith("transformer.") else "") for each in beginning}
    assert {place.name for place in found.values()} == {beginning + name for name in stored}
    for name, place in found.items():
        shape = stored[place.name.removeprefix(beginning)]
        wanted = tuple(state[name].shape)
        assert (3 * wanted[0], *wanted[1:]) == shape if place.third is not None else wanted in (shape, shape[::-1]), (
            name
        )
    assert sum(value.numel() for value in state.values()) == count


def test_clips_tokenizer_vs_open_clip():
    import open_clip

    texts = ["a photo of a cat", "two brown dogs, running.", NEGATIVE, "", "word " * 100]
    found = [
        clip_tokenizer(pad)(texts, padding="max_length", truncation=True, return_tensors="pt")
        for pad in ("!", "<|endoftext|>")
    ]
    assert torch.equal(found[0].input_ids, open_clip.tokenize(texts))
    # The first encoder's is filled up with the end token.
    ends = found[1].input_ids.eq(49407)
    assert (
        torch.equal(found[1].input_ids.masked_fill(ends, 0), found[0].input_ids.masked_fill(ends, 0))
        and ends[0, 6:].all()
    )


# Pictures


@torch.no_grad()
def by_hand(generator, row, captions=CAPTIONS, negative="b c"):
    """MindEye2's: enlarge, encode 2x − 1 to a sample, add noise of σ, 12 Euler steps on what is denoised."""
    pipeline, item = generator.pipeline, ITEMS[row]
    random = item_generator(0, item.stimulus_id, item.sample)
    picture = torch.from_numpy(first_pictures()[row]).permute(2, 0, 1)[None] / 255
    enlarged = torch.nn.functional.interpolate(picture, (16, 16), mode="bilinear", align_corners=False)
    posterior = pipeline.vae.encode(2 * enlarged - 1).latent_dist
    z = (posterior.mean + posterior.std * torch.randn(4, 8, 8, generator=random)) * 0.13025
    kept = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
    levels = np.linspace(999, 0, 25, endpoint=False).astype(int)
    sigmas = [*np.sqrt((1 - kept) / kept)[levels], 0.0]
    x = z + torch.randn(4, 8, 8, generator=random) * sigmas[-13]
    parts = {name: getattr(pipeline, name) for name in ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")}
    texts = StableDiffusionXLPipeline(**parts, vae=None, unet=None, scheduler=None, add_watermarker=False)
    tokens, without, pooled, pooled_without = texts.encode_prompt(captions[row], negative_prompt=negative, device="cpu")
    sizes = torch.tensor([[16.0, 16, 0, 0, 16, 16]]).expand(2, -1)
    added = {"text_embeds": torch.cat([pooled_without, pooled]), "time_ids": sizes}
    context, steps = torch.cat([without, tokens]), 0
    for level, sigma, following in zip(levels[-12:], sigmas[-13:], sigmas[-12:]):
        rows = torch.cat([x, x])
        noise = pipeline.unet(
            (rows / (sigma**2 + 1) ** 0.5).float(), int(level), context, added_cond_kwargs=added
        ).sample
        nothing, conditional = (rows - sigma * noise).chunk(2)
        clean = nothing + 5 * (conditional - nothing)
        x = (x + (x - clean) / sigma * (following - sigma)).float()
        steps += 1
    assert steps == 12
    decoded = pipeline.vae.decode(x / 0.13025).sample[0]
    return (decoded / 2 + 0.5).clamp(0, 1).permute(1, 2, 0).numpy() * 255


@pytest.mark.parametrize("row", range(3))
def test_a_refined_picture_vs_the_published_way(generator, row):
    expected = by_hand(generator, row)
    assert expected.std() > 5
    assert np.abs(refined(generator)[row] - expected).max() <= 1


def test_a_picture_without_a_caption_reads_the_empty_text_and_captions_matter(generator):
    nothing = refined(generator, [None, "", "a"])
    assert np.abs(nothing[0] - refined(generator, ["", "", "a"])[0]).max() == 0
    assert np.abs(nothing[0] - refined(generator)[0]).max() > 1


def test_the_negative_text_matters_and_its_default_is_the_published_one(folder, generator):
    other = StableDiffusionXLGenerator.from_pretrained(folder, negative="d d d")
    assert np.abs(refined(other) - refined(generator)).max() > 1
    assert inspect.signature(StableDiffusionXLGenerator).parameters["negative"].default is NEGATIVE
    assert NEGATIVE.startswith("painting, extra fingers, ") and NEGATIVE.endswith(", anime")


def test_what_it_draws_and_is_told_by_default_at_published_sizes(generator, monkeypatch):
    unet = generator.pipeline.unet
    told = dict(unet.config) | {"sample_size": 512}
    monkeypatch.setattr(
        type(unet), "config", property(lambda self: type("Config", (dict,), {"__getattr__": dict.get})(told))
    )
    published = StableDiffusionXLGenerator(generator.pipeline)
    # An autoencoder that makes pictures half as large: 512 x 2 = 1,024 pixels.
    assert published.image_size == 768 and published.picture_size == 256
    assert published.conditioners[1]._numbers.tolist() == [768, 768, 0, 0, 1024, 1024]
    assert (published.default_steps, published.default_guidance_scale) == (25, 5.0)


def test_another_size_is_drawn_from_noise_and_given_smaller(folder):
    smaller = StableDiffusionXLGenerator.from_pretrained(folder, size=8, picture_size=4)
    drawn = np.stack(in_order(smaller.draw({"caption": CAPTIONS}, ITEMS, num_inference_steps=3)))
    assert drawn.shape == (3, 4, 4, 3)
    assert smaller.takes["first_latent"] == (4, 4, 4)


# Files


def test_a_folder_in_diffusers_layout_draws_the_same(folder, generator, tmp_path):
    for name in ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"):
        getattr(generator.pipeline, name).save_pretrained(tmp_path / name)
    other = StableDiffusionXLGenerator.from_pretrained(tmp_path, negative="b c")
    np.testing.assert_array_equal(refined(other), refined(generator))


@pytest.mark.parametrize(
    "change, told",
    [
        (lambda state: state.pop("conditioner.embedders.1.model.text_projection"), "missing: .*text_projection"),
        (
            lambda state: state.update({"conditioner.embedders.1.model.visual.proj": torch.zeros(1)}),
            "holds conditioner.embedders.1.model.visual.proj, which nothing reads",
        ),
        (
            lambda state: state.update(
                {"conditioner.embedders.1.model.transformer.resblocks.0.attn.in_proj_bias": torch.zeros(29)}
            ),
            r"in_proj_bias \(29,\) instead of \(30,\)",
        ),
        (lambda state: state.update({"lora.weight": torch.zeros(1)}), "holds lora.weight, which nothing reads"),
    ],
)
def test_texts_that_do_not_fit_are_named(tmp_path, change, told):
    state = sdxl_state()
    change(state)
    with pytest.raises(CheckpointError, match=told):
        StableDiffusionXLGenerator.from_pretrained(save_sdxl(tmp_path, state))


def test_a_single_file_without_tokenizers_is_read_with_clips_own_words(folder, tmp_path):
    import shutil

    shutil.copytree(folder, tmp_path / "bare", ignore=shutil.ignore_patterns("tokenizer*"))
    _, tokenizers = load_sdxl_texts(tmp_path / "bare")
    assert [len(each) for each in tokenizers] == [49408, 49408]
    assert [each.pad_token for each in tokenizers] == ["<|endoftext|>", "!"]
