"""Laws of every captioner: one interface, and a caption depends on its own states alone."""

import numpy as np
import pytest
import random_blip
import random_git
import torch

from brainrecon.assembly.draw import Draw
from brainrecon.assembly.values import Item as StepItem
from stages.generators.generator import Item, in_order
from stages.generators.language.blip_captioner import BLIPCaptioner
from stages.generators.language.git_captioner import GITCaptioner
from stages.ground.errors import InputError
from stages.ground.media import CAPTION
from stages.ground.not_finite import NotFinite
from stages.targets.blip import BLIPStates
from stages.targets.git import GITStates

ITEMS = [Item(f"nsd{number:05d}") for number in range(12)]


def blip(folder):
    random_blip.save_blip(folder)
    return BLIPCaptioner.from_pretrained(folder, size=32), BLIPStates.from_pretrained(folder, size=32)


def git(folder):
    random_git.save_git(folder)
    return GITCaptioner.from_pretrained(folder), GITStates.from_pretrained(folder)


MAKERS = {"blip": blip, "git": git}


@pytest.fixture(scope="module", params=MAKERS)
def made(request, tmp_path_factory):
    return MAKERS[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def captioner(made):
    return made[0]


@pytest.fixture(scope="module")
def name(captioner):
    (name,) = captioner.takes
    return name


@pytest.fixture(scope="module")
def states(made):
    """True states of random pictures, as rows."""
    pictures = np.random.default_rng(0).integers(0, 256, (len(ITEMS), 32, 32, 3), dtype=np.uint8)
    return made[1].encode(pictures, batch_size=1)


def written(captioner, states, items=ITEMS, **options):
    (name,) = captioner.takes
    return in_order(captioner.draw({name: states}, items, **options))


def test_it_takes_what_its_target_gives(made):
    captioner, target = made
    assert captioner.takes == {target.name: target.shape}


def test_a_caption_does_not_depend_on_neighbours_batch_order_or_seed(captioner, name, states):
    captions = written(captioner, states)
    assert len(set(captions)) > 4
    assert written(captioner, states, batch_size=5) == captions
    assert written(captioner, states[::-1], ITEMS[::-1])[::-1] == captions
    assert written(captioner, states[3:4], ITEMS[:1], seed=8) == captions[3:4]
    assert written(captioner, states.reshape(-1, *captioner.takes[name])) == captions
    assert not captioner.draws_by_lot and captioner.gives == CAPTION.name and not captioner.optional


def test_the_state_of_the_random_numbers_stays(captioner, states):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    written(captioner, states[:2], ITEMS[:2])
    assert torch.equal(torch.get_rng_state(), before)


def test_progress_is_told_after_each_caption(captioner, states):
    told = []
    written(captioner, states[:3], ITEMS[:3], progress=lambda *each: told.append(each))
    assert told == [("pictures", done, 3) for done in (1, 2, 3)]
    assert written(captioner, states[:0], []) == []


def test_captions_are_of_their_medium_and_without_the_prompt(captioner, states):
    for caption in written(captioner, states, prompt="a picture of ", min_length=6):
        assert CAPTION.check(caption) == caption == caption.strip()
        assert not caption.startswith("a picture of") and "[" not in caption


def test_states_that_are_not_finite_are_named(captioner, name, states):
    spoilt = states.copy()
    spoilt[4, 7] = np.nan
    with pytest.raises(InputError, match=f"{name} of nsd00004 has 1 values that are not finite"):
        list(captioner.draw({name: spoilt}, ITEMS))


@pytest.mark.parametrize("batch_size", [1, 5])
def test_captions_whose_probabilities_are_not_finite_are_named_and_the_others_written(
    captioner, name, states, batch_size
):
    expected = written(captioner, states)
    spoilt = states.copy()
    # Finite, but no longer behind a matrix.
    spoilt[[4, 6]] = np.finfo(np.float32).max * np.sign(states[[4, 6]])
    drawn = captioner.draw({name: spoilt}, ITEMS, batch_size=batch_size)
    found = {}
    with pytest.raises(NotFinite, match=r"nsd00004 \(sample 0\), nsd00006 \(sample 0\)") as error:
        for position, caption in drawn:
            found[position] = caption
    assert error.value.positions == (4, 6)
    assert found == {position: caption for position, caption in enumerate(expected) if position not in (4, 6)}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_beams": 0}, "num_beams is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        (
            {"max_length": 4, "prompt": "a picture of "},
            "max_length is 4; expected a whole number from 5 to 24: pass max_length=20",
        ),
        ({"max_length": 25}, "max_length is 25"),
        ({"min_length": 21}, "min_length is 21; expected a whole number from 0 to 20"),
        ({"repetition_penalty": 0}, "repetition_penalty is 0"),
        ({"prompt": None}, "prompt is None"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_written(captioner, name, states, settings, said):
    with pytest.raises(InputError, match=said):
        captioner.draw({name: states}, ITEMS, **settings)


def test_states_of_another_side_are_refused(captioner, name, states):
    with pytest.raises(InputError, match=r"reads \("):
        captioner.draw({name: states[:, :-12]}, ITEMS)


def test_a_step_draws_captions_with_it(captioner, name, states):
    step = Draw(lambda: captioner, reads=(name,), gives="caption", medium="caption", by_lot=False)
    items = [StepItem("subj01", item.stimulus_id) for item in ITEMS]
    assert step.run(items, {name: states})["caption"] == written(captioner, states)
