"""HDF5 onto a disk that is full: the library would end the process where a write fails."""

import errno
import io

import h5py
import numpy as np
import pytest

from brainrecon.simulation.files.new_hdf5 import new_hdf5

VALUES = np.random.default_rng(0).integers(0, 100, (30, 6, 6, 6), dtype=np.int16)


def fill(file):
    file.create_dataset("betas", VALUES.shape, VALUES.dtype, chunks=(30, 1, 1, 1), track_times=False)[...] = VALUES


def test_the_bytes_are_those_of_h5py(tmp_path):
    with h5py.File(tmp_path / "one.hdf5", "w") as file:
        fill(file)
    with new_hdf5(tmp_path / "other.hdf5") as file:
        fill(file)
    assert (tmp_path / "one.hdf5").read_bytes() == (tmp_path / "other.hdf5").read_bytes()


@pytest.mark.parametrize("room", [0, 100, 3_000, 9_000, 20_000])
def test_a_full_disk_is_an_error_at_the_end(tmp_path, monkeypatch, room):
    class Full(io.FileIO):
        def write(self, content):
            if self.tell() + len(content) > room:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(content)

    monkeypatch.setattr("builtins.open", lambda path, mode, buffering: Full(path, mode.replace("b", "")))
    with pytest.raises(OSError, match="No space left on device") as told, new_hdf5(tmp_path / "betas.hdf5") as file:
        fill(file)
    assert told.value.filename == tmp_path / "betas.hdf5"
