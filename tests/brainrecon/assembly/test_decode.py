"""Which trials, which voxels, which decoder: as the settings say, and from training data alone."""

import numpy as np
import pytest
from made_up_systems import Adding, system_of
from safetensors.numpy import load_file

from brainrecon.assembly.chain import Chain
from brainrecon.assembly.decode import Decode
from brainrecon.assembly.decoder_settings import DecoderSettings
from brainrecon.assembly.linear_decoding import DecodingByBlocks
from brainrecon.assembly.settings import from_dict
from brainrecon.assembly.values import Machine, Prediction, Training, Workspace
from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject
from brainrecon.features.store import FeatureStore
from stages.decoders.ridge.ridge import RidgeDecoder
from stages.ground.errors import InputError

N_VOXELS, SIGNAL = 60, np.arange(60) < 20


@pytest.fixture
def subject():
    """Twenty voxels that respond to the stimuli, forty that do not; three trials of each training stimulus."""
    random = np.random.default_rng(0)
    features = random.normal(size=(90, 12))
    response = (features @ random.normal(size=(12, N_VOXELS))) * SIGNAL
    order = random.permutation(np.repeat(np.arange(80), 3))
    train = response[order] + 2 * random.normal(size=(240, N_VOXELS))
    # The test trials shout where the training trials say nothing: who looks at them chooses wrongly.
    test = response[80:] + 100 * ~SIGNAL * random.normal(size=(10, 1))
    splits = {
        "train": Split(train.astype(np.float32), [f"s{row}" for row in order]),
        "test": Split(test.astype(np.float32), [f"t{row}" for row in range(10)]),
    }
    rois = {"signal": SIGNAL, "noise": ~SIGNAL}
    found = Subject("subj01", "arrays", "arrays:x", splits, roi="all", rois=rois)
    shown = [int(name[1:]) for name in found.train.stimulus_ids]
    found.features = {"a": features[shown, :7].astype(np.float32), "b": features[shown, 7:].astype(np.float32)}
    return found


class Known:
    """A target whose values are known: its items are rows of them."""

    takes, preprocessing = "images", {}

    def __init__(self, name, values):
        self.name, self.values, self.n_targets, self.shape = name, values, values.shape[1], values.shape[1:]

    def encode(self, items):
        return self.values[items]


def unfitted(**settings):
    return Decode(dict.fromkeys("ab"), DecoderSettings(**settings), Machine())


def fitted(subject, **settings):
    step = unfitted(**settings)
    step.fit(Training({"subj01": subject}, lambda names: subject.features), Workspace(store=None))
    return step


def opened(folder, **settings):
    step = unfitted(**settings)
    step.open(Workspace(store=None, folder=folder))
    return step


def predict(step, patterns):
    return step.run([None] * len(patterns), {"patterns": patterns})


@pytest.mark.parametrize("settings", [{"voxels": "noise_ceiling"}, {"voxels": "correlation"}])
def test_the_voxels_with_signal_are_chosen(subject, settings):
    decoding = fitted(subject, top_voxels=20, **settings)
    np.testing.assert_array_equal(decoding.voxels, SIGNAL)
    alone = RidgeDecoder().fit_targets(subject.train.patterns[:, SIGNAL], subject.features)
    for name, values in predict(decoding, subject.test.patterns).items():
        np.testing.assert_array_equal(values, alone.split(alone.predict(subject.test.patterns[:, SIGNAL]))[name])


def test_voxels_from_a_noise_ceiling_on(subject):
    voxels = fitted(subject, voxels="noise_ceiling", least_noise_ceiling=40.0).voxels
    assert voxels[SIGNAL].mean() > 0.8 and not voxels[~SIGNAL].any()
    with pytest.raises(InputError, match="99.9"):
        fitted(subject, voxels="noise_ceiling", least_noise_ceiling=99.9)


def test_choosing_voxels_looks_at_no_test_trial(subject):
    before = fitted(subject, voxels="correlation", top_voxels=15).voxels
    subject.test.betas[:] = 0
    np.testing.assert_array_equal(fitted(subject, voxels="correlation", top_voxels=15).voxels, before)


def test_single_trials_know_which_stimulus_they_show(subject):
    decoding = fitted(subject, trials="single", rescale="none", alpha=30.0)
    rows = {name: row for row, name in enumerate(subject.train.stimulus_ids)}
    of_trial = [rows[name] for name in subject.train.trial_stimulus_ids]
    values = np.hstack(list(subject.features.values()))[of_trial]
    expected = RidgeDecoder(alphas=30.0, rescale="none").fit(subject.train.betas, values).predict(subject.test.patterns)
    found = np.hstack(list(predict(decoding, subject.test.patterns).values()))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("settings", [{}, {"voxels": "correlation", "top_voxels": 9}, {"trials": "single"}])
def test_saved_and_opened_it_predicts_the_same(subject, tmp_path, settings):
    decoding = fitted(subject, **settings)
    decoding.save(tmp_path)
    again = opened(tmp_path, **settings)
    for name, values in predict(decoding, subject.test.patterns).items():
        np.testing.assert_array_equal(predict(again, subject.test.patterns)[name], values)
    with pytest.raises(InputError, match="59 voxels"):
        predict(again, subject.test.patterns[:, :59])


def with_region(settings=None, **options):
    return Decode(dict.fromkeys("ab"), DecoderSettings(**settings or {}), Machine(), **options)


def fit(step, subject):
    step.fit(Training({"subj01": subject}, lambda names: subject.features), Workspace(store=None))
    return step


def test_a_region_of_the_subject_is_all_that_is_read(subject, tmp_path):
    step = fit(with_region(roi="all - noise"), subject)
    np.testing.assert_array_equal(step.voxels, SIGNAL)
    alone = RidgeDecoder().fit_targets(subject.train.patterns[:, SIGNAL], subject.features)
    expected = alone.split(alone.predict(subject.test.patterns[:, SIGNAL]))
    step.save(tmp_path)
    again = with_region(roi="all - noise")
    again.open(Workspace(store=None, folder=tmp_path))
    # Whatever the other voxels say.
    changed = subject.test.patterns + ~SIGNAL
    for name, values in expected.items():
        np.testing.assert_array_equal(predict(step, changed)[name], values)
        np.testing.assert_array_equal(predict(again, changed)[name], values)
    assert step.remarks()[0] == "20 of 60 voxels, of roi all - noise."
    with pytest.raises(InputError, match=r"subj01 \(roi all\) has no roi 'V1'; it has signal, noise, all"):
        fit(with_region(roi="V1"), subject)


@pytest.mark.parametrize("settings", [{"voxels": "noise_ceiling"}, {"voxels": "correlation"}])
def test_voxels_are_chosen_within_the_region(subject, settings):
    subject.rois["half"] = np.arange(N_VOXELS) >= 10
    step = fit(with_region(settings | {"top_voxels": 10}, roi="half"), subject)
    np.testing.assert_array_equal(step.voxels, SIGNAL & subject.rois["half"])
    assert step.remarks()[0] == "10 of 60 voxels, of roi half, chosen on the training stimuli."


def test_a_decoder_of_ones_own_is_fitted_in_its_place(subject, tmp_path):
    own = DecodingByBlocks(RidgeDecoder(alphas=3.0, rescale="none"))
    step = fit(with_region(decoding=own), subject)
    assert step.decoder is own.decoder and set(step.decoder.alpha_.values()) == {3.0}
    step.save(tmp_path)
    again = with_region(decoding=DecodingByBlocks(RidgeDecoder(device="cpu")))
    again.open(Workspace(store=None, folder=tmp_path))
    assert again.decoder.alphas == 3.0


def test_spoilt_voxels_are_refused(subject, tmp_path):
    settings = dict(voxels="correlation", top_voxels=9)
    fitted(subject, **settings).save(tmp_path)
    for content in ("{", "[]", '{"n_voxels": 5, "voxels": [70]}'):
        (tmp_path / "voxels.json").write_text(content)
        with pytest.raises(InputError, match="voxels.json"):
            opened(tmp_path, **settings)


def test_banded_ridge_shrinks_the_region_without_signal(subject, tmp_path):
    pytest.importorskip("himalaya")
    settings = dict(kind="banded_ridge", bands=("signal", "noise"))
    decoding = fitted(subject, **settings)
    for penalty in decoding.decoder.band_penalty_.values():
        assert penalty["noise"] > 3 * penalty["signal"]
    decoding.save(tmp_path)
    again = opened(tmp_path, **settings)
    for name, values in predict(decoding, subject.test.patterns).items():
        np.testing.assert_array_equal(predict(again, subject.test.patterns)[name], values)
    with pytest.raises(InputError, match="no region 'V9'"):
        fitted(subject, kind="banded_ridge", bands=("V9",))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "lasso"}, "decoder.kind"),
        ({"kind": "banded_ridge"}, "name regions"),
        ({"bands": ["V1"]}, "for ridge none"),
        ({"trials": "each"}, "averaged, single"),
        ({"voxels": "best", "top_voxels": 5}, "noise_ceiling"),
        ({"voxels": "correlation"}, "top_voxels"),
        ({"voxels": "correlation", "least_noise_ceiling": 5.0}, "top_voxels"),
        ({"voxels": "noise_ceiling", "top_voxels": 5, "least_noise_ceiling": 5.0}, "2 limits"),
        ({"top_voxels": 5}, "what ranks them"),
        ({"held_out": "none"}, "decoder.rescale"),
        ({"rescale": "often"}, "decoder.rescale is 'often'"),
        ({"rescale": {"a": "none", "b": "often"}}, "decoder.rescale.b is 'often'"),
        ({"rescale": {"a": "none"}, "kind": "banded_ridge", "bands": ["V1"]}, "banded ridge does not have"),
        ({"penalty": "each"}, "group, target"),
        ({"features": "int8"}, "float16"),
        ({"sketch": "all"}, "expected int"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        from_dict(DecoderSettings, settings, "decoder")


def test_two_of_a_chain_keep_what_is_theirs_apart(subject, tmp_path):
    """Each predicts its own patterns on the way, into its own file, and finds its own tables when it is opened."""
    store = FeatureStore(tmp_path / "store")
    tables = {}
    for name, values in subject.features.items():
        tables[name] = store.encode(
            Known(name, values), np.arange(len(values)), range(len(values)), dataset="x", checkpoint="y"
        )

    def steps():
        settings = DecoderSettings(keep="factorisation")
        return [Decode({name: None}, settings, Machine(), part=name) for name in "ab"]

    def chain():
        return Chain(system_of(*steps(), Adding(["a", "b"], "picture", media={"picture": "picture"})))

    test = subject.test
    files = {name: tmp_path / f"{name}.safetensors" for name in "ab"}
    predictions = {name: Prediction(test.patterns, test.stimulus_ids, path) for name, path in files.items()}
    training = Training({"subj01": subject}, lambda names: {name: tables[name] for name in names})
    chain().fit(training, tmp_path / "decoder", store, predictions)
    again = chain().open(tmp_path / "decoder", store).predict(test.patterns)
    for name, values in subject.features.items():
        alone = RidgeDecoder().fit_targets(subject.train.patterns, {name: values})
        np.testing.assert_allclose(again[name], alone.predict(test.patterns), rtol=1e-3, atol=1e-3)
        found = load_file(files[name])
        assert list(found) == [name]
        np.testing.assert_allclose(found[name], again[name], rtol=1e-3, atol=1e-3)


def test_more_voxels_than_there_are(subject):
    with pytest.raises(InputError, match="61"):
        fitted(subject, voxels="correlation", top_voxels=61)
