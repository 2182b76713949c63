"""Settings of decoders of units, and the step that they make."""

import numpy as np
import pytest

from brainrecon.assembly.settings import from_dict, to_dict
from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.unit_decoding import UnitDecoderSettings
from brainrecon.assembly.values import Machine, Training, Workspace
from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject
from brainrecon.features.store import FeatureStore
from stages.decoders.unitwise.unitwise import UnitwiseDecoder
from stages.ground.errors import InputError


class Known:
    """A target whose values are known: its items are rows of them."""

    takes, preprocessing = "images", {}

    def __init__(self, name, values):
        self.name, self.values, self.n_targets, self.shape = name, values, values.shape[1], values.shape[1:]

    def encode(self, items):
        return self.values[items]


@pytest.fixture
def subject():
    """Twenty voxels of a region and twenty more; two trials of each training stimulus."""
    random = np.random.default_rng(0)
    features = random.normal(size=(60, 12)).astype(np.float32)
    response = np.hstack([features @ random.normal(size=(12, 20)), 9 * random.normal(size=(60, 20))])
    order = random.permutation(np.repeat(np.arange(50), 2))
    splits = {
        "train": Split(
            (response[order] + random.normal(size=(100, 40))).astype(np.float32), [f"s{row}" for row in order]
        ),
        "test": Split(response[50:].astype(np.float32), [f"t{row}" for row in range(10)]),
    }
    found = Subject("subj01", "arrays", "arrays:x", splits, roi="all", rois={"V1": np.arange(40) < 20})
    found.features = features[[int(name[1:]) for name in found.train.stimulus_ids]]
    return found


@pytest.mark.parametrize(
    "settings", [{}, {"kind": "ard", "iterations": 5}, {"trials": "averaged", "statistics": "trials"}]
)
def test_a_system_decodes_units_in_one_line(subject, settings):
    settings = UnitDecoderSettings(voxels=5, **settings)
    step = settings.decode({"conv": None}, "V1", "V1", Machine())
    step.fit(Training({"subj01": subject}, lambda names: {"conv": subject.features}), Workspace(store=None))
    own = subject.train.patterns if settings.trials == "averaged" else subject.train.betas[:]
    stimuli = None if settings.trials == "averaged" else subject.train.positions
    expected = UnitwiseDecoder(settings.kind, 5, iterations=settings.iterations, statistics=settings.statistics)
    expected.fit_targets(own[:, :20], {"conv": subject.features}, stimuli)
    patterns = subject.test.patterns
    found = step.run([None] * 10, {"patterns": patterns})["conv"]
    np.testing.assert_array_equal(found, expected.predict(patterns[:, :20]))
    assert step.remarks()[0] == "20 of 40 voxels, of roi V1."


def test_a_decoder_that_stores_patterns_alone_reads_its_table_again(subject, tmp_path):
    store = FeatureStore(tmp_path / "features")
    names = list(subject.train.stimulus_ids)
    table = store.encode(Known("conv", subject.features), np.arange(50), names, dataset="x", checkpoint="x")
    step = UnitDecoderSettings(voxels=5, keep="patterns").decode({"conv": None}, "all", "", Machine())
    workspace = Workspace(store=store, folder=tmp_path / "decoder")
    step.fit(Training({"subj01": subject}, lambda names: {"conv": table}), workspace)
    step.save(tmp_path / "decoder")
    expected = step.run([None] * 10, {"patterns": subject.test.patterns})["conv"]
    opened = UnitDecoderSettings(voxels=5, keep="patterns").decode({"conv": None}, "all", "", Machine())
    opened.open(Workspace(store=store, folder=tmp_path / "decoder", description=step.description()))
    np.testing.assert_array_equal(opened.run([None] * 10, {"patterns": subject.test.patterns})["conv"], expected)


def test_settings_that_nobody_knows_are_refused_before_anything_is_encoded():
    for name, wrong in {
        "kind": "lasso",
        "voxels": "some",
        "trials": "few",
        "prune": "none",
        "features": "int8",
    }.items():
        with pytest.raises(InputError, match=f"decoder.{name} is '{wrong}'; expected .* --set decoder.{name}="):
            UnitDecoderSettings(**{name: wrong})


def test_settings_go_through_a_file():
    settings = UnitDecoderSettings("ard", voxels="all", iterations=200)
    assert from_dict(UnitDecoderSettings, to_dict(settings)) == settings
    assert from_dict(UnitDecoderSettings, {"voxels": 1000, "alpha": 1}) == UnitDecoderSettings(voxels=1000, alpha=1.0)


class Layer:
    """All of VGG19's first layer."""

    shape, n_targets = (64, 224, 224), 64 * 224**2


def test_it_says_what_it_will_write_before_it_starts():
    train = Split(np.zeros((1200, 700), np.float32), [f"s{row}" for row in range(1200)])
    layers = {name: TargetSource(Layer, (), "float16") for name in ("conv1_1", "conv1_2")}
    told = UnitDecoderSettings(features="float16").decode(layers, "all", "", Machine()).cost(train)
    assert told[0] == (
        "The feature store takes 15.4 GB for conv1_1, conv1_2 of 1,200 stimuli, and 7.7 GB more while the largest is arranged."
    )
    assert "3.4 MB (weights 25.7 GB" in told[1] and told[2] == "Each stimulus that is predicted takes 25.7 MB."
    assert UnitDecoderSettings().decode({}, "all", "", Machine()).cost(train) == []
