"""Settings of a network of several subjects: what follows from who is there."""

from types import SimpleNamespace

import pytest

from brainrecon.assembly.many_subjects import ManySubjectsSettings
from stages.ground.errors import InputError


def subject(n_stimuli, n_trials):
    return SimpleNamespace(train=SimpleNamespace(n_stimuli=n_stimuli, n_trials=n_trials))


SETTINGS = ManySubjectsSettings(batch_size=20, batch_size_each=5, epochs=30, pretraining_epochs=7)


def test_one_subject_fills_an_epoch_alone():
    settled = SETTINGS.settled_with({"subj01": subject(100, 300)})
    assert (settled.subjects, settled.steps_per_epoch, settled.recipe().batch_size) == (1, 5, 20)


@pytest.mark.parametrize(("trials", "steps"), [("averaged", 20), ("single", 60)])
def test_of_several_the_first_is_gone_through_once(trials, steps):
    own = ManySubjectsSettings(batch_size=20, batch_size_each=5, trials=trials)
    settled = own.settled_with({"subj01": subject(100, 300), "subj02": subject(9, 9), "subj03": subject(200, 200)})
    assert (settled.subjects, settled.steps_per_epoch) == (3, steps)
    assert settled.recipe().batch_size == 15 and settled.recipe().steps == own.epochs * steps


def test_what_is_given_stays():
    given = ManySubjectsSettings(steps_per_epoch=3)
    assert given.settled_with({"subj01": subject(100, 300)}).steps_per_epoch == 3


def test_before_a_new_subject_it_is_open_again():
    settled = SETTINGS.settled_with({"subj01": subject(100, 300)}).for_pretraining()
    assert (settled.subjects, settled.steps_per_epoch, settled.epochs) == (None, None, 7)
    assert ManySubjectsSettings(epochs=9).for_pretraining().epochs == 9


@pytest.mark.parametrize(
    "given", [{"new_subject": "own layer"}, {"batch_size_each": 0}, {"subjects": 0}, {"pretraining_epochs": 1.5}]
)
def test_what_cannot_be_is_refused(given):
    with pytest.raises(InputError, match=next(iter(given))):
        ManySubjectsSettings(**given)
