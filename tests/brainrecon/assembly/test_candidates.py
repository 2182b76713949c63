"""The best of several: the choice by brute force, lots that do not meet, and nothing that depends on who else is drawn."""

from types import SimpleNamespace

import numpy as np
import pytest

from brainrecon.assembly.candidates import Candidates
from brainrecon.assembly.step import Step
from brainrecon.assembly.values import ABSENT, Item
from stages.ground.item_seeds import numpy_generator

ITEMS = [Item("subj01", name, sample) for name in "abcd" for sample in (0, 1)]
WANTED = np.random.default_rng(0).standard_normal((8, 3))


class Tint(Step):
    """A colour by lot, on the way."""

    reads, gives, by_lot = ("rough",), ("tint",), True

    def run(self, items, values, *, seed=0):
        draw = [numpy_generator(seed, item.stimulus_id, item.sample).integers(0, 200, 3) for item in items]
        return {"tint": np.array(draw) + np.asarray(values["rough"])}

    def told(self, present):
        return {"tinted": True}


class Paint(Step):
    """A picture of one colour, a little brighter with a first picture."""

    reads, optional, gives, by_lot = ("tint",), ("first_picture",), ("picture",), True
    media = {"picture": "picture"}

    def run(self, items, values, *, seed=0):
        first = 0 if values["first_picture"] is ABSENT else np.asarray(values["first_picture"])
        colours = (np.asarray(values["tint"]) + first).astype(np.uint8)
        return {"picture": [np.tile(colour, (4, 4, 1)) for colour in colours]}

    def told(self, present):
        return {"starts": "first_picture" in present, "tinted after": "tint" in present}


class Colours:
    """A target: the mean colour of a picture, about a grey."""

    def encode(self, pictures, batch_size=32):
        return pictures.reshape(len(pictures), -1, 3).mean(axis=1) - 100.0


def chosen(n, items=ITEMS, wanted=WANTED, first=5, seed=0, **options):
    step = Candidates([Tint(), Paint()], n, SimpleNamespace(target=Colours()), "retrieval")
    values = {
        "rough": np.full(len(items), 1)[:, None],
        "retrieval": list(wanted),
        "first_picture": first if first is ABSENT else np.full((len(items), 1), first),
    }
    return np.stack(step.run(items, values, seed=seed)["picture"])


def test_what_it_reads_and_gives():
    step = Candidates([Tint(), Paint()], 4, SimpleNamespace(target=Colours()), "retrieval")
    assert (step.reads, step.optional, step.gives) == (("rough", "retrieval"), ("first_picture",), ("picture",))
    assert step.by_lot and not step.is_learned and step.medium("picture") == "picture"
    expected = {"tinted": True, "starts": True, "tinted after": True, "candidates": 4}
    assert step.told(frozenset({"rough", "first_picture"})) == expected


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("first", [5, ABSENT])
def test_the_choice_by_brute_force(n, first):
    found = chosen(n, first=first)
    for item, wanted, picture in zip(ITEMS, WANTED, found):
        lots = [item.sample * n + one for one in range(n)]
        colours = [numpy_generator(0, item.stimulus_id, lot).integers(0, 200, 3) + 1 for lot in lots]
        colours = [colour if first is ABSENT else colour + first for colour in colours]
        cosines = [
            (colour - 100) @ wanted / np.linalg.norm(colour - 100.0) / np.linalg.norm(wanted) for colour in colours
        ]
        assert picture[0, 0].tolist() == colours[int(np.argmax(cosines))].tolist()


def test_samples_share_no_lot():
    """Two samples of a stimulus choose among other candidates."""
    same = np.tile(WANTED[:1], (2, 1))
    first, second = chosen(4, ITEMS[:2], same)
    assert (first != second).any()


def test_an_item_alone_as_with_others():
    together = chosen(3)
    for row in range(8):
        assert np.array_equal(chosen(3, ITEMS[row : row + 1], WANTED[row : row + 1])[0], together[row])
    assert np.array_equal(chosen(3, ITEMS[::-1], WANTED[::-1])[::-1], together)
    assert not np.array_equal(chosen(3, seed=1), together)


def test_more_candidates_fit_better():
    def fits(pictures):
        colours = Colours().encode(pictures)
        lengths = np.linalg.norm(colours, axis=1) * np.linalg.norm(WANTED, axis=1)
        return (colours * WANTED).sum(axis=1) / lengths

    assert fits(chosen(12)).mean() > fits(chosen(1)).mean() + 0.2
