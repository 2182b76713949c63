"""What is written is what is read, whole or not at all, and a damaged file is named in one sentence."""

import re

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from stages.ground import media
from stages.ground.errors import InputError
from stages.ground.media import CAPTION, FEATURES, FILM, MEDIA, PICTURE


def pictures(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


VALUES = {
    "picture": pictures(7, 5),
    "film": pictures(6, 7, 5)[[0, 0, 1, 2, 2, 2, 0, 5]],
    "caption": "Zwei Hunde\r\nam Strand, 犬\n",
    "features": {"clip_image": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.float32(1.5)},
}
REFUSED = {
    "picture": [pictures(7, 5).astype(float), pictures(7, 5)[..., :2], pictures(2, 7, 5), None, pictures(0, 5)],
    "film": [pictures(7, 5), pictures(0, 7, 5), pictures(2, 7, 5) / 255, "film.gif"],
    "caption": [None, b"a dog", 3, "\ud800"],
    "features": [
        {},
        np.zeros(3, np.float32),
        {"a": np.zeros(3)},
        {0: np.zeros(3, np.float32)},
        {"a": np.float32([1, np.nan])},
        {"__metadata__": np.zeros(3, np.float32)},
    ],
}


def same(found, expected):
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name in expected:
            same(found[name], np.asarray(expected[name]))
    elif isinstance(expected, str):
        assert found == expected
    else:
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", MEDIA)
def test_what_is_written_is_read(tmp_path, name):
    medium, path = MEDIA[name], tmp_path / "folder" / f"one{MEDIA[name].suffix}"
    medium.write(path, VALUES[name])
    same(medium.read(path), VALUES[name])
    same(medium.check(VALUES[name]), VALUES[name])
    first = path.read_bytes()
    medium.write(path, VALUES[name])
    assert path.read_bytes() == first
    assert [one.name for one in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in MEDIA for value in REFUSED[name]])
def test_another_value_is_refused_and_the_old_file_stays(tmp_path, name, value):
    medium, path = MEDIA[name], tmp_path / f"one{MEDIA[name].suffix}"
    with pytest.raises(InputError, match="expected|takes|mend"):
        medium.check(value)
    medium.write(path, VALUES[name])
    with pytest.raises(InputError):
        medium.write(path, value)
    same(medium.read(path), VALUES[name])


@pytest.mark.parametrize("name", MEDIA)
def test_a_writing_that_fails_leaves_nothing(tmp_path, monkeypatch, name):
    medium = MEDIA[name]

    def half(path, value):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    broken = media.Medium(medium.name, medium.suffix, medium.check, half, medium._load)
    with pytest.raises(KeyboardInterrupt):
        broken.write(tmp_path / f"one{medium.suffix}", VALUES[name])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["picture", "film", "features"])
def test_a_file_cut_short_anywhere_is_an_error_or_whole(tmp_path, name):
    """Every length: the last 20 bytes of a PNG are two checksums and its end mark, without which the pixels are whole."""
    medium, path = MEDIA[name], tmp_path / f"one{MEDIA[name].suffix}"
    medium.write(path, VALUES[name])
    whole, refused = path.read_bytes(), 0
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        try:
            same(medium.read(path), VALUES[name])
        except InputError as error:
            refused += 1
            assert re.search(rf"{re.escape(str(path))} cannot be read as a {name}.*; delete it", str(error))
    assert refused >= len(whole) - 20


@pytest.mark.parametrize("name", MEDIA)
def test_an_absent_file_is_named(tmp_path, name):
    with pytest.raises(InputError, match="There is no file .*absent"):
        MEDIA[name].read(tmp_path / "absent")


def test_bytes_that_are_no_text_are_no_caption(tmp_path):
    (tmp_path / "one.txt").write_bytes(b"caf\xe9")
    with pytest.raises(InputError, match=r"one\.txt cannot be read as a caption"):
        CAPTION.read(tmp_path / "one.txt")


def test_other_peoples_pictures(tmp_path):
    grey = np.arange(20, dtype=np.uint8).reshape(4, 5)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    same(PICTURE.read(tmp_path / "grey.png"), np.repeat(grey[..., None], 3, axis=-1))
    Image.fromarray(grey.astype(np.uint16) * 256).save(tmp_path / "deep.png")
    with pytest.raises(InputError, match=r"deep\.png holds values of mode I;16, not 8-bit"):
        PICTURE.read(tmp_path / "deep.png")


@pytest.mark.parametrize("n_frames", [1, 3])
def test_other_peoples_films(tmp_path, n_frames):
    frames = pictures(n_frames, 4, 5)
    first, *others = map(Image.fromarray, frames)
    first.save(tmp_path / "own.png", save_all=True, append_images=others, duration=40)
    same(FILM.read(tmp_path / "own.png"), frames)


@pytest.mark.parametrize("rows", [[0], [0, 0, 0], [0, 1] * 20])
def test_films_of_any_course(tmp_path, rows):
    frames = pictures(2, 4, 5)[rows]
    FILM.write(tmp_path / "one.apng", frames)
    same(FILM.read(tmp_path / "one.apng"), frames)


def test_frames_that_hardly_differ_stay_apart(tmp_path):
    """An animated PNG stores what changes; a change by one grey level in one value is a change."""
    frames = np.repeat(pictures(1, 4, 5), 5, axis=0)
    frames[1, 0, 0, 0] ^= 1
    frames[3, 3, 4, 2] ^= 1
    FILM.write(tmp_path / "one.apng", frames)
    same(FILM.read(tmp_path / "one.apng"), frames)


def test_features_are_an_ordinary_safetensors_file(tmp_path):
    turned = np.arange(6, dtype=np.float32).reshape(2, 3).T
    FEATURES.write(tmp_path / "one.safetensors", {"turned": turned})
    same(load_file(tmp_path / "one.safetensors"), {"turned": turned})
