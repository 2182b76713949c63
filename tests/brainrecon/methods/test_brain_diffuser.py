"""Brain-Diffuser at the paper's settings, and what its conditions ask of the generator."""

import numpy as np
import pytest

from brainrecon.assembly.condition import CONDITIONS, CONTROLS, DIFFUSED, DRAWN_TOGETHER, RECONSTRUCTION
from brainrecon.assembly.registry import system_class
from brainrecon.assembly.settings import from_dict, to_dict
from brainrecon.datasets.subject import Split, Subject
from brainrecon.methods.brain_diffuser import BrainDiffuser
from stages.ground.errors import InputError


class Shaped:
    """A target of which only the shape matters."""

    def __init__(self, *shape):
        self.shape, self.n_targets = shape, int(np.prod(shape))


@pytest.fixture
def method():
    method = BrainDiffuser()
    method.targets = {"vdvae": Shaped(7), "clip_image": Shaped(5, 4), "clip_text": Shaped(3, 4)}
    return method


@pytest.fixture
def embeddings(method):
    generator = np.random.default_rng(0)
    return {
        name: generator.normal(size=(2, target.n_targets)).astype(np.float32) for name, target in method.targets.items()
    }


def requests(method, embeddings, condition, samples=(0,)):
    pictures = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    return method.requests(condition, ["a", "b"], embeddings, pictures, samples), pictures


def test_the_papers_settings():
    settings = BrainDiffuser().settings.generator
    assert (settings.strength, settings.num_inference_steps) == (0.75, 50)
    assert (settings.image_weight, settings.text_weight) == (0.6, 0.4)


def test_a_request_carries_each_stimulus_own_embeddings(method, embeddings):
    found, pictures = requests(method, embeddings, RECONSTRUCTION, samples=(0, 1))
    assert [(one.stimulus_id, one.sample) for one in found] == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    np.testing.assert_array_equal(found[2].image_context, embeddings["clip_image"][1].reshape(5, 4))
    np.testing.assert_array_equal(found[2].text_context, embeddings["clip_text"][1].reshape(3, 4))
    np.testing.assert_array_equal(found[2].init_image, pictures[1])
    assert found[0].context_weights == (0.6, 0.4) and found[0].strength == 0.75


@pytest.mark.parametrize(
    "condition, weights, starts_from_picture",
    [
        ("oracle_embeddings", (0.6, 0.4), True),
        ("shuffled_responses", (0.6, 0.4), True),
        ("without_stage_one", (0.6, 0.4), False),
        ("without_image_context", (0.0, 1.0), True),
        ("without_text_context", (1.0, 0.0), True),
    ],
)
def test_conditions(method, embeddings, condition, weights, starts_from_picture):
    (request, _), _ = requests(method, embeddings, condition)
    assert request.context_weights == weights
    assert (request.init_image is not None) == starts_from_picture
    assert request.strength == (0.75 if starts_from_picture else 1.0)


def test_without_captions_the_image_context_stands_alone(embeddings):
    method = BrainDiffuser({"text_context": False})
    assert list(method.target_checkpoints) == ["vdvae", "clip_image"]
    assert not {"without_text_context", "without_image_context"} & set(method.conditions)
    method.targets = {"vdvae": Shaped(7), "clip_image": Shaped(5, 4)}
    (request, _), _ = requests(method, embeddings, RECONSTRUCTION)
    assert request.text_context is None and request.context_weights == (1.0, 0.0)


def test_fit_then_save_then_load(method, embeddings, tmp_path):
    generator = np.random.default_rng(1)
    patterns = generator.normal(size=(30, 12)).astype(np.float32)
    features = {name: generator.normal(size=(30, t.n_targets)).astype(np.float32) for name, t in method.targets.items()}
    names = [f"s{row}" for row in range(30)]
    splits = {"train": Split(patterns, names), "test": Split(patterns[:3], ["a", "b", "c"])}
    subject = Subject("subj01", "arrays", "arrays:x", splits, roi="all")
    method.fit(subject, features).save_pretrained(tmp_path)
    loaded = BrainDiffuser.from_pretrained(tmp_path)
    assert loaded.settings == method.settings
    for name, values in method.predict(patterns[:3]).items():
        assert values.shape == features[name][:3].shape
        np.testing.assert_array_equal(loaded.predict(patterns[:3])[name], values)


def test_settings_round_trip_and_strictness():
    for name in METHODS:
        kind = system_class(name).settings_class
        assert from_dict(kind, to_dict(kind())) == kind()
    with pytest.raises(InputError, match="'generator.strength'"):
        BrainDiffuser({"generator": {"strenght": 1.0}})
    with pytest.raises(InputError, match="expected one of brain-diffuser"):
        system_class("mind-reader")


def test_lists_of_conditions_agree():
    parts = {"stage_one", "binarised"}
    assert set(DIFFUSED) | set(DRAWN_TOGETHER) | parts == set(CONDITIONS)
    assert set(CONTROLS) == set(CONDITIONS) - {RECONSTRUCTION} - parts
    for name in METHODS:
        method = system_class(name)()
        assert {RECONSTRUCTION, *method.always_drawn} <= set(method.conditions) <= set(CONDITIONS)
