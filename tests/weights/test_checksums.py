"""CRC-32C against published values and against its definition, bit by bit."""

import time

import numpy as np
import pytest
from tensorflow_files import checksum

from weights.checksums import crc32c


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"a", 0xC1D04330),
        (b"123456789", 0xE3069283),
        # RFC 3720, B.4
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_published_values(data, expected):
    assert crc32c(data) == expected == crc32c(memoryview(data))


@pytest.mark.parametrize("length", [*range(1, 40), 100, 255, 256, 257, 1000, 5000])
def test_bytes_vs_the_definition(length):
    data = np.random.default_rng(length).integers(0, 256, length, dtype=np.uint8).tobytes()
    disguised = crc32c(data)
    disguised = ((disguised >> 15 | disguised << 17) + 0xA282EAD8) % 2**32
    assert disguised == checksum(data)


def test_much_is_gone_through_at_once():
    data = np.random.default_rng(0).integers(0, 256, 2**22, dtype=np.uint8)
    began = time.process_time()
    whole = crc32c(data.data)
    assert time.process_time() - began < 5  # a byte at a time takes as many seconds for a quarter of it
    data[12345] ^= 1
    assert crc32c(data.data) != whole
