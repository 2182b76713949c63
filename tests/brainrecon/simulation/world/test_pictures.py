import dataclasses
import hashlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from brainrecon.simulation.brain.patterns import FIGURES
from brainrecon.simulation.world.captions import _FIGURE, _SETTING, _WHERE, N_CAPTIONS
from brainrecon.simulation.world.pictures import (
    BACKGROUNDS,
    CATEGORIES,
    COLOURS,
    DIGIT_WORDS,
    KINDS,
    LABELS,
    PLACES,
    VOCABULARY,
    draw_picture,
    draw_pictures,
    kind_of,
)
from stages.ground.errors import InputError


@pytest.fixture(scope="module")
def drawn():
    return draw_pictures(31, range(400))


@pytest.fixture(scope="module")
def drawn_widely():
    return draw_pictures(33, range(2500), size=8)


def _equal(first, second):
    facts = [dataclasses.replace(picture, image=None) for picture in (first, second)]
    return facts[0] == facts[1] and np.array_equal(first.image, second.image)


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_does_not_depend_on_what_was_drawn_before(kind):
    indices = [5, 400, 0, 17]
    together = draw_pictures(3, indices, kind)
    for index, picture in reversed(list(zip(indices, together))):
        assert _equal(picture, draw_picture(3, index, kind))


def test_the_same_in_another_process():
    program = (
        "import hashlib; from brainrecon.simulation.world.pictures import draw_pictures\n"
        "print(hashlib.sha256(b''.join(p.image.tobytes() + repr(p.captions).encode()"
        " for p in draw_pictures(4, range(8), 'scene'))).hexdigest())"
    )
    there = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    here = hashlib.sha256(
        b"".join(p.image.tobytes() + repr(p.captions).encode() for p in draw_pictures(4, range(8), "scene"))
    )
    assert there.strip() == here.hexdigest()


def test_without_a_kind_it_is_the_picture_of_the_kind_that_the_index_chose(drawn):
    for index in range(0, 60, 7):
        assert _equal(drawn[index], draw_picture(31, index, drawn[index].kind))


def test_the_kind_is_known_before_anything_is_drawn(drawn):
    assert [kind_of(31, index) for index in range(len(drawn))] == [picture.kind for picture in drawn]


def test_shares_of_the_kinds(drawn):
    shares = [np.mean([picture.kind == kind for picture in drawn]) for kind in KINDS]
    np.testing.assert_allclose(shares, (0.7, 0.15, 0.15), atol=0.07)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("index", [0, 1, 2, 3])
def test_the_same_content_at_every_size(kind, index):
    small, large = (draw_picture(8, index, kind, size) for size in (64, 128))
    assert large.image.shape == (128, 128, 3)
    assert (small.captions, small.layout) == (large.captions, large.layout)
    halved = np.asarray(Image.fromarray(large.image).reduce(2), float)
    assert np.corrcoef(halved.ravel(), small.image.ravel())[0, 1] > 0.97


@pytest.mark.parametrize("kind", KINDS)
def test_another_light_changes_the_look_of_scenes_and_nothing_else(kind):
    pairs = [[draw_picture(9, index, kind, light=light) for light in (0, 1)] for index in range(30)]
    for one, other in pairs:
        assert dataclasses.replace(one, image=None) == dataclasses.replace(other, image=None)
        assert np.array_equal(one.image, other.image) == (kind != "scene")
    if kind == "scene":
        shared = [np.corrcoef(one.image.ravel(), other.image.ravel())[0, 1] for one, other in pairs]
        assert 0.45 < np.mean(shared) < 0.85  # Layout is neither all light nor all content.


def test_light_and_shade_vary_slowly():
    """The ratio of two lights, at two sizes: the same smooth field."""
    small, large = (
        [draw_picture(9, 2, "scene", size, light=light).image.astype(float) + 1 for light in (0, 1)]
        for size in (32, 64)
    )
    ratios = [np.log(one / other).mean(axis=2) for one, other in (small, large)]
    halved = ratios[1].reshape(32, 2, 32, 2).mean(axis=(1, 3))
    assert np.corrcoef(halved.ravel(), ratios[0].ravel())[0, 1] > 0.9


def test_images_fill_the_range_of_their_type(drawn):
    for picture in drawn:
        assert picture.image.dtype == np.uint8
        assert picture.image.shape == (64, 64, 3)
        assert picture.image.std() > 5
    stack = np.stack([picture.image for picture in drawn])
    assert stack.min() < 10
    assert stack.max() == 255


def test_pictures_differ_from_index_to_index_and_from_seed_to_seed(drawn):
    scenes = [picture.image.tobytes() for picture in drawn if picture.kind != "pattern"]
    assert len(set(scenes)) == len(scenes)
    others = draw_pictures(32, range(400))
    assert not {picture.image.tobytes() for picture in others if picture.kind == "scene"} & set(scenes)


def test_captions_are_plain_words_of_the_vocabulary(drawn):
    known = set(VOCABULARY)
    for picture in drawn:
        assert len(picture.captions) == N_CAPTIONS
        assert len(set(picture.captions)) == N_CAPTIONS
        for caption in picture.captions:
            words = caption.split()
            assert 2 <= len(words) <= 22
            assert set(words) <= known
            assert caption == " ".join(words).lower()


def test_the_vocabulary_holds_no_idle_word(drawn_widely):
    said = {word for picture in drawn_widely for caption in picture.captions for word in caption.split()}
    assert set(VOCABULARY) - said == set()
    assert VOCABULARY == tuple(sorted(set(VOCABULARY)))


@pytest.mark.parametrize("digit", [6, 9])
def test_the_words_of_the_handwritten_digits_set(digit):
    assert set(f"a handwritten {DIGIT_WORDS[digit]}".split()) <= set(VOCABULARY)


def test_captions_name_what_the_picture_shows(drawn):
    for picture in drawn:
        if picture.kind == "scene":
            assert all(f"{picture.colour} {picture.category}" in caption for caption in picture.captions)
        if picture.kind == "digit":
            assert all(DIGIT_WORDS[picture.digit] in caption.split() for caption in picture.captions)


def test_articles_agree(drawn):
    for picture in drawn:
        for caption in picture.captions:
            words = caption.split()
            for article, word in zip(words, words[1:]):
                if article in ("a", "an") and word != "one":
                    assert (article == "an") == (word[0] in "aeiou"), caption


def test_every_fact_has_its_phrases():
    assert set(_FIGURE) == set(FIGURES)
    assert set(_WHERE) == set(_SETTING) == set(BACKGROUNDS[:-3])


def test_everything_listed_is_drawn(drawn_widely):
    for field, listed in (
        ("category", LABELS),
        ("colour", COLOURS),
        ("background", BACKGROUNDS),
        ("place", PLACES),
    ):
        assert {getattr(picture, field) for picture in drawn_widely} == set(listed), field
    assert {picture.digit for picture in drawn_widely} == set(range(-1, 10))
    assert len(CATEGORIES) == len(set(CATEGORIES)) >= 20
    assert all((picture.digit >= 0) == (picture.kind == "digit") for picture in drawn_widely)


def test_equal_layouts_show_alike():
    by_layout = {}
    for picture in draw_pictures(35, range(600), "pattern", 8):
        by_layout.setdefault(picture.layout, set()).update(picture.captions)
    # Captions of one layout are worded differently but name the same figure and greys, so they stay few.
    assert max(len(captions) for captions in by_layout.values()) <= 2 * N_CAPTIONS


def test_scanned_digits_look_like_scanned_handwriting():
    drawn = [picture for picture in draw_pictures(36, range(300), "digit", 28) if picture.background == "black"]
    ink = np.stack([picture.image[..., 0] for picture in drawn]) / 255
    assert all(picture.colour == "white" for picture in drawn)
    assert 0.10 < (ink > 0.5).mean() < 0.18
    tall = [np.ptp(np.flatnonzero((picture > 0.3).any(1))) + 1 for picture in ink]
    wide = [np.ptp(np.flatnonzero((picture > 0.3).any(0))) + 1 for picture in ink]
    assert 18 < np.mean(tall) < 22
    assert 10 < np.mean(wide) < 15
    assert ink[:, [0, -1]].max() < 0.1


def test_patterns_are_grey_and_binary_but_for_the_margin():
    for picture in draw_pictures(37, range(30), "pattern", 128):
        assert (picture.image == picture.image[..., :1]).all()
        levels, counts = np.unique(picture.image, return_counts=True)
        assert counts[np.argsort(counts)[-3:]].sum() > 0.8 * picture.image.size


def test_progress_counts_to_the_end():
    told = []
    draw_pictures(1, [4, 5, 6], size=8, progress=lambda *report: told.append(report))
    assert told == [("drawing pictures", done, 3) for done in (1, 2, 3)]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"seed": -1, "index": 0}, "Seed -1"),
        ({"seed": 0, "index": -2}, "index -2"),
        ({"seed": 0, "index": 0, "light": -3}, "light -3"),
        ({"seed": 0, "index": 0, "size": 4}, "4 pixels"),
        ({"seed": 0, "index": 0, "kind": "photograph"}, "'photograph'; pass one of scene, digit, pattern"),
    ],
)
def test_hostile_arguments(arguments, told):
    with pytest.raises(InputError, match=told):
        draw_picture(**arguments)


def test_no_heavy_import_before_a_digit_is_drawn():
    program = (
        "import sys; from brainrecon.simulation.world.pictures import draw_picture\n"
        "draw_picture(1, 1, 'scene')\n"
        "print(sorted({'torch', 'sklearn', 'scipy', 'matplotlib'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert found.strip() == "[]"
