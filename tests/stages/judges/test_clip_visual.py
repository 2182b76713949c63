"""The image tower of CLIP on prepared pictures, from OpenAI's file and from open_clip's folder."""

import json

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file

from stages.ground.errors import InputError
from stages.judges.clip_visual import CLIPVisual
from stages.targets.clip import CLIPImageEmbedding
from weights import store
from weights.store import CheckpointError

CONFIG = {
    "embed_dim": 48,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 42, "layers": 3, "width": 128, "patch_size": 14},
    "text_cfg": {"context_length": 8, "vocab_size": 50, "width": 64, "heads": 1, "layers": 1},
}


@pytest.fixture(scope="module")
def model():
    """A small CLIP that open_clip built, its weights rounded to half precision."""
    torch.manual_seed(0)
    model = open_clip.CLIP(**{key: value for key, value in CONFIG.items()}).eval()
    for parameter in model.parameters():
        parameter.data = (parameter.data + 0.02 * torch.randn_like(parameter)).half().float()
    return model


@pytest.fixture
def batch():
    return np.random.default_rng(0).standard_normal((18, 3, 42, 42)).astype(np.float32)


def embedded(model, batch):
    with torch.no_grad():
        return model.encode_image(torch.from_numpy(batch)).numpy()


def test_openais_file_gives_the_final_embedding(model, batch, tmp_path, save_archive):
    save_archive(model.state_dict(), tmp_path / "ViT.pt")
    ours = CLIPVisual.from_pretrained(tmp_path).embed(batch)
    expected = embedded(model, batch)
    assert ours.dtype == np.float32 and ours.shape == (18, 48)
    np.testing.assert_allclose(ours, expected, atol=1e-5 * np.abs(expected).max())
    assert np.abs(np.linalg.norm(ours, axis=1) - 1).min() > 1e-3  # nothing brought them to unit length
    # The activation of OpenAI's models: another one would give other embeddings.
    plain = open_clip.CLIP(**(CONFIG | {"quick_gelu": False})).eval()
    plain.load_state_dict(model.state_dict())
    assert np.abs(embedded(plain, batch) - expected).max() > 1e-3 * np.abs(expected).max()


def test_an_open_clip_folder_gives_the_same(model, batch, tmp_path):
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": CONFIG, "preprocess_cfg": {}}))
    # As open_clip writes them; it also holds a causal mask that is no weight.
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(state, tmp_path / "open_clip_model.safetensors")
    ours = CLIPVisual.from_pretrained(tmp_path).embed(batch)
    np.testing.assert_allclose(ours, embedded(model, batch), atol=1e-5)


def test_openais_file_comes_first_because_its_hash_is_known(model, batch, tmp_path, save_archive):
    save_archive(model.state_dict(), tmp_path / "ViT.pt")
    (tmp_path / "open_clip_config.json").write_text("{}")
    np.testing.assert_allclose(CLIPVisual.from_pretrained(tmp_path).embed(batch), embedded(model, batch), atol=1e-5)


def test_it_is_the_embedding_of_the_toolkits_own_clip_once_prepared_alike():
    folder = store.path("tiny-clip")
    whole, visual = CLIPImageEmbedding.from_pretrained(folder), CLIPVisual.from_pretrained(folder)
    size = whole.model.visual.image_size[0]
    images = np.random.default_rng(1).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    mean, std = (np.asarray(whole.model.visual.preprocess_cfg[key], np.float32) for key in ("mean", "std"))
    prepared = ((images / np.float32(255) - mean) / std).transpose(0, 3, 1, 2)
    embeddings = visual.embed(np.ascontiguousarray(prepared))
    expected = whole.embed(images)
    np.testing.assert_allclose(embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True), expected, atol=1e-5)


def test_embeddings_do_not_depend_on_the_batch_beyond_rounding(model, batch, tmp_path, save_archive):
    save_archive(model.state_dict(), tmp_path / "ViT.pt")
    network = CLIPVisual.from_pretrained(tmp_path)
    alone = np.concatenate([network.embed(batch[row : row + 1]) for row in range(len(batch))])
    np.testing.assert_allclose(network.embed(batch), alone, atol=1e-5)
    assert network.embed(batch[:0]).shape == (0, 48)


@pytest.mark.parametrize("shape", [(1, 3, 56, 56), (1, 3, 42, 28), (1, 42, 42, 3), (3, 42, 42)])
def test_pictures_of_another_size_or_layout_are_refused(model, tmp_path, shape, save_archive):
    save_archive(model.state_dict(), tmp_path / "ViT.pt")
    with pytest.raises(InputError, match="Pictures are"):
        CLIPVisual.from_pretrained(tmp_path).embed(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda state: state.pop("visual.ln_pre.weight"), "missing: ln_pre.weight"),
        (lambda state: state.update({"visual.more": torch.zeros(1)}), "unexpected: more"),
        (lambda state: state.pop("visual.conv1.weight"), "no vision transformer.*conv1.weight"),
        (lambda state: state.update({"visual.proj": torch.zeros(64, 48)}), r"proj \(64, 48\) instead of \(128, 48\)"),
    ],
)
def test_a_file_of_something_else_is_refused(model, tmp_path, change, words, save_archive):
    state = dict(model.state_dict())
    change(state)
    save_archive(state, tmp_path / "ViT.pt")
    with pytest.raises(CheckpointError, match=words) as caught:
        CLIPVisual.from_pretrained(tmp_path)
    assert "\n" not in str(caught.value)


def test_absent_double_and_damaged_files_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="holds 0 .pt files"):
        CLIPVisual.from_pretrained(tmp_path)
    (tmp_path / "a.pt").write_bytes(b"no archive")
    with pytest.raises(CheckpointError, match="a.pt cannot be read"):
        CLIPVisual.from_pretrained(tmp_path)
    (tmp_path / "b.pt").write_bytes(b"no archive")
    with pytest.raises(CheckpointError, match="holds 2 .pt files"):
        CLIPVisual.from_pretrained(tmp_path)
