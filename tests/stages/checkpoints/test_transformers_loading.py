"""transformers' models and tokenizers, refused by the names of what does not fit."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from stages.checkpoints.transformers_loading import load_clip_tokenizer, load_transformers_strictly
from weights.store import CheckpointError

NORM = "final_layer_norm.weight"


@pytest.fixture
def encoder():
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=9,
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=5,
            bos_token_id=0,
            eos_token_id=1,
        )  # fmt: skip
    ).eval()


@pytest.fixture
def change(encoder, tmp_path):
    """Writes the encoder with a change made to its tensors, whose names lose the prefix that versions differ in."""

    def write(edit):
        encoder.save_pretrained(tmp_path)
        path = tmp_path / "model.safetensors"
        state = {name.removeprefix("text_model."): tensor for name, tensor in load_file(path).items()}
        edit(state)
        save_file(state, path, metadata={"format": "pt"})
        return tmp_path

    return write


@torch.no_grad()
def test_what_fits_is_loaded_in_float32_to_be_evaluated(encoder, tmp_path):
    encoder.half().save_pretrained(tmp_path)
    loaded, ids = load_transformers_strictly(CLIPTextModel, tmp_path), torch.tensor([[0, 4, 1]])
    assert not loaded.training and loaded.dtype == torch.float32
    torch.testing.assert_close(loaded(ids).last_hidden_state, encoder.float()(ids).last_hidden_state)


@pytest.mark.parametrize(
    "edit, told",
    [
        (lambda state: state.pop(NORM), f"missing: {NORM}"),
        (lambda state: state.update(extra=torch.zeros(1)), "unexpected: extra"),
        (lambda state: state.update({NORM: torch.zeros(3, 2)}), rf"misshapen: {NORM} \(3, 2\) instead of \(8,\)"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(change, edit, told):
    folder = change(edit)
    with pytest.raises(CheckpointError, match=told) as error:
        load_transformers_strictly(CLIPTextModel, folder)
    assert str(folder) in str(error.value) and "\n" not in str(error.value)


def test_all_that_does_not_fit_is_told_at_once(change):
    def edit(state):
        del state[NORM]
        state["extra"] = torch.zeros(1)
        for name in [name for name in state if ".layer_norm1." in name]:
            state[name] = torch.zeros(7)

    with pytest.raises(CheckpointError, match="missing: .*; unexpected: extra; misshapen: .* and 1 more"):
        load_transformers_strictly(CLIPTextModel, change(edit))


def test_numbers_of_places_in_old_files_are_no_tensors_too_many(change):
    folder = change(lambda state: state.update({"embeddings.position_ids": torch.arange(5)[None]}))
    assert load_transformers_strictly(CLIPTextModel, folder).config.max_position_embeddings == 5


def test_a_tokenizer_is_whole_in_one_file_or_in_two(tmp_path):
    (tmp_path / "vocab.json").write_text(json.dumps({"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2}))
    with pytest.raises(CheckpointError, match="merges.txt is absent"):
        load_clip_tokenizer(tmp_path)
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    assert load_clip_tokenizer(tmp_path)("a").input_ids == [0, 2, 1]
    CLIPTokenizer.from_pretrained(tmp_path).save_pretrained(tmp_path / "whole")
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / "whole" / name).unlink(missing_ok=True)
    assert load_clip_tokenizer(tmp_path / "whole")("a").input_ids == [0, 2, 1]
    (tmp_path / "whole" / "tokenizer.json").write_text("{")
    with pytest.raises(CheckpointError, match="whole holds no CLIPTokenizer that can be read"):
        load_clip_tokenizer(tmp_path / "whole")
