"""A small copy of THINGS-data."""

import pytest
from things_fmri_files import Things


@pytest.fixture
def things(tmp_path):
    return Things(tmp_path / "things")
