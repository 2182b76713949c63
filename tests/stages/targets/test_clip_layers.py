"""Hidden layers of CLIP's image tower: the block's own formula, the preparation of pictures, and what is refused."""

import numpy as np
import pytest
import torch
from open_clip.transformer import QuickGELU, VisionTransformer
from PIL import Image
from torchvision.transforms.functional import normalize
from transformers import CLIPVisionConfig, CLIPVisionModel

from stages.ground.errors import InputError
from stages.targets.clip import CLIPImageVector
from stages.targets.clip_layers import CLIPLayer, layers_of
from weights import store


@pytest.fixture(scope="module")
def load():
    return lambda **options: CLIPLayer.from_pretrained(store.path("tiny-clip"), **options)


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize("number", [1, 3, 4])
def test_a_layer_is_what_the_block_adds_last(load, pictures, number):
    """Block output - (x + attention): the second linear layer's output, before it is added to the stream."""
    target = load(layer=f"block {number}", normalise="own")
    visual, kept = target.model.visual, {}
    block = visual.transformer.resblocks[number - 1]
    handle = block.register_forward_hook(lambda module, inputs, output: kept.update(x=inputs[0], out=output))
    found = torch.from_numpy(target.encode(pictures)).reshape(3, *target.shape)
    handle.remove()
    with torch.no_grad():
        stream = kept["x"] + block.attention(block.ln_1(kept["x"]))
        torch.testing.assert_close(found, kept["out"] - stream, rtol=1e-4, atol=1e-5)
    assert found.std() > 0.01 and target.shape == (65, 128)


def test_layers_are_the_second_linear_layers_of_transformers_network():
    """The same weights in transformers' CLIPVisionModel: what ``mlp.fc2`` of each block gives."""
    torch.manual_seed(0)
    ours = VisionTransformer(64, 16, 32, 3, 2, 4.0, output_dim=8, act_layer=QuickGELU, output_tokens=True).eval()
    config = CLIPVisionConfig(
        hidden_size=32, intermediate_size=128, num_hidden_layers=3, num_attention_heads=2, image_size=64, patch_size=16
    )
    theirs, own = CLIPVisionModel(config).eval(), ours.state_dict()
    named = {
        "embeddings.class_embedding": own["class_embedding"],
        "embeddings.patch_embedding.weight": own["conv1.weight"],
        "embeddings.position_embedding.weight": own["positional_embedding"],
    }
    for end in ("weight", "bias"):
        named |= {f"pre_layrnorm.{end}": own[f"ln_pre.{end}"], f"post_layernorm.{end}": own[f"ln_post.{end}"]}
        for block in range(3):
            there, here = f"encoder.layers.{block}.", f"transformer.resblocks.{block}."
            for part, rows in zip("qkv", own[f"{here}attn.in_proj_{end}"].chunk(3)):
                named[f"{there}self_attn.{part}_proj.{end}"] = rows
            names = {"self_attn.out_proj": "attn.out_proj", "layer_norm1": "ln_1", "layer_norm2": "ln_2"}
            names |= {"mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
            named |= {f"{there}{theirs_}.{end}": own[f"{here}{ours_}.{end}"] for theirs_, ours_ in names.items()}
    inner = getattr(theirs, "vision_model", theirs)
    assert not inner.load_state_dict(named, strict=False).unexpected_keys
    kept, pictures = [], torch.randn(2, 3, 64, 64)
    for layer in inner.encoder.layers:
        layer.mlp.fc2.register_forward_hook(lambda module, inputs, output: kept.append(output))
    with torch.no_grad():
        found = layers_of(ours, pictures, ("block 1", "block 2", "block 3"))
        theirs(pictures)
    assert len(kept) == len(found) == 3
    for one, expected in zip(found.values(), kept):
        torch.testing.assert_close(one, expected, rtol=1e-4, atol=1e-5)


def test_six_layers_of_the_published_network():
    with torch.device("meta"):
        visual = VisionTransformer(224, 32, 768, 12, 12, 4.0, output_dim=512, act_layer=QuickGELU, output_tokens=True)
        found = layers_of(visual, torch.zeros(2, 3, 224, 224), tuple(f"block {number}" for number in range(1, 7)))
    assert [tuple(one.shape) for one in found.values()] == 6 * [(2, 50, 768)]


def test_the_embedding_is_that_of_the_target_of_vectors(load, pictures):
    """The network's own size and normalisation leave nothing that could differ."""
    own = load(normalise="own").encode(pictures)
    np.testing.assert_allclose(
        own, CLIPImageVector.from_pretrained(store.path("tiny-clip")).encode(pictures), atol=1e-5
    )


def test_hooks_are_gone_afterwards(load, pictures):
    target = load(layer="block 2")

    def hooks():
        # The network is shared with whoever else reads it, such as the fixture of another file.
        return [list(module._forward_hooks) for module in target.model.visual.modules()]

    before = hooks()
    target.encode(pictures)
    assert hooks() == before
    with pytest.raises(RuntimeError):
        layers_of(target.model.visual, torch.zeros(1, 5, 64, 64), ("block 2",))
    assert hooks() == before


@pytest.mark.parametrize(
    ("resampling", "kernel", "antialias"), [("bilinear", "bilinear", False), ("bicubic, antialiased", "bicubic", True)]
)
def test_pictures_are_prepared_as_it_says(load, resampling, kernel, antialias):
    picture = np.random.default_rng(1).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    target = load(layer="block 1", size=90, resampling=resampling)
    square = np.asarray(Image.fromarray(picture).resize((90, 90), Image.Resampling.BICUBIC))
    tensor = torch.from_numpy(square).permute(2, 0, 1)[None] / 255
    tensor = torch.nn.functional.interpolate(tensor, size=(64, 64), mode=kernel, antialias=antialias)
    tensor = normalize(tensor, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    with torch.no_grad():
        expected = layers_of(target.model.visual, tensor, ("block 1",))["block 1"].flatten(1)
    np.testing.assert_allclose(target.encode(picture[None]), expected, atol=1e-5)
    assert target.preprocessing["resize"] == f"[64, 64], {resampling}"


def test_a_target_is_what_a_search_sees_of_the_same_picture(load, pictures):
    """`seen` of greys of 0 to 1 is what `encode` makes of 8 bit."""
    target = load(layer="block 4", size=64)
    greys = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        found = layers_of(target.model.visual, target.seen(greys), ("block 4", "embedding"))
    np.testing.assert_allclose(target.encode(pictures), found["block 4"].flatten(1), atol=1e-5)
    assert found["embedding"].shape == (3, 64)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layer": "block 5"}, "'block 1' to 'block 4'"),
        ({"layer": "block 0"}, "layer is 'block 0'"),
        ({"size": 0}, "size is 0"),
        ({"resampling": "nearest"}, "resampling is 'nearest'"),
        ({"normalise": "none"}, "normalise is 'none'"),
    ],
)
def test_what_there_is_not_is_refused(load, options, said):
    with pytest.raises(InputError, match=said):
        load(**options)
