"""Captions in a generator's own text space, against diffusers' own pipelines on tiny random encoders."""

import json

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline, StableUnCLIPImg2ImgPipeline
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from stages.ground.errors import InputError
from stages.targets.diffusion_text import DiffusionTextTokens
from weights.store import CheckpointError

LENGTH = 9
LETTERS = "abcdefghijklmnopqrstuvwxyz"
VOCABULARY = ["!", *LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
CAPTIONS = [["a bed", "", "the dog is on it and barks"], ["cat"], [" ", "two"]]


def write_encoder(folder, ending="", projection=False, width=16, layers=3, padding=None, **changes):
    """Write one random text encoder and its tokenizer as a diffusers folder has them."""
    config = CLIPTextConfig(
        vocab_size=len(VOCABULARY), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers,
        num_attention_heads=2, max_position_embeddings=LENGTH, projection_dim=12,
        bos_token_id=len(VOCABULARY) - 2, eos_token_id=len(VOCABULARY) - 1, pad_token_id=0, **changes,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(width)
        model = (CLIPTextModelWithProjection if projection else CLIPTextModel)(config).eval()
        for name, parameter in model.named_parameters():
            torch.nn.init.normal_(parameter, float("norm" in name and name.endswith("weight")), 0.3)
    model.save_pretrained(folder / f"text_encoder{ending}")
    place = folder / f"tokenizer{ending}"
    place.mkdir()
    (place / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(VOCABULARY)}))
    (place / "merges.txt").write_text("#version: 0.2\n")
    settings = {"model_max_length": LENGTH} | ({"pad_token": padding} if padding else {})
    (place / "tokenizer_config.json").write_text(json.dumps(settings))
    return model, CLIPTokenizer.from_pretrained(place, local_files_only=True)


def parts(ending, model, tokenizer):
    return {f"text_encoder{ending}": model, f"tokenizer{ending}": tokenizer}


def nothing(pipeline_class, **given):
    """A pipeline with text encoders and nothing else."""
    names = pipeline_class._get_signature_keys(pipeline_class)[0]
    return pipeline_class(**(dict.fromkeys(names) | given))


@pytest.fixture(scope="module")
def stable_diffusion(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generators") / "sd"
    return folder, nothing(StableDiffusionPipeline, **parts("", *write_encoder(folder)))


@pytest.fixture(scope="module")
def stable_diffusion_xl(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generators") / "sdxl"
    first = parts("", *write_encoder(folder))
    second = parts("_2", *write_encoder(folder, "_2", projection=True, width=24, padding="!", hidden_act="gelu"))
    return folder, nothing(StableDiffusionXLPipeline, **first, **second)


def kept(captions):
    return [caption for caption in captions if caption.strip()]


def test_stable_diffusion_vs_diffusers(stable_diffusion):
    folder, pipeline = stable_diffusion
    expected = [pipeline.encode_prompt(kept(item), "cpu", 1, False)[0].mean(0) for item in CAPTIONS]
    target = DiffusionTextTokens.from_pretrained(folder)
    values = target.encode(CAPTIONS)
    assert (target.name, target.takes) == ("diffusion_text", "captions")
    assert target.shape == target.token_shape == (LENGTH, 16) and target.n_targets == LENGTH * 16
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, torch.stack(expected).detach().flatten(1).numpy(), atol=1e-5)
    tokens, pooled = target.split(values)
    assert tokens.shape == (3, LENGTH, 16) and pooled is None


def test_stable_diffusion_xl_vs_diffusers(stable_diffusion_xl):
    folder, pipeline = stable_diffusion_xl
    target = DiffusionTextTokens.from_pretrained(folder)
    values = target.encode(CAPTIONS)
    assert target.token_shape == (LENGTH, 40) and target.pooled_width == 12
    assert target.shape == (target.n_targets,) == (LENGTH * 40 + 12,)
    tokens, pooled = target.split(values)
    for row, item in enumerate(CAPTIONS):
        theirs, _, theirs_pooled, _ = pipeline.encode_prompt(
            kept(item), device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
        )
        np.testing.assert_allclose(tokens[row], theirs.mean(0).detach().numpy(), atol=1e-5)
        np.testing.assert_allclose(pooled[row], theirs_pooled.mean(0).detach().numpy(), atol=1e-5)


def test_stable_unclip_vs_diffusers(tmp_path):
    pipeline = nothing(StableUnCLIPImg2ImgPipeline, **parts("", *write_encoder(tmp_path, width=32, padding="!")))
    expected = pipeline.encode_prompt(["a dog", "bed"], "cpu", 1, False)[0].detach().flatten(1).numpy()
    target = DiffusionTextTokens.from_pretrained(tmp_path)
    assert target.shape == (LENGTH, 32)
    np.testing.assert_allclose(target.encode([["a dog"], ["bed"]]), expected, atol=1e-5)


def test_an_encoder_that_masks_its_padding_does(tmp_path, stable_diffusion):
    model, tokenizer = write_encoder(tmp_path / "masked", use_attention_mask=True, padding="!")
    pipeline = nothing(StableDiffusionPipeline, text_encoder=model, tokenizer=tokenizer)
    expected = pipeline.encode_prompt(["a dog"], "cpu", 1, False)[0].detach().flatten(1).numpy()
    found = DiffusionTextTokens.from_pretrained(tmp_path / "masked").encode([["a dog"]])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_last_layer_norm_is_applied_once_and_nothing_is_projected(stable_diffusion):
    folder, pipeline = stable_diffusion
    ids = pipeline.tokenizer(["cat"], padding="max_length", return_tensors="pt").input_ids
    with torch.no_grad():
        raw = pipeline.text_encoder(ids, output_hidden_states=True).hidden_states[-1]
        expected = torch.nn.functional.layer_norm(
            raw, (16,), pipeline.text_encoder.final_layer_norm.weight, pipeline.text_encoder.final_layer_norm.bias
        )
    found = DiffusionTextTokens.from_pretrained(folder).encode([["cat"]])
    np.testing.assert_allclose(found, expected.flatten(1).numpy(), atol=1e-5)


def test_batches_change_nothing_but_rounding(stable_diffusion_xl):
    target = DiffusionTextTokens.from_pretrained(stable_diffusion_xl[0])
    np.testing.assert_allclose(target.encode(CAPTIONS, batch_size=1), target.encode(CAPTIONS), atol=1e-5)
    assert target.encode([]).shape == (0, target.n_targets)


def test_a_caption_longer_than_the_context_is_cut(stable_diffusion):
    target = DiffusionTextTokens.from_pretrained(stable_diffusion[0])
    np.testing.assert_array_equal(target.encode([["abcdefghijkl"]]), target.encode([["abcdefgzz"]]))


def test_preprocessing_is_plain_data_and_tells_the_recipes_apart(stable_diffusion, stable_diffusion_xl):
    used = [DiffusionTextTokens.from_pretrained(folder).preprocessing for folder, _ in
            (stable_diffusion, stable_diffusion_xl)]  # fmt: skip
    assert json.loads(json.dumps(used)) == used and used[0] != used[1]


@pytest.mark.parametrize("bad", [[["a dog"], []], [["a dog"], ["", " "]], [["a dog"], "a dog"]])
def test_a_stimulus_without_captions_is_named(stable_diffusion, bad):
    with pytest.raises(InputError, match="stimulus number 1"):
        DiffusionTextTokens.from_pretrained(stable_diffusion[0]).encode(bad)


def test_rows_of_another_length_are_not_split(stable_diffusion_xl):
    target = DiffusionTextTokens.from_pretrained(stable_diffusion_xl[0])
    with pytest.raises(InputError, match=r"\(2, 360\).*\(n, 372\)"):
        target.split(np.zeros((2, 360)))


# --- loading


def test_both_layouts_of_names_load(tmp_path):
    """Published files name the tower text_model and keep position_ids; files of newer transformers do neither."""
    write_encoder(tmp_path)
    path = tmp_path / "text_encoder" / "model.safetensors"
    plain = {name.removeprefix("text_model."): value for name, value in load_file(path).items()}
    found = []
    for prefix in ("", "text_model."):
        state = {f"{prefix}{name}": value for name, value in plain.items()}
        save_file(state | {f"{prefix}embeddings.position_ids": torch.arange(LENGTH)[None]}, path)
        found.append(DiffusionTextTokens.from_pretrained(tmp_path).encode(CAPTIONS))
    np.testing.assert_array_equal(*found)


def test_half_precision_files_are_computed_in_float32(tmp_path):
    model, _ = write_encoder(tmp_path)
    model.half().save_pretrained(tmp_path / "text_encoder")
    target = DiffusionTextTokens.from_pretrained(tmp_path)
    assert {parameter.dtype for parameter in target.encoders[0].parameters()} == {torch.float32}


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda state: state.pop("final_layer_norm.weight"), "missing: final_layer_norm.weight"),
        (lambda state: state.update(extra=torch.zeros(1)), "unexpected: extra"),
        (
            lambda state: state.update({"final_layer_norm.bias": torch.zeros(17)}),
            r"text_encoder .*misshapen: final_layer_norm.bias \(17,\) instead of \(16,\)",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_refused(tmp_path, change, words):
    write_encoder(tmp_path)
    path = tmp_path / "text_encoder" / "model.safetensors"
    state = {name.removeprefix("text_model."): value for name, value in load_file(path).items()}
    change(state)
    save_file(state, path)
    with pytest.raises(CheckpointError, match=words):
        DiffusionTextTokens.from_pretrained(tmp_path)


def test_absent_and_foreign_parts_are_named(tmp_path):
    with pytest.raises(CheckpointError, match="no text_encoder"):
        DiffusionTextTokens.from_pretrained(tmp_path)
    write_encoder(tmp_path)
    config = tmp_path / "text_encoder" / "config.json"
    whole = config.read_text()
    config.write_text(json.dumps(json.loads(whole) | {"model_type": "t5"}))
    with pytest.raises(CheckpointError, match="describes a t5"):
        DiffusionTextTokens.from_pretrained(tmp_path)
    config.write_text(whole)
    weights = tmp_path / "text_encoder" / "model.safetensors"
    kept_bytes = weights.read_bytes()
    weights.rename(weights.with_name("pytorch_model.bin"))
    with pytest.raises(CheckpointError, match="model.safetensors is absent"):
        DiffusionTextTokens.from_pretrained(tmp_path)
    weights.write_bytes(kept_bytes[:-20])
    with pytest.raises(CheckpointError, match="cannot be read"):
        DiffusionTextTokens.from_pretrained(tmp_path)
    weights.write_bytes(kept_bytes)
    (tmp_path / "tokenizer" / "vocab.json").unlink()
    with pytest.raises(CheckpointError, match="tokenizer.json nor vocab.json"):
        DiffusionTextTokens.from_pretrained(tmp_path)


def test_a_tokenizer_of_another_encoder_is_refused(tmp_path):
    write_encoder(tmp_path)
    settings = tmp_path / "tokenizer" / "tokenizer_config.json"
    settings.write_text("{}")  # no length at all: transformers would write captions of any length
    with pytest.raises(CheckpointError, match="tokenizer.*writes"):
        DiffusionTextTokens.from_pretrained(tmp_path)
    settings.write_text(json.dumps({"model_max_length": LENGTH}))
    vocabulary = {token: number for number, token in enumerate([*VOCABULARY, "zz", "yy"])}
    (tmp_path / "tokenizer" / "vocab.json").write_text(json.dumps(vocabulary))
    with pytest.raises(CheckpointError, match="up to 56.*below 55"):
        DiffusionTextTokens.from_pretrained(tmp_path)


def test_an_xl_folder_without_the_projection_is_refused(tmp_path):
    write_encoder(tmp_path)
    write_encoder(tmp_path, "_2")
    with pytest.raises(CheckpointError, match="no text_projection"):
        DiffusionTextTokens.from_pretrained(tmp_path)


@pytest.mark.parametrize("width, layers", [(768, 12), (1024, 23)])
def test_published_sizes(width, layers):
    """Stable Diffusion 1.5 and Stable unCLIP, without holding them."""
    with torch.device("meta"):
        encoder = CLIPTextModel(CLIPTextConfig(hidden_size=width, num_hidden_layers=layers, num_attention_heads=8))
    tokenizer = type("Tokenizer", (), {"model_max_length": 77})()
    assert DiffusionTextTokens([encoder], [tokenizer]).shape == (77, width)


def test_published_size_of_xl():
    with torch.device("meta"):
        first = CLIPTextModel(CLIPTextConfig(hidden_size=768, num_attention_heads=12))
        second = CLIPTextModelWithProjection(
            CLIPTextConfig(hidden_size=1280, num_hidden_layers=32, num_attention_heads=20, projection_dim=1280)
        )
    tokenizers = [type("Tokenizer", (), {"model_max_length": 77})()] * 2
    target = DiffusionTextTokens([first, second], tokenizers, penultimate=True)
    assert target.shape == (77 * 2048 + 1280,)


def test_fewer_tokens_are_those_of_diffusers_at_that_length(stable_diffusion):
    """Longer captions are cut with their end, the first token stays what it is, and the empty text's first ones, too."""
    folder, pipeline = stable_diffusion
    target = DiffusionTextTokens.from_pretrained(folder, length=4)
    assert target.shape == (4, 16) and target.preprocessing["context_length"] == 4
    found = target.encode([["the dog is on it"], ["cat"]]).reshape(2, 4, 16)
    written = pipeline.tokenizer(
        ["the dog is on it", "cat"], padding="max_length", max_length=4, truncation=True, return_tensors="pt"
    )
    with torch.no_grad():
        expected = pipeline.text_encoder(written.input_ids).last_hidden_state
        nothing = pipeline.tokenizer([""], padding="max_length", max_length=LENGTH, return_tensors="pt").input_ids
        long, short = (pipeline.text_encoder(ids).last_hidden_state for ids in (nothing, nothing[:, :4]))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(found[0, 0], found[1, 0], atol=1e-6)
    torch.testing.assert_close(long[:, :4], short, atol=1e-5, rtol=1e-5)
    assert (
        np.abs(
            found
            - DiffusionTextTokens.from_pretrained(folder)
            .encode([["the dog is on it"], ["cat"]])
            .reshape(2, LENGTH, 16)[:, :4]
        ).max()
        > 1e-3
    )


@pytest.mark.parametrize("length", [1, LENGTH + 1, 2.5])
def test_a_length_that_the_encoder_does_not_read_is_refused(stable_diffusion, length):
    with pytest.raises(InputError, match="length is"):
        DiffusionTextTokens.from_pretrained(stable_diffusion[0], length=length)
