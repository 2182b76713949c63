"""Choosing outputs by the shown pictures: who may, who has to say so, and what is chosen then."""

from types import SimpleNamespace

import numpy as np
import pytest
from made_up_systems import Adding, system_of

from brainrecon.assembly.candidates import Candidates
from brainrecon.assembly.chain import Chain
from brainrecon.assembly.step import Step
from brainrecon.assembly.values import SHOWN, Item
from stages.ground.errors import InputError
from stages.ground.item_seeds import numpy_generator

ITEMS = [Item("subj01", name, sample) for name in "abc" for sample in (0, 1)]


class Paint(Step):
    """A picture of one colour, by lot."""

    gives, media, by_lot = ("picture",), {"picture": "picture"}, True

    def run(self, items, values, *, seed=0):
        drawn = [numpy_generator(seed, item.stimulus_id, item.sample).integers(0, 255, 3) for item in items]
        return {"picture": [np.tile(colour, (4, 4, 1)).astype(np.uint8) for colour in drawn]}


class Colours:
    """A target: the mean colour of a picture, about a grey."""

    def encode(self, pictures, batch_size=32):
        return pictures.reshape(len(pictures), -1, 3).mean(axis=1) - 100.0


def choosing(wanted=SHOWN, n=6):
    return Candidates([Paint()], n, SimpleNamespace(target=Colours()), wanted)


def chain_of(*steps, **attributes):
    return Chain(system_of(*steps, **attributes))


def test_the_shown_picture_chooses_by_its_own_embedding():
    shown = np.random.default_rng(0).integers(0, 256, (6, 9, 7, 3), dtype=np.uint8)
    values = {"patterns": np.zeros((6, 2)), SHOWN: shown}
    step = choosing()
    assert step.reads == ("patterns", SHOWN) and step.told(frozenset())["chosen by"] == "the shown picture"
    found = step.run(ITEMS, values)["picture"]
    for item, picture, own in zip(ITEMS, found, shown):
        wanted = own.reshape(-1, 3).mean(axis=0) - 100
        lots = [numpy_generator(0, item.stimulus_id, item.sample * 6 + one).integers(0, 255, 3) for one in range(6)]
        cosines = [(lot - 100) @ wanted / np.linalg.norm(lot - 100.0) for lot in lots]
        assert picture[0, 0].tolist() == lots[int(np.argmax(cosines))].tolist()


def test_a_chain_has_it_only_if_its_system_says_so():
    with pytest.raises(InputError, match="Candidates reads or gives 'shown'"):
        chain_of(choosing())
    chain = chain_of(choosing(), chooses_by_shown=True)
    assert chain.measured == ("patterns", "repeats", "shown") and not chain.encodes
    assert chain_of(choosing("patterns")).measured == ("patterns", "repeats")


@pytest.mark.parametrize(
    "steps",
    [
        [Adding([SHOWN], "picture")],
        [Adding(["patterns"], "picture", optional=[SHOWN])],
        [Adding([SHOWN], "code"), choosing()],
        [Adding(["patterns"], SHOWN), choosing()],
        # It has to be the last, whose output nothing else is made of.
        [Candidates([Adding(["patterns"], "draft")], 2, None, SHOWN), Adding(["draft"], "picture")],
    ],
)
def test_nobody_else_reads_it_even_there(steps):
    with pytest.raises(InputError, match="reads or gives 'shown', the pictures of the tested stimuli"):
        chain_of(*steps, chooses_by_shown=True)


def test_patterns_by_themselves_have_no_shown_pictures():
    chain = chain_of(Adding(["patterns"], "code"), choosing(), chooses_by_shown=True)
    assert chain.predict(np.ones((2, 3)))["code"].shape == (2, 2)
    with pytest.raises(InputError, match="patterns by themselves have none"):
        chain.run_from_patterns(["a"], np.ones((1, 3)))
