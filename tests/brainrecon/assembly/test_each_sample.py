"""Steps that are run anew for each sample: a text of its own for each, whoever else is drawn with it."""

import numpy as np
import pytest

from brainrecon.assembly.class_labels import LabelPrompt, LabelSettings, labels_of_stimuli
from brainrecon.assembly.draw import Draw
from brainrecon.assembly.each_sample import EachSample
from brainrecon.assembly.values import Item
from brainrecon.datasets.split import Split
from stages.ground.errors import InputError
from stages.ground.progress import SILENT

LABELS = ["n01443537 goldfish, Carassius auratus\nn02951358 canoe", "n02951358 canoe\nboat"]
ITEMS = [Item("subj01", name, sample) for name in ("one", "two") for sample in range(3)]


class Written:
    """A generator that gives back what it is told, with the noise of the item beside it."""

    takes, optional, gives, draws_by_lot = {"caption": ()}, frozenset(), "caption", True
    batches = ()

    def draw(self, values, items, *, seed=0, batch_size=16, progress=SILENT, **settings):
        self.batches = (*self.batches, (len(items), batch_size))
        for position in reversed(range(len(items))):
            yield position, f"{values['caption'][position]} {seed} {items[position].sample}"


@pytest.fixture
def generator():
    return Written()


@pytest.fixture
def step(generator):
    drawn = Draw(
        lambda: generator, reads=("caption",), gives="said", medium="caption", options=lambda present: {"a": 1}
    )
    return EachSample([LabelPrompt(LabelSettings()), drawn])


def values():
    return {"labels": [LABELS[item.stimulus_id == "two"] for item in ITEMS]}


def test_sample_k_has_label_k_and_they_begin_again(step):
    fish, canoe, boat = (f"An image of a {one}" for one in ("goldfish, Carassius auratus", "canoe", "boat"))
    expected = [f"{fish} 7 0", f"{canoe} 7 1", f"{fish} 7 2", f"{canoe} 7 0", f"{boat} 7 1", f"{canoe} 7 2"]
    assert step.run(ITEMS, values(), seed=7) == {"said": expected}


def test_an_item_is_the_same_alone_and_in_any_order(step):
    whole = step.run(ITEMS, values())["said"]
    order = [4, 0, 5]
    some = step.run([ITEMS[row] for row in order], {"labels": [values()["labels"][row] for row in order]})["said"]
    assert some == [whole[row] for row in order]


def test_what_it_reads_and_tells_is_that_of_its_steps(step, generator):
    assert (step.reads, step.optional, step.gives, step.medium("said")) == (("labels",), (), ("said",), "caption")
    assert step.told(frozenset({"labels"})) == {"prompt": "An image of a {label}", "a": 1}
    dict(step.stream(ITEMS, values(), batch_size=2))
    assert generator.batches == ((6, 2),)


def test_it_loads_and_frees_what_is_inside():
    loaded = []
    drawn = Draw(lambda: loaded.append(1) or Written(), reads=("caption",))
    step = EachSample([drawn])
    step.load()
    step.load()
    step.free()
    step.load()
    assert len(loaded) == 2


def test_stimuli_without_a_category_are_named():
    betas = np.zeros((3, 2), np.float32)
    split = Split(betas, ["a", "n01518878_3", "b"], categories=[["boat"], [], []])
    with pytest.raises(InputError, match="1 of 3 stimuli have no category, the first is b"):
        labels_of_stimuli(split)
    with pytest.raises(InputError, match="3 of 3"):
        labels_of_stimuli(Split(betas, ["a", "b", "c"]))
