"""The solver of banded ridge."""

import pytest


@pytest.fixture
def himalaya():
    return pytest.importorskip("himalaya")
