"""Captions for pictures that have none: what is asked of the captioner, and what of the text."""

import json

import numpy as np
import pytest
import random_git

from stages.checkpoints.outlines import outlines, weights_of
from stages.generators.language.git_captioner import GITCaptioner
from stages.ground.errors import InputError
from stages.targets.clip import CLIPTextTokens
from stages.targets.git import GITStates
from stages.targets.written_captions import WrittenCaptions
from weights import store


class Brightness:
    """States of a picture: its mean grey."""

    name, preprocessing = "brightness", {"mean": "all pixels"}

    def encode(self, items, batch_size):
        return np.asarray(items, dtype=np.float32).mean(axis=(1, 2, 3))[:, None]


class Speaker:
    """A captioner that says how bright a picture is, and keeps what it was told."""

    takes = {"brightness": (1,)}

    def __init__(self):
        self.told = []

    def draw(self, values, items, **told):
        self.told.append(told)
        assert [item.sample for item in items] == [0] * len(items)
        for row in reversed(range(len(items))):
            yield row, f"grey {values['brightness'][row, 0]:.0f}"


class Letters:
    """What a caption becomes: its number of letters, and its brightness."""

    name, takes, shape, preprocessing = "letters", "captions", (2,), {"letters": "all"}

    def encode(self, items, batch_size):
        return np.float32([[len(caption), int(caption.split()[1])] for (caption,) in items])


def pictures():
    return np.repeat(np.uint8([3, 200, 17]), 8 * 8 * 3).reshape(3, 8, 8, 3)


def test_each_picture_has_the_caption_of_its_own_states():
    target = WrittenCaptions(Brightness(), speaker := Speaker(), Letters(), {"num_beams": 3})
    assert target.captions(pictures()) == ["grey 3", "grey 200", "grey 17"]
    np.testing.assert_array_equal(target.encode(pictures()), [[6, 3], [8, 200], [7, 17]])
    assert speaker.told == [{"batch_size": 1, "num_beams": 3}] * 2
    assert (target.takes, target.shape, target.n_targets) == ("images", (2,), 2)
    assert target.captions(pictures()[:0]) == []


def test_all_that_a_value_depends_on_is_part_of_the_key():
    one, other = (WrittenCaptions(Brightness(), Speaker(), Letters(), {"num_beams": n}) for n in (1, 3))
    assert one.preprocessing != other.preprocessing
    told = json.dumps(one.preprocessing)
    assert all(part in told for part in ("all pixels", "num_beams", '"letters": "all"'))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("git")
    random_git.save_git(folder)
    return folder


def of_git(folder, device="cpu"):
    text = CLIPTextTokens.from_pretrained(store.path("tiny-clip"), device=device)
    parts = GITStates.from_pretrained(folder, device), GITCaptioner.from_pretrained(folder, device), text
    return WrittenCaptions(*parts, {"max_length": 12, "min_length": 6})


def test_any_captioner_with_its_target_will_do(folder):
    target, shown = of_git(folder), np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    captions = target.captions(shown)
    assert len(set(captions)) > 1
    np.testing.assert_allclose(target.encode(shown), target._text.encode([[one] for one in captions]), atol=1e-5)
    with pytest.raises(InputError):
        target.encode(shown.astype(np.float32))


def test_an_outline_tells_the_shape_and_the_weights(folder):
    with outlines():
        outline = of_git(folder, "meta")
    target = of_git(folder)
    assert (outline.shape, outline.preprocessing) == (target.shape, target.preprocessing)
    assert weights_of(outline) == weights_of(target) > 0
