"""Ways to damage pictures: sizes that they claim, text that they hold, programs in their place."""

import struct
import zlib


def picture_bomb(content, draw):
    """A few bytes that claim to be a picture of 400 million pixels, or hold 100 MB of text."""
    return [huge_picture, picture_of_text][draw.integers(2)]()


def huge_picture():
    """A PNG that claims 20,000 x 20,000 pixels."""
    return _png(_picture_header(20_000), (b"IDAT", zlib.compress(b"")))


def picture_of_text():
    """A PNG of one pixel with 100 MB of text before it."""
    pixel = (b"IDAT", zlib.compress(bytes(4)))
    return _png(_picture_header(1), (b"zTXt", b"C\0\0" + zlib.compress(bytes(10**8))), pixel)


def grey_of_16_bit():
    """A PNG of one grey pixel of 16 bits."""
    return _png(_picture_header(1, bits=16, colour=0), (b"IDAT", zlib.compress(b"\0\x12\x34")))


def _picture_header(length, bits=8, colour=2):
    return b"IHDR", struct.pack(">IIBBBBB", length, length, bits, colour, 0, 0, 0)


def _png(*chunks):
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*one) for one in (*chunks, (b"IEND", b"")))


def _chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def picture_program(content, draw):
    """A program in PostScript."""
    return b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n%%EOF\n"
