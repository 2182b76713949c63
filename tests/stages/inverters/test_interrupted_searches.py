"""Searches alone, together and interrupted: the pictures are the same, whichever way their loss is lowered."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from random_vgg19 import save_deepsim, save_vgg19, vgg19

from stages.generators.generator import Item, in_order
from stages.inverters.picture_search_presets import PRESETS
from stages.inverters.picture_search_settings import PictureSearchSettings
from stages.inverters.searched_pictures import PictureSearch


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("search")
    save_vgg19(place / "vgg19")
    save_deepsim(place / "generator")
    return place / "vgg19", place / "generator"


FORMS = {
    "descent": (PictureSearchSettings(steps=4), False),
    "adamw": (replace(PRESETS["spurious-adamw"], steps=4, scaling="none"), False),
    "lbfgs": (replace(PRESETS["dir-pixels"], steps=4, start="noise", start_spread=40.0), True),
    "shifted": (replace(PRESETS["icnn-pixels"], steps=4, jitter=4), True),
}
EARLY = ("conv1_2", "conv2_2")


@pytest.fixture(scope="module", params=FORMS)
def form(request, folders):
    settings, of_pixels = FORMS[request.param]
    place = None if of_pixels else folders[1]
    return lambda **changes: PictureSearch.from_pretrained(
        folders[0], place, EARLY, settings=replace(settings, **changes)
    )


@pytest.fixture(scope="module")
def eight():
    """Values and items of eight pictures, of which the first and the fourth have the same values."""
    rows, random = [0, 1, 2, 0, 1, 2, 0, 1], np.random.default_rng(0)
    true = vgg19()(torch.from_numpy(random.normal(0, 60, (3, 3, 32, 32)).astype(np.float32)), EARLY)
    values = {f"vgg19_{name}": 0.3 * each.numpy() + random.standard_normal(each.shape) for name, each in true.items()}
    return {name: value[rows].astype(np.float32) for name, value in values.items()}, [
        Item(f"s{number}") for number in range(8)
    ]


def test_batches_of_one_three_and_eight_give_the_same_bytes(form, eight):
    values, items = eight
    alone, *others = (np.stack(in_order(form().draw(values, items, batch_size=size))) for size in (1, 3, 8))
    for together in others:
        np.testing.assert_array_equal(together, alone)
    assert np.abs(alone[0].astype(int) - alone[3]).max() > 1


def test_searched_together_they_differ_by_rounding_alone(form, eight):
    """In float32 steps over kinks enlarge rounding; in float64, which networks may have, a picture stays to one grey level."""
    values, items = eight

    def drawn(size):
        searching = form(at_a_time=size)
        for part in (searching.generator, *(look.network for look in searching.looks)):
            if part is not None:
                part.double()
        return np.stack(in_order(searching.draw(values, items, batch_size=8))).astype(int)

    alone = drawn(1)
    for size in (3, 8):
        assert np.abs(drawn(size) - alone).max() <= 1, size


class Killed(BaseException):
    pass


def test_killed_ten_times_it_ends_in_the_same_bytes(form, eight):
    """Whoever draws keeps each picture as it comes, and asks for those that are missing."""
    values, items = eight
    values, items = {name: rows[:4] for name, rows in values.items()}, items[:4]
    whole = [picture.tobytes() for picture in in_order(form().draw(values, items, batch_size=2))]
    kept, kills, lot = {}, 0, np.random.default_rng(0)
    while len(kept) < len(items):
        missing = [position for position in range(len(items)) if position not in kept]
        last = [int(lot.integers(1, 6)) if kills < 10 else None]

        def stepping(label, done, total, last=last):
            if label == "searching" and last[0] is not None:
                last[0] -= 1
                if last[0] < 0:
                    raise Killed

        rows = {name: [value[position] for position in missing] for name, value in values.items()}
        try:
            for position, picture in form().draw(
                rows, [items[row] for row in missing], batch_size=1, progress=stepping
            ):
                kept[missing[position]] = picture.tobytes()
        except Killed:
            kills += 1
    assert kills == 10 and [kept[position] for position in range(4)] == whole


def test_the_loss_is_remarked_beside_the_progress(form, eight):
    class Shown:
        def __init__(self):
            self.said, self.calls = [], []

        def __call__(self, label, done, total):
            self.calls.append((label, done, total))

        def remark(self, label, text):
            self.said.append((label, text))

    shown = Shown()
    values, items = eight
    list(form(steps=12).draw({name: rows[:2] for name, rows in values.items()}, items[:2], progress=shown))
    assert {label for label, _ in shown.said} == {"searching"} and shown.said[0][1].startswith("loss ")
    assert len(shown.said) == 2 and ("searching", 24, 24) in shown.calls
    done = [done for label, done, _ in shown.calls if label == "searching"]
    assert done == sorted(done)
