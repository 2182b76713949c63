"""A checkpoint of a training whose tensors do not fit is as good as none, and changes nothing."""

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from stages.training.state import FILE, read_checkpoint, write_checkpoint


def learner(steps):
    torch.manual_seed(0)
    network = torch.nn.Linear(6, 4)
    optimiser = torch.optim.AdamW(network.parameters())
    for _ in range(steps):
        network(torch.ones(2, 6)).sum().backward()
        optimiser.step()
    return network, [optimiser]


def test_turned_moments_are_not_put_back(tmp_path):
    write_checkpoint(tmp_path, {"learner": learner(1)}, {}, {"identity": "a", "step": 1})
    assert read_checkpoint(tmp_path, {"learner": learner(0)}, [], "a") is not None
    with safe_open(tmp_path / FILE, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(tmp_path / FILE)
    tensors["learner.exp_avg.weight"] = tensors["learner.exp_avg.weight"].T.contiguous()
    save_file(tensors, tmp_path / FILE, metadata=metadata)
    network, optimisers = learner(0)
    before = network.weight.detach().clone()
    assert read_checkpoint(tmp_path, {"learner": (network, optimisers)}, [], "a") is None
    assert torch.equal(network.weight, before) and not optimisers[0].state
