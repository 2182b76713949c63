"""The contexts that mean nothing: computed as diffusers does, once, and written beside the checkpoint."""

import json
import shutil

import numpy as np
import pytest
import torch
from diffusers.pipelines.deprecated.versatile_diffusion import VersatileDiffusionDualGuidedPipeline
from random_checkpoints import TEXT_TOKENS
from random_checkpoints import VERSATILE_WIDTH as WIDTH
from safetensors.torch import load_file, save_file
from versatile_requests import IMAGE_TOKENS

from stages.generators.diffusion import versatile_diffusion
from stages.generators.diffusion.dual_context import DualContextGenerator
from stages.generators.diffusion.unconditional_contexts import UnconditionalContexts
from stages.generators.diffusion.versatile_diffusion import (
    contexts_folder,
    encode_unconditional_contexts,
    load_unconditional_contexts,
    load_versatile_diffusion,
)
from stages.ground.errors import InputError
from weights import store


def test_the_published_grey_is_127_of_255(folder, parts):
    """The scripts give Versatile Diffusion zeros of −1..1: 127.5, which the image processor of 2022 cuts off to 8 bit."""
    zeros = torch.zeros(1, 3, 16, 16)
    greys = (((zeros + 1) / 2).numpy() * 255).astype(np.uint8)
    assert set(greys.ravel()) == {127}
    encoder, processor = parts["image_encoder"], parts["image_feature_extractor"]
    size = encoder.config.image_size
    mean, std = (np.reshape(getattr(processor, name), (3, 1, 1)) for name in ("image_mean", "image_std"))
    pixels = (np.full((3, size, size), greys.max() / 255) - mean) / std
    with torch.no_grad():
        hidden = encoder(pixel_values=torch.from_numpy(pixels.astype(np.float32))[None]).last_hidden_state
        tokens = encoder.visual_projection(encoder.vision_model.post_layernorm(hidden))[0]
    published = load_unconditional_contexts(folder)
    torch.testing.assert_close(published.image.data, tokens / tokens[0].norm(), atol=1e-5, rtol=1e-5)
    middle = load_unconditional_contexts(folder, 127.5)
    assert (middle.image - published.image).abs().max() > 1e-5 and torch.equal(middle.text, published.text)
    # Each is stored by itself, and read again.
    stored = {path.name for path in folder.glob("unconditional*")}
    assert stored == {"unconditional_contexts", "unconditional_contexts_127"}
    assert torch.equal(load_unconditional_contexts(folder).image, published.image)
    assert torch.equal(load_unconditional_contexts(folder, 127.5).image, middle.image)


def test_the_grey_is_chosen_where_the_checkpoint_leaves_it_open(folder, tmp_path):
    usual, published, middle = (
        DualContextGenerator.from_pretrained(folder, **given).pipeline.unconditional_contexts.image
        for given in ({}, {"unconditional_grey": 127}, {"unconditional_grey": 127.5})
    )
    assert torch.equal(usual, published) and not torch.equal(usual, middle)
    black = DualContextGenerator.from_pretrained(folder, unconditional_grey=0.0).pipeline.unconditional_contexts.image
    assert torch.equal(black, load_unconditional_contexts(folder, 0.0).image) and not torch.equal(black, usual)
    with pytest.raises(InputError, match="unconditional_grey is 128; expected 127.0 or 127.5"):
        DualContextGenerator.from_pretrained(folder, unconditional_grey=128)
    with pytest.raises(InputError, match="brings its unconditional contexts with it; leave unconditional_grey out"):
        DualContextGenerator.from_pretrained(store.path("tiny-generator"), unconditional_grey=127.0)


def test_unconditional_contexts_vs_diffusers_pipeline(folder, parts):
    """diffusers computes them, first of two, beside every prompt; its grey is not cut off."""
    contexts = load_unconditional_contexts(folder, 127.5)
    dual = VersatileDiffusionDualGuidedPipeline(**{**parts, "text_unet": None})
    image = dual._encode_image_prompt([np.full((512, 512, 3), 0.2)], "cpu", 1, True)[0]
    text = dual._encode_text_prompt(["abc"], "cpu", 1, True)
    torch.testing.assert_close(contexts.image.data, image, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(contexts.text.data, text[0], atol=1e-5, rtol=1e-5)
    assert (text[1] - text[0]).abs().max() > 1e-3, "a caption is something else"
    assert contexts.image[0].norm() == pytest.approx(1, abs=1e-5)


def test_vocabulary_as_it_is_published(folder, parts):
    """Two files of 2022, and not the one file that transformers writes now."""
    expected = encode_unconditional_contexts(folder).text
    assert (folder / "tokenizer" / "tokenizer.json").is_file()
    shutil.rmtree(folder / "tokenizer")
    shutil.copytree(parts["tokenizer"].name_or_path, folder / "tokenizer")
    assert {path.name for path in (folder / "tokenizer").iterdir()} == {
        "vocab.json",
        "merges.txt",
        "tokenizer_config.json",
    }
    assert torch.equal(encode_unconditional_contexts(folder).text, expected)


def test_end_tokens_fill_the_caption_whatever_the_tokenizer_pads_with(folder):
    expected = encode_unconditional_contexts(folder).text
    path = folder / "tokenizer" / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pad_token": "a"}))
    assert torch.equal(encode_unconditional_contexts(folder).text, expected)


def test_unconditional_contexts_are_computed_once(folder, monkeypatch):
    first = load_unconditional_contexts(folder)
    assert {path.name for path in folder.glob("*unconditional*")} == {"unconditional_contexts_127"}
    for part in ("image_encoder", "text_encoder", "tokenizer", "image_feature_extractor"):
        shutil.rmtree(folder / part)
    monkeypatch.setattr(versatile_diffusion, "encode_unconditional_contexts", None)
    again = load_versatile_diffusion(folder).unconditional_contexts
    assert torch.equal(first.image, again.image) and torch.equal(first.text, again.text)


def test_a_folder_that_cannot_be_written_to_stays_as_it_is(folder, monkeypatch):
    def refuse(self, place):
        place.mkdir()
        (place / "half").write_text("")
        raise PermissionError(place)

    monkeypatch.setattr(UnconditionalContexts, "save_pretrained", refuse)
    before = sorted(folder.rglob("*"))
    assert load_unconditional_contexts(folder).image.isfinite().all()
    assert sorted(folder.rglob("*")) == before


def test_contexts_of_another_run_are_not_replaced(folder, monkeypatch):
    """Two runs may compute them at once; the later one finds the folder there."""
    theirs = UnconditionalContexts.from_contexts(torch.ones(IMAGE_TOKENS, WIDTH), torch.ones(TEXT_TOKENS, WIDTH))
    compute = encode_unconditional_contexts

    def slow(place, grey):
        theirs.save_pretrained(place / contexts_folder(grey))
        return compute(place, grey)

    monkeypatch.setattr(versatile_diffusion, "encode_unconditional_contexts", slow)
    load_unconditional_contexts(folder)
    assert torch.equal(load_unconditional_contexts(folder).image, theirs.image)
    assert not list(folder.glob(".*"))


def test_files_of_2022_load(folder):
    """Older transformers kept the numbers of the places as a tensor."""
    path = folder / "text_encoder" / "model.safetensors"
    expected = encode_unconditional_contexts(folder).text
    places = torch.arange(TEXT_TOKENS)[None]
    save_file(load_file(path) | {"text_model.embeddings.position_ids": places}, path, metadata={"format": "pt"})
    assert torch.equal(encode_unconditional_contexts(folder).text, expected)
