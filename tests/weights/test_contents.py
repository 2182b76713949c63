"""A file that stands where weights should be is told by what it is, never in the words of the library that refused it."""

import pytest
import torch
from safetensors.torch import save_file

from stages.checkpoints import strict_loading
from stages.checkpoints.pretrained import WEIGHTS_FILE, read_network_tensors
from stages.checkpoints.transformers_loading import refusing_folder
from weights.contents import first_stand_in, why_no_tensors
from weights.conversion import read_tensors
from weights.manifest import CheckpointError

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 500000000\n"


class Anything:
    """What a pickle may hold beside tensors."""


WRITERS = {
    "a pointer of Git LFS .*134 bytes": lambda path: path.write_text(POINTER.ljust(134)),
    "a web page": lambda path: path.write_text("<!DOCTYPE html><p>404"),
    "it is empty": lambda path: path.write_bytes(b""),
    "filled with zeros": lambda path: path.write_bytes(bytes(4096)),
    "an HDF5 file": lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)),
    "of no format that is known|header|layers|field": lambda path: path.write_text("hello, world"),
}


@pytest.mark.parametrize("name", ["a.th", "a.pt", "a.bin", "a.safetensors", "a.caffemodel"])
@pytest.mark.parametrize("words", WRITERS)
def test_what_is_no_checkpoint_is_named(tmp_path, name, words):
    WRITERS[words](tmp_path / name)
    with pytest.raises(CheckpointError, match=f"{name} .*({words})") as caught:
        read_tensors(tmp_path / name)
    _is_a_sentence(caught)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_of_more_than_tensors_names_what_it_asks_for(tmp_path, zipped):
    torch.save({"a": Anything()}, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match="asks to run .*Anything") as caught:
        read_tensors(tmp_path / "a.pt")
    _is_a_sentence(caught)


def _is_a_sentence(caught):
    told = str(caught.value)
    assert "weights_only" not in told and "torch.load" not in told and "\x1b" not in told and "\n" not in told


@pytest.mark.parametrize("read", [read_network_tensors, strict_loading.read_tensors])
def test_pointers_in_a_checkpoint_folder_are_named(tmp_path, read):
    for name in (WEIGHTS_FILE, "diffusion_pytorch_model.safetensors"):
        (tmp_path / name).write_text(POINTER)
    with pytest.raises(CheckpointError, match="a pointer of Git LFS"):
        read(tmp_path)


def test_a_folder_of_transformers_with_a_pointer_says_so(tmp_path):
    save_file({"a": torch.ones(1)}, tmp_path / "model.safetensors")
    assert first_stand_in(tmp_path) is None and first_stand_in(tmp_path / "absent") is None
    (tmp_path / "vocab.json").write_text(POINTER)
    with (
        pytest.raises(CheckpointError, match="vocab.json: it is a pointer of Git LFS"),
        refusing_folder(tmp_path, "CLIP"),
    ):
        raise ValueError("expected value at line 1 column 1")


def test_the_advice_to_load_it_unsafely_is_not_repeated(tmp_path):
    told = ValueError("Weights only load failed. Re-running with `weights_only` set to `False` will likely succeed.")
    assert why_no_tensors(tmp_path / "a.pt", told) == "it is a pickle of something else than tensors"
