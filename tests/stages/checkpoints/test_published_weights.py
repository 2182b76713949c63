"""Files of weights: which one of a folder is read, and what is refused."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from stages.checkpoints.published_weights import put_weights, read_weights, weights_file
from weights.store import CheckpointError

TENSORS = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.zeros(2)}


def test_safetensors_come_before_pickles(tmp_path):
    with pytest.raises(CheckpointError, match="holds no .safetensors, .pth or .pth.tar"):
        weights_file(tmp_path)
    (tmp_path / "a.pth.tar").touch()
    assert weights_file(tmp_path).name == "a.pth.tar"
    (tmp_path / "a.pth").touch()
    assert weights_file(tmp_path).name == "a.pth"
    (tmp_path / "b.pth").touch()
    with pytest.raises(CheckpointError, match="a.pth, b.pth.*one file"):
        weights_file(tmp_path)
    (tmp_path / "a.safetensors").touch()
    assert weights_file(tmp_path).name == "a.safetensors"


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth", "a.pth.tar"])
def test_tensors_are_read_as_they_were_stored(tmp_path, name):
    path = tmp_path / name
    save_file(TENSORS, path) if name.endswith("safetensors") else torch.save(TENSORS, path)
    found = read_weights(path)
    assert found.keys() == TENSORS.keys() and all(torch.equal(found[key], TENSORS[key]) for key in TENSORS)


def test_the_format_before_zip_files_is_read(tmp_path):
    torch.save(TENSORS, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    assert torch.equal(read_weights(tmp_path / "a.pth")["weight"], TENSORS["weight"])


class Harmful:
    """Something that a pickle would run when it is loaded."""

    def __reduce__(self):
        return (open, ("harm-was-done", "w"))


def test_a_pickle_that_would_run_something_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(TENSORS | {"more": Harmful()}, tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(pickle.dumps(Harmful()))
    for name in ("a.pth", "b.pth"):
        with pytest.raises(CheckpointError, match=f"{name} cannot be read") as caught:
            read_weights(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "harm-was-done").exists()


@pytest.mark.parametrize(
    "content, words",
    [
        ({"epoch": 3, "state_dict": TENSORS}, "holds epoch, state_dict, but named tensors"),
        ([TENSORS], "holds list"),
        (TENSORS["weight"], "holds Tensor"),
    ],
)
def test_other_than_named_tensors_is_refused(tmp_path, content, words):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=words):
        read_weights(tmp_path / "a.pth")


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
def test_damaged_files_are_refused_in_one_sentence(tmp_path, name):
    path = tmp_path / name
    save_file(TENSORS, path) if name.endswith("safetensors") else torch.save(TENSORS, path)
    whole = path.read_bytes()
    for damaged in (b"", b"no weights", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=f"{name} cannot be read") as caught:
            read_weights(path)
        assert "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(CheckpointError, match=name):
        read_weights(path)


def test_half_precision_becomes_single_and_what_is_spare_is_left_out(tmp_path):
    half = {key: value.half() for key, value in TENSORS.items()} | {"head.weight": torch.zeros(1)}
    with torch.device("meta"):
        network = torch.nn.Linear(3, 2)
    with pytest.raises(CheckpointError, match="unexpected: head.weight"):
        put_weights(network, half, "Linear", tmp_path)
    network = put_weights(network, half, "Linear", tmp_path, spare=("head.",))
    assert network.weight.dtype == torch.float32 and not network.training and not network.weight.requires_grad
    assert torch.equal(network.weight, TENSORS["weight"])
