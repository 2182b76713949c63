"""A network as a folder: equal input gives equal bytes, and nothing is put back by half."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from stages.checkpoints.pretrained import fill_network, read_network_tensors, save_network
from weights.store import CheckpointError


def network(seed=0, **options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return torch.nn.Sequential(torch.nn.Linear(3, 4, **options), torch.nn.BatchNorm1d(4, **options))


def test_equal_networks_give_equal_bytes(tmp_path):
    for folder in ("one", "other"):
        save_network(network(), tmp_path / folder, {"inputs": 3})
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
    assert json.loads((tmp_path / "one" / "config.json").read_text()) == {"inputs": 3}


def test_a_network_without_tensors_of_its_own_gets_the_stored_ones(tmp_path):
    saved = network()
    save_network(saved, tmp_path, {}, dtype=torch.float16)
    stored = load_file(tmp_path / "model.safetensors")
    assert stored["0.weight"].dtype == torch.float16 and stored["1.num_batches_tracked"].dtype == torch.int64
    again = fill_network(network(device="meta"), read_network_tensors(tmp_path), tmp_path)
    assert not again.training
    for name, value in saved.state_dict().items():
        expected = value.half().float() if value.is_floating_point() else value
        assert torch.equal(again.state_dict()[name], expected), name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"0.bias": None}, "missing: 0.bias"),
        ({"spare": torch.zeros(1)}, "unexpected: spare"),
        ({"0.weight": torch.zeros(4, 2)}, r"misshapen: 0.weight \(4, 2\) instead of \(4, 3\)"),
    ],
)
def test_tensors_that_do_not_fit_are_named(tmp_path, change, said):
    save_network(network(), tmp_path, {})
    state = load_file(tmp_path / "model.safetensors") | change
    save_file({name: value for name, value in state.items() if value is not None}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=said):
        fill_network(network(), read_network_tensors(tmp_path), tmp_path)


def test_a_file_that_is_absent_or_damaged_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"model.safetensors is absent; fit it again\."):
        read_network_tensors(tmp_path, remedy="fit it again")
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(CheckpointError, match=r"model.safetensors is damaged \(.*; fit it again\."):
        read_network_tensors(tmp_path, remedy="fit it again")
