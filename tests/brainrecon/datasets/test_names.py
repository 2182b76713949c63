"""Names of subjects and splits that would lead out of a folder are refused by every way of making a subject."""

import numpy as np
import pytest

from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject
from stages.ground.errors import InputError


def subject(name="subj01", split="val", stimulus="b"):
    def of(*names):
        return Split(np.ones((len(names), 3), np.float32), np.array(names))

    return Subject(
        name, "arrays", "arrays:mine.npz", {"train": of("a"), "test": of(stimulus), split: of("c")}, roi="all"
    )


@pytest.mark.parametrize("name", ["../escaped", "/tmp", "a\\b", "..", "", "con", "x" * 300, "a\nb"])
def test_a_subject_and_a_split_cannot_be_called_so(name):
    for asked, what in ((dict(name=name), "subject"), (dict(split=name), "split")):
        with pytest.raises(InputError, match=f"has a {what} called .* which cannot name a folder"):
            subject(**asked)


def test_a_stimulus_may_be_called_by_what_no_file_can_but_not_at_any_length():
    assert subject(stimulus="../cats/001.png").test.stimulus_ids.tolist() == ["../cats/001.png"]
    with pytest.raises(InputError, match="is too long for the name of a file"):
        subject(stimulus="x" * 300)
