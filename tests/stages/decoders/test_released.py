"""A network that was trained elsewhere, from its released file: the same outputs, or a sentence that says what does not fit."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from small_decoders import TwoHeads

from stages.decoders.released import Released
from stages.decoders.trained import TrainedDecoder, Training
from stages.ground.errors import InputError
from stages.training.recipe import Recipe

GIVES = {"clip_image": (3, 4), "vdvae": (5,)}
N_VOXELS = 9
FILE = "model.safetensors"


def made():
    return TrainedDecoder(TwoHeads, Recipe(steps=3, batch_size=4), arguments={"width": 8})


@pytest.fixture
def network():
    torch.manual_seed(1)
    return TwoHeads(N_VOXELS, GIVES, width=8).eval()


@pytest.fixture
def released(network):
    first = next(name for name, value in network.state_dict().items() if value.shape[-1:] == (N_VOXELS,))
    return Released(first)


@pytest.fixture
def folder(network, tmp_path):
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, tmp_path / FILE)
    return tmp_path


def changed(folder, change):
    from safetensors.torch import load_file

    state = load_file(folder / FILE)
    change(state)
    save_file(state, folder / FILE)


def test_it_predicts_what_the_network_gives_for_voxels_as_they_are(network, released, folder):
    patterns = 7 + 3 * np.random.default_rng(0).standard_normal((5, N_VOXELS)).astype(np.float32)
    decoder = made().take(folder, "small", released, N_VOXELS, GIVES)
    with torch.inference_mode():
        expected = network(torch.from_numpy(patterns))
    found = {name: values for name, _, values in decoder.predict_blocks(patterns)}
    assert {name: values.shape for name, values in found.items()} == {"clip_image": (5, 12), "vdvae": (5, 5)}
    for name, values in found.items():
        assert np.array_equal(values, expected[name].flatten(1).numpy())
    assert not any(parameter.requires_grad for parameter in decoder.network.parameters())


def test_what_was_taken_is_saved_as_if_it_were_fitted_and_says_so(released, folder, tmp_path):
    decoder = made().take(folder, "small", released, N_VOXELS, GIVES)
    decoder.save_pretrained(tmp_path / "saved")
    again = TrainedDecoder.from_pretrained(tmp_path / "saved")
    patterns = np.ones((2, N_VOXELS), np.float32)
    for (name, _, values), (_, _, expected) in zip(again.predict_blocks(patterns), decoder.predict_blocks(patterns)):
        assert np.array_equal(values, expected), name
    described = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert described["released"] == "small" and described["recipe"] is None and described["curves"] == []
    for one in (decoder, again):
        assert one.summary() == [
            {"network": "TwoHeads", "parameters": sum(p.numel() for p in one.network.parameters())}
        ]
        assert one.notes() == ["TwoHeads: as its authors released it (small), not trained here."]
        assert one.curves() == {}
    # Saved once more, as a copy of a run is.
    again.save_pretrained(tmp_path / "twice")
    assert (tmp_path / "twice" / "config.json").read_bytes() == (tmp_path / "saved" / "config.json").read_bytes()
    training = Training({"a": np.zeros((8, N_VOXELS))}, {"a": np.arange(8)}, {"vdvae": np.zeros((8, 5))})
    with pytest.raises(InputError, match="holds no objectives"):
        decoder.fit(training)


def test_a_prefix_of_parallel_training_and_half_precision_are_read(network, released, folder):
    save_file({f"module.{name}": value.half() for name, value in network.state_dict().items()}, folder / FILE)
    decoder = made().take(folder, "small", released, N_VOXELS, GIVES)
    assert {value.dtype for value in decoder.network.state_dict().values()} == {torch.float32}


def test_another_number_of_voxels_is_told_with_both(released, folder):
    with pytest.raises(InputError, match="reads 9 voxels but the responses have 12; load the subject and roi"):
        made().take(folder, "small", released, 12, GIVES)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda state: state.popitem(), "missing: "),
        (lambda state: state.update(surplus=torch.zeros(3)), "unexpected: surplus"),
        (lambda state: state.update({next(iter(state)): torch.zeros(7)}), "misshapen: "),
        (lambda state: next(iter(state.values())).view(-1)[0].fill_(float("nan")), "holds NaN or infinite values"),
        (lambda state: next(iter(state.values())).view(-1)[-1:].fill_(float("inf")), "holds NaN or infinite values"),
        (lambda state: state.clear(), "missing: "),
    ],
)
def test_tensors_that_do_not_fit_are_named(released, folder, change, words):
    changed(folder, change)
    with pytest.raises(InputError, match=words) as caught:
        made().take(folder, "small", released, N_VOXELS, GIVES)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda path: path.unlink(), "is absent; fetch it again with `brainrecon weights pull`"),
        (lambda path: path.write_bytes(path.read_bytes()[:-40]), "is damaged"),
        (lambda path: path.write_bytes(b""), "is damaged"),
        (lambda path: path.write_bytes(b"<!DOCTYPE html>"), "is damaged .it is a web page"),
        (lambda path: torch.save({"a": torch.zeros(3)}, path), "is damaged"),
        # A header that claims a tensor of a terabyte.
        (
            lambda path: path.write_bytes(
                (header := b'{"a":{"dtype":"F32","shape":[1000000,250000],"data_offsets":[0,1000000000000]}}')
                and len(header).to_bytes(8, "little") + header
            ),
            "is damaged",
        ),
        (lambda path: path.write_bytes((2**62).to_bytes(8, "little") + b"{}"), "is damaged"),
    ],
)
def test_files_that_are_none_are_refused_in_one_sentence(released, folder, damage, words):
    damage(folder / FILE)
    with pytest.raises(InputError, match=words) as caught:
        made().take(folder, "small", released, N_VOXELS, GIVES)
    assert "\n" not in str(caught.value)


def test_large_finite_weights_are_finite(network, released, folder):
    changed(folder, lambda state: next(iter(state.values())).fill_(torch.finfo(torch.float32).max))
    made().take(folder, "small", released, N_VOXELS, GIVES)
