"""The empty text, held against the prompt encoders of diffusers' pipelines, and how it is stored."""

import json
import shutil

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from random_checkpoints import save_generator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from stages.generators.diffusion.empty_text import encode_empty_text, encode_empty_text_xl
from stages.generators.diffusion.unconditional_embedding import UnconditionalEmbedding, stored_embedding
from weights.store import CheckpointError


@pytest.fixture
def folder(tmp_path):
    return save_generator("sdxl", tmp_path / "generator")


@torch.no_grad()
def test_one_encoder_vs_diffusers_pipeline(tmp_path):
    from transformers import CLIPTextModel, CLIPTokenizer

    folder = save_generator("sd", tmp_path / "generator")
    pipeline = StableDiffusionPipeline(
        vae=None,
        unet=None,
        scheduler=None,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        text_encoder=CLIPTextModel.from_pretrained(folder / "text_encoder"),
    )
    expected, _ = pipeline.encode_prompt("", "cpu", 1, False)
    assert expected.shape == (1, 7, 16)
    assert torch.allclose(encode_empty_text(folder), expected[0], atol=1e-6)


@torch.no_grad()
def test_both_encoders_vs_diffusers_pipeline(folder):
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    pipeline = StableDiffusionXLPipeline(
        vae=None,
        unet=None,
        scheduler=None,
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        tokenizer_2=CLIPTokenizer.from_pretrained(folder / "tokenizer_2"),
        text_encoder=CLIPTextModel.from_pretrained(folder / "text_encoder"),
        text_encoder_2=CLIPTextModelWithProjection.from_pretrained(folder / "text_encoder_2"),
        add_watermarker=False,
    )
    tokens, _, pooled, _ = pipeline.encode_prompt("", device="cpu", do_classifier_free_guidance=False)
    assert tokens.shape == (1, 7, 16) and pooled.shape == (1, 10)
    expected = torch.cat([tokens.flatten(), pooled.flatten()])
    assert torch.allclose(encode_empty_text_xl(folder), expected, atol=1e-6)


def test_encoders_that_do_not_fit_are_refused_by_name(folder):
    path = folder / "text_encoder" / "model.safetensors"
    state = load_file(path)
    name = next(name for name in state if name.endswith("final_layer_norm.bias"))
    save_file({key: value for key, value in state.items() if key != name}, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="missing: .*final_layer_norm.bias"):
        encode_empty_text(folder)
    save_file(state | {"strange": torch.zeros(2)}, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="unexpected: strange"):
        encode_empty_text(folder)
    save_file(state | {name: torch.zeros(5)}, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"misshapen: .*final_layer_norm.bias \(5,\) instead of \(6,\)"):
        encode_empty_text(folder)
    save_file(state | {"text_model.embeddings.position_ids": torch.arange(7)[None]}, path, metadata={"format": "pt"})
    assert encode_empty_text(folder).shape == (7, 6)
    path.write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="CLIPTextModel that can be read"):
        encode_empty_text(folder)


@pytest.mark.parametrize("part", ["tokenizer", "text_encoder", "tokenizer_2", "text_encoder_2"])
def test_a_part_that_is_absent_is_named(folder, part):
    shutil.rmtree(folder / part)
    with pytest.raises(CheckpointError, match=f"{part} holds no"):
        encode_empty_text_xl(folder)


def test_a_tokenizer_of_another_encoder_is_refused(folder):
    path = folder / "tokenizer" / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": 9}))
    with pytest.raises(CheckpointError, match="writes 9 numbers .* reads 7"):
        encode_empty_text(folder)


def test_an_embedding_is_computed_once(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return torch.arange(6.0).view(3, 2).half()

    for _ in range(2):
        held = stored_embedding(tmp_path, "empty text", (None, 2), compute)
        assert held.dtype == torch.float32 and torch.equal(held, torch.arange(6.0).view(3, 2))
    assert len(calls) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["unconditional_contexts"]
    for kind, shape in (("zero image", (None, 2)), ("empty text", (None, 4)), ("empty text", (None,))):
        with pytest.raises(CheckpointError, match=f"takes finite values for {kind}"):
            stored_embedding(tmp_path, kind, shape, compute)


def test_a_folder_that_cannot_be_written_to_keeps_nothing(tmp_path, monkeypatch):
    from pathlib import Path

    def refuse(self, *rest, **options):
        raise PermissionError(13, "read-only", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert stored_embedding(tmp_path, "empty text", (2,), lambda: torch.ones(2)).tolist() == [1, 1]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [OSError(28, "no space left"), SafetensorError("no space left")])
def test_what_cannot_be_written_whole_is_not_kept(tmp_path, monkeypatch, error):
    def fail(self, folder):
        (folder / "half").write_text("half")
        raise error

    monkeypatch.setattr(UnconditionalEmbedding, "save_pretrained", fail)
    assert stored_embedding(tmp_path, "empty text", (2,), lambda: torch.ones(2)).tolist() == [1, 1]
    assert not list(tmp_path.iterdir())


def test_what_is_not_finite_is_not_stored(tmp_path):
    with pytest.raises(CheckpointError, match="finite"):
        stored_embedding(tmp_path, "empty text", (2,), lambda: torch.tensor([1.0, float("nan")]))
    assert not list(tmp_path.iterdir())
    assert stored_embedding(tmp_path, "zero image", (2,), None) is None
