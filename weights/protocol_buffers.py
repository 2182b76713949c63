"""Protocol Buffers' notation, read without a description of the messages: fields by their numbers."""

from collections.abc import Iterator

VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the fields of a message in order.

    >>> (first, number), (second, text) = fields(memoryview(bytes([0x08, 5, 0x12, 1, 97])))
    >>> first, number, second, bytes(text)
    (1, 5, 2, b'a')

    Parameters
    ----------
    message : memoryview

    Yields
    ------
    field : int
    value : int or memoryview
        Whole numbers as int, everything else as its bytes.

    Raises
    ------
    ValueError, IndexError
        The message is cut off, or is none.
    """
    place = 0
    while place < len(message):
        key, place = varint(message, place)
        field, kind = key >> 3, key & 7
        if kind == VARINT:
            value, place = varint(message, place)
            yield field, value
            continue
        if kind == BYTES:
            length, place = varint(message, place)
        elif kind in (EIGHT_BYTES, FOUR_BYTES):
            length = 8 if kind == EIGHT_BYTES else 4
        else:
            raise ValueError(f"a field of the unknown kind {kind}")
        if place + length > len(message):
            raise ValueError(f"{length:,} bytes were announced and {len(message) - place:,} are left")
        yield field, message[place : place + length]
        place += length


def varint(message: memoryview, place: int) -> tuple[int, int]:
    """Read a whole number of several bytes, 7 bits in each: the number, and the place behind it.

    >>> varint(bytes([0xAC, 0x02]), 0)
    (300, 2)
    """
    number, shift = 0, 0
    while True:
        byte = message[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, place
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def whole_numbers(value: int | memoryview) -> list[int]:
    """Whole numbers of a repeated field, packed or not.

    >>> whole_numbers(bytes([3, 0xAC, 0x02])), whole_numbers(7)
    ([3, 300], [7])
    """
    if isinstance(value, int):
        return [value]
    found, place = [], 0
    while place < len(value):
        number, place = varint(value, place)
        found.append(number)
    return found
