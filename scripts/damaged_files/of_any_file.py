"""Ways to damage any file: bytes that are absent, flipped, zero or too many, and other files of the same name."""

SMALL_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc000000301010018dd8db0"
    "0000000049454e44ae426082"
)
OTHER_FILES = {
    "a PNG": SMALL_PNG,
    "a web page": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7\n",
    "text": b"no such file\n" * 9,
}


def empty(content, draw):
    """No byte at all."""
    return b""


def cut(content, draw):
    """The first part alone."""
    return content[: draw.integers(len(content))]


def flip(content, draw):
    """One, three or a hundred flipped bits."""
    damaged = bytearray(content)
    for place in draw.integers(len(content), size=draw.choice([1, 3, 100])):
        damaged[place] ^= 1 << draw.integers(8)
    return bytes(damaged)


def flip_head(content, draw):
    """Flipped bits among the first 256 bytes."""
    return flip(content[:256], draw) + content[256:]


def zero_block(content, draw):
    """Zeros in place of a block."""
    start, length = draw.integers(len(content)), draw.choice([64, 512, 4096])
    return (content[:start] + bytes(length) + content[start + length :])[: len(content)]


def zero_head(content, draw):
    """Zeros in place of the first 64 bytes."""
    return bytes(min(64, len(content))) + content[64:]


def junk_behind(content, draw):
    """A hundred bytes behind the end."""
    return content + draw.bytes(100)


def another_file(content, draw):
    """Another file of the same name."""
    return OTHER_FILES[draw.choice(list(OTHER_FILES))]


ANY = [empty, cut, flip, flip_head, zero_block, zero_head, junk_behind, another_file]
