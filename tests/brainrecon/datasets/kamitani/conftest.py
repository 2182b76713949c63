"""A small folder of Generic Object Decoding."""

import pytest
from kamitani_files import God


@pytest.fixture
def small(tmp_path):
    return God(tmp_path / "god")
