"""CRC-32C, the checksum of LevelDB's tables, fast enough for hundreds of megabytes without a compiled library.

The checksum's register is linear in the bytes. Bytes are therefore cut into as many pieces as each has bytes, all pieces are gone
through at once, and their registers are added, each shifted by the bytes that follow.
"""

from math import isqrt

import numpy as np

_POLYNOMIAL = 0x82F63B78  # Castagnoli's, its bits in reverse
_ONES = 0xFFFFFFFF


def crc32c(data):
    """Compute the checksum of some bytes.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'

    Parameters
    ----------
    data : bytes or memoryview

    Returns
    -------
    checksum : int
        0 to 2^32 - 1.
    """
    values = np.frombuffer(data, dtype=np.uint8)
    if len(values) < 4:
        return _byte_by_byte(values)
    length = isqrt(len(values) - 1) + 1
    # Zeros before the first byte leave a register of zeros as it is.
    n_pieces = -(-len(values) // length)
    padded = np.zeros(n_pieces * length, dtype=np.uint8)
    padded[len(padded) - len(values) :] = values
    # A register that begins with ones is one of zeros whose first four bytes are turned over.
    padded[len(padded) - len(values) :][:4] ^= 0xFF
    registers = _gone_through(np.zeros(n_pieces, dtype=np.uint32), np.ascontiguousarray(padded.reshape(-1, length).T))
    # Of each bit of a register, what becomes of it while a piece of zeros is gone through.
    bits = _gone_through(
        np.left_shift(np.uint32(1), np.arange(32, dtype=np.uint32)), np.zeros((length, 1), dtype=np.uint8)
    ).tolist()
    total = 0
    for register in registers.tolist():
        shifted, bit = 0, 0
        while total:
            if total & 1:
                shifted ^= bits[bit]
            total, bit = total >> 1, bit + 1
        total = shifted ^ register
    return total ^ _ONES


def _gone_through(registers, columns):
    """Registers (n,) after bytes (length, n), or (length, 1) for all of them."""
    for column in columns:
        registers = _TABLE[(registers ^ column) & 0xFF] ^ (registers >> np.uint32(8))
    return registers


def _byte_by_byte(values):
    register = np.array([_ONES], dtype=np.uint32)
    return int(_gone_through(register, values[:, None])[0]) ^ _ONES


def _table():
    """What becomes of a register when a byte is gone through, by the byte that leaves it."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table


_TABLE = _table()
