"""The step that encodes captions and pictures on the way: as its target does, row by row, in chains and under conditions."""

import numpy as np
import pytest
from made_up_systems import Adding, system_of

from brainrecon.assembly.chain import Chain
from brainrecon.assembly.condition import CONDITIONS
from brainrecon.assembly.encode import Encode
from brainrecon.assembly.step import Step
from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.values import Item
from stages.ground.errors import InputError
from stages.ground.not_finite import NotFinite
from stages.targets.clip import CLIPImageTokens, CLIPTextTokens
from weights import store

ITEMS = [Item("subj01", name) for name in "abc"]
CAPTIONS = ["a red circle", "two blue squares", "a red circle"]


@pytest.fixture(scope="module")
def text():
    return CLIPTextTokens.from_pretrained(store.path("tiny-clip"))


@pytest.fixture(scope="module")
def image():
    return CLIPImageTokens.from_pretrained(store.path("tiny-clip"))


def step_of(target, value="caption", gives="clip_text"):
    return Encode(value, gives, TargetSource(lambda: target, ("tiny-clip",)))


def pictures(n=3):
    return np.random.default_rng(0).integers(0, 256, (n, 64, 64, 3), dtype=np.uint8)


def test_captions_are_encoded_as_the_target_encodes_them(text):
    found = step_of(text).run(ITEMS, {"caption": CAPTIONS})["clip_text"]
    expected = text.encode([[caption] for caption in CAPTIONS])
    np.testing.assert_allclose(found, expected, atol=1e-5 * expected.std())
    assert found.dtype == np.float32 and found.shape == (3, text.n_targets)
    assert np.array_equal(found[0], found[2]) and not np.array_equal(found[0], found[1])


def test_something_else_may_be_encoded_in_place_of_a_caption(text):
    source = TargetSource(lambda: text, ("tiny-clip",))
    step = Encode("caption", "clip_text", source, before=lambda caption: f"a drawing of {caption}")
    found = step.run(ITEMS[:1], {"caption": CAPTIONS[:1]})["clip_text"]
    np.testing.assert_allclose(found, text.encode([[f"a drawing of {CAPTIONS[0]}"]]), atol=1e-5)
    with pytest.raises(InputError, match="1 of 1 captions have no words"):
        step.run(ITEMS[:1], {"caption": ["  "]})


def test_pictures_are_encoded_as_the_target_encodes_them(image):
    step = step_of(image, "first_picture", "clip_image")
    expected = image.encode(pictures())
    for given in (pictures(), list(pictures())):
        found = step.run(ITEMS, {"first_picture": given})["clip_image"]
        np.testing.assert_allclose(found, expected, atol=1e-5 * expected.std())


def test_pictures_may_have_several_sizes(image):
    given = [pictures()[0], pictures()[1, :40, :50]]
    found = step_of(image, "picture", "clip_image").run(ITEMS[:2], {"picture": given})["clip_image"]
    assert np.array_equal(found[1], image.encode(given[1][None])[0])


def test_a_row_does_not_depend_on_the_others(text, image):
    for step, value, given in (
        (step_of(text), "caption", CAPTIONS),
        (step_of(image, "picture", "clip_image"), "picture", list(pictures())),
    ):
        (gives,) = step.gives
        whole = step.run(ITEMS, {value: given})[gives]
        assert np.array_equal(step.run(ITEMS[::-1], {value: given[::-1]})[gives][::-1], whole)
        assert np.array_equal(step.run(ITEMS[1:2], {value: given[1:2]}, seed=7)[gives], whole[1:2])
        assert not step.by_lot


def test_captions_of_an_array_are_those_of_a_list(text):
    # A run hands them over so when it predicts.
    step = step_of(text)
    given = step.run(ITEMS, {"caption": np.stack(CAPTIONS)})["clip_text"]
    assert np.array_equal(given, step.run(ITEMS, {"caption": CAPTIONS})["clip_text"])


def test_predictions_are_written_with_their_stimuli(text, tmp_path):
    from safetensors import safe_open

    step_of(text).predict_into(tmp_path / "test.safetensors", list("abc"), {"caption": CAPTIONS})
    with safe_open(tmp_path / "test.safetensors", framework="numpy") as file:
        assert file.metadata() == {"stimulus_ids": '["a", "b", "c"]'}
        assert file.get_tensor("clip_text").shape == (3, text.n_targets)


def test_captions_without_words_are_named(text):
    with pytest.raises(InputError, match=r"2 of 3 captions have no words, of a \(sample 0\), c \(sample 0\)"):
        step_of(text).run(ITEMS, {"caption": ["", "a boat", " \n"]})


@pytest.mark.parametrize("given", [np.zeros((3, 8, 8, 3), np.uint8), [["a boat"]] * 3])
def test_what_is_no_caption_is_refused(text, given):
    with pytest.raises(InputError, match=r"caption of a \(sample 0\) is no caption"):
        step_of(text).run(ITEMS, {"caption": given})


@pytest.mark.parametrize("given", [CAPTIONS, np.zeros((3, 8, 8, 3), np.float32)])
def test_what_is_no_picture_is_refused(image, given):
    with pytest.raises(InputError, match=r"picture of a \(sample 0\) is no picture"):
        step_of(image, "picture", "clip_image").run(ITEMS, {"picture": given})


def test_values_that_are_not_finite_are_named_and_the_others_given():
    class Inverse:
        takes, shape, n_targets = "captions", (1,), 1

        def encode(self, items, batch_size):
            return np.float32([[np.nan if caption == "nothing" else len(caption) for (caption,) in items]])

    step, captions = step_of(Inverse()), ["a boat", "nothing", "a cat on grass"]
    with pytest.raises(NotFinite) as error:
        step.run(ITEMS, {"caption": captions})
    assert error.value.positions == (1,)
    found = {}
    with pytest.raises(NotFinite, match=r"b \(sample 0\)"):
        for row, given in step.stream(ITEMS, {"caption": captions}, batch_size=3):
            found[row] = given["clip_text"].tolist()
    assert found == {0: [6.0], 2: [14.0]}


# In a chain


class Writing(Step):
    """Writes a caption about the first number of a code."""

    reads, gives, media = ("code",), ("caption",), {"caption": "caption"}

    def run(self, items, values, *, seed=0):
        return {"caption": ["a red circle" if row[0] > 10 else "two blue squares" for row in values["code"]]}


@pytest.fixture
def chain(text):
    code, encode = Adding(["patterns"], "code"), step_of(text)
    picture = Adding(["code"], "picture", optional=["clip_text"], media={"picture": "picture"})
    return Chain(system_of(code, Writing(), encode, picture))


PATTERNS = np.arange(8, dtype=np.float32).reshape(2, 4)


def test_a_chain_reads_what_was_encoded(chain, text):
    assert chain.predicts == ("code", "clip_text") and list(chain.targets) == ["clip_text"]
    assert [chain.medium(name) for name in ("caption", "clip_text")] == ["caption", "features"]
    found = chain.predict(PATTERNS)
    expected = text.encode([["two blue squares"], ["a red circle"]])
    np.testing.assert_allclose(found["clip_text"], expected, atol=1e-5 * expected.std())
    drawn = chain.run_from_patterns(["a", "b"], PATTERNS, samples=2)
    sums = 2 * PATTERNS.sum(axis=1) + expected.sum(axis=1)
    np.testing.assert_allclose(drawn[:, 0, 0], sums, rtol=1e-4)


def test_conditions_take_the_encoded_caption_away_or_put_the_truth_in_its_place(chain):
    assert CONDITIONS["without_text_context"].applies_to(chain)
    replaced = [name for name in chain.given if CONDITIONS["oracle_embeddings"].replacement(chain, name)]
    assert CONDITIONS["oracle_embeddings"].applies_to(chain) and replaced == ["clip_text"]
    needed = Chain(system_of(*chain.steps[:3], Adding(["code", "clip_text"], "picture")))
    assert CONDITIONS["without_text_context"].why_not(needed) == "the method cannot do without it"


def test_the_target_is_loaded_when_it_is_needed_and_let_go(chain, text):
    source = chain.targets["clip_text"]
    assert not source.is_loaded
    chain.predict(PATTERNS)
    assert source.is_loaded
    chain.free()
    assert not source.is_loaded
