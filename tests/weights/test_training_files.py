"""Files that hold the state of a training beside the weights: these are taken, and nothing of the rest is run or kept."""

import os
import pickle

import numpy as np
import pytest
import torch
from released_mindeye import save_training
from safetensors.torch import load_file
from torch.optim.lr_scheduler import OneCycleLR

from weights.conversion import convert, read_tensors
from weights.manifest import CheckpointError, CheckpointFile
from weights.pull import choose, pull
from weights.store import checkpoints

STATE = {"lin0.0.weight": torch.arange(6.0).reshape(2, 3), "lin0.0.bias": torch.tensor([0.5, -1.0])}
INSIDE = "model_state_dict"


class Calling:
    def __reduce__(self):
        return (OneCycleLR._annealing_cos, (0.0, 1.0, 0.5))


class Harmful:
    def __reduce__(self):
        return (os.system, ("touch harm-was-done",))


def same(found, expected):
    return found.keys() == expected.keys() and all(torch.equal(found[name], value) for name, value in expected.items())


@pytest.mark.parametrize("parallel", [False, True])
def test_the_weights_alone_are_converted(tmp_path, parallel):
    # Numbers of NumPy, as a mean over a list of losses is.
    path = save_training(STATE, tmp_path / "last.pth", parallel, val_losses=[np.float64(0.5), np.mean([1.0, 2.0])])
    convert(path, tmp_path / "model.safetensors", entry=INSIDE)
    assert same(load_file(tmp_path / "model.safetensors"), STATE)
    # The schedule's function stands for nothing where a plain file of tensors is read.
    with pytest.raises(CheckpointError, match="it asks to run"):
        read_tensors(path)


@pytest.mark.parametrize("where", ["optimizer_state_dict", "model_state_dict", "lrs", "epoch"])
def test_what_would_run_something_is_refused_wherever_it_stands(tmp_path, monkeypatch, where):
    monkeypatch.chdir(tmp_path)
    path = save_training(STATE, tmp_path / "last.pth", **{where: Harmful()})
    with pytest.raises(CheckpointError, match="last.pth cannot be read .it asks to run (posix|nt).system") as caught:
        convert(path, tmp_path / "model.safetensors", entry=INSIDE)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["last.pth"]


def test_the_schedules_function_is_not_called(tmp_path):
    """It may be named, as a schedule's state names it; what stands in for it can do nothing."""
    path = save_training(STATE, tmp_path / "last.pth", lrs=Calling())
    with pytest.raises(CheckpointError, match="last.pth cannot be read") as caught:
        convert(path, tmp_path / "model.safetensors", entry=INSIDE)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content, words",
    [
        (STATE, "holds lin0.0.weight, lin0.0.bias, but 'model_state_dict' with named tensors was expected"),
        ([STATE], "holds list, but 'model_state_dict'"),
        ({INSIDE: {}}, "holds nothing, but named tensors were expected"),
        ({INSIDE: {"a": 3}}, "holds a, but named tensors were expected"),
        ({INSIDE: {"a": torch.zeros(1).expand(10**12)}}, "named tensors were expected"),
    ],
)
def test_other_files_are_refused_in_one_sentence(tmp_path, content, words):
    torch.save(content, tmp_path / "last.pth")
    with pytest.raises(CheckpointError, match=words) as caught:
        convert(tmp_path / "last.pth", tmp_path / "model.safetensors", entry=INSIDE)
    assert "\n" not in str(caught.value) and not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize("kept", [0.2, 0.9, 0.999])
def test_a_file_that_broke_off_is_refused(tmp_path, kept):
    path = save_training(STATE, tmp_path / "last.pth")
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(CheckpointError, match="last.pth cannot be read"):
        convert(path, tmp_path / "model.safetensors", entry=INSIDE)


def test_a_plain_pickle_is_refused(tmp_path):
    (tmp_path / "last.pth").write_bytes(pickle.dumps({INSIDE: STATE}))
    with pytest.raises(CheckpointError, match="last.pth cannot be read"):
        convert(tmp_path / "last.pth", tmp_path / "model.safetensors", entry=INSIDE)


def test_a_pull_takes_the_entry_that_the_manifest_names(own_store, manifest, tmp_path):
    save_training(STATE, tmp_path / "hand" / "models" / "last.pth", parallel=True)
    files = [CheckpointFile("models/last.pth", becomes="model.safetensors", entry=INSIDE)]
    file = manifest("hub:datasets/somebody/data@main", files)
    folder = pull("model", source=tmp_path / "hand", remove_original=True, manifest=file).folder
    assert same(load_file(folder / "model.safetensors"), STATE)
    assert not list(folder.rglob("*.pth"))


# What is pulled for a method and a subject


def test_a_method_brings_what_serves_all_and_a_subject_its_decoders():
    general = choose(method="mindeye2023")
    drawing = {"clip-vit-l-14-quickgelu", "versatile-diffusion", "sd-image-variations-autoencoder"}
    assert set(general) == drawing | {"vicregl-convnext-xl"}
    for subject in ("subj01", "subj05"):
        own = choose(method="mindeye2023", subject=subject)
        assert own[: len(general)] == general
        assert own[len(general) :] == [f"mindeye2023-{subject}-tokens", f"mindeye2023-{subject}-latent"]
        assert all(checkpoints()[name].subject == subject for name in own[len(general) :])


@pytest.mark.parametrize(
    "asked, words",
    [
        (
            dict(method="mindeye2023", subject="subj03"),
            "is released for 'subj03'; there are some for subj01, subj02, subj05",
        ),
        (dict(method="brain-diffuser", subject="subj01"), "is released for 'subj01'; there are some for no subject"),
        (dict(names=["vdvae-imagenet64"], subject="subj01"), "A subject is given .subj01. but no method"),
    ],
)
def test_subjects_without_decoders_are_refused(asked, words):
    with pytest.raises(CheckpointError, match=words) as caught:
        choose(**asked)
    assert "\n" not in str(caught.value)


def test_dictionaries_within_the_entry_count_as_one_and_arrays_beside_it_are_thrown_away(tmp_path):
    """As gnet_multisubject.pt has it: a network, and by the number of a subject what reads from it; masks of voxels beside."""
    readouts = {number: {"w": torch.full((2, 3), float(number)), "b": torch.zeros(2)} for number in (1, 8)}
    parameters = {"enc": STATE, "fwrfs": readouts}
    beside = {
        "voxel_mask": {1: np.array([True, False])},
        "input_mean": np.zeros((3, 1, 1), np.float32),
        "val_cc": {1: [0.5]},
    }
    torch.save({"best_params": parameters, **beside}, tmp_path / "gnet.pt")
    convert(tmp_path / "gnet.pt", tmp_path / "model.safetensors", entry="best_params")
    expected = {f"enc.{name}": value for name, value in STATE.items()}
    expected |= {f"fwrfs.{number}.{name}": value for number, own in readouts.items() for name, value in own.items()}
    assert same(load_file(tmp_path / "model.safetensors"), expected)


@pytest.mark.parametrize("spoilt", [np.zeros(3), {}, {"w": np.zeros(3)}, {1.5: torch.zeros(1)}, ["w"]])
def test_what_is_no_tensor_within_the_entry_is_refused(tmp_path, spoilt):
    torch.save({"best_params": {"enc": STATE, "fwrfs": {1: spoilt}}}, tmp_path / "gnet.pt")
    with pytest.raises(CheckpointError, match="named tensors were expected"):
        convert(tmp_path / "gnet.pt", tmp_path / "model.safetensors", entry="best_params")
    assert not (tmp_path / "model.safetensors").exists()
