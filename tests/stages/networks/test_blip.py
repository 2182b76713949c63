"""BLIP in both layouts: against transformers' own loading, timm's vision transformer, and names and counts by hand."""

import json

import pytest
import random_blip
import timm.models.vision_transformer
import torch
from random_blip import BLIP_PATCH, BLIP_SIZE, authors_blip_name, blip_config
from safetensors.torch import load_file, save_file
from transformers import BlipForConditionalGeneration

from stages.checkpoints.outlines import outlines
from stages.ground.errors import InputError
from stages.networks.blip import load_blip, resized_positions
from weights.manifest import CheckpointError

OUTPUT, INPUT = "text_decoder.cls.predictions.decoder.weight", "text_decoder.bert.embeddings.word_embeddings.weight"
BIAS = "text_decoder.cls.predictions.bias"
TABLE = "vision_model.embeddings.position_embedding"


@pytest.fixture(scope="module", params=["transformers", "authors"])
def layout(request, tmp_path_factory):
    """A folder in one of the two layouts, and the network in it."""
    folder = tmp_path_factory.mktemp(request.param) / "blip"
    write = random_blip.save_blip if request.param == "transformers" else random_blip.convert_authors_blip
    return folder, write(folder)


@pytest.fixture
def copied(layout, tmp_path):
    """A folder with the configuration of `layout`, and a function that writes other tensors into it."""
    folder, _ = layout
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())

    def write(change):
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, tmp_path / "model.safetensors")
        return tmp_path

    return write


def named(tensors, end):
    """The stored name of a tensor under either name of it."""
    (name,) = (name for name in tensors if name in (end, authors_blip_name(end)))
    return name


def test_every_tensor_is_that_of_the_network(layout):
    folder, network = layout
    loaded = load_blip(folder)
    expected, found = network.state_dict(), loaded.state_dict()
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert found[OUTPUT].data_ptr() == found[INPUT].data_ptr()
    assert not loaded.training and not any(each.requires_grad for each in loaded.parameters())
    assert sum(each.numel() for each in loaded.parameters()) == sum(each.numel() for each in network.parameters())


def test_it_computes_as_the_network_that_was_written(layout):
    folder, network = layout
    pictures = torch.rand(2, 3, BLIP_SIZE, BLIP_SIZE, generator=torch.Generator().manual_seed(0))
    tokens = torch.tensor([[26, 5, 6, 7], [26, 9, 6, 7]])
    loaded = load_blip(folder)
    with torch.no_grad():
        expected, found = (each(pictures, input_ids=tokens).logits for each in (network, loaded))
    assert torch.equal(found, expected) and found.std() > 0.1


def test_the_authors_names_are_those_of_timms_vision_transformer(tmp_path):
    network = random_blip.convert_authors_blip(tmp_path / "blip")
    config = network.config.vision_config
    reference = timm.models.vision_transformer.VisionTransformer(
        **dict(img_size=BLIP_SIZE, patch_size=BLIP_PATCH, embed_dim=config.hidden_size, num_heads=config.num_attention_heads),
        **dict(depth=config.num_hidden_layers, mlp_ratio=config.intermediate_size / config.hidden_size, num_classes=0),
    ).eval()  # fmt: skip
    stored = load_file(tmp_path / "blip" / "model.safetensors")
    prefix = "visual_encoder."
    reference.load_state_dict(
        {name.removeprefix(prefix): value for name, value in stored.items() if name.startswith(prefix)}
    )
    pictures = torch.rand(2, 3, BLIP_SIZE, BLIP_SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = reference.forward_features(pictures)
        found = load_blip(tmp_path / "blip").vision_model(pictures).last_hidden_state
    assert found.std() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [16, 24, 40, 64])
def test_positions_for_another_side_are_those_of_transformers(layout, size):
    folder, network = layout
    pictures = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    loaded = load_blip(folder, size)
    assert loaded.config.vision_config.image_size == loaded.vision_model.config.image_size == size
    embeddings = network.vision_model.embeddings
    with torch.no_grad():
        patches = torch.empty(1, 1 + (size // BLIP_PATCH) ** 2, 12)
        assert torch.equal(loaded.state_dict()[TABLE], embeddings.interpolate_pos_encoding(patches, size, size))
        expected = network.vision_model(pictures, interpolate_pos_encoding=True).last_hidden_state
        assert torch.equal(loaded.vision_model(pictures).last_hidden_state, expected)


def test_the_stored_side_leaves_the_table_as_it_is(layout):
    folder, network = layout
    assert torch.equal(load_blip(folder, BLIP_SIZE).state_dict()[TABLE], network.state_dict()[TABLE])


def test_a_table_keeps_the_class_token_and_a_constant():
    table = torch.full((1, 1 + 14**2, 3), 2.5)
    table[:, 0] = 7
    resized = resized_positions(table, 15)
    assert resized.shape == (1, 226, 3) and (resized[:, 0] == 7).all()
    torch.testing.assert_close(resized[:, 1:], torch.full((1, 225, 3), 2.5))


def test_the_stored_table_says_its_side_whatever_the_configuration_says(layout, tmp_path):
    folder, _ = layout
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"]["image_size"] = 2 * BLIP_SIZE
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").hardlink_to(folder / "model.safetensors")
    assert load_blip(tmp_path).config.vision_config.image_size == BLIP_SIZE


def test_words_that_are_stored_twice_and_differ_are_as_the_authors_program_has_them(tmp_path):
    # In the authors' pretraining the two are not one tensor; in their program for captions they are, and the output's comes last.
    network = random_blip.convert_authors_blip(tmp_path / "blip")
    stored = load_file(tmp_path / "blip" / "model.safetensors")
    stored[OUTPUT] = stored[OUTPUT] + 1
    save_file(stored, tmp_path / "blip" / "model.safetensors")
    reference = BlipForConditionalGeneration(blip_config())
    reference.load_state_dict(network.state_dict() | {OUTPUT: stored[OUTPUT]})
    found = load_blip(tmp_path / "blip").state_dict()
    for name, value in reference.state_dict().items():
        assert torch.equal(found[name], value), name
    assert not torch.equal(found[INPUT], stored[INPUT])


@pytest.mark.parametrize("more", [0, 1])
def test_words_that_are_stored_twice_are_as_transformers_has_them(tmp_path, more):
    network = random_blip.save_blip(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    stored |= {OUTPUT: stored[INPUT] + more, "text_decoder.cls.predictions.decoder.bias": network.state_dict()[BIAS]}
    save_file(stored, tmp_path / "model.safetensors", metadata={"format": "pt"})
    reference = BlipForConditionalGeneration.from_pretrained(tmp_path)
    loaded = load_blip(tmp_path)
    found = loaded.state_dict()
    for name, value in reference.state_dict().items():
        assert torch.equal(found[name], value), name
    parameters = [sum(each.numel() for each in one.parameters()) for one in (loaded, network)]
    assert (parameters[0] > parameters[1]) == bool(more)


def test_half_precision_is_computed_in_float32(copied):
    folder = copied(lambda tensors: tensors.update({name: value.half() for name, value in tensors.items()}))
    loaded = load_blip(folder, 40)
    assert {each.dtype for each in loaded.parameters()} == {torch.float32}
    assert torch.equal(loaded.vision_model.post_layernorm.weight, torch.ones(12))


@pytest.mark.parametrize("name", ["vision_model.encoder.layers.1.self_attn.qkv.weight", INPUT, TABLE])
def test_a_missing_tensor_is_named(copied, name):
    folder = copied(lambda tensors: tensors.pop(named(tensors, name)))
    with pytest.raises(CheckpointError, match=f"missing: .*{name}"):
        load_blip(folder, 40)


@pytest.mark.parametrize(
    "name", ["visual_encoder.head.weight", "visual_encoder_m.norm.bias", "text_encoder.pooler.bias", "vision_model.norm.bias"]
)  # fmt: skip
def test_an_unexpected_tensor_is_named(copied, name):
    folder = copied(lambda tensors: tensors.update({name: torch.ones(2)}))
    with pytest.raises(CheckpointError, match=f"unexpected: {name}"):
        load_blip(folder)


def test_a_misshapen_tensor_is_named(copied):
    def change(tensors):
        tensors[named(tensors, "vision_model.encoder.layers.0.mlp.fc1.bias")] = torch.ones(7)

    with pytest.raises(CheckpointError, match=r"misshapen: vision_model.encoder.layers.0.mlp.fc1.bias \(7,\)"):
        load_blip(copied(change))


@pytest.mark.parametrize("shape", [(1, 16, 12), (2, 17, 12), (17, 12), (1, 1, 12)])
def test_a_table_of_no_square_is_refused(copied, shape):
    folder = copied(lambda tensors: tensors.update({named(tensors, TABLE): torch.zeros(shape)}))
    with pytest.raises(CheckpointError, match="position_embedding"):
        load_blip(folder, 40)


@pytest.mark.parametrize("size", [0, 36, 40.0, "40"])
def test_a_side_that_patches_do_not_fill_is_refused(layout, size):
    with pytest.raises(InputError, match="size is"):
        load_blip(layout[0], size)


def test_another_configuration_is_refused(layout, tmp_path):
    (tmp_path / "model.safetensors").hardlink_to(layout[0] / "model.safetensors")
    config = json.loads((layout[0] / "config.json").read_text())
    for changed in ({"depths": [1]}, config | {"model_type": "clip"}, config | {"text_config": None}):
        (tmp_path / "config.json").write_text(json.dumps(changed))
        with pytest.raises(CheckpointError, match="give the folder of a BLIP"):
            load_blip(tmp_path)
    config["vision_config"]["num_attention_heads"] = 5
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="num_heads"):
        load_blip(tmp_path)


def test_an_outline_has_the_shapes_and_no_values(layout):
    with outlines():
        outline = load_blip(layout[0], 40)
    loaded = load_blip(layout[0], 40)
    shapes = {name: value.shape for name, value in loaded.state_dict().items()}
    assert {name: value.shape for name, value in outline.state_dict().items()} == shapes
    assert all(each.is_meta for each in outline.parameters())
