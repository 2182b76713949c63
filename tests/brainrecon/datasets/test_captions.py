"""One rule for every way in which a caption can be lacking."""

import json

import numpy as np
import pytest

from brainrecon.datasets import load
from brainrecon.datasets.arrays.reader import write_template
from brainrecon.datasets.captions import checked_captions
from stages.ground.errors import InputError

LACKING = {
    "null": None,
    "no entry": ...,
    "empty text": "",
    "blanks": "  \n",
    "empty list": [],
    "list of nothing": ["", None],
}


def with_entry(said, name, entry):
    return {key: value for key, value in (said | {name: entry}).items() if value is not ...}


@pytest.mark.parametrize("entry", LACKING.values(), ids=LACKING)
def test_a_caption_that_is_lacking_is_counted_and_named(entry):
    said = with_entry({"a": "a cat", "b": ["a dog"], "c": "a cow"}, "b", entry)
    with pytest.raises(InputError, match="said.json has captions for 2 of 3 stimuli, and none for b"):
        checked_captions(said, np.array(["c", "b", "a"]), "said.json")


@pytest.mark.parametrize("entry", [3, {"a": 1}, [["a"]], [3], True])
def test_what_is_no_caption_is_shown(entry):
    with pytest.raises(InputError, match="for stimulus b; expected a caption"):
        checked_captions({"b": entry}, ["b"], "said.json")


def test_captions_are_lists_in_the_order_of_the_stimuli():
    said = {"a": "a cat", "b": ["a dog", "", "a hound"], "c": None}
    assert checked_captions(said, ["b", "a"], "said.json") == [["a dog", "a hound"], ["a cat"]]


@pytest.mark.parametrize("entry", LACKING.values(), ids=LACKING)
def test_a_folder_of_arrays_keeps_the_rule(entry, tmp_path):
    write_template(tmp_path / "mine")
    path = tmp_path / "mine" / "train" / "captions.json"
    path.write_text(json.dumps(with_entry(json.loads(path.read_text()), "train005", entry)))
    with pytest.raises(InputError, match=r"captions\.json has .* train005"):
        load(f"arrays:{tmp_path / 'mine'}")


@pytest.mark.parametrize("lacking", [["", ""], [" ", ""]])
def test_one_file_of_arrays_keeps_the_rule(lacking, tmp_path):
    captions = np.array([["a cat", ""], ["a dog", "a hound"], lacking])
    arrays = {
        "betas": np.eye(3, 4),
        "stimulus_ids": np.array(["a", "b", "c"]),
        "split": np.array(["train", "train", "test"]),
    }
    np.savez(tmp_path / "mine.npz", **arrays, captions=captions)
    with pytest.raises(InputError, match="'captions' in .* has captions for 0 of 1 stimuli, and none for c"):
        load(f"arrays:{tmp_path / 'mine.npz'}")
    captions[2, 0] = "a cow"
    np.savez(tmp_path / "mine.npz", **arrays, captions=captions)
    assert load(f"arrays:{tmp_path / 'mine.npz'}").train.captions == [["a cat"], ["a dog", "a hound"]]
