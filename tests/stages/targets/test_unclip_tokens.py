"""Tokens for MindEye2's unCLIP: against open_clip's own image tower, by hand, and out of the decoder's own checkpoint."""

import json

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from stages.checkpoints.outlines import outlines
from stages.ground.errors import InputError
from stages.targets.clip import CLIPPatchTokens
from stages.targets.unclip_tokens import IN_UNCLIP, UnclipTokens
from weights.store import CheckpointError

SMALL = {
    "embed_dim": 12,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "layers": 3, "width": 16, "head_width": 8},
    "text_cfg": {"context_length": 11, "vocab_size": 120, "width": 16, "heads": 2, "layers": 2},
}
MEAN, STD = (
    torch.tensor(each)[:, None, None] for each in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
)


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.CustomTextCLIP(**SMALL).eval()
        for module in model.modules():
            if isinstance(module, torch.nn.LayerNorm):
                # As they are made, layer norms are identities up to scale and would hide a forgotten one.
                torch.nn.init.normal_(module.weight, 1, 0.3)
                torch.nn.init.normal_(module.bias, 0, 0.3)
    return model.requires_grad_(False)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    save_file(
        {name: value.contiguous() for name, value in model.state_dict().items()}, folder / "open_clip_model.safetensors"
    )
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": SMALL}))
    return folder


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)


def last_hidden(visual, pictures):
    """States of all tokens behind the last block, caught on their way to the last layer norm."""
    caught = []
    hook = visual.transformer.register_forward_hook(lambda module, given, states: caught.append(states))
    visual(pictures)
    hook.remove()
    return caught[0]


@pytest.mark.parametrize("greys, low", [("washed out", 0.5), ("as they are", 0.0)])
def test_tokens_are_the_last_states_behind_the_layer_norm_without_the_class_token(model, folder, images, greys, low):
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).double() / 255
    # Of 0 to 1 the embedder, which expects -1 to 1, makes a half to one.
    seen = ((low + (1 - low) * pixels - MEAN) / STD).float()
    expected = model.visual.ln_post(last_hidden(model.visual, seen))[:, 1:]
    target = UnclipTokens.from_pretrained(folder, greys=greys)
    found = target.encode(images)
    assert target.shape == (16, 16) and found.shape == (5, 256) and found.dtype == np.float32
    np.testing.assert_allclose(found.reshape(5, 16, 16), expected.numpy(), atol=2e-5)
    model.visual.output_tokens = True
    np.testing.assert_allclose(found.reshape(5, 16, 16), model.visual(seen)[1].numpy(), atol=2e-5)


def test_greys_as_they_are_give_the_patch_tokens(folder, images):
    plain = UnclipTokens.from_pretrained(folder, greys="as they are")
    np.testing.assert_allclose(plain.encode(images), CLIPPatchTokens.from_pretrained(folder).encode(images), atol=2e-5)
    published = UnclipTokens.from_pretrained(folder)
    assert np.abs(published.encode(images) - plain.encode(images)).max() > 0.1
    assert published.preprocessing != plain.preprocessing
    assert json.loads(json.dumps(published.preprocessing)) == published.preprocessing
    with pytest.raises(InputError, match="greys"):
        UnclipTokens.from_pretrained(folder, greys="faded")


def test_pictures_of_another_size_are_blurred_and_squeezed(folder):
    target = UnclipTokens.from_pretrained(folder)
    large = np.kron(
        np.random.default_rng(1).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8), np.ones((1, 9, 7, 1), np.uint8)
    )
    found = target.encode(large)
    pixels = torch.from_numpy(large).permute(0, 3, 1, 2) / 255
    unblurred = functional.interpolate(pixels, size=(32, 32), mode="bicubic", align_corners=True)
    assert found.shape == (2, 256)
    assert target._prepared(large).sub(((unblurred + 1) / 2 - MEAN) / STD).abs().max() > 1e-2


def test_the_image_tower_within_unclip(model, folder, images, tmp_path):
    """The decoder's file holds its embedder's image tower beside everything else; the text tower was cut off."""
    tensors = {IN_UNCLIP + name: value.half().contiguous() for name, value in model.visual.state_dict().items()}
    tensors |= {
        "model.diffusion_model.out.2.bias": torch.zeros(4),
        "conditioner.embedders.0.model.logit_scale": torch.ones(1),
    }
    save_file(tensors, tmp_path / "unclip6_epoch0_step110000.safetensors")
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": SMALL}))
    found = UnclipTokens.from_pretrained(tmp_path).encode(images)
    np.testing.assert_allclose(found, UnclipTokens.from_pretrained(folder).encode(images), atol=2e-2)
    # Without a configuration it is the published network, which these tensors do not fit.
    (tmp_path / "open_clip_config.json").unlink()
    with pytest.raises(CheckpointError, match="conditioner.embedders.0.model.visual"):
        UnclipTokens.from_pretrained(tmp_path)


@pytest.mark.parametrize("lost", ["ln_post.weight", "transformer.resblocks.2.attn.in_proj_weight"])
def test_a_tower_with_a_tensor_missing_is_refused(model, folder, tmp_path, lost):
    tensors = {"visual." + name: value for name, value in model.visual.state_dict().items() if name != lost}
    save_file(tensors, tmp_path / "open_clip_model.safetensors")
    (tmp_path / "open_clip_config.json").write_text((folder / "open_clip_config.json").read_text())
    with pytest.raises(CheckpointError, match=lost.replace(".", "[.]")):
        UnclipTokens.from_pretrained(tmp_path)


def test_a_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="holds no .safetensors"):
        UnclipTokens.from_pretrained(tmp_path)


def test_the_published_network(tmp_path):
    """ViT-bigG/14: 48 layers of width 1664 with 16 heads, and names of its tensors, without holding them."""
    with outlines():
        target = UnclipTokens.from_pretrained(tmp_path)
    blocks = target.visual.transformer.resblocks
    assert target.shape == (256, 1664) and target.n_targets == 425984 and target.size == 224
    assert (len(blocks), blocks[0].attn.num_heads, blocks[0].mlp.c_fc.out_features) == (48, 16, 8192)
    width, hidden = 1664, 8192
    block = 4 * width**2 + 4 * width + 2 * width * hidden + hidden + width + 4 * width
    around = (3 * 14 * 14 + 1 + 257 + 4 + 1280) * width
    assert sum(each.numel() for each in target.visual.parameters()) == 48 * block + around == 1_844_907_264
    assert target.preprocessing["mean"] == list(open_clip.OPENAI_DATASET_MEAN)
    found = target.visual.forward_intermediates(
        torch.empty(2, 3, 224, 224, device="meta"), indices=1, intermediates_only=True, output_fmt="NLC"
    )
    assert found["image_intermediates"][0].shape == (2, 256, 1664)
