"""BLIP at its published sizes: names and shapes of its authors, written out, and the sizes of files."""

import json

import pytest
import torch
from transformers import BlipConfig

from stages.networks.blip import blip_outline, transformers_names
from weights import store


def authors_shapes(seen=768, depth=12, places=197):
    """Names and shapes of the published ViT-B (of a ViT of another width and depth) and BERT, by hand."""
    width, hidden, words, layers = 768, 3072, 30524, range(12)

    def linear(name, inputs, outputs):
        return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}

    def norm(name, width=width):
        return {f"{name}.weight": (width,), f"{name}.bias": (width,)}

    vision = {"cls_token": (1, 1, seen), "pos_embed": (1, places, seen), "patch_embed.proj.weight": (seen, 3, 16, 16)}
    vision |= {"patch_embed.proj.bias": (seen,)} | norm("norm", seen)
    for layer in (f"blocks.{number}" for number in range(depth)):
        vision |= norm(f"{layer}.norm1", seen) | linear(f"{layer}.attn.qkv", seen, 3 * seen)
        vision |= linear(f"{layer}.attn.proj", seen, seen) | norm(f"{layer}.norm2", seen)
        vision |= linear(f"{layer}.mlp.fc1", seen, 4 * seen) | linear(f"{layer}.mlp.fc2", 4 * seen, seen)
    bert = {"embeddings.position_ids": (1, 512), "embeddings.word_embeddings.weight": (words, width)}
    bert |= {"embeddings.position_embeddings.weight": (512, width)} | norm("embeddings.LayerNorm")
    for layer in (f"encoder.layer.{number}" for number in layers):
        for attention in (f"{layer}.attention", f"{layer}.crossattention"):
            read = seen if attention.endswith("crossattention") else width
            for matrix, inputs in {"query": width, "key": read, "value": read}.items():
                bert |= linear(f"{attention}.self.{matrix}", inputs, width)
            bert |= linear(f"{attention}.output.dense", width, width) | norm(f"{attention}.output.LayerNorm")
        bert |= linear(f"{layer}.intermediate.dense", width, hidden) | linear(f"{layer}.output.dense", hidden, width)
        bert |= norm(f"{layer}.output.LayerNorm")
    head = {"bias": (words,)} | linear("transform.dense", width, width) | norm("transform.LayerNorm")
    head |= linear("decoder", width, words)
    shapes = {f"visual_encoder.{name}": shape for name, shape in vision.items()}
    shapes |= {f"text_decoder.bert.{name}": shape for name, shape in bert.items()}
    return shapes | {f"text_decoder.cls.predictions.{name}": shape for name, shape in head.items()}


def test_the_published_network_has_the_authors_names_and_shapes():
    config = BlipConfig.from_dict(dict(store.checkpoints()["blip-base-capfilt"].writes["config.json"]))
    outline, shapes = blip_outline(config), authors_shapes()
    renamed = transformers_names(shapes)
    assert len(renamed) == len(shapes) - 1
    assert renamed == {name: tuple(value.shape) for name, value in outline.state_dict().items()}
    # The table of 224 pixels, and words once.
    once = [name for name in shapes if "position_ids" not in name and "predictions.decoder" not in name]
    counted = sum(each.numel() for each in outline.parameters())
    assert counted == sum(torch.Size(shapes[name]).numel() for name in once) == 223_679_804
    heads = {name: getattr(config, f"{name}_config").num_attention_heads for name in ("vision", "text")}
    assert heads == {"vision": 12, "text": 12} and config.vision_config.layer_norm_eps == 1e-6


def test_the_published_network_sees_226_states_of_240_pixels(tmp_path):
    entry = store.checkpoints()["blip-base-capfilt"]
    (tmp_path / "config.json").write_text(json.dumps(entry.writes["config.json"]))
    config = BlipConfig.from_dict(dict(entry.writes["config.json"]))
    config.vision_config.image_size = 240
    outline = blip_outline(config)
    with torch.no_grad():
        states = outline.vision_model(torch.empty(2, 3, 240, 240, device="meta")).last_hidden_state
    assert states.shape == (2, 226, 768)


LARGE = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}


def test_the_larger_network_has_the_authors_names_and_shapes():
    outline = blip_outline(BlipConfig(vision_config=LARGE))
    expected = transformers_names(authors_shapes(seen=1024, depth=24, places=577))
    assert expected == {name: tuple(value.shape) for name, value in outline.state_dict().items()}
    assert sum(each.numel() for each in outline.parameters()) == 446_290_492


@pytest.mark.parametrize(("size", "vision"), [("base", {}), ("large", LARGE)])
def test_the_hubs_file_is_reckoned_by_its_parameters(size, vision):
    config = BlipConfig(vision_config=vision)
    assert config.vision_config.image_size == 384
    file = next(file for file in store.checkpoints()[f"blip-image-captioning-{size}"].files if file.reckoned)
    # Words are stored twice.
    parameters = sum(each.numel() for each in blip_outline(config).parameters()) + 30524 * 768
    assert file.reckoned == 4 * parameters
    assert file.converted == "model.safetensors"
