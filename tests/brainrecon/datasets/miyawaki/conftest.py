"""A folder as nilearn fetches it."""

import pytest
from miyawaki_copies import write_nilearn


@pytest.fixture
def nilearn(tmp_path):
    return write_nilearn(tmp_path / "miyawaki é 2008")
