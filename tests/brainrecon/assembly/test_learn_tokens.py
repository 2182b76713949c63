"""Tokens are learned from pictures alone: killed and resumed, in other processes' shares, and with what they cost told before."""

import numpy as np
import pytest
from chains import chain_of

from brainrecon.assembly.learn_tokens import TokenLearning
from brainrecon.assembly.values import Training, Workspace
from brainrecon.datasets import load
from stages.ground.errors import InputError

SETTINGS = {"steps": 6, "warmup": 2, "batch_size": 4, "width": 16, "depth": 1, "n_heads": 2}


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def subject(small_cohort):
    return load(f"nsd:{small_cohort}")


def step_of(**changes):
    settings = {"experience": "training pictures", "tokens": SETTINGS | changes}
    return chain_of("vqfmri2023", settings, "tiny").steps[2]


def fitted(subject, folder, at=None, **changes):
    """The step, fitted in a folder; killed after a step if `at` says so."""
    step = step_of(**changes)
    target = step._tokens.target

    def features(names, **how):
        return {name: target.encode(subject.train.images[:]) for name in names}

    def progress(label, done, total, *more):
        if at is not None and label.startswith("training") and done == at:
            raise Killed

    try:
        step.fit(Training({subject.name: subject}, features), Workspace(None, folder, progress=progress))
    except Killed:
        return None
    step.save(folder)
    return step


def test_killed_and_resumed_it_ends_in_the_same_bytes(subject, tmp_path):
    whole = fitted(subject, tmp_path / "whole")
    assert fitted(subject, tmp_path / "parts", at=3) is None
    fitted(subject, tmp_path / "parts")
    files = [tmp_path / folder / "model.safetensors" for folder in ("whole", "parts")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert whole.curves() and not list((tmp_path / "whole").glob("training*"))


def test_no_response_has_a_part_in_it(subject, tmp_path):
    from dataclasses import replace

    other = load(subject.source)
    train = other.train
    silent = replace(other, splits=other.splits | {"train": _with_other_responses(train)})
    one, two = fitted(subject, tmp_path / "one"), fitted(silent, tmp_path / "two")
    for name, value in one.network.state_dict().items():
        assert np.array_equal(value, two.network.state_dict()[name]), name


def _with_other_responses(train):
    from brainrecon.datasets.split import Split

    noise = np.random.default_rng(0).normal(size=np.shape(train.betas[:])).astype(np.float32)
    return Split(noise, train.trial_stimulus_ids, images=train.images)


def test_what_it_takes_is_told_before(subject):
    step = step_of()
    (told, *_) = step.cost(subject.train)
    assert "Training tokens of pictures" in told and "6 steps of 4 samples" in told
    assert step.memory(subject.train) > 0 and list(step.operations(subject.train)) == ["Training on tokens of pictures"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"steps": 0}, "steps is 0"), ({"smoothing": 1.0}, "smoothing is 1.0"), ({"accumulate": 3}, "accumulate is 3")],
)
def test_impossible_settings_are_refused(changes, said):
    with pytest.raises(InputError, match=said):
        TokenLearning(**changes)
