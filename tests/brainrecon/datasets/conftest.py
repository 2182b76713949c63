"""Small copies of datasets."""

import os
from pathlib import Path

import pytest
from nsd_files import write_hdf5_betas, write_nifti, write_nsd


@pytest.fixture
def nsd(tmp_path):
    """A fresh tiny NSD in a folder with a space and a non-ASCII letter in its name."""
    return write_nsd(tmp_path / "tiny nsd é")


@pytest.fixture
def nsd_writer(tmp_path):
    """Write a tiny NSD with other settings: ``nsd_writer(name, **settings)``."""
    return lambda name="nsd", **settings: write_nsd(tmp_path / name, **settings)


@pytest.fixture
def betas_writer():
    """Write one session's HDF5 betas from (x, y, z, trials)."""
    return write_hdf5_betas


@pytest.fixture
def volume_writer():
    return write_nifti


@pytest.fixture(scope="session")
def digits_file():
    """The development copy of the digits; a test that needs it is skipped where it is absent."""
    shared = os.environ.get("BRAINRECON_SHARED_DATA")
    folder = Path(shared) if shared else Path(__file__).resolve().parents[4] / "shared/data"
    path = folder / "digits69/digits69.mat"
    if not path.is_file():
        pytest.skip(f"the digits are not at {path}; set BRAINRECON_SHARED_DATA to the folder that holds digits69/")
    return path
