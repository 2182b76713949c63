import io

import numpy as np
from PIL import Image

from brainrecon.datasets.near_duplicates import near_duplicates


def smooth_pictures(n, seed):
    small = np.random.default_rng(seed).integers(0, 256, (n, 4, 4, 3), dtype=np.uint8)
    return np.stack(
        [np.asarray(Image.fromarray(picture).resize((60, 60), Image.Resampling.BICUBIC)) for picture in small]
    )


def test_copies_are_found_and_strangers_are_not():
    train, test = smooth_pictures(200, 0), smooth_pictures(90, 1)
    assert near_duplicates(train, test) == []
    buffer = io.BytesIO()
    Image.fromarray(train[150]).save(buffer, format="JPEG", quality=40)
    test[70] = np.asarray(Image.open(buffer))
    test[3] = np.clip(train[7].astype(int) + 30, 0, 255)  # brighter
    test[5, :-1] = train[9, 1:]  # shifted by a pixel
    test[8] = 127
    train[8] = 127  # pictures of one colour resemble nothing
    pairs = near_duplicates(train, test)
    assert {(row, column) for row, column, _ in pairs} == {(70, 150), (3, 7), (5, 9)}
    assert [value for *_, value in pairs] == sorted((value for *_, value in pairs), reverse=True)
    assert near_duplicates(train, test[:0]) == []


def test_correlation_vs_numpy():
    train, test = smooth_pictures(5, 2), smooth_pictures(4, 3)
    small = [
        [Image.fromarray(picture).convert("L").resize((16, 16), Image.Resampling.BOX) for picture in part]
        for part in (train, test)
    ]
    grey = [[np.asarray(picture, float).ravel() for picture in part] for part in small]
    expected = np.corrcoef(grey[1], grey[0])[:4, 4:]
    for row, column, value in near_duplicates(train, test, threshold=-1):
        assert column == expected[row].argmax()
        np.testing.assert_allclose(value, expected[row].max(), atol=1e-5)
