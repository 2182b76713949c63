"""GIT's states as a target: from the published file on, against transformers' own computation from the pictures."""

import json

import numpy as np
import published_checkpoints
import pytest
import random_git
import torch
from transformers import GitConfig, GitForCausalLM, GitVisionConfig
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from brainrecon.cli.main import run_command
from stages.checkpoints.outlines import count_operations, outlines, weights_of
from stages.ground.errors import InputError
from stages.networks.git import load_git
from stages.targets.git import GITStates
from weights import store
from weights.manifest import CheckpointError

NAME, SIZE = "git-large-coco", random_git.GIT_SIZE


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("git") / "hub"
    return folder, random_git.save_git(folder)


@pytest.fixture(scope="module")
def target(checkpoint):
    return GITStates.from_pretrained(checkpoint[0])


def pictures(n=5, height=50, width=50):
    return np.random.default_rng(0).integers(0, 256, (n, height, width, 3), dtype=np.uint8)


def close(found, expected):
    np.testing.assert_allclose(found, expected, atol=1e-5 * expected.std())


@pytest.mark.parametrize(("height", "width"), [(50, 50), (SIZE, SIZE), (40, 75), (61, 33), (20, 31)])
def test_states_are_transformers_own_of_its_own_preparation(checkpoint, target, height, width):
    processor = CLIPImageProcessorPil(size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE})
    seen = processor(list(pictures(height=height, width=width)), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        expected = checkpoint[1].git.image_encoder(seen).last_hidden_state
    found = target.encode(pictures(height=height, width=width), batch_size=2)
    close(found, expected.flatten(1).numpy())
    assert found.std(axis=0).mean() > 0.1 and found.dtype == np.float32
    assert target.shape == (17, 12) and target.n_targets == 17 * 12 and target.name == "git"


def test_batches_change_rounding_only(target):
    whole = target.encode(pictures(7), batch_size=7)
    for batch_size in (1, 3):
        close(target.encode(pictures(7), batch_size=batch_size), whole)
    assert target.encode(pictures(0)).shape == (0, target.n_targets)


def test_anything_but_colour_pictures_is_refused(target):
    for wrong in (pictures().astype(np.float32), pictures()[..., 0], pictures() % 2):
        with pytest.raises(InputError):
            target.encode(wrong)


def test_an_outline_tells_the_shape_and_the_work(checkpoint, target):
    with outlines():
        outline = GITStates.from_pretrained(checkpoint[0], "meta")
    assert outline.shape == target.shape and outline.preprocessing == target.preprocessing
    assert weights_of(outline) == weights_of(target) > 0
    one, two = (count_operations(lambda n=n: outline.encode(pictures(n))) for n in (1, 2))
    assert two == 2 * one > 0


def test_every_tensor_is_accounted_for(tmp_path, checkpoint):
    found = load_git(checkpoint[0])
    assert all(torch.equal(value, found.state_dict()[name]) for name, value in checkpoint[1].state_dict().items())
    assert not found.training and not any(each.requires_grad for each in found.parameters())
    network = random_git.git()
    del network.git.visual_projection.visual_projection[0].bias
    random_git.save_git(tmp_path, network)
    with pytest.raises(CheckpointError, match="missing: git.visual_projection.visual_projection.0.bias"):
        load_git(tmp_path)


@pytest.mark.parametrize("changed", [{"model_type": "blip"}, {"num_image_with_embedding": 6}])
def test_another_network_is_refused(tmp_path, changed):
    random_git.save_git(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | changed))
    with pytest.raises(CheckpointError, match="give the folder of a GIT for pictures"):
        load_git(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(CheckpointError, match="config.json is absent"):
        load_git(tmp_path)


# The manifest


def test_it_is_pulled_as_it_is_published(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(tmp_path / "store"))
    origin = tmp_path / "origin"
    published_checkpoints.write_published(NAME, origin, None)
    assert run_command(["weights", "pull", NAME, "--from", str(origin)]) == 0
    found = load_git(store.path(NAME)).state_dict()
    assert all(torch.equal(found[name], value) for name, value in random_git.git().state_dict().items())


def test_the_published_size():
    """ViT-L/14 at 224 pixels and six layers of BERT's width; words in and out are two tensors."""
    vision = GitVisionConfig(
        patch_size=14, hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16
    )
    with torch.device("meta"):
        network = GitForCausalLM(GitConfig(vision_config=vision))
    states, words = network.git.image_encoder, network.output.weight
    with torch.no_grad():
        seen = states(torch.empty(2, 3, 224, 224, device="meta")).last_hidden_state
    assert seen.shape == (2, 257, 1024) and words.shape == (30522, 768)
    file = next(file for file in store.checkpoints()[NAME].files if file.reckoned)
    assert file.reckoned == 4 * sum(each.numel() for each in network.parameters())
    assert file.converted == "model.safetensors"
