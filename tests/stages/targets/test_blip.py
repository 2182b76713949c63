"""BLIP's states as a target: from the published file on, against transformers' own computation from the pictures."""

import numpy as np
import published_checkpoints
import pytest
import random_blip
import torch
from PIL import Image
from random_blip import BLIP_SIZE
from safetensors.torch import load_file
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from brainrecon.cli.main import run_command
from stages.checkpoints.outlines import count_operations, outlines, weights_of
from stages.ground.errors import InputError
from stages.networks.blip import load_blip
from stages.targets.blip import MEAN, STD, BLIPStates
from weights import store
from weights.manifest import CheckpointError

NAME, HUB, WORDS = "blip-base-capfilt", "blip-image-captioning-base", "bert-base-uncased-tokenizer"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The folder of a small published network, converted, and the network."""
    folder = tmp_path_factory.mktemp("blip") / "converted"
    return folder, random_blip.convert_authors_blip(folder)


def pictures(n=5, height=50, width=50):
    return np.random.default_rng(0).integers(0, 256, (n, height, width, 3), dtype=np.uint8)


def close(found, expected):
    np.testing.assert_allclose(found, expected, atol=1e-5 * expected.std())


@pytest.mark.parametrize("resampling", ["lanczos", "bicubic"])
@pytest.mark.parametrize("normalise", ["none", "CLIP"])
@pytest.mark.parametrize("size", [24, BLIP_SIZE, 40])
def test_states_by_hand(checkpoint, resampling, normalise, size):
    folder, network = checkpoint
    target = BLIPStates.from_pretrained(folder, size=size, resampling=resampling, normalise=normalise)
    how = {"lanczos": Image.Resampling.LANCZOS, "bicubic": Image.Resampling.BICUBIC}[resampling]
    greys = np.stack([np.asarray(Image.fromarray(one).resize((size, size), how)) for one in pictures()]) / np.float32(
        255
    )
    if normalise == "CLIP":
        greys = (greys - np.float32(MEAN)) / np.float32(STD)
    with torch.no_grad():
        seen = torch.from_numpy(greys).permute(0, 3, 1, 2)
        expected = network.vision_model(seen, interpolate_pos_encoding=True).last_hidden_state.numpy()
    found = target.encode(pictures(), batch_size=2).reshape(5, *target.shape)
    close(found, expected)
    assert found.std(axis=0).mean() > 0.1 and found.dtype == np.float32
    assert (
        target.shape == (1 + (size // 8) ** 2, 12) and target.n_targets == 12 * target.shape[0] and target.size == size
    )


def test_bicubic_and_normalised_is_what_transformers_own_processor_makes(checkpoint):
    folder, network = checkpoint
    processor = BlipImageProcessorPil(size={"height": 40, "width": 40})
    seen = processor(list(pictures()), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        expected = network.vision_model(seen, interpolate_pos_encoding=True).last_hidden_state.flatten(1).numpy()
    target = BLIPStates.from_pretrained(folder, size=40, resampling="bicubic", normalise="CLIP")
    close(target.encode(pictures()), expected)


def test_both_layouts_give_the_same(checkpoint, tmp_path):
    random_blip.save_blip(tmp_path / "hub")
    authors, hub = (BLIPStates.from_pretrained(folder, size=40) for folder in (checkpoint[0], tmp_path / "hub"))
    assert np.array_equal(authors.encode(pictures()), hub.encode(pictures()))


def test_batches_change_rounding_only(checkpoint):
    target = BLIPStates.from_pretrained(checkpoint[0], size=40)
    whole = target.encode(pictures(7), batch_size=7)
    for batch_size in (1, 3):
        close(target.encode(pictures(7), batch_size=batch_size), whole)
    close(target.encode(pictures(7)[::-1])[::-1], whole)
    assert target.encode(pictures(0)).shape == (0, target.n_targets)


def test_pictures_of_any_shape_are_squeezed(checkpoint):
    target = BLIPStates.from_pretrained(checkpoint[0], size=40)
    wide = pictures(1, 30, 70)
    squeezed = np.asarray(Image.fromarray(wide[0]).resize((40, 40), Image.Resampling.LANCZOS))[None]
    close(target.encode(wide), target.encode(squeezed))


def test_the_authors_settings_are_the_defaults(checkpoint):
    target = BLIPStates(load_blip(checkpoint[0], 40).vision_model)
    assert (target.resampling, target.normalise) == ("lanczos", "none")
    assert target.name == "blip" and target.takes == "images"


def test_every_option_is_part_of_the_key(checkpoint):
    options = [{}, {"size": 24}, {"resampling": "bicubic"}, {"normalise": "CLIP"}]
    keys = [BLIPStates.from_pretrained(checkpoint[0], **{"size": 40} | one).preprocessing for one in options]
    assert all(keys.index(key) == position for position, key in enumerate(keys))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": 45}, "multiple of 8"),
        ({"resampling": "box"}, "resampling is 'box'"),
        ({"normalise": True}, "normalise is True"),
    ],
)
def test_options_that_cannot_be_are_refused(checkpoint, options, said):
    with pytest.raises(InputError, match=said):
        BLIPStates.from_pretrained(checkpoint[0], **{"size": 40} | options)


def test_anything_but_colour_pictures_is_refused(checkpoint):
    target = BLIPStates.from_pretrained(checkpoint[0], size=40)
    with pytest.raises(InputError):
        target.encode(pictures().astype(np.float32))
    with pytest.raises(InputError):
        target.encode(pictures()[..., 0])
    with pytest.raises(InputError):
        target.encode(pictures() % 2)


def test_an_absent_network_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="config.json is absent"):
        BLIPStates.from_pretrained(tmp_path)


# The manifest


def test_parts_that_nobody_reads_of_the_published_file_are_left_out(checkpoint):
    folder, network = checkpoint
    names = load_file(folder / "model.safetensors").keys()
    assert all(name.startswith(("visual_encoder.", "text_decoder.")) for name in names)
    # The network's, and the numbers of positions.
    assert len(names) == len(network.state_dict()) + 1


@pytest.mark.parametrize("name", [NAME, HUB, "blip-image-captioning-large"])
def test_it_is_pulled_as_it_is_published(tmp_path, monkeypatch, name):
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(tmp_path / "store"))
    origin = tmp_path / "origin"
    published_checkpoints.write_published(name, origin, None)
    assert run_command(["weights", "pull", name, "--from", str(origin)]) == 0
    folder = store.path(name)
    stored = load_file(folder / "model.safetensors")
    expected = random_blip.blip().state_dict()
    if name == NAME:
        assert torch.equal(stored["visual_encoder.norm.bias"], expected["vision_model.post_layernorm.bias"])
        assert not any("_m." in each or each.startswith("text_encoder") for each in stored)
        # The configuration that is written is the published network's, which the small one is not.
        with pytest.raises(CheckpointError, match="misshapen"):
            load_blip(folder)
    else:
        found = load_blip(folder).state_dict()
        assert all(torch.equal(found[each], value) for each, value in expected.items())


def test_an_outline_tells_the_shape_and_the_work(checkpoint):
    with outlines():
        outline = BLIPStates.from_pretrained(checkpoint[0], "meta", size=40)
    loaded = BLIPStates.from_pretrained(checkpoint[0], size=40)
    assert outline.shape == loaded.shape and outline.preprocessing == loaded.preprocessing
    assert weights_of(outline) == 4 * sum(each.numel() for each in loaded.network.parameters())
    one, two = (count_operations(lambda n=n: outline.encode(pictures(n))) for n in (1, 2))
    assert two == 2 * one > 0
