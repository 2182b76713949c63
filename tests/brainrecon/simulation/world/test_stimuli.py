from itertools import islice

import numpy as np
import pytest

from brainrecon.simulation.world import stimuli
from brainrecon.simulation.world.stimuli import Shown, calibration_pictures, own_pictures, shared_pictures


def shown(pictures):
    return [Shown.of(picture) for picture in pictures]


def test_nobody_is_tested_on_what_was_trained():
    test = shown(shared_pictures(11, 60, 32))
    for subject in (1, 2):
        train = shown(own_pictures(11, subject, 200, 32, test))
        assert not {one.layout for one in test} & {one.layout for one in train}
        assert not {one.digest for one in test} & {one.digest for one in train}
        said = {caption for one in train for caption in one.captions}
        assert not {caption for one in test if one.kind == "scene" for caption in one.captions} & said
    assert len({one.digest for one in test}) == 60


@pytest.mark.slow
def test_every_digit_is_in_both_sets_in_different_hands():
    test = shown(shared_pictures(2, 1500, 16))
    train = [one for one in shown(own_pictures(2, 1, 1500, 16, test)) if one.kind == "digit"]
    test = [one for one in test if one.kind == "digit"]
    digits, hands = (
        [{one.layout.split("/")[part] for one in pictures} for pictures in (test, train)] for part in (1, 5)
    )
    assert digits[0] == digits[1] == set(map(str, range(10)))
    for pictures in (test, train):
        white = {one.layout.split("/")[1] for one in pictures if one.layout.split("/")[2] == "white"}
        assert white == set(map(str, range(10)))
    assert not hands[0] & hands[1]


def test_both_sets_hold_every_kind():
    test = list(shared_pictures(0, 80, 16))
    train = list(own_pictures(0, 1, 120, 16, shown(test)))
    for pictures in (test, train):
        share = np.mean([picture.kind == "scene" for picture in pictures])
        assert 0.5 < share < 0.9
        assert {picture.kind for picture in pictures} == {"scene", "digit", "pattern"}


def test_kinds_can_be_chosen():
    test = list(shared_pictures(0, 20, 16, ["scene"]))
    assert {picture.kind for picture in test} == {"scene"}
    assert {one.kind for one in own_pictures(0, 1, 40, 16, shown(test), ["digit", "pattern"])} == {"digit", "pattern"}


def test_pictures_of_other_kinds_are_not_drawn(monkeypatch):
    drawn, draw = [], stimuli.draw_picture
    monkeypatch.setattr(stimuli, "draw_picture", lambda *given: drawn.append(draw(*given)) or drawn[-1])
    assert len(list(shared_pictures(0, 10, 16, ["digit"]))) == 10
    assert {picture.kind for picture in drawn} == {"digit"}


def test_more_pictures_leave_the_first_as_they_are_and_seeds_differ():
    test = shown(shared_pictures(4, 10, 16))
    assert test == shown(islice(shared_pictures(4, 50, 16), 10))
    assert shown(own_pictures(4, 2, 10, 16, test)) == shown(islice(own_pictures(4, 2, 30, 16, test), 10))
    assert test[0] != shown(shared_pictures(5, 1, 16))[0]
    assert shown(own_pictures(4, 1, 5, 16, test)) != shown(own_pictures(4, 2, 5, 16, test))


def test_calibration_pictures_are_nobodys():
    calibration = {one.digest for one in shown(calibration_pictures(0))}
    test = shown(shared_pictures(0, 20, 64))
    assert calibration.isdisjoint(one.digest for one in [*test, *shown(own_pictures(0, 1, 20, 64, test))])
