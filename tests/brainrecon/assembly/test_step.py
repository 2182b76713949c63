"""What every step has: rows in batches, rows as often as they are named, predictions in a file."""

import json

import numpy as np
import pytest
from made_up_systems import Adding
from safetensors import safe_open

from brainrecon.assembly.step import Step, repeated, rows_of
from brainrecon.assembly.values import ABSENT, Item
from stages.ground.errors import InputError
from stages.ground.not_finite import NotFinite
from stages.ground.pictures import to_uint8

ITEMS = [Item("subj01", name, sample) for name in "abc" for sample in range(2)]
CODES = np.arange(12, dtype=np.float32).reshape(6, 2)


def test_rows_of_every_value_are_taken_and_what_is_absent_stays_so():
    found = rows_of({"code": CODES, "caption": list("abcdef"), "start": ABSENT}, slice(2, 4))
    np.testing.assert_array_equal(found["code"], CODES[2:4])
    assert found["caption"] == ["c", "d"] and found["start"] is ABSENT


def test_rows_are_repeated_as_often_as_they_are_named():
    rows = np.array([0, 0, 2])
    np.testing.assert_array_equal(repeated(CODES, rows), CODES[[0, 0, 2]])
    assert repeated(list("abc"), rows) == ["a", "a", "c"] and repeated(ABSENT, rows) is ABSENT


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_a_stream_gives_what_a_run_gives(batch_size):
    step = Adding(["code"], "picture", "comment", optional=["start"], by_lot=True)
    whole = step.run(ITEMS, {"code": CODES, "start": ABSENT}, seed=3)
    step.ran.clear()
    streamed = list(step.stream(ITEMS, {"code": CODES, "start": ABSENT}, seed=3, batch_size=batch_size))
    assert [position for position, _ in streamed] == list(range(6))
    assert [len(batch) for batch in step.ran] == {1: [1] * 6, 4: [4, 2], 100: [6]}[batch_size]
    for name in ("picture", "comment"):
        np.testing.assert_array_equal([given[name] for _, given in streamed], whole[name])


def test_predictions_stand_in_a_file_under_their_names(tmp_path):
    step = Adding(["patterns"], "code", "start")
    step.predict_into(tmp_path / "test.safetensors", ["a", "b"], {"patterns": CODES[:2]})
    with safe_open(tmp_path / "test.safetensors", framework="numpy") as file:
        assert json.loads(file.metadata()["stimulus_ids"]) == ["a", "b"]
        assert sorted(file.keys()) == ["code", "start"]
        np.testing.assert_array_equal(file.get_tensor("code"), np.repeat(CODES[:2].sum(axis=1)[:, None], 2, axis=1))
    assert step.ran == [[("a", 0), ("b", 0)]]


def test_a_step_that_learns_nothing_is_fitted_everywhere(tmp_path):
    assert Step().is_fitted(tmp_path)

    class Learned(Step):
        is_learned = True

    assert not Learned().is_fitted(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert Learned().is_fitted(tmp_path)


def test_values_are_features_unless_a_step_says_otherwise():
    step = Adding(["patterns"], "picture", "code", media={"picture": "picture"})
    assert step.medium("picture") == "picture" and step.medium("code") == "features"


def test_an_error_of_a_batch_comes_up():
    class Broken(Step):
        def run(self, items, values, *, seed=0):
            raise InputError("nothing can be drawn")

    with pytest.raises(InputError, match="nothing can be drawn"):
        list(Broken().stream(ITEMS, {"patterns": CODES}))


def test_what_is_not_finite_is_named_when_all_others_are_there():
    class Spoilt(Adding):
        def run(self, items, values, *, seed=0):
            return {"picture": to_uint8(super().run(items, values, seed=seed)["picture"])}

    step, codes = Spoilt(["code"], "picture", media={"picture": "picture"}), CODES.copy()
    codes[[1, 4]] = np.nan, np.inf
    streamed, found = step.stream(ITEMS, {"code": codes}, batch_size=3), {}
    with pytest.raises(
        NotFinite, match=r"2 outputs are missing, of a \(sample 1\), c \(sample 0\): values on their"
    ) as raised:
        for position, given in streamed:
            found[position] = given["picture"].tolist()
    assert raised.value.positions == (1, 4)
    assert found == {row: [2 * 2 * row + 1] * 2 for row in (0, 2, 3, 5)}


def test_blocks_are_what_a_run_gives():
    step = Adding(["code"], "here", "there")
    found = {name: (columns, values) for name, columns, values in step.predict_blocks({"code": CODES})}
    for name, rows in step.run(ITEMS, {"code": CODES}).items():
        assert found[name][0] == slice(0, 2)
        np.testing.assert_array_equal(found[name][1], rows)
