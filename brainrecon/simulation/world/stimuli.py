"""Which pictures a cohort sees, and that nobody is tested on what was trained."""

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from brainrecon.simulation.world.pictures import KINDS, Picture, draw_picture, draw_pictures, kind_of

WORLD = 1000
"""Added to a cohort's seed: the worlds below train the embedded networks."""

N_CALIBRATION = 200
"""Pictures that fix the scale of the responses; nobody is shown them."""

_SHARED_BLOCK, _CALIBRATION_BLOCK = 0, 99
_BLOCK_SIZE, _ATTEMPT_SIZE = 10**9, 10**6
_ATTEMPTS = 500


@dataclass(frozen=True)
class Shown:
    """What a picture shows and says, without its pixels."""

    kind: str
    layout: str
    captions: tuple[str, ...]
    categories: tuple[str, ...]
    digest: bytes

    @classmethod
    def of(cls, picture: Picture) -> "Shown":
        """Keep what identifies a picture."""
        return cls(
            picture.kind,
            picture.layout,
            picture.captions,
            (picture.category,) if picture.categories is None else picture.categories,
            hashlib.sha256(picture.image.tobytes()).digest(),
        )


def shared_pictures(seed: int, count: int, size: int, kinds: Sequence[str] = KINDS) -> Iterator[Picture]:
    """Draw the pictures that every subject sees, the test set, all different from each other."""
    digests: set[bytes] = set()
    for slot in range(count):
        picture = _draw(
            seed, _SHARED_BLOCK, slot, size, kinds,
            lambda drawn: _reserved(drawn) is not False and Shown.of(drawn).digest not in digests,
        )  # fmt: skip
        digests.add(Shown.of(picture).digest)
        yield picture


def own_pictures(
    seed: int, subject: int, count: int, size: int, shared: Sequence[Shown], kinds: Sequence[str] = KINDS
) -> Iterator[Picture]:
    """Draw the pictures that only one subject sees, the training set.

    None equals a shared picture or has its layout, and none of their captions is a caption of a shared scene. (Digits
    and patterns have too few captions for that; they are kept apart by what they show.)
    Subjects count from 1.
    """
    layouts = {one.layout for one in shared}
    captions = {caption for one in shared if one.kind == "scene" for caption in one.captions}
    digests = {one.digest for one in shared}

    def fits(drawn):
        return (
            not _reserved(drawn)
            and drawn.layout not in layouts
            and captions.isdisjoint(drawn.captions)
            and Shown.of(drawn).digest not in digests
        )

    for slot in range(count):
        yield _draw(seed, subject, slot, size, kinds, fits)


def calibration_pictures(seed: int) -> list[Picture]:
    """Draw the pictures that fix the scale of the responses, at 64 pixels."""
    first = _CALIBRATION_BLOCK * _BLOCK_SIZE
    return draw_pictures(WORLD + seed, range(first, first + N_CALIBRATION))


def _reserved(picture):
    """Whether what a picture shows is kept for the test set; None for scenes, of which there are enough.

    Handwritten specimens and layouts of checker patterns are few. A quarter of either belongs to the test set,
    whoever takes part; every digit is in both sets, in different hands.
    """
    if picture.kind == "scene":
        return None
    few = picture.layout.rsplit("/", 1)[-1] if picture.kind == "digit" else picture.layout
    return zlib.crc32(few.encode()) % 4 == 0


def _draw(seed, block, slot, size, kinds, fits):
    """Draw the picture of a slot: of one of the kinds, with another index for as long as it does not fit."""
    kind = None
    for attempt in range(_ATTEMPTS):
        index = block * _BLOCK_SIZE + attempt * _ATTEMPT_SIZE + slot
        # Known before anything is drawn: of pictures of one kind, six in seven would be thrown away.
        if kind is None and kind_of(WORLD + seed, index) not in kinds:
            continue
        picture = draw_picture(WORLD + seed, index, kind, size)
        if fits(picture):
            return picture
        kind = picture.kind
    raise RuntimeError(f"picture {slot} of block {block} was drawn {_ATTEMPTS} times and never fitted")
