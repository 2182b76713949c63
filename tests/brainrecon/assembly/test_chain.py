"""A chain: its names are checked when it is built, its steps are fitted in order, and run as often as they have to be."""

import json

import numpy as np
import pytest
from made_up_systems import Adding, Learning, system_of

from brainrecon.assembly.chain import Chain
from brainrecon.assembly.decode import Decode
from brainrecon.assembly.decoder_settings import DecoderSettings
from brainrecon.assembly.system import Needs
from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.values import Item, Machine, Prediction, Training
from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject
from stages.ground.errors import InputError

PATTERNS = np.arange(12, dtype=np.float32).reshape(3, 4)


def chain_with(*steps, **attributes):
    return Chain(system_of(*steps, **attributes))


@pytest.fixture
def subject():
    random = np.random.default_rng(0)
    splits = {
        name: Split(random.normal(size=(n, 4)).astype(np.float32), [f"{name}{row}" for row in range(n)])
        for name, n in {"train": 6, "test": 3}.items()
    }
    return Subject("subj01", "arrays", "arrays:x", splits, roi="all")


def training_of(subject):
    return Training({subject.name: subject}, lambda names: {})


# Names


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (
            [Adding(["patterns", "dreams"], "picture")],
            "made-up: Adding reads 'dreams', which no step before it gives; given are patterns, repeats.",
        ),
        (
            [Adding(["code"], "picture"), Adding(["patterns"], "code")],
            "made-up: Adding reads 'code', which no step before it gives; given are patterns, repeats.",
        ),
        (
            [Adding(["patterns"], "picture", optional=["caption"])],
            "made-up: Adding reads 'caption', which no step before it gives; given are patterns, repeats.",
        ),
        (
            [Adding(["patterns"], "code"), Adding(["code"], "picture", "code")],
            "made-up: Adding gives 'code', which is given before; call it otherwise.",
        ),
        (
            [Adding(["patterns"], "repeats", "picture")],
            "made-up: Adding gives 'repeats', which is given before; call it otherwise.",
        ),
        (
            [Adding(["patterns"], "code")],
            "made-up: its output is 'picture', which no step gives; given are patterns, repeats, code.",
        ),
        (
            [Learning([], "", ["patterns"], "code"), Learning([], "", ["code"], "picture")],
            "made-up: Learning learns in the folder of a step before it ('decoder'); give it a part of its own.",
        ),
    ],
)
def test_a_chain_that_is_not_closed_is_refused_in_a_sentence(steps, said):
    with pytest.raises(InputError) as error:
        chain_with(*steps)
    assert str(error.value) == said


def test_a_chain_is_asked_by_name():
    code = Adding(["patterns"], "code", "start")
    first = Adding(["start"], "first_picture", media={"first_picture": "picture"})
    last = Adding(["code"], "caption", optional=["first_picture"], media={"caption": "caption"})
    chain = chain_with(code, first, last, output="caption")
    assert chain.given == ("patterns", "repeats", "code", "start", "first_picture", "caption")
    assert chain.giver("start") is code and chain.giver("patterns") is None
    assert chain.readers("first_picture") == [last] and chain.readers("caption") == []
    assert [chain.medium(name) for name in chain.given[2:]] == ["features", "features", "picture", "caption"]
    assert chain.needed("first_picture") == {"first_picture", "start", "patterns"}
    assert chain.predicting == [code] and chain.predicts == ("code", "start")
    assert repr(chain) == "Chain(made-up: Adding(code, start) -> Adding(first_picture) -> Adding(caption))"


def test_a_target_that_is_decoded_from_several_regions_has_a_value_for_each():
    layer, text = TargetSource(None, checkpoints=()), TargetSource(None, checkpoints=())
    steps = [
        Decode({f"cnn8_{roi}": layer}, DecoderSettings(), Machine(), roi, roi=roi, target_of={f"cnn8_{roi}": "cnn8"})
        for roi in ("V1", "V2")
    ]
    other = Adding(["patterns"], "text", "aside", targets={"text": text})
    chain = chain_with(*steps, other, output="cnn8_V1")
    assert chain.target_of == {"cnn8_V1": "cnn8", "cnn8_V2": "cnn8", "text": "text"}
    assert {name: chain.giver(name).roi for name in chain.target_of} == {
        "cnn8_V1": "V1",
        "cnn8_V2": "V2",
        "text": "all",
    }
    # One table of features, whatever it is called.
    assert chain.encoded_to_learn() == ("cnn8_V1",)


# Running


def test_a_step_by_lot_runs_for_every_sample_and_the_others_once():
    code, lot = Adding(["patterns"], "code"), Adding(["code"], "noisy", by_lot=True)
    after = Adding(["noisy", "patterns"], "picture")
    drawn = chain_with(code, lot, after).run_from_patterns(["a", "b", "c"], PATTERNS, samples=2, seed=5)
    each = [("a", 0), ("a", 1), ("b", 0), ("b", 1), ("c", 0), ("c", 1)]
    assert code.ran == [[("a", 0), ("b", 0), ("c", 0)]] and lot.ran == [each] and after.ran == [each]
    assert drawn.shape == (3, 2, 2) and len(np.unique(drawn)) == 6


def test_without_lot_samples_are_drawn_once_and_are_equal():
    code, last = Adding(["patterns"], "code"), Adding(["code"], "picture")
    drawn = chain_with(code, last).run_from_patterns(["a", "b", "c"], PATTERNS, samples=4)
    assert last.ran == [[("a", 0), ("b", 0), ("c", 0)]]
    assert drawn.shape == (3, 4, 2) and (drawn == drawn[:, :1]).all()


@pytest.mark.parametrize("batch_size", [None, 1, 4])
def test_running_vs_steps_called_by_hand(batch_size):
    code, lot = Adding(["patterns", "repeats"], "code"), Adding(["code"], "noisy", by_lot=True)
    last = Adding(["noisy"], "picture", optional=["code"])
    chain = chain_with(code, lot, last)
    found = chain.run_from_patterns(["a", "b", "c"], PATTERNS, samples=2, seed=7, repeats=3, batch_size=batch_size)
    for row, name in enumerate("abc"):
        for sample in range(2):
            item = [Item("", name, sample)]
            values = {"patterns": PATTERNS[row : row + 1], "repeats": [3]}
            for step in (code, lot, last):
                values |= step.run(item, values, seed=7)
            np.testing.assert_allclose(found[row, sample], values["picture"][0], rtol=1e-6)
    # A stimulus has the noise that it has alone.
    alone = chain.run_from_patterns(["b"], PATTERNS[1:2], samples=2, seed=7, repeats=3)
    np.testing.assert_allclose(alone[0], found[1], rtol=1e-6)


def test_values_after_the_output_are_not_computed():
    spare = Adding(["picture"], "comment")
    chain_with(Adding(["patterns"], "picture"), spare).run_from_patterns(["a", "b", "c"], PATTERNS)
    assert spare.ran == []


def test_embeddings_are_predicted_without_drawing():
    code, start = Adding(["patterns"], "code"), Adding(["code"], "start")
    last = Adding(["code", "start"], "picture", media={"picture": "picture"})
    found = chain_with(code, start, last).predict(PATTERNS)
    assert list(found) == ["code", "start"] and last.ran == []
    np.testing.assert_array_equal(found["start"][:, 0], 2 * PATTERNS.sum(axis=1))
    with pytest.raises(InputError, match="made-up predicts no embeddings, only its picture; reconstruct with it"):
        chain_with(Adding(["patterns"], "picture", media={"picture": "picture"})).predict(PATTERNS)


def test_samples_of_single_trials_are_trials():
    chain = chain_with(Adding(["patterns"], "picture"), reads_single_trials=True)
    with pytest.raises(InputError, match="one per trial, but 2 of one pattern were asked for; pass every trial"):
        chain.run_from_patterns(["a", "b", "c"], PATTERNS, samples=2)
    assert chain.run_from_patterns(["a", "b", "c"], PATTERNS).shape == (3, 1, 2)


def test_patterns_that_do_not_fit_are_refused(subject):
    chain = chain_with(Adding(["patterns"], "picture")).fit(training_of(subject))
    with pytest.raises(InputError, match=r"shape \(3, 3\) but the method learned from 4 voxels"):
        chain.run_from_patterns(["a", "b", "c"], PATTERNS[:, 1:])
    with pytest.raises(InputError, match="1 of 3 patterns hold NaN or infinite values"):
        chain.run_from_patterns(["a", "b", "c"], np.where(PATTERNS == 5, np.inf, PATTERNS))


# Learning


def learning(course):
    return [
        Learning(course, "one", ["patterns"], "code"),
        Adding(["code"], "start"),
        Learning(course, "two", ["start"], "picture"),
    ]


def test_steps_are_fitted_in_order_and_each_is_saved_before_the_next_is_fitted(subject, tmp_path):
    course = []
    chain = chain_with(*learning(course)).fit(training_of(subject), tmp_path)
    assert course == ["fit one", "save one", "fit two", "save two"]
    assert chain.is_fitted(tmp_path) and chain.n_voxels == 4
    known = json.loads((tmp_path / "method.json").read_text())
    assert known.pop("usual_size") == pytest.approx(np.median(np.abs(subject.train.patterns)))
    assert known == {"method": "made-up", "settings": {}, "n_voxels": 4, "offset of one": 0, "offset of two": 2}


def test_an_interrupted_fit_goes_on_at_the_step_where_it_was(subject, tmp_path, monkeypatch):
    course = []
    steps = learning(course)

    def interrupt(training, workspace):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(steps[2], "fit", interrupt)
        chain_with(*steps).fit(training_of(subject), tmp_path)
    chain = chain_with(*learning(course))
    assert not chain.is_fitted(tmp_path)
    chain.fit(training_of(subject), tmp_path)
    assert course == ["fit one", "save one", "open one", "fit two", "save two"] and chain.is_fitted(tmp_path)
    known = json.loads((tmp_path / "method.json").read_text())
    assert known["offset of one"] == 0 and known["offset of two"] == 3


def test_saved_and_opened_it_runs_the_same(subject, tmp_path):
    chain = chain_with(*learning([])).fit(training_of(subject))
    before = chain.run_from_patterns(["a", "b", "c"], PATTERNS)
    chain.save(tmp_path)
    again = chain_with(*learning([])).open(tmp_path)
    np.testing.assert_array_equal(again.run_from_patterns(["a", "b", "c"], PATTERNS), before)
    assert again.n_voxels == 4
    (tmp_path / "method.json").unlink()
    with pytest.raises(InputError, match="method.json is missing"):
        chain_with(*learning([])).open(tmp_path)


def test_each_step_predicts_into_a_file_of_its_own_on_the_way(subject, tmp_path, monkeypatch):
    first, _, second = steps = learning([])
    given = {}
    for step in (first, second):
        monkeypatch.setattr(step, "fit", lambda training, workspace, step=step: given.update({step: workspace}))
        step.offset = 0
    predictions = {"two": Prediction(PATTERNS, ("a", "b", "c"), tmp_path / "test-two.safetensors")}
    chain_with(*steps).fit(training_of(subject), tmp_path, predictions=predictions)
    assert given[first].prediction is None and given[second].prediction is predictions["two"]
    assert [given[step].folder for step in (first, second)] == [tmp_path / "one", tmp_path / "two"]


@pytest.mark.parametrize("opened", [False, True])
def test_an_opened_chain_is_saved_with_all_that_it_says(subject, tmp_path, opened):
    chain = chain_with(*learning([])).fit(training_of(subject), tmp_path / "one")
    if opened:
        chain = chain_with(*learning([])).open(tmp_path / "one")
    chain.save(tmp_path / "two")
    one, two = (json.loads((tmp_path / name / "method.json").read_text()) for name in ("one", "two"))
    assert one == two


def test_data_without_pictures_are_refused_by_a_system_that_learns_from_them(subject):
    chain = chain_with(Adding(["patterns"], "picture"), needs=Needs(pictures=True))
    with pytest.raises(InputError, match="arrays:x has no pictures to learn from"):
        chain.fit(training_of(subject))
