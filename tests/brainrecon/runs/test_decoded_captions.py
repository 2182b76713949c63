"""A run that decodes BLIP's states, writes captions from them and draws under what the captions are encoded to."""

import numpy as np
import pytest
import random_blip

from brainrecon.assembly import registry
from brainrecon.assembly.condition import CONDITIONS
from brainrecon.assembly.draw import Draw
from brainrecon.assembly.encode import Encode
from brainrecon.assembly.replacement import MEAN
from brainrecon.assembly.step import Step
from brainrecon.assembly.system import System
from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.values import ABSENT
from brainrecon.runs.config import RunConfig
from brainrecon.runs.run import Run
from brainrecon.runs.values import RunValues
from stages.generators.generator import Item
from stages.generators.language.blip_captioner import BLIPCaptioner
from stages.targets.blip import BLIPStates
from stages.targets.clip import CLIPTextTokens
from weights import store


class Spread(Step):
    """Makes states of the numbers of a pattern."""

    gives, is_learned = ("blip",), True

    def __init__(self, source):
        self.targets = {"blip": source}

    def run(self, items, values, *, seed=0):
        rows = np.asarray(values["patterns"], dtype=np.float32)
        return {"blip": np.stack([np.resize(row, self.targets["blip"].outline.n_targets) for row in rows])}

    def save(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text("{}")


class Grey(Step):
    """A picture of one grey, that of the sum of the context if there is one."""

    optional, reads, gives, media = ("clip_text",), ("blip",), ("picture",), {"picture": "picture"}

    def run(self, items, values, *, seed=0):
        context = values["clip_text"]
        greys = [0 if context is ABSENT else int(abs(np.sum(context[row])) * 1000) % 256 for row in range(len(items))]
        return {"picture": np.stack([np.full((8, 8, 3), grey, dtype=np.uint8) for grey in greys])}


@pytest.fixture
def run(cohort, features, tmp_path):
    folder = tmp_path / "blip"
    random_blip.save_blip(folder)
    size = random_blip.BLIP_SIZE
    states = TargetSource(lambda: BLIPStates.from_pretrained(folder, size=size), (), identity=lambda: "small BLIP")
    text = TargetSource(lambda: CLIPTextTokens.from_pretrained(store.path("tiny-clip")), ("tiny-clip",))

    class Telling(System):
        name, explanation, image_embedding = "telling", "draws under decoded captions", "blip"

        def steps(self, machine):
            def load():
                return BLIPCaptioner.from_pretrained(folder, size=size)

            write = Draw(load, ("blip",), gives="caption", medium="caption", by_lot=False, targets={"blip": states})
            return [Spread(states), write, Encode("caption", "clip_text", text), Grey()]

    registry.system(Telling)
    config = RunConfig.from_dict({"method": "telling", "data": {"source": f"nsd:{cohort}", "subject": "subj01"}})
    yield Run.create(tmp_path / "run", config, features).fit()
    del registry._REGISTERED["telling"]


def test_captions_are_kept_and_their_contexts_follow_conditions(run):
    values, names = RunValues(run), [str(name) for name in run.subject.test.stimulus_ids]
    target, captioner = values.chain.targets["clip_text"].target, values.chain.giver("caption").generator
    states = np.stack(values.own("blip", names))
    said = values.own("caption", names)
    expected = dict(captioner.draw({"blip": states}, [Item(name) for name in names]))
    assert said == [expected[row] for row in range(len(names))] and len(set(said)) > 1
    for name, caption in zip(names, said):
        assert values.place("reconstruction", "caption", name).read_text() == caption
    own = np.stack(values.own("clip_text", names))
    assert np.array_equal(own, np.concatenate([target.encode([[caption]]) for caption in said]))

    first, partner = names[0], values.partner(names[0])
    shuffled = values.value("shuffled_responses", "clip_text", first)
    assert np.array_equal(shuffled, own[names.index(partner)])
    mean = captioner.draw({"blip": values.predicted(MEAN.name, values.chain.giver("blip"))["blip"]}, [Item("mean")])
    ((_, mean_caption),) = mean
    assert np.array_equal(values.value("mean_response", "clip_text", first), target.encode([[mean_caption]])[0])
    assert values.value("without_text_context", "clip_text", first) is ABSENT
    true = target.encode([run.subject.test.captions[0]])[0]
    np.testing.assert_allclose(values.value("oracle_embeddings", "clip_text", first), true, atol=1e-5)
    assert not np.array_equal(true, own[0])


def test_pictures_are_drawn_under_every_condition_that_applies(run):
    chain = RunValues(run).chain
    applying = [name for name, one in CONDITIONS.items() if one.applies_to(chain)]
    assert {"oracle_embeddings", "shuffled_responses", "mean_response", "without_text_context"} <= set(applying)
    run.reconstruct(applying)
    first = str(run.subject.test.stimulus_ids[0])
    pictures = {name: run.read_value(run.layout.output(name, "picture", first), "picture") for name in applying}
    assert not pictures["without_text_context"].any()
    assert pictures["reconstruction"].any() and pictures["oracle_embeddings"].any()
    assert not np.array_equal(pictures["reconstruction"], pictures["oracle_embeddings"])
