"""Responses without stimuli in files of every kind, one sentence for each that cannot be read."""

import h5py
import numpy as np
import pytest
from safetensors.numpy import save_file

from brainrecon.datasets.unpaired import AREAS, read_unpaired
from stages.ground.errors import InputError


def rows(n=5, n_voxels=30, seed=0):
    return np.random.default_rng(seed).standard_normal((n, n_voxels)).astype(np.float32)


def series(n_moments=1200, seed=0):
    random = np.random.default_rng(seed)
    return {area: random.standard_normal((n_moments, 3 + number)) for number, area in enumerate(AREAS)}


def test_every_kind_of_file_is_a_subject(tmp_path):
    np.save(tmp_path / "anna.npy", rows(seed=1))
    np.savez(tmp_path / "ben.npz", betas=rows(seed=2), ids=np.arange(5))
    save_file({"patterns": rows(seed=3)}, tmp_path / "carl.safetensors")
    (tmp_path / "more").mkdir()
    with h5py.File(tmp_path / "more" / "dora.h5", "w") as file:
        file["anything"] = rows(seed=4)
    (tmp_path / "notes.txt").write_text("not read")
    found = read_unpaired(tmp_path)
    assert list(found) == ["anna", "ben", "carl", "more/dora"]
    for seed, one in enumerate(found.values(), start=1):
        assert np.array_equal(np.asarray(one[[4, 0]]), rows(seed=seed)[[4, 0]])
    assert isinstance(found["anna"], np.memmap)
    assert list(read_unpaired(tmp_path / "more" / "dora.h5")) == ["dora"]


def test_resting_runs_of_the_connectome_are_windows_of_areas_side_by_side(tmp_path):
    for number in (100307, 100408):
        (tmp_path / str(number)).mkdir()
        np.savez(tmp_path / str(number) / "HCP_visual_voxel.npz", **series(seed=number))
    found = read_unpaired(tmp_path)
    assert {name: one.shape for name, one in found.items()} == {"100307": (120, 18), "100408": (120, 18)}
    whole = np.concatenate([series(seed=100307)[area] for area in AREAS], axis=1)
    assert np.allclose(found["100307"], whole.reshape(120, 10, 18).mean(axis=1), atol=1e-6)
    assert read_unpaired(tmp_path, moments=100)["100408"].shape == (12, 18)


def spoilt(**arrays):
    return lambda folder: np.savez(folder / "a.npz", **arrays)


@pytest.mark.parametrize(
    "write, words",
    [
        (lambda folder: None, "holds no such file"),
        (lambda folder: np.save(folder / "a.npy", np.zeros(5)), r"shape \(5,\) and type float64"),
        (lambda folder: np.save(folder / "a.npy", np.zeros((0, 5))), r"shape \(0, 5\)"),
        (lambda folder: np.save(folder / "a.npy", np.zeros((2, 5), complex)), "type complex128"),
        (lambda folder: np.save(folder / "a.npy", np.array([["x"]], object), allow_pickle=True), "a.npy"),
        (lambda folder: (folder / "a.npy").write_bytes(b"nothing"), "a.npy"),
        (lambda folder: (folder / "a.h5").write_bytes(b"nothing"), "a.h5"),
        (lambda folder: (folder / "a.safetensors").write_bytes(b"nothing"), "a.safetensors"),
        (spoilt(one=rows(), two=rows()), "holds one, two; expected one array of responses"),
        (spoilt(**series(5)), "series of 5 moments, of which 10 make a response; give --moments 5"),
        (spoilt(**series() | {"V2": np.zeros((7, 3))}), r"V2 \(7, 3\)"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_sentence(tmp_path, write, words):
    write(tmp_path)
    with pytest.raises(InputError, match=words) as caught:
        read_unpaired(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_path_that_is_not_there_and_two_files_of_one_subject(tmp_path):
    with pytest.raises(InputError, match="is not there; expected responses in files"):
        read_unpaired(tmp_path / "nothing")
    np.save(tmp_path / "anna.npy", rows())
    np.savez(tmp_path / "anna.npz", rows())
    with pytest.raises(InputError, match="'anna' in two files"):
        read_unpaired(tmp_path)
